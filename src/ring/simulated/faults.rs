//! What goes wrong: by chance, by a seed, or by script.

use std::time::Duration;

use rustix::io::Errno;

use crate::base::Random;
use crate::ring::stats::Technique;

/// Chances of faults, each in so many cases of a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A read brings fewer bytes than are there.
    pub short_read: u32,
    /// A send, sendfile or splice takes fewer bytes than there is room for.
    pub short_send: u32,
    /// A ring operation is interrupted before it did anything.
    pub interrupted: u32,
    /// A socket says that it is full although it is not; an open races with a rename.
    pub again: u32,
    /// The client's connection is reset under a read or a send.
    pub reset: u32,
    /// The disk fails under a read, an open or a stat.
    pub io_error: u32,
    /// The process has no descriptor left for an open, an accept or a pipe.
    pub no_descriptor: u32,
    /// The submission queue is full until the kernel is entered.
    pub queue_full: u32,
    /// An operation of the ring takes some time, up to 20 ms.
    pub late: u32,
    /// What is ready completes in any order.
    pub reorder: u32,
    /// What can complete does so although it was cancelled.
    pub race: u32,
    /// A multishot accept ends with a connection.
    pub accept_ends: u32,
    /// A pipe is made with one page only.
    pub small_pipe: u32,
    /// The kernel refuses to make a pipe.
    pub no_pipe: u32,
    /// A file is cut short before it is read.
    pub shrink: u32,
    /// A file grows before it is read.
    pub grow: u32,
    /// A watched directory tells late, by up to 20 ms.
    pub notice_late: u32,
    /// What a watched directory has to tell is lost, and that is told.
    pub notices_lost: u32,
    /// The pages of a file are evicted.
    pub evict: u32,
    /// The monotonic clock jumps ahead by up to two minutes, as after a suspension.
    pub clock_jump: u32,
    /// The wall clock jumps, in either direction, by up to a day.
    pub wall_jump: u32,
    /// The completion queue is full: what else has completed is told at the next entry.
    pub overflow: u32,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        short_read: 0,
        short_send: 0,
        interrupted: 0,
        again: 0,
        reset: 0,
        io_error: 0,
        no_descriptor: 0,
        queue_full: 0,
        late: 0,
        reorder: 0,
        race: 0,
        accept_ends: 0,
        small_pipe: 0,
        no_pipe: 0,
        shrink: 0,
        grow: 0,
        notice_late: 0,
        notices_lost: 0,
        evict: 0,
        clock_jump: 0,
        wall_jump: 0,
        overflow: 0,
    };

    /// Some of the faults, each seldom or often: schedules where all faults are about equally
    /// likely would hide what one of them does alone.
    pub fn some(random: &mut Random) -> Self {
        let mut faults = Self::gentle(random);
        let fatal = [
            &mut faults.reset,
            &mut faults.io_error,
            &mut faults.no_descriptor,
            &mut faults.no_pipe,
            &mut faults.shrink,
            &mut faults.clock_jump,
        ];
        for chance in fatal {
            *chance = *random.pick(&[0, 0, 0, 5, 30, 150]);
        }
        faults
    }

    /// Some of the faults that may slow a response down but never spoil it.
    pub fn gentle(random: &mut Random) -> Self {
        let mut faults = Self::NONE;
        let gentle = [
            &mut faults.short_read,
            &mut faults.short_send,
            &mut faults.interrupted,
            &mut faults.again,
            &mut faults.queue_full,
            &mut faults.late,
            &mut faults.reorder,
            &mut faults.race,
            &mut faults.accept_ends,
            &mut faults.small_pipe,
            &mut faults.grow,
            &mut faults.notice_late,
            &mut faults.notices_lost,
            &mut faults.evict,
            &mut faults.wall_jump,
            &mut faults.overflow,
        ];
        for chance in gentle {
            *chance = *random.pick(&[0, 0, 0, 20, 100, 400]);
        }
        faults
    }
}

/// One fault, for a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails. A reset by the client also befalls its connection.
    Fail(Errno),
    /// It moves so many bytes at most, at least one.
    Short(u32),
    /// What goes before a body fails, before the body itself is tried.
    FailHead(Errno),
    /// So many bytes of what goes before a body are taken.
    ShortHead(u32),
    /// It takes so long; for operations of the ring.
    Late(Duration),
    /// The file is cut to so many bytes just before.
    Shrink(u64),
    /// Every byte of the file is written to just before, in place.
    Overwrite,
    /// It ends with what it brings first, as one that might go on (a multishot accept) may.
    Ends,
}

/// When a fault of a script befalls an operation.
#[derive(Debug)]
struct Rule {
    technique: Technique,
    /// Operations of the technique that pass before the fault.
    pass: u32,
    /// Operations that pass between two faults, if there is more than one.
    again: Option<u32>,
    fault: Fault,
}

/// Faults that are to befall certain operations.
#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Vec<Rule>,
    befallen: u64,
}

impl Script {
    pub(super) fn add(
        &mut self,
        technique: Technique,
        pass: u32,
        again: Option<u32>,
        fault: Fault,
    ) {
        self.rules.push(Rule { technique, pass, again, fault });
    }

    /// The fault of the next operation of a technique. It counts for every rule.
    pub(super) fn next(&mut self, technique: Technique) -> Option<Fault> {
        let mut fault = None;
        self.rules.retain_mut(|rule| {
            if rule.technique != technique {
                return true;
            }
            if rule.pass > 0 {
                rule.pass -= 1;
                return true;
            }
            fault = fault.or(Some(rule.fault));
            rule.pass = rule.again.unwrap_or(0);
            rule.again.is_some()
        });
        self.befallen += u64::from(fault.is_some());
        fault
    }

    /// How many faults have befallen an operation.
    pub(super) fn befallen(&self) -> u64 {
        self.befallen
    }
}
