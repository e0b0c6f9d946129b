//! The connection as a step machine: wakes in, operations and a [`Turn`] out.

use rustix::io::Errno;

use super::answer::{self, Answered, Asking, Request};
use super::context::{Context, Door};
use super::input::Input;
use super::notice;
use super::outbox::{Outbox, Span};
use super::pace::Pace;
use super::phase::{Phase, Poll, Purpose};
use super::recording::note;
use super::stats::{Farewell, Stage, Stats};
use super::visitor::{Named, Visitor};
use crate::access_log::Log;
use crate::base::Instant;
use crate::engines::Progress;
use crate::http::body::{Discard, Framing, Progress as BodyProgress};
use crate::http::head::{self, Parsed};
use crate::http::refusal::Refusal;
use crate::ring::{Completion, Gather, Op, Scatter, Socket, Start, Wake};

/// What a step of a connection came to.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A wake comes.
    Waiting,
    /// It has more to do, and others shall go first.
    Yielded,
    /// It has ended; its owner may be retired.
    Finished(Farewell),
}

/// See the module.
#[derive(Debug)]
pub struct Connection {
    pub(super) socket: Socket,
    door: Door,
    pub(super) phase: Phase,
    pub(super) poll: Poll,
    pub(super) input: Input,
    pub(super) outbox: Outbox,
    pub(super) request: Request,
    /// Requests that were answered.
    pub(super) served: u64,
    /// How the connection ends when nothing is owed any more.
    pub(super) farewell: Option<Farewell>,
    /// What the engine had sent when it was last asked.
    pub(super) progress: Progress,
    /// What the client had not acknowledged when that was last asked, since bytes last moved.
    pub(super) unacknowledged: Option<u32>,
    /// Whether the client may still send, or have sent, what nobody reads.
    pub(super) unread: bool,
    /// Whether it is one too many.
    pub(super) turned_away: bool,
    /// Its number among those of the server, for the log.
    pub(super) number: u64,
    /// Answers that have ended.
    pub(super) recorded: u64,
    /// Who is at the other end.
    pub(super) visitor: Visitor,
    /// When bytes last came from it.
    pub(super) heard: Instant,
    /// How fast answers go.
    pub(super) pace: Pace,
    /// What the engine sends.
    pub(super) span: Option<Span>,
    /// Whether the engine was given what goes before it: that lies nowhere else.
    pub(super) has_head: bool,
    /// Whether more of that body follows in another part.
    pub(super) is_part: bool,
    /// Whether the engine is being taken what it holds.
    pub(super) gives_way: bool,
    /// The stage at which it is counted; none before its first step.
    stage: Option<Stage>,
}

/// How the machine goes on.
pub(super) enum Next {
    /// With another step of its own.
    Again,
    /// Not before a wake.
    Rest(Turn),
}

pub(super) const WAIT: Next = Next::Rest(Turn::Waiting);

impl Connection {
    /// A connection at its beginning; the first wake is `Begin`.
    pub fn new(socket: Socket, door: Door) -> Self {
        Self {
            socket,
            door,
            phase: Phase::Awaiting(Purpose::Head),
            poll: Poll::No,
            input: Input::default(),
            outbox: Outbox::default(),
            request: Request::default(),
            served: 0,
            farewell: None,
            progress: Progress::default(),
            unacknowledged: None,
            unread: false,
            turned_away: false,
            number: 0,
            recorded: 0,
            visitor: Visitor::default(),
            heard: Instant::default(),
            pace: Pace::default(),
            span: None,
            has_head: false,
            is_part: false,
            gives_way: false,
            stage: None,
        }
    }

    /// Gives it the number that its records bear.
    pub fn set_number(&mut self, number: u64) {
        self.number = number;
    }

    /// Makes it one beyond the limit: with its first step it is told so, and ends.
    pub fn turn_away(&mut self) {
        self.turned_away = true;
    }

    /// Goes on as far as it can.
    pub fn step(&mut self, wake: Wake, cx: &mut Context<'_>) -> Turn {
        let turn = self.go_on(wake, cx);
        let stage = Some(self.phase.stage(self.poll, self.input.is_empty()));
        if self.stage != stage {
            cx.stats.moves(self.stage, stage);
            self.stage = stage;
        }
        turn
    }

    /// By which listener it came.
    pub fn door(&self) -> Door {
        self.door
    }

    /// It is counted no more.
    pub fn leave(&mut self, stats: &Stats) {
        stats.moves(self.stage.take(), None);
    }

    fn go_on(&mut self, wake: Wake, cx: &mut Context<'_>) -> Turn {
        let mut next = self.take(wake, cx);
        loop {
            match next {
                Next::Rest(turn) => return turn,
                Next::Again => {}
            }
            next = match &self.phase {
                Phase::Awaiting(_) => self.await_input(cx),
                Phase::Parsing => self.parse(cx),
                Phase::Reading(_) | Phase::Resolving | Phase::Starved => WAIT,
                Phase::Sending(_) | Phase::Pausing | Phase::Standing => WAIT,
                Phase::Body(..) => self.step_body(Wake::Turn, cx),
            };
        }
    }

    fn take(&mut self, wake: Wake, cx: &mut Context<'_>) -> Next {
        match wake {
            Wake::Deadline(which) => return self.deadline(which, cx),
            Wake::Done(Completion { op: Some(Op::Readable { .. }), result, .. }) => {
                // An error shows when the bytes are read; one that was cancelled says nothing.
                let cancelled = result == Err(Errno::CANCELED);
                self.poll = if cancelled { Poll::No } else { Poll::Fired };
                return match self.phase {
                    Phase::Awaiting(_) => Next::Again,
                    _ => WAIT,
                };
            }
            Wake::Done(Completion { op: Some(Op::Shutdown { .. }), .. }) => return WAIT,
            // What a disk says that was given up: its buffer goes home.
            Wake::Done(Completion {
                op: Some(Op::Read { .. } | Op::Warm { .. } | Op::Stat { .. }),
                ..
            }) if !matches!(self.phase, Phase::Body(..)) => return WAIT,
            Wake::Done(Completion { op: Some(Op::ReadHead { parts, .. }), result, .. }) => {
                return self.took_in(parts, result, cx);
            }
            wake if matches!(self.phase, Phase::Body(..)) => return self.step_body(wake, cx),
            Wake::Done(Completion {
                op: Some(op @ (Op::Send { .. } | Op::SendMsg { .. })),
                result,
                ..
            }) => return self.sent(Gather::of_send(op), result, cx),
            Wake::Writable if matches!(self.phase, Phase::Standing) => {
                self.phase = Phase::Parsing;
                return self.send(cx);
            }
            Wake::Turn | Wake::Ready if matches!(self.phase, Phase::Standing) => {
                cx.io.wait_to_write(self.socket.clone());
                return WAIT;
            }
            Wake::Begin if !self.turned_away => {
                if !self.visitor.arrives(self.door, &self.socket, cx) {
                    // Without a word: telling so many would cost what the limit saves.
                    return Next::Rest(Turn::Finished(Farewell::AddressTooMany));
                }
            }
            Wake::Ready | Wake::Turn | Wake::Begin | Wake::Writable => {}
            Wake::Done(completion) => unreachable!("{completion:?} was not started here"),
        }
        match self.phase {
            // Ready, or a turn later: what was waited for may be there.
            Phase::Resolving | Phase::Starved => self.phase = Phase::Parsing,
            _ if std::mem::take(&mut self.turned_away) => {
                self.refuse_unasked(Refusal::ConnectionsTooMany, Farewell::TooMany, cx);
            }
            _ => {}
        }
        Next::Again
    }

    /// Waits for bytes, then has them read.
    fn await_input(&mut self, cx: &mut Context<'_>) -> Next {
        if !self.poll.has_fired() {
            self.set_input_deadline(cx);
            if self.poll == Poll::No {
                // A busy ring wakes the owner in the next turn, which comes here again.
                if let Start::Submitted(_) =
                    cx.io.start(Op::Readable { socket: self.socket.clone() })
                {
                    self.poll = Poll::Armed;
                }
            }
            return WAIT;
        }
        let Some(parts) = self.input.room(cx.io) else { return self.waits_for_room(cx) };
        match cx.io.start(Op::ReadHead { socket: self.socket.clone(), parts }) {
            Start::Submitted(_) => {
                self.finds_room(cx.io.now());
                let phase = std::mem::replace(&mut self.phase, Phase::Parsing);
                let Phase::Awaiting(purpose) = phase else {
                    unreachable!("only who waits for input comes here")
                };
                self.phase = Phase::Reading(purpose);
            }
            Start::Busy(Op::ReadHead { parts, .. })
            | Start::Blocked(Op::ReadHead { parts, .. }, _) => {
                self.input.put(parts, 0);
                return self.waits_for_room(cx);
            }
            other => unreachable!("a read belongs to the ring: {other:?}"),
        }
        WAIT
    }

    /// Takes in what the kernel has read.
    fn took_in(
        &mut self,
        parts: Scatter,
        result: Result<u32, Errno>,
        cx: &mut Context<'_>,
    ) -> Next {
        let phase = std::mem::replace(&mut self.phase, Phase::Parsing);
        let Phase::Reading(purpose) = phase else {
            unreachable!("a read completes in its phase only")
        };
        let was_empty = self.input.is_empty() && parts.filled == 0;
        let count = result.unwrap_or(0) as usize;
        self.input.put(parts, count);
        self.heard = cx.io.now();
        match (purpose, result) {
            (purpose, Err(Errno::AGAIN | Errno::INTR)) => {
                self.phase = Phase::Awaiting(purpose);
                Next::Again
            }
            (Purpose::Linger(_), Ok(0) | Err(_)) => self.finish(),
            (Purpose::Head, Ok(0)) if self.input.is_empty() => {
                Next::Rest(Turn::Finished(Farewell::Complete))
            }
            (_, Ok(0) | Err(_)) => Next::Rest(Turn::Finished(Farewell::ClientAbort)),
            (Purpose::Head, Ok(_)) => {
                if was_empty {
                    self.request = Request::begun_at(cx.io.now());
                }
                Next::Again
            }
            (Purpose::Body(discard), Ok(_)) => self.discard(discard, cx),
            (Purpose::Linger(left), Ok(_)) => {
                self.input.consume(self.input.bytes().len());
                match left.checked_sub(count as u64) {
                    Some(left) => {
                        self.phase = Phase::Awaiting(Purpose::Linger(left));
                        Next::Again
                    }
                    None => self.finish(),
                }
            }
        }
    }

    /// Looks at what was read, or sends what is owed.
    fn parse(&mut self, cx: &mut Context<'_>) -> Next {
        if self.farewell.is_some()
            || self.request.awaits_announced_body() && !self.outbox.is_empty()
            || self.input.is_empty()
            || !self.outbox.gathers(cx.options.bounds.pipeline_depth)
        {
            return self.send(cx);
        }
        if self.visitor.awaits_header {
            return self.take_proxy_header(cx);
        }
        let gathering = !self.outbox.is_empty();
        if self.waits_for_the_log(cx) {
            if gathering {
                return self.send(cx);
            }
            self.phase = Phase::Starved;
            self.set_send_deadline(cx);
            return WAIT;
        }
        if cx.log.is_some() {
            // One that resets the connection later could not be asked any more.
            self.visitor.peer(&self.socket, cx);
        }
        let mut named = Named::default();
        let Self { input, outbox, request, served, socket, visitor, .. } = self;
        let (answered, head_bytes, unread, goes_on) =
            match head::parse(input.bytes(), &cx.options.head) {
                Parsed::Partial if gathering => return self.send(cx),
                Parsed::Partial => {
                    self.phase = Phase::Awaiting(Purpose::Head);
                    return Next::Again;
                }
                Parsed::Refused(refusal) => {
                    let begun = request.begun;
                    let answered =
                        notice::refuse_unasked(refusal, input.bytes(), begun, outbox, cx)
                            .map_or_else(answer::answered, |()| Answered::Put { keep: false });
                    let noted = |log: &mut Log| log.note_unreadable(input.bytes());
                    note(&answered, outbox, cx, noted);
                    (answered, 0, true, true)
                }
                Parsed::Complete(head) => {
                    let answered = if request.awaits_announced_body() {
                        Answered::ReadBody(head.framing)
                    } else {
                        named = visitor.named_by(&head, socket, cx);
                        let asking = Asking { socket, visitor, named };
                        answer::answer(&head, request, *served, asking, outbox, cx)
                    };
                    note(&answered, outbox, cx, |log| log.note(&head));
                    let unread = head.framing != Framing::None && !request.body_read;
                    (answered, head.bytes, unread, head.keep_alive)
                }
            };
        match answered {
            Answered::Put { keep } => {
                if let Some(owed) = self.outbox.last() {
                    owed.client = named.client;
                }
                self.input.consume(head_bytes);
                self.served += 1;
                self.unread |= unread;
                cx.stats.requests.add(u64::from(head_bytes > 0));
                cx.stats.pipelined.add(u64::from(self.request.behind_another));
                self.request = Request::begun_at(cx.io.now());
                self.request.behind_another = !self.input.is_empty();
                if !keep {
                    let most = cx.options.requests_max;
                    let spent = most > 0 && self.served >= most;
                    let why = if spent { Farewell::RequestsMax } else { Farewell::Closed };
                    self.farewell = Some(why);
                    // Who has not asked for the end may have sent more before it hears of it.
                    self.unread |= goes_on;
                }
            }
            Answered::ReadBody(_) if gathering => return self.send(cx),
            Answered::ReadBody(framing) => {
                self.request.begins_body(cx.io.now());
                return self.discard(Discard::new(framing), cx);
            }
            Answered::Continue | Answered::SendFirst => return self.send(cx),
            Answered::Waiting(_) if gathering => {
                // What is owed need not wait for the disk; the request is looked at again after.
                return self.send(cx);
            }
            Answered::Waiting(mount) => return self.resolves(mount, cx),
            Answered::NoBuffer => return self.waits_in(Phase::Starved, cx),
        }
        Next::Again
    }

    pub(super) fn waits_in(&mut self, phase: Phase, cx: &mut Context<'_>) -> Next {
        self.phase = phase;
        self.set_send_deadline(cx);
        WAIT
    }

    /// Reads the body of a request away. It lies behind the head, which stays for the answer.
    fn discard(&mut self, mut discard: Discard, cx: &mut Context<'_>) -> Next {
        let Parsed::Complete(head) = head::parse(self.input.bytes(), &cx.options.head) else {
            unreachable!("the head was whole before and is the same")
        };
        let head_bytes = head.bytes;
        let fed = discard.feed(&self.input.bytes()[head_bytes..]);
        self.input.cut(head_bytes, fed.consumed);
        match fed.state {
            BodyProgress::More => {
                self.phase = Phase::Awaiting(Purpose::Body(discard));
            }
            BodyProgress::Done => {
                self.request.body_read = true;
                self.phase = Phase::Parsing;
            }
            BodyProgress::Refused(refusal) => {
                self.refuse_unasked(refusal, Farewell::Closed, cx);
            }
        }
        Next::Again
    }

    pub(super) fn finish(&mut self) -> Next {
        Next::Rest(Turn::Finished(self.farewell.unwrap_or(Farewell::Complete)))
    }

    /// Owes the client a refusal that answers no request, and the end of the connection.
    pub(super) fn refuse_unasked(
        &mut self,
        refusal: Refusal,
        farewell: Farewell,
        cx: &mut Context<'_>,
    ) {
        self.farewell = Some(farewell);
        self.phase = Phase::Parsing;
        let (asked, now) = (self.input.bytes(), cx.io.now());
        // Behind bytes that are still to be sent there may be no room: then the close tells alone.
        let _ = notice::refuse_at_once(refusal, asked, now, &mut self.outbox, cx);
    }
}
