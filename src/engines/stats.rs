//! What is counted of each engine.

use super::auto::Reason;
use super::contract::Decline;
use super::kind::Kind;
use crate::base::Counter;

/// Figures of one engine.
#[derive(Debug, Default)]
pub struct EngineStats {
    /// Bodies that it completed.
    pub responses: Counter,
    /// Bytes of files that the kernel took from it.
    pub bytes: Counter,
    /// Copies that the processor made of these bytes: out of files, and into sockets.
    pub copied_bytes: Counter,
    /// Bytes of files given to sockets by reference.
    pub not_copied_bytes: Counter,
    /// Bodies that it declined.
    pub declined: Counter,
    /// Bodies that it began and could not complete.
    pub failed: Counter,
}

/// Figures of all engines of one worker.
#[derive(Debug)]
pub struct Stats {
    engines: Vec<EngineStats>,
    declines: Vec<Counter>,
    choices: Vec<Counter>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            engines: Kind::FIXED.iter().map(|_| EngineStats::default()).collect(),
            declines: Decline::NAMES.iter().map(|_| Counter::default()).collect(),
            choices: Reason::ALL.iter().map(|_| Counter::default()).collect(),
        }
    }
}

impl Stats {
    /// The figures of an engine that moves bytes.
    pub fn engine(&self, kind: Kind) -> &EngineStats {
        &self.engines[kind as usize]
    }

    /// How many bodies were declined for a reason.
    pub fn declines(&self, why: Decline) -> &Counter {
        &self.declines[why.number()]
    }

    /// The same for every reason, with its name.
    pub fn by_decline(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        Decline::NAMES.into_iter().zip(&self.declines)
    }

    /// The figures of every engine.
    pub fn engines(&self) -> impl Iterator<Item = (Kind, &EngineStats)> {
        Kind::FIXED.into_iter().zip(&self.engines)
    }

    /// Bodies whose engine was chosen for a reason.
    pub fn choices(&self, why: Reason) -> &Counter {
        &self.choices[why as usize]
    }

    /// The same for every reason.
    pub fn by_reason(&self) -> impl Iterator<Item = (Reason, &Counter)> {
        Reason::ALL.into_iter().zip(&self.choices)
    }
}
