//! Proof that what was read of a file is of one version of it: its facts, asked again behind the
//! read.
//!
//! What is compared is what a tag is made of: the size and the time of the last change of the
//! bytes. The time of the last change of the inode is not, as a file that is renamed, removed or
//! replaced while it is sent has another one and the same bytes. A file that is longer than it was
//! is taken to have been appended to, as a log is.

use rustix::io::Errno;

use super::version::Version;
use crate::base::Instant;
use crate::limits::CHANGED_LOOKS;
use crate::ring::{Ask, Completion, Facts, Io, Op, Start};

/// Why what was read cannot be sent under the length and the tag of its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFault {
    /// The file is shorter than it was.
    Truncated,
    /// The file holds other bytes than it did.
    Changed,
    /// The disk says so.
    Read(Errno),
}

/// What facts say that were asked behind a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What was read is of the version.
    Holds,
    /// They are to be asked once more.
    Open,
    /// It is not, or nobody can tell.
    Fails(ReadFault),
}

/// Looks at the facts of a file, behind one read.
#[derive(Debug, Default)]
pub struct Proof {
    /// How often they told another time and the same size.
    doubts: u32,
}

impl Proof {
    /// The question.
    pub fn ask(version: &Version) -> Op {
        Op::stat(version.file.clone(), Ask::Behind)
    }

    /// Takes in the answer.
    pub fn take(&mut self, version: &Version, answer: &Completion, now: Instant) -> Verdict {
        match (&answer.op, answer.result) {
            (Some(Op::Stat { facts, .. }), Ok(_)) => {
                version.note_change(facts);
                let verdict = self.judge(version, facts);
                // What the ring was asked may have been told before another read of this turn.
                if verdict == Verdict::Holds && answer.ticket.is_none() {
                    version.note_proven(now);
                }
                verdict
            }
            (_, Err(errno)) => Verdict::Fails(ReadFault::Read(errno)),
            (other, Ok(_)) => unreachable!("the facts of a file come home with {other:?}"),
        }
    }

    /// What facts say.
    pub(super) fn judge(&mut self, version: &Version, facts: &Facts) -> Verdict {
        let told = &version.facts;
        if facts.size < told.size {
            return Verdict::Fails(ReadFault::Truncated);
        }
        if facts.size > told.size || facts.modified == told.modified {
            return Verdict::Holds;
        }
        // A write that appends has the time changed before the size: in between it looks like one
        // in place.
        self.doubts += 1;
        match self.doubts < CHANGED_LOOKS {
            true => Verdict::Open,
            false => Verdict::Fails(ReadFault::Changed),
        }
    }
}

impl Version {
    /// Whether the file still holds the bytes of this version, asked now and inline. It is taken to
    /// do so where nobody here knows.
    ///
    /// # Errors
    /// Why it does not.
    pub fn prove(&self, io: &mut dyn Io) -> Result<(), ReadFault> {
        let mut proof = Proof::default();
        loop {
            let question = Op::stat(self.file.clone(), Ask::Here);
            let Start::Executed(answer) = io.start(question) else { return Ok(()) };
            match proof.take(self, &answer, io.now()) {
                Verdict::Holds => return Ok(()),
                Verdict::Open => {}
                Verdict::Fails(fault) => return Err(fault),
            }
        }
    }

    /// The same, unless it was asked in this turn.
    ///
    /// # Errors
    /// Why it does not.
    pub fn prove_once(&self, io: &mut dyn Io) -> Result<(), ReadFault> {
        if self.is_proven(io.now()) { Ok(()) } else { self.prove(io) }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::base::WallClock;
    use crate::http::negotiate::Coding;
    use crate::ring::{Closing, Descriptor, File};

    #[test]
    fn what_is_compared_is_what_a_tag_is_made_of() {
        let at = |seconds| WallClock { seconds, nanoseconds: 0 };
        let told = Facts { size: 100, modified: at(5), changed: at(5), ..Facts::default() };
        let fd = std::fs::File::open("/dev/null").expect("there is one").into();
        let file = File::from(Descriptor::adopt(fd, &Rc::new(Closing::default())));
        let version = Version::new(file, told, Coding::Identity, Instant::default());
        let judge = |facts| {
            let mut proof = Proof::default();
            let verdicts = (0..CHANGED_LOOKS).map(|_| proof.judge(&version, &facts));
            let last = verdicts.last().expect("there are some");
            (Proof::default().judge(&version, &facts), last)
        };
        let always = |verdict| (verdict, verdict);
        assert_eq!(judge(told), always(Verdict::Holds));
        let renamed = Facts { changed: at(9), ..told };
        assert_eq!(judge(renamed), always(Verdict::Holds), "its bytes are the same");
        let appended = Facts { size: 101, modified: at(9), changed: at(9), ..told };
        assert_eq!(judge(appended), always(Verdict::Holds), "as a log is");
        let cut = Facts { size: 99, ..told };
        assert_eq!(judge(cut), always(Verdict::Fails(ReadFault::Truncated)));
        // An append may be under way.
        let touched = Facts { modified: at(4), ..told };
        assert_eq!(judge(touched), (Verdict::Open, Verdict::Fails(ReadFault::Changed)));
    }
}
