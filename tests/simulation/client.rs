//! Clients of the simulated worker, some with bad manners.

use std::time::Duration;

use pitcrew::base::Instant;
use pitcrew::ring::simulated::{Client, End, ListenerId, Random, World};

use super::answers::{Reading, Tolerance};
use super::requests::{Content, Request, for_figures, request};

/// Bytes that need not be printed.
#[derive(Default)]
struct Wire(Vec<u8>);

impl std::fmt::Debug for Wire {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

/// How long a client does nothing when there is nothing to do.
const IDLE: Duration = Duration::from_millis(5);

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// When it has all answers.
    Satisfied,
    /// It ends its side with its last request, and reads on.
    HalfClosed,
    /// It waits for the server to close.
    Waits,
    /// It resets the connection when it likes to.
    Resets,
    /// It closes with answers under way.
    Closes,
    /// It does nothing more, for ever.
    Stalls,
}

/// A client and what it has read.
#[derive(Debug)]
pub(crate) struct Visitor {
    plan: Plan,
    listener: ListenerId,
    connection: Option<Client>,
    /// Requests of which all bytes were written.
    asked: usize,
    /// Bytes written of the next one.
    written: usize,
    wire: Wire,
    /// How often the wall clock had shown another second when it connected.
    clock: usize,
    pub(crate) reading: Reading,
    next_act: Instant,
    pub(crate) done: bool,
    /// Whether it left before the server could answer all.
    left: bool,
    /// Whether the server has begun to drain before all was asked.
    drained: bool,
}

#[derive(Debug)]
struct Plan {
    requests: Vec<Request>,
    pipelines: bool,
    piece: usize,
    /// Bytes that it reads at once, and how often.
    bite: usize,
    pause: Duration,
    leaving: Leaving,
    leaves_at: Instant,
    buffers: (usize, usize),
}

impl Visitor {
    /// One that comes to the site, or to the listener for telemetry if there is one.
    pub(crate) fn new(
        random: &mut Random,
        now: Instant,
        behaves: bool,
        (site, for_telemetry): (ListenerId, Option<ListenerId>),
    ) -> Self {
        let for_telemetry = for_telemetry.filter(|_| random.chance(300));
        let ask = if for_telemetry.is_some() { for_figures } else { request };
        let mut requests: Vec<_> = (0..1 + random.below(4)).map(|_| ask(random)).collect();
        // Whatever follows an answer that ends the connection is not answered.
        if let Some(last) = requests.iter().position(|request| request.last) {
            requests.truncate(last + 1);
        }
        let manners = [Leaving::Satisfied, Leaving::HalfClosed, Leaving::Waits];
        let bad = !behaves && random.chance(300);
        let leaving = if bad {
            *random.pick(&[Leaving::Resets, Leaving::Closes, Leaving::Stalls])
        } else {
            *random.pick(&manners)
        };
        let soon = |random: &mut Random, milliseconds: u64| {
            now + Duration::from_micros(random.below(milliseconds * 1000))
        };
        let plan = Plan {
            requests,
            pipelines: random.chance(400),
            piece: *random.pick(&[1, 17, 300, 100_000, 100_000]),
            bite: *random.pick(&[700, 5_000, 1 << 20, 1 << 20]),
            pause: Duration::from_micros(200 + random.below(3_000)),
            leaving,
            leaves_at: soon(random, 300),
            buffers: (
                *random.pick(&[1000, 4096, 65_536]),
                *random.pick(&[2_000, 20_000, 100_000, 1_000_000]),
            ),
        };
        let begins = soon(random, 50);
        Self {
            plan,
            listener: for_telemetry.unwrap_or(site),
            connection: None,
            asked: 0,
            written: 0,
            wire: Wire::default(),
            clock: 0,
            reading: Reading::default(),
            next_act: begins,
            done: false,
            left: false,
            drained: false,
        }
    }

    /// It comes now, if it was to come later.
    pub(crate) fn hurries(&mut self, now: Instant) {
        if self.connection.is_none() {
            self.next_act = self.next_act.min(now);
        }
    }

    /// Whether it comes to this listener.
    pub(crate) fn comes_to(&self, listener: ListenerId) -> bool {
        self.listener == listener
    }

    /// Whether it has connected.
    pub(crate) fn has_come(&self) -> bool {
        self.connection.is_some()
    }

    /// The server begins to drain: whoever is not there yet stays away.
    pub(crate) fn hears_of_the_end(&mut self) {
        self.drained = !self.done;
        self.done |= !self.has_come();
    }

    /// When it acts next of itself; none when it waits for the server.
    pub(crate) fn next_act(&self) -> Option<Instant> {
        let waits = self.connection.as_ref().is_some_and(|client| {
            let leaves = matches!(self.plan.leaving, Leaving::Resets | Leaving::Closes);
            client.available() == 0 && !self.may_write() && !leaves && client.end() == End::Open
        });
        (!self.done && !waits).then_some(self.next_act)
    }

    fn may_write(&self) -> bool {
        let wants = self.asked < self.plan.requests.len() && !self.reading.closed;
        wants && (self.plan.pipelines || self.written > 0 || self.asked <= self.reading.answers)
    }

    /// Does what it does now.
    pub(crate) fn act(&mut self, world: &World, site: &[Content], tolerance: Tolerance) {
        let now = world.now();
        if self.done || now < self.next_act {
            return;
        }
        let (inbound, outbound) = self.plan.buffers;
        if self.connection.is_none() {
            // The last second is shown till there is another.
            self.clock = world.seconds_told(0).len().saturating_sub(1);
        }
        let client = self
            .connection
            .get_or_insert_with(|| world.connect(self.listener, inbound, outbound))
            .clone();
        self.next_act = now + self.plan.pause;
        if now >= self.plan.leaves_at {
            match self.plan.leaving {
                Leaving::Resets => client.reset(),
                Leaving::Closes => client.close(),
                Leaving::Stalls => self.left = true,
                _ => {}
            }
            if matches!(self.plan.leaving, Leaving::Resets | Leaving::Closes) {
                self.left = true;
                self.done = true;
                return;
            }
        }
        if self.left {
            // Stalled: it notices only that the server has closed.
            self.done = client.end() != End::Open || client.is_closed_by_server();
            self.next_act = now + Duration::from_millis(100);
            return;
        }
        let wrote = self.write(&client);
        let bytes = client.read(self.plan.bite);
        if !wrote && bytes.is_empty() {
            // The server is busy or keeps it waiting: looking again all the time tells nothing.
            self.next_act = now + IDLE.max(self.plan.pause);
        }
        if !bytes.is_empty() {
            self.wire.0.extend(bytes);
            self.read_on(world, site, tolerance, false);
        }
        self.leave_if_satisfied(&client);
        if client.end() != End::Open {
            self.done = true;
        }
    }

    fn read_on(&mut self, world: &World, site: &[Content], tolerance: Tolerance, is_end: bool) {
        let told = world.seconds_told(self.clock);
        let wire = (&self.wire.0[..], &told[..]);
        self.reading.advance(wire, &self.plan.requests, site, tolerance, is_end);
    }

    /// Writes what it may; says whether there was room for anything.
    fn write(&mut self, client: &Client) -> bool {
        let mut wrote = false;
        while self.may_write() {
            let whole = &self.plan.requests[self.asked].bytes;
            let bytes = &whole[self.written..];
            // In small pieces, but not for ever.
            let piece = self.plan.piece.max(whole.len() / 100);
            let piece = &bytes[..bytes.len().min(piece)];
            let took = client.write(piece);
            self.written += took;
            wrote |= took > 0;
            if self.written == self.plan.requests[self.asked].bytes.len() {
                self.asked += 1;
                self.written = 0;
                if self.asked == self.plan.requests.len()
                    && self.plan.leaving == Leaving::HalfClosed
                {
                    client.shut();
                }
            }
            if took < piece.len() || self.plan.piece < 1000 {
                break;
            }
        }
        wrote
    }

    fn leave_if_satisfied(&mut self, client: &Client) {
        let satisfied = self.reading.answers >= self.plan.requests.len();
        let ends =
            matches!(self.plan.leaving, Leaving::Satisfied | Leaving::Resets | Leaving::Closes);
        if satisfied && ends {
            client.close();
            self.done = true;
        }
    }

    /// When all is over: what was read is right, and all of it was read if nothing hindered it.
    pub(crate) fn check(&mut self, world: &World, site: &[Content], tolerance: Tolerance) {
        self.read_on(world, site, tolerance, true);
        let misbehaved = Tolerance { refusals: tolerance.refusals || self.left, ..tolerance };
        self.reading.end(&self.wire.0, misbehaved);
        if !misbehaved.refusals && self.has_come() {
            let wanted = self.plan.requests.len();
            // Who has been answered may be closed at the end; who has not must not.
            let answered = self.drained && self.reading.answers > 0;
            assert!(
                self.reading.answers == wanted || self.reading.closed || answered,
                "{} answers to {wanted} requests: {self:?}",
                self.reading.answers
            );
        }
    }
}
