//! The rounds: each lap once in each, in an order that is shuffled anew.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::course::Course;
use super::inspect::{Depth, Inspector};
use super::laps::{Group, Row, Start};
use super::options::{Cache, Options, Rw, Verify};
use super::report::{Figures, LapReport, Run, Verdict};
use super::statistics::spread;
use super::track::Track;
use crate::base::Random;
use crate::limits;

/// Told how far the race is.
pub trait Progress {
    /// So many runs are to come in all.
    fn begin(&mut self, runs: u64);
    /// This lap is about to run, in this round, counted from one.
    fn run(&mut self, round: u32, lap: &str);
    /// All runs are done.
    fn end(&mut self);
}

/// Tells nobody.
impl Progress for () {
    fn begin(&mut self, _: u64) {}
    fn run(&mut self, _: u32, _: &str) {}
    fn end(&mut self) {}
}

/// A lap on its way through the rounds.
struct Racer {
    row: &'static Row,
    depth: u32,
    runs: Vec<Run>,
    verified: u64,
    /// How it left the race, if it did.
    out: Option<(Verdict, String)>,
}

/// Runs all rounds; `hindered` are rows that cannot run, with the reason.
pub(super) fn race(
    rows: Vec<(&'static Row, u32, Option<String>)>,
    track: &Track,
    options: &Options,
    seed: u64,
    progress: &mut dyn Progress,
) -> Vec<LapReport> {
    let mut racers: Vec<Racer> = rows
        .into_iter()
        .map(|(row, depth, reason)| Racer {
            row,
            depth,
            runs: Vec::new(),
            verified: 0,
            out: reason.map(|reason| (Verdict::NotRun, reason)),
        })
        .collect();
    let starters = racers.iter().filter(|racer| racer.out.is_none()).count();
    progress.begin(starters as u64 * u64::from(options.rounds));
    let mut random = Random::new(seed);
    for round in 1..=options.rounds {
        let mut order: Vec<usize> = (0..racers.len()).collect();
        random.shuffle(&mut order);
        for (place, at) in order.into_iter().enumerate() {
            let racer = &mut racers[at];
            if racer.out.is_some() {
                continue;
            }
            progress.run(round, racer.row.name);
            let nonce = random.next();
            let stretch = Stretch { track, options, seed, round, place, nonce };
            match stretch.run(racer) {
                Ok(run) => racer.runs.push(run),
                Err(out) => racer.out = Some(out),
            }
        }
    }
    progress.end();
    let baselines: Vec<(Group, Vec<Run>)> = racers
        .iter()
        .filter(|racer| racer.row.is_baseline() && racer.out.is_none())
        .map(|racer| (racer.row.group, racer.runs.clone()))
        .collect();
    racers
        .into_iter()
        .map(|racer| {
            let baseline = baselines.iter().find(|(group, _)| *group == racer.row.group);
            racer.finish(baseline.map(|(_, runs)| &runs[..]))
        })
        .collect()
}

/// One run of one lap.
struct Stretch<'a> {
    track: &'a Track,
    options: &'a Options,
    seed: u64,
    round: u32,
    place: usize,
    nonce: u64,
}

type Out = (Verdict, String);

impl Stretch<'_> {
    fn run(&self, racer: &mut Racer) -> Result<Run, Out> {
        let (track, options, row) = (self.track, self.options, racer.row);
        let failed = |error: std::io::Error| (Verdict::Failed, error.to_string());
        let cold = options.cache == Cache::Cold;
        let reads = row.group == Group::Read || row.group == Group::Socket;
        let beside = options.verify == Verify::Pass && reads;
        match cold {
            true => track.chill().map_err(failed)?,
            false => track.warm().map_err(failed)?,
        }
        let (mut run, course) = self.timed(racer)?;
        if beside {
            self.pass_beside(racer, course.beside())?;
        }
        track.settle().map_err(failed)?;
        run.void = row.cached.then(|| void(&run, options)).flatten();
        Ok(run)
    }

    fn course(&self, racer: &Racer, again: bool) -> Course {
        let (track, options) = (self.track, self.options);
        // The same order of offsets for all laps of a round.
        let seed = self.seed ^ u64::from(self.round);
        let order = racer.row.order(track.blocks(), options.rw, seed);
        Course::new(order, track.block, options.runtime, again)
    }

    fn start(&self, racer: &Racer) -> Start<'_> {
        Start {
            track: self.track,
            direct: self.options.direct,
            depth: racer.depth,
            nonce: self.nonce,
        }
    }

    /// The same lap over the blocks of the timed pass, without the clock, every one of them
    /// compared by checksum.
    fn pass_beside(&self, racer: &mut Racer, mut course: Course) -> Result<(), Out> {
        let mut inspector = Inspector::new(self.track.reference.clone(), Depth::Sums);
        let run = racer.row.make(&self.start(racer)).and_then(|mut lap| {
            let tally = lap.run(&mut course, &mut inspector)?;
            Ok(tally.operations)
        });
        let operations = run.map_err(|error| (Verdict::Failed, error.to_string()))?;
        self.judge(racer, &inspector)?;
        if inspector.checked() < operations.max(course.blocks()) {
            return Err((Verdict::Wrong, "it delivered fewer blocks than it counted".to_owned()));
        }
        Ok(())
    }

    fn timed(&self, racer: &mut Racer) -> Result<(Run, Course), Out> {
        let (track, options, row) = (self.track, self.options, racer.row);
        let depth = match options.verify {
            Verify::Off => Depth::Nothing,
            Verify::Pass => Depth::Marks,
            Verify::Timed => Depth::Sums,
        };
        let mut inspector = Inspector::new(track.reference.clone(), depth);
        // A second pass over a cold file is a warm one, and a copy is made once.
        let again = options.cache == Cache::Warm && row.group != Group::Copy;
        let mut course = self.course(racer, again);
        let failed = |error: super::LapError| (Verdict::Failed, error.to_string());
        let mut lap = row.make(&self.start(racer)).map_err(failed)?;
        let before = track.residency();
        let (processor, clock) = (process_time(), Instant::now());
        let tally = lap.run(&mut course, &mut inspector).map_err(failed)?;
        let (elapsed, processor) = (clock.elapsed(), process_time().saturating_sub(processor));
        let after = track.residency();
        self.judge(racer, &inspector)?;
        // What was written is compared whole; what was read was, in the pass beside.
        let depth = if depth == Depth::Nothing { depth } else { Depth::Sums };
        let mut back = Inspector::new(track.reference.clone(), depth);
        lap.look_back(&course, &mut back).map_err(failed)?;
        self.judge(racer, &back)?;
        let run = Run {
            place: self.place,
            elapsed_ns: nanoseconds(elapsed).max(1),
            processor_ns: nanoseconds(processor.saturating_sub(tally.aside)),
            operations: tally.operations,
            bytes: tally.bytes,
            short: tally.short,
            calls: tally.calls,
            entries: tally.entries,
            resident_before: before.map(|told| told.share()),
            resident_after: after.map(|told| told.share()),
            void: None,
        };
        Ok((run, course))
    }

    fn judge(&self, racer: &mut Racer, inspector: &Inspector) -> Result<(), Out> {
        if inspector.by_sums() {
            racer.verified += inspector.checked();
        }
        match inspector.wrong() {
            None => Ok(()),
            Some(index) => Err((
                Verdict::Wrong,
                format!(
                    "round {}: the block at byte {} is not that of the file",
                    self.round,
                    index * self.track.block as u64
                ),
            )),
        }
    }
}

/// Why a run does not count: the file was not in memory, or was, when it was not to be.
fn void(run: &Run, options: &Options) -> Option<String> {
    let per_mille = |share: f64| (share * 1000.0).floor() as u32;
    let shown = |share: f64| format!("{:.1}%", share * 100.0);
    let (before, after) = match (run.resident_before, run.resident_after) {
        (Some(before), Some(after)) => (before, after),
        _ => return Some("the kernel does not tell what is in memory".to_owned()),
    };
    match options.cache {
        Cache::Warm => {
            let least = before.min(after);
            (per_mille(least) < limits::LAB_WARM_PER_MILLE)
                .then(|| format!("it was not warm: {} of the file was in memory", shown(least)))
        }
        Cache::Cold => (per_mille(before) > limits::LAB_COLD_PER_MILLE)
            .then(|| format!("it was not cold: {} of the file was in memory", shown(before))),
    }
}

impl Racer {
    fn finish(self, baseline: Option<&[Run]>) -> LapReport {
        let Self { row, depth, runs, verified, out } = self;
        let counting: Vec<&Run> = runs.iter().filter(|run| run.void.is_none()).collect();
        // Most rounds have to count, or the median is one of what was left over.
        let void = runs.len() - counting.len() > runs.len() / 2;
        let reason = |run: &Run| run.void.clone();
        let (verdict, reason) = match out {
            Some((verdict, reason)) => (verdict, Some(reason)),
            None if void => (Verdict::Void, runs.iter().find_map(reason)),
            None => (Verdict::Raced, None),
        };
        let figures = (verdict == Verdict::Raced && !counting.is_empty())
            .then(|| figures(&counting, &runs, baseline, verified));
        LapReport {
            lap: row.name.to_owned(),
            technique: row.technique.to_owned(),
            group: row.group.name().to_owned(),
            help: row.help.to_owned(),
            depth,
            verdict,
            reason,
            figures,
            runs,
        }
    }
}

fn rate(run: &Run) -> f64 {
    run.bytes as f64 * 1e9 / run.elapsed_ns as f64
}

fn figures(counting: &[&Run], runs: &[Run], baseline: Option<&[Run]>, verified: u64) -> Figures {
    let of =
        |value: fn(&Run) -> f64| spread(&counting.iter().map(|run| value(run)).collect::<Vec<_>>());
    let per_operation = |value: fn(&Run) -> u64| {
        let sum = |value: fn(&Run) -> u64| counting.iter().map(|run| value(run)).sum::<u64>();
        sum(value) as f64 / sum(|run| run.operations).max(1) as f64
    };
    // A round disturbs neighbours alike, so ratios are taken within rounds.
    let factor = baseline.map(|baseline| {
        let pairs = runs.iter().zip(baseline);
        let pairs = pairs.filter(|(run, base)| run.void.is_none() && base.void.is_none());
        spread(&pairs.map(|(run, base)| rate(run) / rate(base)).collect::<Vec<_>>())
    });
    Figures {
        bytes_per_second: of(rate),
        operations_per_second: of(|run| run.operations as f64 * 1e9 / run.elapsed_ns as f64),
        processor_ns_per_operation: of(|run| {
            run.processor_ns as f64 / run.operations.max(1) as f64
        }),
        calls_per_operation: per_operation(|run| run.calls),
        entries_per_operation: per_operation(|run| run.entries),
        verified_blocks: verified,
        factor,
    }
}

/// The direction's name in reports.
pub(super) fn direction(rw: Option<Rw>) -> &'static str {
    rw.map_or("all", Rw::name)
}

fn process_time() -> Duration {
    let told = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(told.tv_sec.unsigned_abs(), told.tv_nsec.unsigned_abs() as u32)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::LapError;
    use super::super::laps::{Lap, ROWS, Tally, row};
    use super::*;
    use crate::techniques::positional;

    /// Reads as it should, but for one bit in the middle of one block.
    struct Crooked {
        file: std::os::fd::OwnedFd,
        from: u64,
    }

    impl Lap for Crooked {
        fn run(
            &mut self,
            course: &mut Course,
            inspector: &mut Inspector,
        ) -> Result<Tally, LapError> {
            let mut block = vec![0; course.block()];
            let mut tally = Tally::default();
            while let Some(span) = course.next() {
                positional::pread_all(&self.file, &mut block, span.offset).unwrap();
                block[100] ^= u8::from(span.index == self.from);
                inspector.block(span.index, &block);
                tally.operations += 1;
                tally.bytes += block.len() as u64;
            }
            Ok(tally)
        }
    }

    fn made(start: &Start<'_>, from: u64) -> Result<Box<dyn Lap>, LapError> {
        let file = start.track.open_source(false).unwrap();
        Ok(Box::new(Crooked { file, from }))
    }

    static CROOKED: Row = row(Group::Read, "crooked", "none", |start| made(start, 3), "one bit");
    static STRAIGHT: Row = row(Group::Read, "straight", "none", |start| made(start, 99), "none");

    fn small(verify: Verify) -> Options {
        let runtime = Duration::from_millis(20);
        Options {
            size: Some(8 * 4096),
            rounds: 3,
            runtime,
            techniques: Vec::new(),
            verify,
            ..Options::default()
        }
    }

    fn raced(rows: &[&'static Row], options: &Options) -> Vec<LapReport> {
        let track = Track::open(options, 5, true, true).unwrap();
        let rows = rows.iter().map(|row| (*row, 1, None)).collect();
        race(rows, &track, options, 5, &mut ())
    }

    #[test]
    fn a_lap_that_delivers_one_wrong_bit_is_caught() {
        for verify in [Verify::Pass, Verify::Timed] {
            let laps = raced(&[&STRAIGHT, &CROOKED], &small(verify));
            assert_ne!(laps[0].verdict, Verdict::Wrong);
            assert!(verify == Verify::Timed || laps[0].runs.len() == 3);
            assert_eq!(laps[1].verdict, Verdict::Wrong);
            let reason = laps[1].reason.as_deref().unwrap();
            assert_eq!(reason, "round 1: the block at byte 12288 is not that of the file");
            assert_eq!(laps[1].figures, None);
        }
        // What nobody looks at nobody sees.
        assert_ne!(raced(&[&CROOKED], &small(Verify::Off))[0].verdict, Verdict::Wrong);
    }

    /// Takes its time with each block that is compared by checksum.
    struct Slow(std::os::fd::OwnedFd);

    impl Lap for Slow {
        fn run(
            &mut self,
            course: &mut Course,
            inspector: &mut Inspector,
        ) -> Result<Tally, LapError> {
            let mut block = vec![0; course.block()];
            let mut tally = Tally::default();
            while let Some(span) = course.next() {
                std::thread::sleep(Duration::from_micros(300 * u64::from(inspector.by_sums())));
                positional::pread_all(&self.0, &mut block, span.offset).unwrap();
                inspector.block(span.index, &block);
                tally.operations += 1;
                tally.bytes += block.len() as u64;
            }
            Ok(tally)
        }
    }

    #[test]
    fn every_block_of_the_timed_pass_is_verified_however_long_that_takes() {
        static THOROUGH: Row = row(
            Group::Read,
            "thorough",
            "none",
            |start| {
                let file = start.track.open_source(false).unwrap();
                Ok(Box::new(Slow(file)))
            },
            "slow",
        );
        let threads = ROWS.iter().find(|row| row.name == "pread-threads").unwrap();
        let options = Options { size: Some(256 * 4096), ..small(Verify::Pass) };
        for lap in raced(&[&THOROUGH, threads], &options) {
            let distinct =
                |run: &Run| run.operations.min(if lap.lap == "thorough" { 256 } else { 2 });
            let delivered: u64 = lap.runs.iter().map(distinct).sum();
            assert_ne!(lap.verdict, Verdict::Wrong);
            let figures = lap.figures.as_ref().unwrap();
            assert!(figures.verified_blocks >= delivered, "{}: {delivered} {figures:?}", lap.lap);
        }
    }

    #[test]
    fn what_an_earlier_run_wrote_is_not_taken_for_a_later_ones() {
        let options = small(Verify::Pass);
        let track = Track::open(&options, 5, true, false).unwrap();
        let row = ROWS.iter().find(|row| row.name == "pwrite").unwrap();
        let start = |nonce| Start { track: &track, direct: false, depth: 1, nonce };
        let course = || Course::new(row.order(8, None, 0), 4096, Duration::from_secs(60), false);
        let look = |lap: &mut dyn Lap, course: &Course| {
            let mut inspector = Inspector::new(track.reference.clone(), Depth::Sums);
            lap.look_back(course, &mut inspector).unwrap();
            inspector.wrong()
        };
        let mut nobody = Inspector::new(track.reference.clone(), Depth::Nothing);
        let (mut first, mut over) = (row.make(&start(1)).unwrap(), course());
        first.run(&mut over, &mut nobody).unwrap();
        assert_eq!(look(&mut *first, &over), None);
        // The second one says that it went over all blocks, and wrote none.
        let mut second = row.make(&start(2)).unwrap();
        assert_eq!(look(&mut *second, &over), Some(0));
    }

    fn run(before: f64, after: f64) -> Run {
        Run {
            place: 0,
            elapsed_ns: 1,
            processor_ns: 1,
            operations: 1,
            bytes: 1,
            short: 0,
            calls: 1,
            entries: 0,
            resident_before: Some(before),
            resident_after: Some(after),
            void: None,
        }
    }

    #[test]
    fn a_run_that_was_not_as_warm_or_cold_as_it_was_to_be_is_void() {
        let (warm, cold) =
            (Options::default(), Options { cache: Cache::Cold, ..Options::default() });
        assert_eq!(void(&run(1.0, 1.0), &warm), None);
        assert!(void(&run(1.0, 0.5), &warm).unwrap().contains("not warm: 50.0%"));
        assert!(void(&run(0.98, 1.0), &warm).is_some());
        assert_eq!(void(&run(0.0, 1.0), &cold), None);
        assert!(void(&run(0.2, 1.0), &cold).unwrap().contains("not cold: 20.0%"));
        let untold = Run { resident_before: None, ..run(0.0, 0.0) };
        assert!(void(&untold, &cold).is_some());
    }

    #[test]
    fn a_lap_is_void_when_most_of_its_runs_are() {
        let finish = |voids: usize| {
            let mut runs = vec![run(1.0, 1.0); 5];
            for run in &mut runs[..voids] {
                run.void = Some("not warm".to_owned());
            }
            Racer { row: &STRAIGHT, depth: 1, runs, verified: 0, out: None }.finish(None)
        };
        assert_eq!(finish(2).verdict, Verdict::Raced);
        let void = finish(3);
        assert_eq!((void.verdict, void.reason.as_deref()), (Verdict::Void, Some("not warm")));
    }
}
