//! One figure: its name, what it means, and where it is read.

use std::borrow::Cow;

use super::snapshot::Shard;
use crate::base::{Counter, Gauge, Histogram};

/// What the values of a figure are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things, named by the figure.
    Count,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanoseconds,
}

/// How a figure moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It rises and falls.
    Gauge,
    /// It tells how values are spread.
    Histogram,
}

/// What a figure is read from in one shard.
pub(super) enum Source<'a> {
    Counter(&'a Counter),
    Gauge(&'a Gauge),
    Histogram(&'a Histogram),
    /// A counter that is made of others.
    Sum(u64),
    /// A part and the whole, told as the part of a hundred that it is over all workers.
    Share(u64, u64),
}

/// Called for each label of a figure; one without labels gives the empty one.
pub(super) type Visit<'v, 'a> = &'v mut dyn FnMut(Cow<'static, str>, Source<'a>);

/// A row of the catalogue.
pub struct Figure {
    /// The member of the JSON object in which it stands.
    pub group: &'static str,
    /// What tells its series apart, such as `technique`; none if there is one only.
    pub label: Option<&'static str>,
    /// Its name in the group, with its unit last; empty where the label says all.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What its values are.
    pub unit: Unit,
    /// One line that says what it counts, without a full stop.
    pub help: &'static str,
    /// The field that it is read from: room, structure and field; empty if it is made of others.
    #[cfg(test)]
    pub(super) field: &'static str,
    pub(super) read: for<'a> fn(&'a Shard, Visit<'_, 'a>),
}

impl Figure {
    /// Where it stands in the JSON object, its label in braces.
    ///
    /// ```
    /// use pitcrew::telemetry::CATALOGUE;
    /// assert!(CATALOGUE.iter().any(|figure| figure.path() == "techniques.{technique}.bytes"));
    /// assert!(CATALOGUE.iter().any(|figure| figure.path() == "ring.turn_ns"));
    /// ```
    pub fn path(&self) -> String {
        let mut path = self.group.to_owned();
        if let Some(label) = self.label {
            path.push_str(&format!(".{{{label}}}"));
        }
        if !self.name.is_empty() {
            path.push('.');
            path.push_str(self.name);
        }
        path
    }
}

impl std::fmt::Debug for Figure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Figure({}, {:?}, {:?})", self.path(), self.kind, self.unit)
    }
}
