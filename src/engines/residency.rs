//! Before sendfile(2) or splice(2) touch a part of a file it is made sure that the page cache has
//! it: both would wait for the disk in the turn, and every client of the worker with them.
//!
//! ```text
//! file:  | sent | found or made resident | window being warmed | window being warmed | not yet |
//!               ^ offset                                       at most 1 MiB ahead ^
//! ```
//!
//! A part that was found there is asked about again a quarter of a second later, see
//! [`crate::cache::Version`]. What is there, but not what comes behind it, is read by a thread all
//! the same: the kernel may have marked a page of it, and who touches that begins a read. Once a
//! body has met a cold part, the ring warms windows of it ahead of the socket. A part that was
//! warmed is taken to be there as long without asking: what evicts it before it is sent is the one
//! case in which the turn waits for the disk. But of a file of which nothing is to stay each part
//! is asked about each time: whoever sends it drops what lies behind. So is one of a mount that may
//! block: such a file system may keep nothing of what was read, or let go of it whenever somebody
//! opens the file.

use std::ops::Range;

use super::contract::{Body, BodyError, Decline, Step};
use super::left_behind::LeftBehind;
use crate::base::Instant;
use crate::cache::Version;
use crate::limits::{
    BODY_BLOCK_BYTES, FOLLOWED_BYTES, FORGET_BEHIND_BYTES, KNOWN_RESIDENT_BYTES_MAX,
    RESIDENCY_KEPT, TURN_BYTES, WARM_AHEAD_BYTES, WARM_BYTES, WARMED_IN_VAIN_MAX,
};
use crate::ring::{Completion, Io, Look, MountKind, Op, Start, Ticket, Via};

/// What is warmed ahead.
#[derive(Debug)]
struct Window {
    /// From here to its end, in the file.
    start: u64,
    end: u64,
    /// None once it is there.
    ticket: Option<Ticket>,
    /// When it was found to be there.
    since: Instant,
    /// Whether a thread has read through it: no page of it was marked then.
    warmed: bool,
}

impl Window {
    fn is_young(&self, now: Instant, pressed: Instant) -> bool {
        now.since(self.since) < RESIDENCY_KEPT && self.since > pressed
    }
}

/// What is known of a body's span.
#[derive(Debug, Default)]
pub(super) struct Residency {
    /// Windows that are being warmed, or are there.
    windows: Vec<Window>,
    /// Whether a part of the body was cold: then windows run ahead.
    cold: bool,
    /// How often in a row a part that was warmed was not there after all.
    lost: u32,
    /// From where on the page cache still has what was warmed, of a body that is to leave nothing.
    left_behind: Option<LeftBehind>,
    /// How it ends, once all is sent that was found before.
    ending: Option<Step>,
}

impl Residency {
    pub(super) fn of(body: &Body) -> Self {
        Self { left_behind: body.trail.last(), ..Self::default() }
    }

    /// How many bytes from an offset of the file on may be sent now, `count` at most; or what the
    /// engine has to do in place of it.
    pub(super) fn resident(
        &mut self,
        body: &Body,
        offset: u64,
        count: u32,
        begun: bool,
        io: &mut dyn Io,
    ) -> Result<u32, Step> {
        let kind = io.mount_kind(body.version.facts.mount);
        if kind == MountKind::InMemory {
            return Ok(count);
        }
        let end = offset + u64::from(count);
        let (now, pressed) = (io.now(), io.pressed());
        let untold = matches!(kind, MountKind::Unproven | MountKind::Remote | MountKind::Foreign);
        self.windows.retain(|window| {
            let good = window.warmed && !untold || window.is_young(now, pressed);
            window.ticket.is_some() || window.end > offset && good
        });
        self.forget_behind(body, offset, io);
        // What the kernel has told of what comes next, if it was asked.
        let mut told = None;
        // Reading it before does not help. Of a body that has begun the rest is sent as it is.
        let always = body.version.is_access_always_due(io);
        if always && !begun {
            // Windows may be on their way, if a clock has leapt.
            return Err(self.end(Step::Declined(Decline::MayBlock), io));
        }
        let until = match self.window_at(offset) {
            Some(Window { ticket: Some(_), .. }) => None,
            // The thread that warms it, once more if it must, has that noted.
            _ if !always && body.version.is_access_due(io) => {
                let here = |window: &Window| (window.start..window.end).contains(&offset);
                self.windows.retain(|window| !here(window));
                None
            }
            Some(window)
                if untold
                    || window.is_young(now, pressed)
                        && !kind.may_block()
                        && (!body.passes || self.lost >= WARMED_IN_VAIN_MAX) =>
            {
                Some(window.end)
            }
            // It may have been dropped since.
            Some(window) => {
                let (start, end) = (window.start, end.min(window.end));
                let (warmed, young) = (window.warmed, window.is_young(now, pressed));
                let there;
                (there, told) = self.look(body, (offset, end), (warmed, young), kind, io)?;
                self.lost = match there {
                    Some(_) => 0,
                    None => self.lost + u32::from(young),
                };
                self.windows.retain(|window| there.is_some() || window.start != start);
                there
            }
            None if untold => None,
            None => match body.version.resident_until(offset, io).filter(|_| !body.passes) {
                Some(until) => Some(until),
                None => {
                    let until;
                    (until, told) = self.look(body, (offset, end), (false, false), kind, io)?;
                    until
                }
            },
        };
        if until.is_none() && !self.cold {
            self.meet_cold(body, kind, begun, told, io)?;
        }
        if self.cold {
            // What was looked at may be less than a window.
            let asked = (until.is_none() && told != Some(true)).then_some(told);
            self.run_ahead(body, until.unwrap_or(offset), asked, kind, io);
        }
        let there = || self.window_at(offset).filter(|window| window.ticket.is_none());
        match until.or_else(|| there().map(|window| window.end)) {
            Some(until) => Ok((until.min(end) - offset) as u32),
            None => Err(Step::Waiting),
        }
    }

    /// Asks the kernel how far the part is there and may be touched, as what a thread has `warmed`
    /// may while that is `young`: all of it, or its first window. With what it told of that last.
    fn look(
        &mut self,
        body: &Body,
        (offset, end): (u64, u64),
        (warmed, young): (bool, bool),
        kind: MountKind,
        io: &mut dyn Io,
    ) -> Result<(Option<u64>, Option<bool>), Step> {
        let first = ((offset / WARM_BYTES + 1) * WARM_BYTES).min(end);
        // Where windows run ahead, they tell how far to look.
        let parts = if self.cold { [first, first] } else { [end, first] };
        let mut told = None;
        for (index, until) in parts.into_iter().enumerate() {
            if index > 0 && until == parts[0] {
                break;
            }
            let part = offset..until;
            let look = match kind.may_block() {
                true => Look::Mapped,
                false if warmed => Look::Seen,
                false => body.version.look_at(&part, io),
            };
            let there = body.version.ask_page_cache(part.clone(), look, io);
            told = there.map_err(|errno| self.end(Step::Failed(BodyError::Read(errno)), io))?;
            if told == Some(true)
                && (warmed && young || may_be_touched(&body.version, &part, body.passes, io))
            {
                if !body.passes {
                    body.version.note_resident(part, io);
                }
                return Ok((Some(until), told));
            }
        }
        Ok((None, told))
    }

    /// The first cold part of a body: another engine takes it, or windows run ahead from now on.
    fn meet_cold(
        &mut self,
        body: &Body,
        kind: MountKind,
        begun: bool,
        told: Option<bool>,
        io: &dyn Io,
    ) -> Result<(), Step> {
        if !begun && kind.may_block() {
            return Err(Step::Declined(Decline::MayBlock));
        }
        // Most likely one that is only to be noted is there.
        let begun = begun || body.version.is_access_due(io);
        if !begun && body.passes && told != Some(true) {
            // What is read into buffers can be dropped at once, and what a socket refers to cannot.
            return Err(Step::Declined(Decline::Passes));
        }
        if !begun && body.count <= BODY_BLOCK_BYTES as u64 {
            return Err(Step::Declined(Decline::Cold));
        }
        self.cold = true;
        Ok(())
    }

    /// Has windows warmed from an offset on, as far ahead as is allowed. Of the first one nobody is
    /// asked if somebody was just now: `asked` is what was told.
    fn run_ahead(
        &mut self,
        body: &Body,
        from: u64,
        mut asked: Option<Option<bool>>,
        kind: MountKind,
        io: &mut dyn Io,
    ) {
        let body_end = body.offset + body.count;
        let limit = body_end.min(from + WARM_AHEAD_BYTES);
        let mut at = from;
        while at < limit {
            if let Some(window) = self.window_at(at) {
                (at, asked) = (window.end, None);
                continue;
            }
            let next = self.windows.iter().map(|window| window.start).filter(|start| *start > at);
            let boundary = (at / WARM_BYTES + 1) * WARM_BYTES;
            let end = next.chain([boundary, body_end]).min().expect("there are some");
            let there = asked.unwrap_or_else(|| {
                body.version.is_in_page_cache(at..end, kind.may_block(), io).ok().flatten()
            });
            let since = io.now();
            let mut window = Window { start: at, end, ticket: None, since, warmed: false };
            if there != Some(true) || !may_be_touched(&body.version, &(at..end), body.passes, io) {
                let (file, count) = (body.version.file.clone(), (end - at) as u32);
                let via = by_thread(there);
                if body.passes && via != Via::Edge && self.left_behind.is_none() {
                    let left_behind = LeftBehind::from(at);
                    body.trail.note(left_behind);
                    self.left_behind = Some(left_behind);
                }
                match io.start(Op::Warm { file, offset: at, count, via }) {
                    Start::Submitted(ticket) => {
                        (window.ticket, window.warmed) = (Some(ticket), true);
                    }
                    // A wake comes when there is room, and this is asked again.
                    _ => return,
                }
            }
            self.windows.push(window);
            (at, asked) = (end, None);
        }
    }

    /// Drops what was warmed and lies so far behind that the socket has most likely let go of it.
    fn forget_behind(&mut self, body: &Body, offset: u64, io: &mut dyn Io) {
        let Some(left_behind) = &mut self.left_behind else { return };
        let until = offset.saturating_sub(FORGET_BEHIND_BYTES) / WARM_BYTES * WARM_BYTES;
        left_behind.forget(&body.version, until, 1, io);
        body.trail.note(*left_behind);
    }

    fn window_at(&self, offset: u64) -> Option<&Window> {
        self.windows.iter().find(|window| (window.start..window.end).contains(&offset))
    }

    /// Takes in the end of a window's warming; true if the completion was of one.
    pub(super) fn take(&mut self, body: &Body, completion: &Completion, io: &mut dyn Io) -> bool {
        let Some(Op::Warm { .. }) = completion.op else { return false };
        let found = self.windows.iter_mut().find(|window| window.ticket == completion.ticket);
        let Some(window) = found else { return true };
        window.ticket = None;
        window.since = io.now();
        match completion.result {
            // The end of the file: what is not there is not waited for either.
            Ok(0) => body.version.note_access(io.wall()),
            Ok(count) => {
                body.version.note_access(io.wall());
                // A read that came short of the window's end has left the rest to be looked at.
                window.end = window.end.min(window.start + u64::from(count));
                if !body.passes && !io.mount_kind(body.version.facts.mount).may_block() {
                    body.version.note_resident(window.start..window.end, io);
                }
            }
            Err(errno) => self.ending = Some(Step::Failed(BodyError::Read(errno))),
        }
        true
    }

    /// Ends the body. What is being warmed concerns nobody any more: a disk that hangs would hold
    /// up what the client asks for next.
    pub(super) fn end(&mut self, step: Step, io: &mut dyn Io) -> Step {
        self.windows.drain(..).filter_map(|window| window.ticket).for_each(|it| io.abandon(it));
        step
    }

    /// How the body ends, if a part of it could not be warmed.
    pub(super) fn ending(&self) -> Option<Step> {
        self.ending
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.windows.iter().filter(|window| window.ticket.is_some()).count() as u32
    }
}

/// Whether a part that is there may be touched.
fn may_be_touched(version: &Version, part: &Range<u64>, passes: bool, io: &mut dyn Io) -> bool {
    let mapped = io.mount_kind(version.facts.mount).may_block();
    // Nobody remembers what is there then, and to ask for much each time costs as much as a thread.
    if passes && part.end < version.facts.size && version.reach(io) > FOLLOWED_BYTES {
        return false;
    }
    // Of a file of another user a read has told that it is there, see `ask_page_cache`.
    version.is_followed(part, mapped, passes, io).unwrap_or(!mapped)
}

/// How the page cache is asked for a part that is read inline, if it may be: the read itself tells
/// whether it is there, and nothing else must begin by it.
pub(super) fn inline_look(version: &Version, part: &Range<u64>, io: &mut dyn Io) -> Option<Look> {
    let look = version.look_at(part, io);
    match io.mount_kind(version.facts.mount) {
        MountKind::InMemory => Some(look),
        MountKind::NonBlocking => {
            let followed = version.is_followed(part, false, false, io);
            followed.unwrap_or(look == Look::Seen).then_some(look)
        }
        MountKind::Unproven | MountKind::Blocking | MountKind::Remote | MountKind::Foreign => None,
    }
}

/// How a thread of the kernel reads a part of which that is told.
fn by_thread(there: Option<bool>) -> Via {
    match there {
        Some(true) => Via::Edge,
        Some(false) => Via::Cold,
        None => Via::Disk,
    }
}

/// How a part is read through the page cache: [`Via::Memory`] where it has all of it, and nothing
/// begins when that is touched. This is remembered, unless the body passes.
pub(super) fn via_page_cache(
    version: &Version,
    part: Range<u64>,
    passes: bool,
    io: &mut dyn Io,
) -> Via {
    let kind = io.mount_kind(version.facts.mount);
    match kind {
        MountKind::InMemory => return Via::Memory,
        MountKind::Unproven | MountKind::Remote | MountKind::Foreign => return Via::Disk,
        MountKind::NonBlocking | MountKind::Blocking => {}
    }
    let known = || version.resident_until(part.start, io).is_some_and(|until| until >= part.end);
    if !passes && !version.is_access_due(io) && known() {
        return Via::Memory;
    }
    // An engine waits for what nobody tells of, and meets an error, which ends the body.
    let there = version.is_in_page_cache(part.clone(), kind.may_block(), io).ok().flatten();
    if there != Some(true) || !may_be_touched(version, &part, passes, io) {
        return by_thread(there);
    }
    if !passes {
        version.note_resident(part, io);
    }
    Via::Memory
}

/// Whether the page cache has all of a part. None where that is not to be asked, or cannot be told.
fn is_resident(version: &Version, part: Range<u64>, passes: bool, io: &mut dyn Io) -> Option<bool> {
    match via_page_cache(version, part, passes, io) {
        Via::Memory | Via::Edge => Some(true),
        Via::Cold => Some(false),
        Via::Disk | Via::Direct | Via::Unmapped => None,
    }
}

/// Whether the page cache has all of a span. None where that is not told, or the span is so long
/// that to ask costs more than it is worth. Where only reads tell, which take a call for each page,
/// it is asked of the begin alone.
pub fn is_known_resident(
    version: &Version,
    offset: u64,
    count: u64,
    io: &mut dyn Io,
) -> Option<bool> {
    let kind = io.mount_kind(version.facts.mount);
    let look = match kind {
        MountKind::InMemory => return Some(true),
        MountKind::Unproven | MountKind::Remote | MountKind::Foreign => return None,
        MountKind::NonBlocking => version.look_at(&(offset..offset + count), io),
        MountKind::Blocking => Look::Mapped,
    };
    if count > KNOWN_RESIDENT_BYTES_MAX {
        return None;
    }
    let by_reads = look == Look::Seen;
    let asked = if by_reads { count.min(u64::from(TURN_BYTES)) } else { count };
    let part = offset..offset + asked;
    if version.resident_until(offset, io).is_some_and(|until| until >= part.end) {
        return Some(true);
    }
    let there = version.ask_page_cache(part.clone(), look, io).ok().flatten();
    if there == Some(true) && may_be_touched(version, &part, false, io) {
        version.note_resident(part, io);
    }
    there
}

/// Whether the page cache has the begin of a span: its first window at least. None where that is
/// not to be asked, or cannot be told. What is there is remembered, so nobody asks again; but for a
/// body that `passes`, and is to leave nothing: others like it drop what is there.
pub fn begins_resident(
    version: &Version,
    offset: u64,
    count: u64,
    passes: bool,
    io: &mut dyn Io,
) -> Option<bool> {
    let end = offset + count.min(u64::from(TURN_BYTES));
    let first = ((offset / WARM_BYTES + 1) * WARM_BYTES).min(end);
    if !passes && version.resident_until(offset, io).is_some_and(|until| until >= first) {
        return Some(true);
    }
    match is_resident(version, offset..end, passes, io) {
        Some(false) if first < end => {
            // Where nobody tells any more, not all of it is there in any case.
            is_resident(version, offset..first, passes, io).or(Some(false))
        }
        told => told,
    }
}
