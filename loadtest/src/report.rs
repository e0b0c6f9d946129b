//! The figures of a scenario, for people and for programs.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use crate::network::Kind;
use crate::rounds::{Beside, Extent, Lane, Round, Void};
use crate::scenario::{Generator, Scenario};
use crate::statistics::Spread;

/// The version of the JSON.
pub(crate) const SCHEMA_VERSION: u32 = 2;

const MIB: f64 = 1024.0 * 1024.0;

/// A scenario that was run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) scenario: Scenario,
    pub(crate) extent: Extent,
    /// Congestion control of all connections.
    pub(crate) congestion: String,
    pub(crate) network: Kind,
    /// Workers of each server.
    pub(crate) workers: u32,
    pub(crate) lanes: Vec<Lane>,
}

/// Ratios of one lane to another, by pairs of rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) of: String,
    pub(crate) to: String,
    /// Of the processor time of a request: below one is better.
    pub(crate) cost: Spread,
    /// Of requests a second: above one is better.
    pub(crate) rate: Spread,
    /// Whether they are more than twice the noise of equals in the same run; none without a
    /// control.
    pub(crate) cost_is_beyond_noise: Option<bool>,
    pub(crate) rate_is_beyond_noise: Option<bool>,
}

impl Outcome {
    /// The lane that the others are set against: the cheapest peer, or the first engine.
    pub(crate) fn measure(&self) -> Option<&Lane> {
        let counted = |lane: &&Lane| {
            lane.peer && !lane.control && lane.extra.is_none() && lane.cost().is_some()
        };
        let cost = |lane: &Lane| lane.cost().map_or(f64::INFINITY, |cost| cost.median);
        let peers = self.lanes.iter().filter(counted);
        peers.min_by(|a, b| cost(a).total_cmp(&cost(b))).or_else(|| self.lanes.first())
    }

    /// What equals differ by: the ratios of the first lane run a second time.
    pub(crate) fn control(&self) -> Option<(Spread, Spread)> {
        let again = self.lanes.iter().find(|lane| lane.control)?;
        paired(again, self.lanes.first()?)
    }

    pub(crate) fn ratio(&self, of: &Lane, to: &Lane) -> Option<Ratio> {
        let (cost, rate) = paired(of, to)?;
        let noise = self.control();
        Some(Ratio {
            of: of.name.clone(),
            to: to.name.clone(),
            cost,
            rate,
            cost_is_beyond_noise: noise.map(|(noise, _)| cost.is_beyond(noise.noise())),
            rate_is_beyond_noise: noise.map(|(_, noise)| rate.is_beyond(noise.noise())),
        })
    }

    /// Rounds that do not count, with the name of their lane.
    pub(crate) fn voids(&self) -> impl Iterator<Item = (&str, &Void)> {
        self.lanes.iter().flat_map(|lane| {
            let voids = lane.rounds.iter().filter_map(|round| round.void.as_ref());
            voids.map(|void| (lane.name.as_str(), void))
        })
    }

    /// Under which conditions it ran.
    pub(crate) fn conditions(&self) -> String {
        let network = match self.network {
            Kind::Loopback => "loopback",
            Kind::Pair => "a pair of devices with MTU 1500",
        };
        let workers = if self.workers == 1 { "worker" } else { "workers" };
        format!("{network}, {}, {} {workers}", self.congestion, self.workers)
    }

    /// The table for a terminal.
    pub(crate) fn table(&self) -> String {
        let Scenario { name, title, .. } = &self.scenario;
        let Extent { rounds, seconds } = self.extent;
        let mut out = format!(
            "\n{name}: {title}; {}, {rounds} rounds of {seconds} s, medians\n",
            self.conditions()
        );
        let measure = self.measure();
        let to = measure.map_or("", |lane| lane.name.as_str());
        let _ = writeln!(
            out,
            "{:<22} {:>8} {:>8} {:>5} {:>8} {:>8} {:>5} {:>6} {:>6} {:>7} {:>5} {:>6}  \
             cost to {to}",
            "server",
            "req/s",
            "us/req",
            "user",
            "p50 us",
            "p99 us",
            "wait",
            "enter",
            "inline",
            "gen. us",
            "gen.",
            "MiB"
        );
        for lane in &self.lanes {
            let _ = write!(out, "{:<22} ", lane.name);
            let Some(cost) = lane.cost() else {
                let _ = writeln!(out, "void");
                continue;
            };
            let of = |value: fn(&Round) -> f64| lane.median(value);
            let ring = |value: fn(&Round) -> f64| {
                let is_told = lane.rounds.iter().any(|round| round.ring.is_some());
                if is_told { format!("{:.3}", lane.median(value)) } else { "-".to_owned() }
            };
            let _ = write!(
                out,
                "{:>8.0} {:>8.2} {:>4.0}% {:>8.0} {:>8.0} {:>4.0}% {:>6} {:>6} {:>7.1} \
                 {:>4.0}% {:>6.1}",
                of(|round| round.rate),
                cost.median,
                of(|round| round.user_share * 100.0),
                of(|round| round.load.p50_us),
                of(|round| round.load.p99_us),
                of(|round| round.waited_share * 100.0),
                ring(|round| round.ring.as_ref().map_or(0.0, |ring| ring.enters)),
                ring(|round| round.ring.as_ref().map_or(0.0, |ring| ring.inline_calls)),
                of(|round| round.generator_cost_us),
                of(|round| round.load.busy * 100.0),
                of(|round| round.resident_bytes as f64 / MIB),
            );
            if let Some(ratio) = measure
                .filter(|measure| !std::ptr::eq(*measure, lane))
                .and_then(|measure| self.ratio(lane, measure))
            {
                let Spread { low, median, high } = ratio.cost;
                let _ = write!(out, "  {median:.3} [{low:.3} {high:.3}]");
                if ratio.cost_is_beyond_noise == Some(false) {
                    out.push_str(" within noise");
                }
            }
            out.push('\n');
        }
        self.beside(&mut out);
        out.push_str(&self.added_table());
        self.notes(&mut out);
        out
    }

    /// What the others beside it did to each lane: the same requests, alone and then beside them.
    fn beside(&self, out: &mut String) {
        if self.scenario.background.is_none() {
            return;
        }
        let _ = writeln!(
            out,
            "{:<17} {:>14} {:>14}  {:<22} others: answers/s, MB/s",
            "beside others", "p50 us", "p99 us", "p99 to alone"
        );
        for lane in self.lanes.iter().filter(|lane| lane.cost().is_some()) {
            let pairs = || lane.counted().filter_map(|round| Some((round, round.beside.as_ref()?)));
            let of = |value: fn((&Round, &Beside)) -> f64| Spread::of(pairs().map(value));
            let (Some(p50), Some(alone50), Some(p99), Some(alone99), Some(ratio)) = (
                of(|(round, _)| round.load.p50_us),
                of(|(_, beside)| beside.alone.p50_us),
                of(|(round, _)| round.load.p99_us),
                of(|(_, beside)| beside.alone.p99_us),
                of(|(round, beside)| round.load.p99_us / beside.alone.p99_us.max(1.0)),
            ) else {
                continue;
            };
            let answers = of(|(_, beside)| beside.others.answers as f64 / beside.others.seconds);
            let rate = of(|(_, beside)| beside.others.bytes as f64 / 1e6 / beside.others.seconds);
            let median = |spread: Option<Spread>| spread.map_or(f64::NAN, |spread| spread.median);
            let _ = writeln!(
                out,
                "{:<17} {:>6.0} ->{:>5.0} {:>6.0} ->{:>5.0}  {:<22} {:.1}, {:.0}",
                lane.name,
                alone50.median,
                p50.median,
                alone99.median,
                p99.median,
                format!("{:.2} [{:.2} {:.2}]", ratio.median, ratio.low, ratio.high),
                median(answers),
                median(rate),
            );
        }
    }

    fn notes(&self, out: &mut String) {
        if self.scenario.generator == Generator::Idle {
            for lane in self.lanes.iter().filter(|lane| lane.cost().is_some()) {
                let idle = f64::from(self.scenario.connections);
                let resident = lane.median(|round| round.resident_bytes as f64);
                let own = (resident - lane.started_bytes as f64) / idle;
                let slab = lane.median(|round| round.slab_bytes as f64) / idle;
                let _ = writeln!(
                    out,
                    "{}: {own:.0} bytes of memory a connection over the {:.1} MiB at its start; \
                     {slab:.0} bytes of slab, both ends",
                    lane.name,
                    lane.started_bytes as f64 / MIB
                );
            }
        }
        if let Some((cost, rate)) = self.control() {
            let _ = writeln!(
                out,
                "noise of equals: cost {:.1} %, rate {:.1} %; less than twice that is no result",
                cost.noise() * 100.0,
                rate.noise() * 100.0
            );
        }
        let heads = self.lanes.iter().map(|lane| lane.head_bytes);
        if let (Some(least), Some(most)) = (heads.clone().min(), heads.max())
            && most - least > 16
        {
            let _ = writeln!(out, "heads of answers differ: {least} to {most} bytes");
        }
        let mut said: Vec<(&str, &Void)> = Vec::new();
        for (name, void) in self.voids() {
            if !said.iter().any(|(one, _)| *one == name) {
                let _ = writeln!(out, "void: {name}: {void}");
                said.push((name, void));
            }
        }
    }

    /// Everything, for programs.
    pub(crate) fn to_json(&self) -> Value {
        let mut ratios = Vec::new();
        for to in self.lanes.iter().filter(|lane| !lane.control) {
            let others = self.lanes.iter().filter(|of| !std::ptr::eq(*of, to));
            ratios.extend(others.filter_map(|of| self.ratio(of, to)));
        }
        json!({
            "congestion_control": self.congestion,
            "network": self.network,
            "workers": self.workers,
            "scenario": self.scenario,
            "extent": self.extent,
            "servers": self.lanes,
            "ratios": ratios,
            "added": self.added_json(),
        })
    }
}

impl Lane {
    fn counted(&self) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter(|round| round.void.is_none())
    }

    pub(crate) fn cost(&self) -> Option<Spread> {
        Spread::of(self.counted().map(|round| round.cost_us))
    }

    /// How a figure spreads over the rounds that count.
    pub(crate) fn spread(&self, value: fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.counted().map(value))
    }

    pub(crate) fn median(&self, value: fn(&Round) -> f64) -> f64 {
        self.spread(value).map_or(f64::NAN, |spread| spread.median)
    }
}

/// Ratios of cost and of rate, round by round where both count.
fn paired(of: &Lane, to: &Lane) -> Option<(Spread, Spread)> {
    let pairs: Vec<(&Round, &Round)> = of
        .rounds
        .iter()
        .zip(&to.rounds)
        .filter(|(of, to)| of.void.is_none() && to.void.is_none())
        .collect();
    let cost = Spread::of(pairs.iter().map(|(of, to)| of.cost_us / to.cost_us))?;
    let rate = Spread::of(pairs.iter().map(|(of, to)| of.rate / to.rate))?;
    Some((cost, rate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Load;

    fn lane(name: &str, control: bool, costs: &[f64]) -> Lane {
        let round = |&cost_us: &f64| Round {
            load: Load {
                requests: 10,
                bytes: 10,
                seconds: 1.0,
                errors: 0,
                p50_us: 1.0,
                p99_us: 2.0,
                busy: 0.9,
            },
            rate: 1e6 / cost_us,
            cost_us,
            user_share: 0.25,
            waited_share: 0.0,
            generator_cost_us: 5.0,
            storage_bytes: 0.0,
            resident_bytes: 5 << 20,
            slab_bytes: 0,
            beside: None,
            ring: None,
            void: (cost_us > 90.0).then(|| Void::Wrong("1 of 2 bodies".to_owned())),
        };
        Lane {
            name: name.to_owned(),
            control,
            extra: None,
            peer: name.starts_with("nginx"),
            configuration: String::new(),
            started_bytes: 4 << 20,
            head_bytes: name.len() * 10,
            rounds: costs.iter().map(round).collect(),
            telemetry: None,
        }
    }

    fn outcome() -> Outcome {
        Outcome {
            scenario: Scenario::find("small").unwrap(),
            extent: Extent { rounds: 3, seconds: 1 },
            congestion: "cubic".to_owned(),
            network: Kind::Loopback,
            workers: 1,
            lanes: vec![
                lane("nginx", false, &[10.0, 10.0, 11.0]),
                lane("nginx-copy", false, &[8.0, 8.0, 8.0]),
                lane("pitcrew uring", false, &[4.0, 99.0, 4.0]),
                lane("nginx again", true, &[10.2, 9.9, 11.0]),
            ],
        }
    }

    #[test]
    fn engines_are_set_against_the_better_peer_by_pairs_of_rounds() {
        let outcome = outcome();
        assert_eq!(outcome.measure().unwrap().name, "nginx-copy");
        let table = outcome.table();
        assert!(table.contains("cost to nginx-copy"), "{table}");
        let line = table.lines().find(|line| line.starts_with("pitcrew uring")).unwrap();
        assert!(line.ends_with("0.500 [0.500 0.500]"), "{table}");
        assert!(table.contains("void: pitcrew uring: 1 of 2 bodies"), "{table}");
        assert!(table.contains("heads of answers differ: 50 to 130 bytes"), "{table}");
        let told = outcome.to_json();
        assert_eq!(told["servers"][2]["rounds"][1]["void"]["cause"], "wrong");
        assert_eq!(told["servers"][2]["rounds"][0]["load"]["busy"], 0.9);
    }

    #[test]
    fn what_equals_differ_by_is_noise() {
        let outcome = outcome();
        let (again, first) = (&outcome.lanes[3], &outcome.lanes[0]);
        let ratio = outcome.ratio(again, first).unwrap();
        assert_eq!(ratio.cost_is_beyond_noise, Some(false));
        let ratio = outcome.ratio(&outcome.lanes[1], first).unwrap();
        assert_eq!(ratio.cost_is_beyond_noise, Some(true));
    }
}
