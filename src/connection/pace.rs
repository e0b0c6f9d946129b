//! How fast an answer goes: no slower than a client may take it, no faster than it may have it.
//!
//! Two clocks run while an answer is owed. It must make progress within the time for that, and
//! within each window the client must have taken what the least rate asks for, or all that lay
//! ready for it at the window's beginning: a slow disk is never laid to the client's charge.
//!
//! A limit of bandwidth is kept by waiting: each byte that the kernel took moves the time at which
//! the next part may be sent. Spans of files, listings and bodies in memory are cut into parts for
//! that.

use std::time::Duration;

use super::context::Context;
use super::machine::{Connection, Next, WAIT};
use super::outbox::Span;
use super::phase::Phase;
use super::stats::Farewell;
use crate::base::Instant;
use crate::limits::{
    GATHERED_BYTES_MAX, PAUSE_MAX, RATE_CREDIT, RATE_PART_BYTES_MIN, RATE_PARTS_PER_SECOND,
    SEND_RATE_WINDOW,
};
use crate::ring::{Deadline, Op, Outgoing, Start};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the answer made progress, and until when it must have made more.
    progress_at: Instant,
    progress_until: Instant,
    /// Whether its body stands in the worker's line, and has not come to its turn since.
    pub(super) stands_in_line: bool,
    /// The last look at its client, since bytes last moved.
    look: Option<Look>,
    window: Option<Window>,
    /// When the next part may be sent.
    free_at: Instant,
}

/// What a client had not acknowledged, and when.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    queued: u32,
}

/// A time in which a client must take so much.
#[derive(Clone, Copy, Debug)]
struct Window {
    until: Instant,
    /// What it had taken of all at the beginning, and what lay ready for it; none in the first
    /// window, so that most answers cost no question to the kernel.
    before: Option<(u64, u64)>,
}

impl Pace {
    /// Nothing is owed: what comes next begins anew.
    pub(super) fn rests(&mut self) {
        self.window = None;
    }

    /// When bytes last moved. A client that takes some steadily shows nothing of it until a third
    /// of its socket is free: then looks tell.
    pub(super) fn idle_since(&self) -> Instant {
        self.progress_at
    }

    /// When its client was last looked at, since bytes last moved.
    pub(super) fn looked_at(&self) -> Option<Instant> {
        self.look.map(|look| look.at)
    }

    /// Looks at the client, which has not acknowledged so much. Whether it has taken nothing of
    /// what lay ready for it at the look before.
    pub(super) fn looks(&mut self, queued: u32, now: Instant) -> bool {
        let before = self.look.replace(Look { at: now, queued });
        before.is_some_and(|before| before.queued > 0 && queued >= before.queued)
    }

    /// When this has to be looked at again.
    fn next(&self) -> Instant {
        self.window.map_or(self.progress_until, |window| window.until.min(self.progress_until))
    }
}

/// The time that a client has for the bytes of a rate.
pub(super) fn time_for(count: u64, rate: u64) -> Duration {
    Duration::from_nanos(
        u64::try_from(u128::from(count) * 1_000_000_000 / u128::from(rate)).unwrap_or(u64::MAX),
    )
}

impl Connection {
    /// From now on the answer must make progress.
    pub(super) fn set_send_deadline(&mut self, cx: &mut Context<'_>) {
        self.unacknowledged = None;
        self.pace.look = None;
        self.pace.progress_at = cx.io.now();
        self.pace.progress_until = cx.io.now() + cx.options.send_timeout;
        cx.io.deadline(Some((Deadline::Send, self.pace.next())));
    }

    /// From now on its client must take it at the least rate.
    pub(super) fn open_window(&mut self, cx: &mut Context<'_>) {
        if cx.options.bounds.send_rate > 0 && self.pace.window.is_none() {
            let until = cx.io.now() + SEND_RATE_WINDOW;
            self.pace.window = Some(Window { until, before: None });
        }
    }

    /// One of the clocks of an answer has run out: says how the connection ends, if it does.
    pub(super) fn looks_at_pace(&mut self, cx: &mut Context<'_>) -> Option<Farewell> {
        if self.is_too_slow(cx) {
            return Some(Farewell::SendSlow);
        }
        if cx.io.now() < self.pace.progress_until {
            cx.io.deadline(Some((Deadline::Send, self.pace.next())));
            return None;
        }
        // Who waits for a buffer is not asked: nothing is owed to it that it could take.
        match self.phase {
            Phase::Starved => Some(Farewell::SendTimeout),
            _ => self.stalls(cx),
        }
    }

    fn is_too_slow(&mut self, cx: &mut Context<'_>) -> bool {
        let now = cx.io.now();
        let Some(window) = self.pace.window.filter(|window| window.until <= now) else {
            return false;
        };
        let queued = self.ask_unacknowledged(cx).map_or(0, u64::from);
        let taken = self.outbox.taken().saturating_sub(queued);
        let seconds = SEND_RATE_WINDOW.as_secs();
        let slow = window.before.is_some_and(|(taken_before, queued_before)| {
            let least = (cx.options.bounds.send_rate * seconds).min(queued_before);
            taken.saturating_sub(taken_before) < least
        });
        let until = now + SEND_RATE_WINDOW;
        self.pace.window = Some(Window { until, before: Some((taken, queued)) });
        slow
    }

    /// Whether the client has taken nothing for the time that an answer may stay without
    /// progress. The socket of a slow client takes no bytes until a third of its buffer is free,
    /// which may be more than a megabyte: so the client's acknowledgements are progress too.
    /// Where none was asked for before, this is the first time and it gets another. A client that
    /// has taken all there was, and whose engine has nothing to send, is not the one that is
    /// waited for. Who stands in line waits for other downloads: neither client nor disk is slow.
    fn stalls(&mut self, cx: &mut Context<'_>) -> Option<Farewell> {
        if self.pace.stands_in_line && matches!(self.phase, Phase::Body(..)) {
            self.set_send_deadline(cx);
            return None;
        }
        let Some(now) = self.ask_unacknowledged(cx) else { return Some(Farewell::SendTimeout) };
        let idles = matches!(&self.phase, Phase::Body(engine, _) if !engine.is_sending());
        let before = self.unacknowledged;
        if idles && now == 0 && before.is_none_or(|before| before == 0) {
            return Some(Farewell::DiskTimeout);
        }
        if before.is_some_and(|before| now >= before) {
            return Some(Farewell::SendTimeout);
        }
        self.set_send_deadline(cx);
        self.unacknowledged = Some(now);
        None
    }

    pub(super) fn ask_unacknowledged(&self, cx: &mut Context<'_>) -> Option<u32> {
        match cx.io.start(Op::Unacknowledged { socket: self.socket.clone() }) {
            Start::Executed(completion) => completion.result.ok(),
            Start::Submitted(_) | Start::Blocked(..) | Start::Busy(_) => None,
        }
    }

    /// Bytes a second that the answer being sent may have; none is no limit.
    fn rate(&self, cx: &Context<'_>) -> Option<u64> {
        let rates = [cx.options.bounds.rate_limit, self.outbox.rate()];
        rates.into_iter().filter(|rate| *rate > 0).min()
    }

    /// Waits until the next part may be sent, if that is not now.
    pub(super) fn pauses(&mut self, cx: &mut Context<'_>) -> Option<Next> {
        let free_at = self.pace.free_at;
        if self.outbox.is_empty() || free_at <= cx.io.now() || self.rate(cx).is_none() {
            return None;
        }
        self.phase = Phase::Pausing;
        cx.stats.pauses.add(1);
        let look = free_at.min(cx.io.now() + PAUSE_MAX);
        cx.io.deadline(Some((Deadline::Pace, look)));
        Some(WAIT)
    }

    /// How many bytes may be sent at once; none is no limit.
    fn part_bytes(&self, cx: &Context<'_>) -> Option<u64> {
        let rate = self.rate(cx)?;
        Some((rate / RATE_PARTS_PER_SECOND).max(RATE_PART_BYTES_MIN))
    }

    /// How many bytes in memory may leave in one send.
    pub(super) fn gathered_max(&self, cx: &Context<'_>) -> usize {
        self.part_bytes(cx).map_or(GATHERED_BYTES_MAX, |bytes| {
            GATHERED_BYTES_MAX.min(usize::try_from(bytes).unwrap_or(usize::MAX))
        })
    }

    /// Cuts bytes in memory to what may be sent at once, and puts the rest back. What lies in a
    /// buffer goes whole: it is little, and others shall have the buffer meanwhile.
    pub(super) fn part_of_bytes(&mut self, mut bytes: Outgoing, cx: &Context<'_>) -> Outgoing {
        let most = self.part_bytes(cx).and_then(|most| usize::try_from(most).ok());
        let Some(most) = most.filter(|most| *most < bytes.len()) else { return bytes };
        let Some(part) = bytes.cut(most) else { return bytes };
        self.outbox.put_back(bytes.into());
        part
    }

    /// The part of a span that may be sent at once, and the rest of it.
    pub(super) fn part(&self, mut span: Span, cx: &Context<'_>) -> (Span, Option<Span>) {
        let Some(bytes) = self.part_bytes(cx) else { return (span, None) };
        if span.count <= bytes {
            return (span, None);
        }
        let rest = span.behind(bytes);
        span.count = bytes;
        (span, Some(rest))
    }

    /// Takes note of what was sent. Called before it counts as taken, so that it is laid to the
    /// answer that it is of.
    pub(super) fn pays(&mut self, count: u64, cx: &Context<'_>) {
        if let Some(rate) = self.rate(cx) {
            // A timer that came late is made up for.
            let now = Instant::from_nanoseconds(
                cx.io.now().nanoseconds().saturating_sub(RATE_CREDIT.as_nanos() as u64),
            );
            self.pace.free_at = self.pace.free_at.max(now) + time_for(count, rate);
        }
    }
}
