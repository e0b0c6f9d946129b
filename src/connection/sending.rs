//! The sending half of a connection: bytes by the ring, parts of files by engines, and the end.

use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::context::Context;
use super::machine::{Connection, Next, Turn, WAIT};
use super::notice;
use super::outbox::{Outbox, Span};
use super::phase::{Phase, Poll, Purpose};
use super::recording;
use super::stats::Farewell;
use crate::cache::Version;
use crate::engines::{self, Body, BodyError, Decline, Kind, Progress, Step};
use crate::http::refusal::Refusal;
use crate::limits::{LINGER, LINGER_BYTES_MAX};
use crate::ring::{Deadline, Gather, Op, Outgoing, Start, Wake};

impl Connection {
    /// Sends what is owed next, or turns to what comes after.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> Next {
        if let Some(next) = self.pauses(cx) {
            return next;
        }
        let Some((bytes, span, more)) = self.outbox.next() else { return self.all_sent(cx) };
        self.open_window(cx);
        self.set_send_deadline(cx);
        match (bytes, span) {
            (bytes, Some(mut span)) => {
                if passes(&span.version, cx) {
                    span.trail.keep();
                }
                let (part, rest) = self.part(span, cx);
                self.is_part = rest.is_some();
                if let Some(rest) = rest {
                    self.outbox.put_span_back(rest);
                }
                self.begin_body(bytes, part, more || self.is_part, cx)
            }
            (Some(bytes), None) => {
                let bytes = self.part_of_bytes(bytes, cx);
                let most = self.gathered_max(cx);
                let (parts, more) = self.outbox.gather(bytes, most);
                let lie_in = parts.pool();
                match cx.io.start(parts.send_to(self.socket.clone(), more)) {
                    Start::Submitted(_) => self.phase = Phase::Sending(lie_in),
                    Start::Busy(op) | Start::Blocked(op, _) => {
                        self.outbox.put_back(Gather::of_send(op));
                        self.phase = Phase::Starved;
                    }
                    other => unreachable!("a send belongs to the ring: {other:?}"),
                }
                if !more && self.farewell.is_none() && self.input.is_empty() {
                    self.poll_ahead(cx);
                }
                WAIT
            }
            (None, None) => unreachable!("a segment is bytes or a span"),
        }
    }

    /// Waits for the next request in the same entry into the kernel that sends this answer.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        if self.poll == Poll::No
            && let Start::Submitted(_) = cx.io.start(Op::Readable { socket: self.socket.clone() })
        {
            self.poll = Poll::Armed;
        }
    }

    /// Takes in the end of a send.
    pub(super) fn sent(
        &mut self,
        mut parts: Gather,
        result: Result<u32, Errno>,
        cx: &mut Context<'_>,
    ) -> Next {
        self.phase = Phase::Parsing;
        match result {
            Ok(count) => {
                parts.advance(count as usize);
                self.outbox.put_back(parts);
                self.took(u64::from(count), cx);
                self.send_rest(cx)
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                self.outbox.put_back(parts);
                self.send_rest(cx)
            }
            Err(_) => self.abort(Farewell::ClientAbort, cx),
        }
    }

    pub(super) fn send_rest(&mut self, cx: &mut Context<'_>) -> Next {
        if self.outbox.is_empty() { Next::Again } else { self.send(cx) }
    }

    pub(super) fn begin_body(
        &mut self,
        head: Option<Outgoing>,
        span: Span,
        more: bool,
        cx: &mut Context<'_>,
    ) -> Next {
        let kind = span.kind;
        let body = Body {
            socket: self.socket.clone(),
            head,
            version: Rc::clone(&span.version),
            offset: span.offset,
            count: span.count,
            more,
            tap: self.tap(cx),
            passes: passes(&span.version, cx),
            trail: span.trail.clone(),
            inline: cx.options.engine == Kind::Auto,
            blocks: cx.blocks.reader(cx.owner),
        };
        self.progress = Progress::default();
        self.span = Some(span);
        self.gives_way = false;
        self.has_head = body.head.is_some();
        if let Some(owed) = self.outbox.last() {
            owed.engine = kind.name();
        }
        self.phase = Phase::Body(engines::start(kind, body), kind);
        self.step_body(Wake::Begin, cx)
    }

    pub(super) fn step_body(&mut self, wake: Wake, cx: &mut Context<'_>) -> Next {
        let Phase::Body(engine, kind) = &mut self.phase else {
            unreachable!("the caller has seen the phase")
        };
        let kind = *kind;
        if cx.log.as_ref().is_some_and(|log| !log.takes_bodies()) {
            engine.untap();
        }
        let step = engine.step(wake, cx.io);
        self.pace.stands_in_line = step == Step::Yielded;
        let progress = engine.progress();
        // Before anything else goes into the pipe of the log.
        recording::mirrored(&mut self.outbox, progress.tapped - self.progress.tapped, cx);
        let moved = progress.head + progress.body - self.progress.head - self.progress.body;
        let stats = cx.engines.engine(kind);
        stats.bytes.add(progress.body - self.progress.body);
        stats.copied_bytes.add(progress.copied - self.progress.copied);
        stats.not_copied_bytes.add(progress.not_copied - self.progress.not_copied);
        self.progress = progress;
        if moved > 0 {
            // All of its bytes may be out, and they are no answer.
            let spoilt = matches!(step, Step::Failed(BodyError::Changed | BodyError::Truncated));
            self.take_note(moved, spoilt, cx);
            self.set_send_deadline(cx);
        }
        if self.gives_way && self.has_given_way(step) {
            return self.stand(cx);
        }
        match step {
            Step::Blocked => {
                self.outbox.uptake.blocked(cx.io.now(), self.outbox.taken());
                // What the client takes from now on is progress, see `stalls`.
                if self.unacknowledged.is_none() {
                    self.unacknowledged = self.ask_unacknowledged(cx);
                }
                WAIT
            }
            Step::Waiting => self.waits_for_disk(cx),
            Step::Yielded => Next::Rest(Turn::Yielded),
            Step::Finished => {
                stats.responses.add(u64::from(!self.is_part));
                self.outbox.uptake.finished(cx.io.now(), self.outbox.taken());
                self.phase = Phase::Parsing;
                self.send_rest(cx)
            }
            Step::Declined(why) => {
                stats.declined.add(1);
                cx.engines.declines(why).add(1);
                self.hand_on(kind, why, cx)
            }
            Step::Failed(error) => {
                stats.failed.add(1);
                self.phase = Phase::Parsing;
                match error {
                    // The kernel has all that was promised, and its length would tell nobody. What
                    // the client has not acknowledged shall not reach it.
                    BodyError::Truncated | BodyError::Changed if self.outbox.is_taken() => {
                        self.throw_out(Farewell::Truncated, cx)
                    }
                    BodyError::Truncated | BodyError::Changed => self.cut(Farewell::Truncated, cx),
                    BodyError::Read(_) => self.cut(Farewell::DiskError, cx),
                    BodyError::Send(_) => self.abort(Farewell::ClientAbort, cx),
                }
            }
        }
    }

    /// Gives a body that was declined to the next engine of the chain.
    pub(super) fn hand_on(&mut self, declined: Kind, why: Decline, cx: &mut Context<'_>) -> Next {
        let phase = std::mem::replace(&mut self.phase, Phase::Parsing);
        let Phase::Body(engine, _) = phase else { unreachable!("the caller has seen the phase") };
        let body = engine.give_back();
        let kind =
            engines::next_in_chain(declined, why).expect("only the last of a chain never declines");
        // What was sent of the head before the decline was counted; the rest starts anew.
        self.progress = Progress::default();
        if let Some(owed) = self.outbox.last() {
            owed.engine = kind.name();
        }
        self.phase = Phase::Body(engines::start(kind, body), kind);
        self.step_body(Wake::Begin, cx)
    }

    /// Counts bytes that the kernel took, and the answers that are done with them.
    pub(super) fn took(&mut self, count: u64, cx: &mut Context<'_>) {
        self.take_note(count, false, cx);
    }

    /// The same; the last answer is not done if it is `spoilt`.
    fn take_note(&mut self, count: u64, spoilt: bool, cx: &mut Context<'_>) {
        cx.stats.bytes.add(count);
        self.pays(count, cx);
        self.outbox.took(count, cx.io.now());
        while !(spoilt && self.outbox.is_at_last())
            && let Some(owed) = self.outbox.next_done()
        {
            let begun = owed.answer.begun;
            cx.stats.latency.record(cx.io.now().since(begun).as_nanos() as u64);
            // A refusal that ends the connection was the answer to what its farewell names. Any
            // other answer is whole, though what was asked behind it may have had to give way.
            let refused = owed.answer.status.is_error();
            let farewell = self.farewell.filter(|farewell| refused && !farewell.is_orderly());
            self.end_answer(owed, farewell.unwrap_or(Farewell::Complete), cx);
        }
    }

    /// Everything owed was taken by the kernel.
    pub(super) fn all_sent(&mut self, cx: &mut Context<'_>) -> Next {
        self.pace.rests();
        self.visitor.rests();
        match self.farewell {
            // While the server drains, too: this answer may have said that the connection stays.
            None if self.input.is_empty() => {
                self.phase = Phase::Awaiting(Purpose::Head);
                Next::Again
            }
            None => {
                self.phase = Phase::Parsing;
                Next::Again
            }
            Some(farewell) => {
                let unread = self.unread || self.input.may_have_more();
                let orderly = farewell.is_orderly() && !unread;
                if orderly { self.finish() } else { self.linger(cx) }
            }
        }
    }

    /// Shuts the sending side, and reads away what the client still sends for a while: a close
    /// with unread input would reset the connection and take the answer with it (RFC 9112
    /// section 9.6).
    pub(super) fn linger(&mut self, cx: &mut Context<'_>) -> Next {
        self.linger_for(LINGER, cx)
    }

    /// The same, for a time.
    pub(super) fn linger_for(&mut self, time: Duration, cx: &mut Context<'_>) -> Next {
        self.input.consume(self.input.bytes().len());
        self.phase = Phase::Awaiting(Purpose::Linger(LINGER_BYTES_MAX));
        let Start::Submitted(_) = cx.io.start(Op::Shutdown { socket: self.socket.clone() }) else {
            // The table of operations is full: a plain close is all that can be had.
            return self.finish();
        };
        cx.io.deadline(Some((Deadline::Linger, cx.io.now() + time)));
        Next::Again
    }

    /// An answer that cannot be completed: what the kernel took is still delivered, then the
    /// connection closes short of the promised length.
    pub(super) fn cut(&mut self, farewell: Farewell, cx: &mut Context<'_>) -> Next {
        self.give_up_answers(farewell, cx);
        self.outbox = Outbox::default();
        self.farewell = Some(farewell);
        self.linger(cx)
    }

    /// The disk did not deliver in time. Who was sent nothing yet is told so (RFC 9110 section
    /// 15.6.4); any other answer is cut. What the kernel still reads comes home later, to nobody.
    pub(super) fn give_up_the_disk(&mut self, why: Farewell, cx: &mut Context<'_>) -> Next {
        self.phase = Phase::Parsing;
        self.span = None;
        let Some(owed) = self.outbox.withdraw() else { return self.cut(why, cx) };
        let (refusal, begun) = (Refusal::StorageUnavailable, owed.answer.begun);
        // Only an answer to GET has a part of a file.
        let told = notice::refuse_at_once(refusal, b"GET ", begun, &mut self.outbox, cx);
        self.farewell = Some(why);
        match (told, self.outbox.last()) {
            (Ok(()), Some(refused)) => {
                (refused.asked, refused.client) = (owed.asked, owed.client);
                Next::Again
            }
            // It finds no room: the close tells alone.
            _ => {
                self.end_answer(owed, why, cx);
                self.linger(cx)
            }
        }
    }

    /// The client takes nothing: the kernel shall not keep it for it either.
    pub(super) fn throw_out(&mut self, farewell: Farewell, cx: &mut Context<'_>) -> Next {
        let reset = cx.io.start(Op::Reset { socket: self.socket.clone() });
        debug_assert!(matches!(reset, Start::Executed(_)), "a reset is inline");
        self.abort(farewell, cx)
    }

    /// The client is gone or is given up.
    pub(super) fn abort(&mut self, farewell: Farewell, cx: &mut Context<'_>) -> Next {
        self.give_up_answers(farewell, cx);
        Next::Rest(Turn::Finished(farewell))
    }
}

/// Whether the page cache is not to keep what is read of a file.
fn passes(version: &Version, cx: &Context<'_>) -> bool {
    cx.options.drop_from.is_some_and(|least| version.facts.size >= least)
}
