//! Rounds of all servers in turn, forwards and backwards, so that whatever drifts meets all alike.

use std::io::{self, Error};
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use serde_json::Value;

use crate::background::{Background, Carried, Crowd};
use crate::bodies;
use crate::ceiling::{self, Ceiling};
use crate::extra::{self, Entrant, Extra};
use crate::figures::{self, Figures, PerRequest};
use crate::generator::{self, Idlers, Load, Task};
use crate::machine;
use crate::process::Used;
use crate::progress::Progress;
use crate::scenario::{Scenario, Sizes};
use crate::servers::{Contestant, Ground, Server, engine_of};
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
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Lane {
    /// Its name in the report.
    pub(crate) name: String,
    /// What runs there.
    #[serde(skip)]
    pub(crate) contestant: Contestant,
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

/// Where and with what a scenario runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course<'a> {
    pub(crate) ground: &'a Ground<'a>,
    pub(crate) generator_core: usize,
    pub(crate) extent: Extent,
    pub(crate) interrupted: &'a AtomicBool,
}

/// Starts all servers, compares every body, runs the rounds, and compares every body again.
pub(crate) fn run(
    scenario: &Scenario,
    entrants: &[Entrant],
    course: Course<'_>,
    progress: &mut Progress,
) -> io::Result<(Vec<Lane>, Vec<Ceiling>)> {
    let Course { ground, extent, interrupted, .. } = course;
    let site = Site::new(ground.scratch, scenario)?;
    let names: Vec<String> = entrants.iter().map(Entrant::name).collect();
    progress.begin(names.len() * (extent.rounds as usize + 3));
    let compare = |server: &Server, name: &str, times: u32| {
        bodies::compare(server.address, &site, scenario, times, interrupted)
            .map_err(|error| Error::new(error.kind(), format!("{name}: {error}")))
    };
    let mut servers = Vec::new();
    let mut lanes = Vec::new();
    for (number, entrant) in entrants.iter().enumerate() {
        let name = names[number].clone();
        progress.turn("bodies", &name);
        let server = ground.start(entrant, &site, number)?;
        let started_bytes = server.process.resident_bytes()?;
        let head_bytes = compare(&server, &name, bodies::TIMES)?;
        lanes.push(Lane {
            name,
            contestant: entrant.contestant.clone(),
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
    let field = Field { scenario, site: &site, course };
    for (entrant, server) in entrants.iter().zip(&mut servers) {
        progress.turn("warm-up", &entrant.name());
        field.round(entrant, server, 1, 0)?;
    }
    let mut ceilings = Vec::new();
    for number in 1..=extent.rounds {
        if scenario.cold {
            let told = ceiling::measure(&site, scenario.connections, number, interrupted)?;
            ceilings.extend(told);
        }
        let mut order: Vec<usize> = (0..servers.len()).collect();
        if number % 2 == 0 {
            order.reverse();
        }
        for index in order {
            progress.turn(&format!("round {number} of {}", extent.rounds), &names[index]);
            let round =
                field.round(&entrants[index], &mut servers[index], extent.seconds, number)?;
            lanes[index].rounds.push(round);
        }
    }
    for ((lane, server), entrant) in lanes.iter_mut().zip(&servers).zip(entrants) {
        progress.turn("bodies again", &lane.name);
        if matches!(entrant.contestant, Contestant::Pitcrew(_)) {
            lane.telemetry = Some(figures::ask(server.address)?);
        }
        compare(server, &lane.name, 1)?;
    }
    Ok((lanes, ceilings))
}

/// What all rounds of a scenario share.
struct Field<'a> {
    scenario: &'a Scenario,
    site: &'a Site,
    course: Course<'a>,
}

impl Field<'_> {
    fn round(
        &self,
        entrant: &Entrant,
        server: &mut Server,
        seconds: u64,
        number: u32,
    ) -> io::Result<Round> {
        if self.scenario.cold {
            self.site.drop_pages()?;
        }
        let figures = |server: &Server| match &entrant.contestant {
            Contestant::Pitcrew(_) => Figures::read(server.address).map(Some),
            Contestant::Peer(_) | Contestant::Null => Ok(None),
        };
        let task = Task {
            address: server.address,
            scenario: self.scenario,
            site: self.site,
            seconds,
            number,
            core: self.course.generator_core,
            scratch: self.course.ground.scratch.path(),
            interrupted: self.course.interrupted,
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
            Some(log) => extra::settle(log, load.requests, Extra::kept_lines(&entrant.contestant))?,
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
        let mut void = self.objection(&load, self.scenario.background.is_some());
        void = void.or_else(|| self.warm(&load, &used)).or(unlogged.map(Void::NotItself));
        if let Some(Beside { alone, others }) = &beside {
            void = void.or_else(|| self.objection(alone, false)).or_else(|| idle(others));
            let background = self.scenario.background.as_ref();
            void = void.or_else(|| background.and_then(|one| others_warm(one, others, &used)));
        }
        if let (Contestant::Pitcrew(variant), Some((before, after))) = (&entrant.contestant, &both)
        {
            let mut other = after.objection(before, engine_of(variant), load.requests);
            if entrant.extra == Some(Extra::Mirror) {
                other = other.or_else(|| after.unmirrored(before, load.requests));
            }
            void = void.or(other.map(Void::NotItself));
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

    /// Why what the generator got does not count.
    fn objection(&self, load: &Load, beside_others: bool) -> Option<Void> {
        // Beside others a server may get to nothing: that is a result.
        let stood = load.requests == 0 && !beside_others;
        if stood || load.errors > 0 {
            return Some(Void::Wrong(format!("{} answers, {} errors", load.requests, load.errors)));
        }
        if load.bytes < self.promised(load) {
            let promised = self.promised(load);
            return Some(Void::Wrong(format!("{} bytes of {promised}", load.bytes)));
        }
        late(load).filter(|_| !beside_others)
    }

    /// Bytes that its answers had to have at least. What all sizes have in common is promised;
    /// errors tell of those that are short.
    fn promised(&self, load: &Load) -> u64 {
        match (self.scenario.range_bytes, self.scenario.file_bytes) {
            (Some(bytes), _) | (None, Sizes::All(bytes)) => load.requests * bytes,
            (None, Sizes::By(_)) => load.requests,
        }
    }

    /// Why a round does not count that had to be cold.
    fn warm(&self, load: &Load, used: &Used) -> Option<Void> {
        let promised = self.promised(load);
        self.scenario.cold.then(|| too_little_read(used.storage_bytes, promised)).flatten()
    }
}

impl Round {
    /// Bytes that the generator got in a second.
    pub(crate) fn bytes_per_second(&self) -> f64 {
        self.load.bytes as f64 / self.load.seconds
    }
}

/// Part of the bytes sent that has to come from storage where files are cold. Pages that the
/// kernel could not drop are the rest.
const READ_SHARE: f64 = 0.95;
/// Part of the requests that were due that has to be answered, or latencies are of other requests.
pub(crate) const KEPT_SHARE: f64 = 0.99;

/// Why a round at a rate does not count whose rate was not kept.
fn late(load: &Load) -> Option<Void> {
    let due = load.due.filter(|_| load.kept() < KEPT_SHARE)?;
    Some(Void::NotItself(format!(
        "{} of {due} requests that were due were answered",
        load.requests
    )))
}

/// Why a round does not count whose cold bytes came from memory.
fn too_little_read(storage_bytes: u64, sent_bytes: u64) -> Option<Void> {
    let read = storage_bytes as f64 / sent_bytes as f64;
    (read < READ_SHARE).then(|| Void::NotItself(format!("{:.0} % read from storage", read * 100.0)))
}

/// Why a round does not count whose others did not make it read from storage.
fn others_warm(background: &Background, others: &Carried, used: &Used) -> Option<Void> {
    background.cold.then(|| too_little_read(used.storage_bytes, others.bytes)).flatten()
}

/// Why a round does not count that should have had others beside it.
fn idle(others: &Carried) -> Option<Void> {
    let idle = others.bytes == 0 || others.errors > 0;
    idle.then(|| Void::Wrong(format!("others: {} bytes, {} errors", others.bytes, others.errors)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cold_others_have_to_come_from_storage() {
        let background = Scenario::find("saturated_disk").unwrap().background.unwrap();
        let others = Carried { answers: 1, bytes: 1000, errors: 0, seconds: 1.0 };
        let used = |storage_bytes| Used {
            seconds: 1.0,
            waited_seconds: 0.0,
            user_share: 0.0,
            storage_bytes,
        };
        assert_eq!(others_warm(&background, &others, &used(950)), None);
        let void = others_warm(&background, &others, &used(940));
        assert_eq!(void, Some(Void::NotItself("94 % read from storage".to_owned())));
        let warm = Background { cold: false, ..background };
        assert_eq!(others_warm(&warm, &others, &used(0)), None);
    }

    #[test]
    fn a_rate_that_is_not_kept_makes_a_round_void() {
        let load = |requests, due| Load {
            requests,
            bytes: 0,
            seconds: 1.0,
            errors: 0,
            due,
            p50_us: 1.0,
            p99_us: 1.0,
            busy: 0.5,
        };
        assert_eq!(late(&load(99, Some(100))), None);
        assert_eq!(late(&load(1, None)), None);
        let told = "98 of 100 requests that were due were answered";
        assert_eq!(late(&load(98, Some(100))), Some(Void::NotItself(told.to_owned())));
    }
}
