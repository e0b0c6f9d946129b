//! One row for each engine.

use super::contract::{Body, Decline, Engine};
use super::copy::Copy;
use super::kind::Kind;
use super::sendfile::Sendfile;
use super::splice::Splice;
use super::{auto, direct, uring};

struct Row {
    kind: Kind,
    start: fn(Body) -> Box<dyn Engine>,
    /// Who serves what this one declines. `uring` and `copy` never decline; nobody hands on to
    /// `copy`, which waits for the disk in the turn.
    then: Option<Kind>,
}

const ROWS: [Row; Kind::ALL.len()] = [
    Row {
        kind: Kind::Sendfile,
        start: |body| Box::new(Sendfile::new(body)),
        then: Some(Kind::Uring),
    },
    Row { kind: Kind::Splice, start: |body| Box::new(Splice::new(body)), then: Some(Kind::Uring) },
    Row { kind: Kind::Uring, start: uring::start, then: None },
    Row { kind: Kind::Direct, start: direct::start, then: Some(Kind::Uring) },
    Row { kind: Kind::Copy, start: |body| Box::new(Copy::new(body)), then: None },
    Row { kind: Kind::Auto, start: auto::start, then: Some(Kind::Uring) },
];

const _: () = {
    let mut index = 0;
    while index < ROWS.len() {
        assert!(ROWS[index].kind as usize == index, "the table is in the order of the enum");
        index += 1;
    }
};

/// Starts an engine on a body. It does nothing before its first step.
pub fn start(kind: Kind, body: Body) -> Box<dyn Engine> {
    assert!(body.count > 0, "an empty body needs no engine");
    (ROWS[kind as usize].start)(body)
}

/// Who serves a body that an engine declined, by its reason: what is not in the page cache is read
/// by the ring.
pub fn next_in_chain(kind: Kind, why: Decline) -> Option<Kind> {
    match why {
        Decline::Cold | Decline::MayBlock | Decline::Passes => Some(Kind::Uring),
        Decline::NoDirect | Decline::Alignment | Decline::Unsupported(_) | Decline::NoPipe => {
            ROWS[kind as usize].then
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chain_ends_at_the_ring() {
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Copy) {
            let chain: Vec<_> =
                std::iter::successors(Some(kind), |kind| next_in_chain(*kind, Decline::NoPipe))
                    .take(9)
                    .collect();
            assert_eq!(chain.last(), Some(&Kind::Uring), "{chain:?}");
        }
    }
}
