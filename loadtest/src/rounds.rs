//! Rounds of all servers in turn, forwards and backwards, so that whatever drifts meets all alike.

use std::io::{self, Error, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::Value;

use crate::background::{Carried, Crowd};
use crate::extra::{self, Entrant, Extra};
use crate::figures::{self, Figures, PerRequest};
use crate::generator::{self, Idlers, Load, Task};
use crate::http::Client;
use crate::machine;
use crate::process::Used;
use crate::scenario::{Scenario, Sizes};
use crate::servers::{Contestant, Ground, Server};
use crate::site::Site;

/// How much is measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Extent {
    /// Rounds that count.
    pub(crate) rounds: u32,
    /// Seconds of a round with wrk.
    pub(crate) seconds: u64,
}

/// One server with all its rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Lane {
    /// Its name in the report.
    pub(crate) name: String,
    /// Whether it is the first one again, for the noise.
    pub(crate) control: bool,
    /// What it does beside serving.
    pub(crate) extra: Option<Extra>,
    /// Whether it is a peer, not pitcrew.
    pub(crate) peer: bool,
    /// How it was started.
    pub(crate) configuration: String,
    /// Bytes of memory that it occupied when it had just started.
    pub(crate) started_bytes: u64,
    /// Bytes of the head of its answers.
    pub(crate) head_bytes: usize,
    /// What was measured.
    pub(crate) rounds: Vec<Round>,
    /// All that pitcrew tells of itself at the end, the rounds that do not count included.
    pub(crate) telemetry: Option<Value>,
}

/// One round of one server.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    /// What the generator got.
    pub(crate) load: Load,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Microseconds of a core for a request, of all threads of the server.
    pub(crate) cost_us: f64,
    /// The part of them in user space.
    pub(crate) user_share: f64,
    /// The part of the time that its threads were ready and did not run, added up.
    pub(crate) waited_share: f64,
    /// Microseconds of the generator's core for a request.
    pub(crate) generator_cost_us: f64,
    /// Bytes read from storage for a request.
    pub(crate) storage_bytes: f64,
    /// Bytes of memory that its processes occupy at the end, while connections are open.
    pub(crate) resident_bytes: u64,
    /// By how much the kernel's own memory (slab) grew, whoever it is for: both ends of each
    /// connection are on this machine.
    pub(crate) slab_bytes: i64,
    /// What it was like without the others, where there are others.
    pub(crate) beside: Option<Beside>,
    /// What pitcrew says of itself.
    pub(crate) ring: Option<PerRequest>,
    /// Why it does not count.
    pub(crate) void: Option<Void>,
}

/// A round beside others.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Beside {
    /// What the generator got alone, just before.
    pub(crate) alone: Load,
    /// What the others got.
    pub(crate) others: Carried,
}

/// Why a round does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "cause", content = "text")]
pub(crate) enum Void {
    /// Answers were wrong, short or missing.
    Wrong(String),
    /// Another engine did the work, or it was not as cold as it had to be.
    NotItself(String),
}

impl std::fmt::Display for Void {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Wrong(text) | Self::NotItself(text)) = self;
        out.write_str(text)
    }
}

/// Starts all servers, compares every body, and runs the rounds.
pub(crate) fn run(
    scenario: &Scenario,
    entrants: &[Entrant],
    ground: &Ground<'_>,
    generator_core: usize,
    extent: Extent,
    interrupted: &AtomicBool,
) -> io::Result<Vec<Lane>> {
    let site = Site::new(ground.scratch, scenario)?;
    let mut servers = Vec::new();
    let mut lanes = Vec::new();
    for (number, entrant) in entrants.iter().enumerate() {
        let server = ground.start(entrant, &site, number)?;
        let started_bytes = server.process.resident_bytes()?;
        let name = entrant.name();
        let head_bytes = compare_bodies(&server, &site, interrupted)
            .map_err(|error| Error::new(error.kind(), format!("{name}: {error}")))?;
        lanes.push(Lane {
            name,
            control: entrant.control,
            extra: entrant.extra,
            peer: matches!(entrant.contestant, Contestant::Peer(_)),
            configuration: server.configuration.clone(),
            started_bytes,
            head_bytes,
            rounds: Vec::new(),
            telemetry: None,
        });
        servers.push(server);
    }
    let field = Field { scenario, site, ground, generator_core, interrupted };
    for (entrant, server) in entrants.iter().zip(&mut servers) {
        field.round(&entrant.contestant, server, 1, 0)?;
    }
    for number in 1..=extent.rounds {
        let mut order: Vec<usize> = (0..servers.len()).collect();
        if number % 2 == 0 {
            order.reverse();
        }
        for index in order {
            let contestant = &entrants[index].contestant;
            let round = field.round(contestant, &mut servers[index], extent.seconds, number)?;
            lanes[index].rounds.push(round);
        }
    }
    for (lane, server) in lanes.iter_mut().zip(&servers).filter(|(lane, _)| !lane.peer) {
        lane.telemetry = Some(figures::ask(server.address)?);
    }
    Ok(lanes)
}

/// Asks for every file and compares every byte. Returns the length of the heads.
fn compare_bodies(server: &Server, site: &Site, interrupted: &AtomicBool) -> io::Result<usize> {
    let mut client = Client::connect(server.address)?;
    let mut head_bytes = 0;
    for index in 0..site.files() {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        let content = site.content(index);
        let (mut seen, mut equal) = (0, true);
        let answer = client.get(&Site::target(index), |part| {
            equal &= content.get(seen..seen + part.len()) == Some(part);
            seen += part.len();
        })?;
        head_bytes = answer.head_bytes;
        let wrong = match (answer.status, answer.body_bytes == content.len() as u64) {
            (200, true) if equal => continue,
            (200, true) => "has other bytes".to_owned(),
            (200, false) => format!("has {} bytes, not {}", answer.body_bytes, content.len()),
            (status, _) => format!("is answered with {status}"),
        };
        let text = format!("{} {wrong}", Site::target(index));
        return Err(Error::new(ErrorKind::InvalidData, text));
    }
    Ok(head_bytes)
}

/// What all rounds of a scenario share.
struct Field<'a> {
    scenario: &'a Scenario,
    site: Site,
    ground: &'a Ground<'a>,
    generator_core: usize,
    interrupted: &'a AtomicBool,
}

impl Field<'_> {
    fn round(
        &self,
        contestant: &Contestant,
        server: &mut Server,
        seconds: u64,
        number: u32,
    ) -> io::Result<Round> {
        if self.scenario.cold {
            self.site.drop_pages()?;
        }
        let figures = |server: &Server| match contestant {
            Contestant::Pitcrew(_) => Figures::read(server.address).map(Some),
            Contestant::Peer(_) => Ok(None),
        };
        let task = Task {
            address: server.address,
            scenario: self.scenario,
            site: &self.site,
            seconds,
            number,
            core: self.generator_core,
            scratch: self.ground.scratch.path(),
            interrupted: self.interrupted,
        };
        let alone = match &self.scenario.background {
            Some(_) => Some(generator::run(&task)?.0),
            None => None,
        };
        if let Some(log) = &server.log {
            extra::empty(log)?;
        }
        // The figures are asked for outside of what is measured.
        let figures_before = figures(server)?;
        let usage_before = server.process.usage()?;
        let slab_before = machine::slab_bytes();
        let (load, idlers, others) = self.generate(&task)?;
        let unlogged = match &server.log {
            Some(log) => extra::settle(log, load.requests)?,
            None => None,
        };
        let beside = alone.zip(others).map(|(alone, others)| Beside { alone, others });
        let used = server.process.usage()?.since(&usage_before);
        let (resident_bytes, slab_after) =
            (server.process.resident_bytes()?, machine::slab_bytes());
        drop(idlers);
        if server.process.ended()?.is_some() {
            return Err(server.process.fault("ended under load"));
        }
        let figures_after = figures(server)?;
        let both = figures_before.zip(figures_after);
        let ring = both.as_ref().map(|(before, after)| after.since(before, load.requests));
        let mut void = self.objection(&load, &used);
        void = void.or(unlogged.map(Void::NotItself));
        if let Some(Beside { alone, others }) = &beside {
            void = void.or_else(|| self.objection(alone, &used)).or_else(|| idle(others));
        }
        if let (Contestant::Pitcrew(engine), Some((before, after))) = (contestant, &both) {
            let other = after.objection(before, engine, load.requests).map(Void::NotItself);
            void = void.or(other);
        }
        let each = |sum: f64| sum / load.requests.max(1) as f64;
        Ok(Round {
            rate: load.requests as f64 / load.seconds,
            cost_us: each(used.seconds * 1e6),
            user_share: used.user_share,
            waited_share: used.waited_seconds / load.seconds,
            generator_cost_us: each(load.busy * load.seconds * 1e6),
            storage_bytes: each(used.storage_bytes as f64),
            resident_bytes,
            slab_bytes: slab_after as i64 - slab_before as i64,
            load,
            beside,
            ring,
            void,
        })
    }

    /// The measured load, what it leaves open, and what the others got meanwhile.
    fn generate(&self, task: &Task<'_>) -> io::Result<(Load, Option<Idlers>, Option<Carried>)> {
        let Some(background) = &self.scenario.background else {
            return generator::run(task).map(|(load, idlers)| (load, idlers, None));
        };
        let crowd = Crowd::new();
        std::thread::scope(|scope| {
            crowd.start(scope, background, self.site.root(), task.address);
            let generated = generator::run(task);
            let others = crowd.stop();
            generated.map(|(load, idlers)| (load, idlers, Some(others)))
        })
    }

    fn objection(&self, load: &Load, used: &Used) -> Option<Void> {
        // Beside others a server may get to nothing: that is a result.
        let stood = load.requests == 0 && self.scenario.background.is_none();
        if stood || load.errors > 0 {
            return Some(Void::Wrong(format!("{} answers, {} errors", load.requests, load.errors)));
        }
        // What all sizes have in common is promised; errors tell of those that are short.
        let promised = match (self.scenario.range_bytes, self.scenario.file_bytes) {
            (Some(bytes), _) | (None, Sizes::All(bytes)) => load.requests * bytes,
            (None, Sizes::By(_)) => load.requests,
        };
        if load.bytes < promised {
            return Some(Void::Wrong(format!("{} bytes of {promised}", load.bytes)));
        }
        let read = used.storage_bytes as f64 / promised as f64;
        if self.scenario.cold && read < 0.95 {
            return Some(Void::NotItself(format!("{:.0} % read from storage", read * 100.0)));
        }
        None
    }
}

/// Why a round does not count that should have had others beside it.
fn idle(others: &Carried) -> Option<Void> {
    let idle = others.bytes == 0 || others.errors > 0;
    idle.then(|| Void::Wrong(format!("others: {} bytes, {} errors", others.bytes, others.errors)))
}
