//! Giving way: what a connection holds for a client that does nothing, when others need it.
//!
//! A head that stays half, a request that waits behind an answer nobody takes, and blocks of a body
//! on their way to a full socket hold buffers and pipes of which there are few. The worker asks for
//! them back when somebody waits for one, the longest idle first:
//!
//! ```text
//! a half head, half a body to be read away   the connection ends
//! a request or a body that the disk holds up 503, and the connection ends
//! requests behind an answer on its way       they are dropped; it ends with that answer
//! a part of a file on its way                it is read again when the socket has room
//! bytes that are nowhere else on their way   the connection ends, later than the others, and if
//!                                            its client has acknowledged nothing between two looks
//! ```
//!
//! Only who holds something of the kind is asked. What is shared or kept elsewhere, as a listing or
//! a body of the hot cache, is held by nobody who sends it.

use rustix::io::Errno;

use super::context::Context;
use super::machine::{Connection, Next, Turn, WAIT};
use super::pace::time_for;
use super::phase::{Phase, Purpose};
use super::stats::Farewell;
use crate::base::Instant;
use crate::engines::{BodyError, Step};
use crate::http::refusal::Refusal;
use crate::limits::{GIVE_WAY_AFTER, GIVE_WAY_FOR_GOOD_AFTER, GIVE_WAY_HALF_AFTER, HEAD_RATE};
use crate::ring::{Pool, Scarce};

/// How a connection gave way.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Not at all: its client is not the one who is waited for, or may be taking what lies ready.
    Nothing,
    /// It holds nothing of it any more.
    Done,
    /// What the kernel has of it is to be cancelled: then it does.
    Cancel,
    /// It holds nothing of it any more, and goes on with its next step.
    GoesOn,
    /// It ends.
    Ends(Farewell),
}

impl Connection {
    /// Since when it holds something of the kind for a client that does nothing; none if it does
    /// not, or not for long enough.
    ///
    /// A head that comes more slowly than `head_rate` does nothing, however often a byte of it
    /// comes; 0 stands for the usual rate.
    pub fn idles_with(&self, scarce: Scarce, head_rate: u64, now: Instant) -> Option<Instant> {
        match scarce {
            Scarce::Buffer(pool @ (Pool::Head | Pool::LargeHead)) => {
                self.idles_with_input(pool, head_rate, now)
            }
            scarce => self.idles_with_output(scarce, now),
        }
    }

    fn idles_with_input(&self, pool: Pool, head_rate: u64, now: Instant) -> Option<Instant> {
        if self.input.holds()? != pool {
            return None;
        }
        let silent = now.since(self.heard) >= GIVE_WAY_AFTER;
        let patience =
            match &self.phase {
                // It waits for another buffer, and its client for us.
                Phase::Awaiting(_) if self.poll.is_starved() => return None,
                // It waits for the disk, and its client for us.
                Phase::Resolving => GIVE_WAY_FOR_GOOD_AFTER,
                Phase::Awaiting(Purpose::Head) if self.trickles(head_rate, now) => GIVE_WAY_AFTER,
                Phase::Awaiting(Purpose::Head | Purpose::Body(_)) => {
                    if silent {
                        GIVE_WAY_AFTER
                    } else {
                        GIVE_WAY_HALF_AFTER
                    }
                }
                Phase::Sending(_) | Phase::Body(..) | Phase::Pausing | Phase::Standing => {
                    if silent { GIVE_WAY_AFTER } else { GIVE_WAY_FOR_GOOD_AFTER }
                }
                Phase::Awaiting(Purpose::Linger(_))
                | Phase::Reading(_)
                | Phase::Parsing
                | Phase::Starved => return None,
            };
        let since = self.head_begun();
        (now.since(since) >= patience).then_some(since)
    }

    fn idles_with_output(&self, scarce: Scarce, now: Instant) -> Option<Instant> {
        let for_good = match &self.phase {
            Phase::Sending(lie_in) if lie_in.map(Scarce::Buffer) == Some(scarce) => true,
            // What goes before the body lies nowhere else.
            Phase::Body(engine, _) if engine.holds(scarce) => !self.can_begin_anew(),
            _ => return None,
        };
        let since = self.pace.idle_since();
        let (from, patience) = match self.pace.looked_at() {
            // The first look ends nothing.
            None => (since, GIVE_WAY_AFTER),
            Some(at) if for_good => (at, GIVE_WAY_FOR_GOOD_AFTER),
            Some(at) => (at, GIVE_WAY_AFTER),
        };
        (now.since(from) >= patience).then_some(since)
    }

    /// Gives way. Only for who idles with something of the kind.
    pub fn gives_way(&mut self, scarce: Scarce, cx: &mut Context<'_>) -> Given {
        if let Scarce::Buffer(Pool::Head | Pool::LargeHead) = scarce {
            if matches!(self.phase, Phase::Awaiting(_)) {
                return Given::Ends(Farewell::Crowded);
            }
            if matches!(self.phase, Phase::Resolving) {
                self.gives_up_resolving(cx);
                return Given::GoesOn;
            }
            self.gives_up_input();
            return Given::Done;
        }
        let queued = self.ask_unacknowledged(cx).unwrap_or(0);
        let looked_before = self.pace.looked_at().is_some();
        let takes_nothing = self.pace.looks(queued, cx.io.now());
        match &self.phase {
            // Its disk has been waited for all this time, with the head in a buffer.
            Phase::Body(..) if queued == 0 && looked_before && self.waits_with_head(scarce) => {
                match self.give_up_the_disk(Farewell::Crowded, cx) {
                    Next::Again => Given::GoesOn,
                    Next::Rest(Turn::Finished(farewell)) => Given::Ends(farewell),
                    Next::Rest(_) => Given::Done,
                }
            }
            // If nothing lies ready for the client it is not the one who is waited for.
            _ if queued == 0 => Given::Nothing,
            Phase::Body(engine, _) if self.can_begin_anew() => {
                if engine.in_flight() > 0 {
                    self.gives_way = true;
                    return Given::Cancel;
                }
                let _ = self.stand(cx);
                Given::Done
            }
            _ if takes_nothing => {
                let _ = self.throw_out(Farewell::Crowded, cx);
                Given::Ends(Farewell::Crowded)
            }
            _ => Given::Nothing,
        }
    }

    /// Its request is refused. What the disk says later finds nobody.
    pub(super) fn gives_up_resolving(&mut self, cx: &mut Context<'_>) {
        self.refuse_unasked(Refusal::StorageUnavailable, Farewell::Crowded, cx);
        self.input.consume(self.input.bytes().len());
        self.unread = true;
    }

    /// What was asked behind this answer may be asked again (RFC 9112 section 9.3.1).
    pub(super) fn gives_up_input(&mut self) {
        self.input.consume(self.input.bytes().len());
        self.unread = true;
        self.farewell = self.farewell.or(Some(Farewell::Crowded));
    }

    /// Whether the head that is waited for comes more slowly than it may.
    fn trickles(&self, head_rate: u64, now: Instant) -> bool {
        let rate = if head_rate > 0 { head_rate } else { HEAD_RATE };
        now.since(self.head_begun()) > time_for(self.input.bytes().len() as u64, rate)
    }

    /// Whether nothing of an answer was sent, and its head lies in a buffer of the kind.
    fn waits_with_head(&self, scarce: Scarce) -> bool {
        let untouched = self.progress.head == 0 && self.progress.body == 0;
        scarce == Scarce::Buffer(Pool::Answer) && self.has_head && untouched
    }

    /// Whether what an engine was given and has not sent can be had again.
    fn can_begin_anew(&self) -> bool {
        self.progress.body > 0 || !self.has_head
    }

    /// Whether an engine that was to give way holds nothing any more, and has not ended otherwise.
    pub(super) fn has_given_way(&mut self, step: Step) -> bool {
        let Phase::Body(engine, _) = &self.phase else { return false };
        // What has failed has nothing in flight, but for what was warmed for a client that is gone.
        let free = engine.in_flight() == 0 || matches!(step, Step::Failed(_));
        let over = match step {
            // What is cancelled may end as interrupted, too (io_uring_enter(2)).
            Step::Failed(BodyError::Send(errno) | BodyError::Read(errno)) => {
                !matches!(errno, Errno::CANCELED | Errno::INTR)
            }
            Step::Finished
            | Step::Declined(_)
            | Step::Failed(BodyError::Truncated | BodyError::Changed) => true,
            Step::Waiting | Step::Blocked | Step::Yielded => false,
        };
        self.gives_way &= !over && !free;
        free && !over
    }

    /// Lets go of the engine and waits for the socket, holding nothing. What is left of the body
    /// is begun anew then.
    pub(super) fn stand(&mut self, cx: &mut Context<'_>) -> Next {
        self.gives_way = false;
        let span = self.span.take().expect("an engine sends a span");
        let sent = self.progress.body;
        assert!(sent < span.count, "a body that was sent whole has ended");
        let rest = match sent {
            0 => span,
            sent => span.behind(sent),
        };
        self.outbox.put_span_back(rest);
        self.phase = Phase::Standing;
        cx.stats.given_way.add(1);
        cx.io.wait_to_write(self.socket.clone());
        WAIT
    }
}
