//! The tables and notes of a scenario, the same in a terminal and on the page.

use std::collections::BTreeMap;

use crate::figures::PerRequest;
use crate::report::{Compared, Outcome, Quantity};
use crate::rounds::{Beside, Extent, KEPT_SHARE, Lane, Round, Void};
use crate::scenario::{Generator, Scenario, Sizes};
use crate::statistics::{INTERVAL, Spread};
use crate::table::{Table, figures, words};

const MIB: f64 = 1024.0 * 1024.0;
/// Files from so many bytes on are told of by the byte, too.
const LARGE_BYTES: u64 = 1 << 20;
/// A part of the requests that is worth a word.
const WORTH: f64 = 0.005;
/// Bytes by which heads may differ and be called the same.
const HEADS_DIFFER: usize = 16;

const SERVER: &str = "the server, with its engine or configuration; `again` is the first one run \
                      twice, whose difference is the noise; `+` has something on beside serving; \
                      `null` answers without reading what it is asked";

impl Outcome {
    /// Everything for a terminal.
    pub(crate) fn to_text(&self) -> String {
        let Scenario { name, title, .. } = &self.scenario;
        let Extent { rounds, seconds } = self.extent;
        let conditions = self.conditions();
        let mut out = format!("\n{name}: {title}; {conditions}, {rounds} rounds of {seconds} s\n");
        for (number, table) in self.tables().iter().enumerate() {
            if number > 0 {
                out.push_str(&format!("\n{}\n", table.title));
            }
            out.push_str(&table.to_text());
        }
        out.push_str(&self.added_table());
        for note in self.notes() {
            out.push_str(&note);
            out.push('\n');
        }
        out
    }

    /// All tables but that of what extras add.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let tables = [
            Some(self.figures()),
            Some(self.ratios()),
            self.beside(),
            self.idle(),
            self.device(),
            self.targets(),
        ];
        tables.into_iter().flatten().collect()
    }

    fn figures(&self) -> Table {
        let columns = vec![
            words("server", SERVER),
            figures("rounds", "rounds that count, of those asked for"),
            figures("req/s", "requests a second; where gen. is above 90 %, the generator's speed"),
            figures("us/req", "microseconds of a core for a request, of all threads of the server"),
            figures("user", "the part of them outside of the kernel"),
            figures("p50 us", "microseconds to the whole answer: half of them were faster"),
            figures("p99 us", "microseconds to the whole answer: 99 of 100 were faster"),
            figures("wait", "the part of the time in which it was ready and had no core"),
            figures("enter", "entries of pitcrew's ring into the kernel for a request"),
            figures("inline", "calls beside the ring that moved bodies, for a request"),
            figures("gen. us", "microseconds of the generator's core for a request"),
            figures("gen.", "the part of its core that the generator used"),
            figures("MiB", "memory of all its processes at the end, pages that are shared once"),
        ];
        let mut columns = columns;
        let large = matches!(self.scenario.file_bytes, Sizes::All(bytes) if bytes >= LARGE_BYTES);
        if large {
            columns.push(figures("MB/s", "millions of bytes a second that the generator got"));
            columns.push(figures("s/GiB", "seconds of a core for a GiB, of all threads"));
        }
        let mut rows = Vec::new();
        for lane in &self.lanes {
            let counted = lane.counted().count();
            let mut row = vec![lane.name.clone(), format!("{counted} of {}", lane.rounds.len())];
            match lane.cost() {
                None => row.push("void".to_owned()),
                Some(cost) => {
                    row.extend(lane_figures(lane, cost));
                    if large {
                        row.extend(bytes_figures(lane));
                    }
                }
            }
            rows.push(row);
        }
        Table { title: "What was measured, medians of the rounds".to_owned(), columns, rows }
    }

    fn ratios(&self) -> Table {
        let to = |quantity| self.measure(quantity).map_or("", |lane| lane.name.as_str());
        let head = |quantity: Quantity| format!("{} to {}", quantity.name(), to(quantity));
        let columns = vec![
            words("server", SERVER),
            words(
                head(Quantity::Cost),
                "us/req against the cheapest peer, below one is better, with the 95 % interval",
            ),
            words(
                head(Quantity::Rate),
                "req/s against the fastest peer, above one is better, with the 95 % interval",
            ),
            words(
                head(Quantity::P99),
                "p99 us against the peer with the lowest, below one is better, with the 95 % \
                 interval",
            ),
        ];
        let row = |lane: &Lane| {
            let cells = Quantity::ALL.map(|quantity| self.ratio_cell(lane, quantity));
            [vec![lane.name.clone()], cells.into()].concat()
        };
        let rows = self.lanes.iter().map(row).collect();
        Table { title: format!("Ratios within each round: median [{INTERVAL}]"), columns, rows }
    }

    fn ratio_cell(&self, lane: &Lane, quantity: Quantity) -> String {
        let Some(measure) = self.measure(quantity) else { return "–".to_owned() };
        if std::ptr::eq(measure, lane) {
            return "1".to_owned();
        }
        match self.compare(lane, measure, quantity) {
            Compared::Ratio(spread, Some(false)) => format!("{} within noise", interval(spread)),
            Compared::Ratio(spread, _) => interval(spread),
            Compared::TooFew(rounds) => format!("– {rounds} rounds are too few"),
            Compared::Never => "–".to_owned(),
        }
    }

    /// What the others beside it did to each lane: the same requests, alone and then beside them.
    fn beside(&self) -> Option<Table> {
        self.scenario.background.as_ref()?;
        let mut rows = Vec::new();
        for lane in self.lanes.iter().filter(|lane| lane.cost().is_some()) {
            let pairs = || lane.counted().filter_map(|round| Some((round, round.beside.as_ref()?)));
            let of = |value: fn((&Round, &Beside)) -> f64| Spread::of(pairs().map(value));
            let median = |value| of(value).map_or(f64::NAN, |spread| spread.median);
            let Some(ratio) = of(to_alone) else { continue };
            rows.push(vec![
                lane.name.clone(),
                format!("{:.0}", median(|(_, beside)| beside.alone.p50_us)),
                format!("{:.0}", median(|(round, _)| round.load.p50_us)),
                format!("{:.0}", median(|(_, beside)| beside.alone.p99_us)),
                format!("{:.0}", median(|(round, _)| round.load.p99_us)),
                interval(ratio),
                format!("{:.0}%", median(|(round, _)| round.load.kept() * 100.0)),
                format!("{:.1}", median(|(_, one)| one.others.answers as f64 / one.others.seconds)),
                format!("{:.0}", median(|(_, b)| b.others.bytes as f64 / 1e6 / b.others.seconds)),
            ]);
        }
        let columns = vec![
            words("beside others", SERVER),
            figures("p50 alone", "half of the answers were faster, without the others"),
            figures("p50 beside", "the same beside the others"),
            figures("p99 alone", "99 of 100 answers were faster, without the others"),
            figures("p99 beside", "the same beside the others"),
            words("p99 to alone", "the ratio of the two in the same round, with its 95 % interval"),
            figures("kept", "the part of the requests that were due that was answered"),
            figures("others/s", "answers a second that the others got"),
            figures("MB/s", "millions of bytes a second that the others got"),
        ];
        Some(Table { title: "What others did to it, in microseconds".to_owned(), columns, rows })
    }

    fn idle(&self) -> Option<Table> {
        if self.scenario.generator != Generator::Idle {
            return None;
        }
        let idle = f64::from(self.scenario.connections);
        let row = |lane: &Lane| {
            let resident = lane.median(|round| round.resident_bytes as f64);
            let slab = lane.median(|round| round.slab_bytes as f64);
            vec![
                lane.name.clone(),
                format!("{:.0}", (resident - lane.started_bytes as f64) / idle),
                format!("{:.0}", slab / idle),
                format!("{:.1}", lane.started_bytes as f64 / MIB),
                format!("{:.1}", resident / MIB),
                format!("{:.1}", (resident + slab) / MIB),
            ]
        };
        let counted = self.lanes.iter().filter(|lane| lane.cost().is_some());
        let columns = vec![
            words("idle", SERVER),
            figures("bytes each", "memory for an idle connection, over the memory at the start"),
            figures("slab each", "kernel memory for one, of both its ends"),
            figures("MiB at start", "memory of all processes before the first connection"),
            figures("MiB", "memory of all processes with the connections open"),
            figures("MiB and slab", "that, and by how much the kernel's slab grew"),
        ];
        let title = format!("Memory with {idle} idle connections, medians of the rounds");
        Some(Table { title, columns, rows: counted.map(row).collect() })
    }

    /// What a disk can do, and which part of that each lane reached.
    fn device(&self) -> Option<Table> {
        let ceiling = Spread::of(self.ceilings.iter().map(|one| one.bytes_per_second))?;
        let row = |lane: &Lane| {
            let share = self.device_shares(lane);
            vec![
                lane.name.clone(),
                format!("{:.0}", lane.median(|round| round.bytes_per_second()) / 1e6),
                Spread::of(share).map_or_else(|| "–".to_owned(), interval),
            ]
        };
        let columns = vec![
            words("from the device", SERVER),
            figures("MB/s", "millions of bytes a second that the clients got"),
            words("to the device", "that, to what O_DIRECT reads of the same files got before it"),
        ];
        let rows = self.lanes.iter().filter(|lane| lane.cost().is_some()).map(row).collect();
        let depth = self.ceilings.first().map_or(0, |one| one.depth);
        let title = format!(
            "The device gives {:.0} MB/s [{:.0} {:.0}] to {depth} threads with O_DIRECT",
            ceiling.median / 1e6,
            ceiling.low / 1e6,
            ceiling.high / 1e6
        );
        Some(Table { title, columns, rows })
    }

    /// Bytes a second of a lane to those of the device in the same round.
    pub(crate) fn device_shares(&self, lane: &Lane) -> Vec<f64> {
        let pairs = lane.rounds.iter().zip(&self.ceilings);
        let counted = pairs.filter(|(round, _)| round.void.is_none());
        counted.map(|(round, one)| round.bytes_per_second() / one.bytes_per_second).collect()
    }

    /// What has to be said beside the tables.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let noise = Quantity::ALL.map(|quantity| {
            let control = self.control(quantity)?;
            Some(format!("{} {:.1} %", quantity.name(), control.noise() * 100.0))
        });
        let noise: Vec<String> = noise.into_iter().flatten().collect();
        if !noise.is_empty() {
            let noise = noise.join(", ");
            notes.push(format!(
                "noise of equals (the first server run twice): {noise}; less than twice that, or \
                 an interval with 1 in it, is no result"
            ));
        }
        let heads = self.lanes.iter().map(|lane| lane.head_bytes);
        if let (Some(least), Some(most)) = (heads.clone().min(), heads.max())
            && most - least > HEADS_DIFFER
        {
            notes.push(format!("heads of answers differ: {least} to {most} bytes"));
        }
        if self.scenario.cold && self.ceilings.is_empty() {
            notes.push("the device was not asked what it can do: no O_DIRECT here".to_owned());
        }
        notes.extend(self.lanes.iter().filter_map(chosen));
        for lane in &self.lanes {
            let kept: Vec<f64> = lane.counted().map(|round| round.load.kept()).collect();
            let late = kept.iter().filter(|kept| **kept < KEPT_SHARE).count();
            let least = kept.iter().copied().fold(1.0, f64::min);
            if late > 0 {
                let (name, all) = (&lane.name, kept.len());
                notes.push(format!(
                    "{name}: in {late} of {all} rounds not all requests that were due were \
                     answered, {:.0} % at least; latencies are of those that were",
                    least * 100.0
                ));
            }
            let voids: Vec<&Void> =
                lane.rounds.iter().filter_map(|round| round.void.as_ref()).collect();
            if let Some(first) = voids.first() {
                let (name, void, all) = (&lane.name, voids.len(), lane.rounds.len());
                notes.push(format!("void: {name}: {void} of {all} rounds; the first: {first}"));
            }
        }
        notes
    }
}

fn lane_figures(lane: &Lane, cost: Spread) -> Vec<String> {
    let of = |value: fn(&Round) -> f64| lane.median(value);
    let latency =
        |micros: f64| if micros.is_nan() { "–".to_owned() } else { format!("{micros:.0}") };
    let ring = |value: fn(&Round) -> f64| {
        let is_told = lane.rounds.iter().any(|round| round.ring.is_some());
        if is_told { format!("{:.3}", lane.median(value)) } else { "–".to_owned() }
    };
    vec![
        format!("{:.0}", of(|round| round.rate)),
        format!("{:.2}", cost.median),
        format!("{:.0}%", of(|round| round.user_share * 100.0)),
        latency(of(|round| round.load.p50_us)),
        latency(of(|round| round.load.p99_us)),
        format!("{:.0}%", of(|round| round.waited_share * 100.0)),
        ring(|round| round.ring.as_ref().map_or(0.0, |ring| ring.enters)),
        ring(|round| round.ring.as_ref().map_or(0.0, |ring| ring.inline_calls)),
        format!("{:.1}", of(|round| round.generator_cost_us)),
        format!("{:.0}%", of(|round| round.load.busy * 100.0)),
        format!("{:.1}", of(|round| round.resident_bytes as f64 / MIB)),
    ]
}

/// Of large files: bytes a second, and what a GiB costs.
fn bytes_figures(lane: &Lane) -> [String; 2] {
    let rate = lane.median(|round| round.bytes_per_second() / 1e6);
    let cost = lane.median(|round| {
        let gib = round.load.bytes as f64 / (1024.0 * MIB);
        round.cost_us / 1e6 * round.load.requests as f64 / gib
    });
    [format!("{rate:.0}"), format!("{cost:.3}")]
}

/// The p99 of a round beside others to that alone, which is at least a microsecond.
pub(crate) fn to_alone((round, beside): (&Round, &Beside)) -> f64 {
    round.load.p99_us / beside.alone.p99_us.max(1.0)
}

/// A median with its interval.
pub(crate) fn interval(Spread { low, median, high, .. }: Spread) -> String {
    format!("{median:.3} [{low:.3} {high:.3}]")
}

/// Who did the work where an engine chooses among the others, and why.
fn chosen(lane: &Lane) -> Option<String> {
    if lane.name.split(['+', ':', ' ']).nth(1) != Some("auto") {
        return None;
    }
    let rings = || lane.rounds.iter().filter_map(|round| round.ring.as_ref());
    let rounds = rings().count() as f64;
    let shares = |of: fn(&PerRequest) -> &BTreeMap<String, f64>| {
        let mut sums = BTreeMap::<&str, f64>::new();
        for (name, share) in rings().flat_map(of) {
            *sums.entry(name).or_default() += share / rounds;
        }
        let worth = sums.into_iter().filter(|(_, share)| *share > WORTH);
        let told: Vec<_> =
            worth.map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect();
        told.join(", ")
    };
    let (engines, reasons) = (shares(|ring| &ring.engines), shares(|ring| &ring.choices));
    if engines.is_empty() && reasons.is_empty() {
        return None;
    }
    let engines = if engines.is_empty() { "none of the engines".to_owned() } else { engines };
    Some(format!("{}: bodies of a request by engine: {engines}; by reason: {reasons}", lane.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{four, lane, outcome};

    #[test]
    fn engines_are_set_against_the_better_peer_by_pairs_of_rounds() {
        let table = four().to_text();
        assert!(table.contains("cost to nginx-copy"), "{table}");
        let lines: Vec<&str> =
            table.lines().filter(|line| line.starts_with("pitcrew uring")).collect();
        assert!(lines[0].contains("2 of 3"), "{table}");
        assert!(lines[1].contains("0.500 [0.500 0.500]"), "{table}");
        let void = "void: pitcrew uring: 1 of 3 rounds; the first: 1 of 2 bodies";
        assert!(table.contains(void), "{table}");
        assert!(table.contains("heads of answers differ: 50 to 130 bytes"), "{table}");
        assert!(table.contains("noise of equals (the first server run twice): cost"), "{table}");
    }

    #[test]
    fn only_the_measure_itself_is_one() {
        let all = outcome(
            2,
            vec![lane("nginx", false, &[10.0, 99.0]), lane("pitcrew uring", false, &[99.0, 4.0])],
        );
        let rows = all.ratios().rows;
        assert_eq!((rows[0][1].as_str(), rows[1][1].as_str()), ("1", "–"));
    }

    #[test]
    fn what_auto_chose_is_told() {
        let mut one = lane("pitcrew auto", false, &[4.0, 4.0]);
        for round in &mut one.rounds {
            let of = |name: &str| BTreeMap::from([(name.to_owned(), 0.25)]);
            let (engines, choices) = (of("sendfile"), of("resident"));
            round.ring = Some(PerRequest { engines, choices, ..PerRequest::default() });
        }
        let told = chosen(&one).unwrap();
        assert!(told.ends_with("by engine: sendfile 25 %; by reason: resident 25 %"), "{told}");
        one.name = "pitcrew uring".to_owned();
        assert_eq!(chosen(&one), None);
    }
}
