//! The figures of a scenario: what its rounds say of the servers, one by one and against each
//! other, for programs. `tables.rs` shows them to people.

use serde::Serialize;
use serde_json::{Value, json};

use crate::ceiling::Ceiling;
use crate::network::Kind;
use crate::rounds::{Extent, Lane, Round, Void};
use crate::scenario::Scenario;
use crate::statistics::Spread;

/// The version of the JSON.
pub(crate) const SCHEMA_VERSION: u32 = 3;

/// Rounds that two servers must have in common for a ratio, where [`ROUNDS_ASKED`] were asked for:
/// what is left of them when more are void tells of the voids.
const ROUNDS_COMMON: usize = 5;
const ROUNDS_ASKED: u32 = 7;

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
    /// What the device can do, at the begin of each round, where it was asked.
    pub(crate) ceilings: Vec<Ceiling>,
}

/// What two servers are set against each other in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Quantity {
    /// Processor time of a request.
    Cost,
    /// Requests a second.
    Rate,
    /// What ninety-nine hundredths of the answers were faster than.
    P99,
}

impl Quantity {
    pub(crate) const ALL: [Self; 3] = [Self::Cost, Self::Rate, Self::P99];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Rate => "rate",
            Self::P99 => "p99",
        }
    }

    pub(crate) fn of(self, round: &Round) -> f64 {
        match self {
            Self::Cost => round.cost_us,
            Self::Rate => round.rate,
            Self::P99 => round.load.p99_us,
        }
    }

    /// For sorting: the best first.
    fn badness(self, lane: &Lane) -> f64 {
        let spread = Spread::of(lane.counted().map(|round| self.of(round)));
        let median = spread.map_or(f64::INFINITY, |spread| spread.median);
        if self == Self::Rate { -median } else { median }
    }
}

/// What the rounds say of two servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Compared {
    /// Their ratio, and whether it is more than noise; none without a control.
    Ratio(Spread, Option<bool>),
    /// They have so few rounds in common that there is none.
    TooFew(usize),
    /// There is no round that counts for both.
    Never,
}

/// Ratios of one lane to another, by pairs of rounds.
#[derive(Debug, Serialize)]
struct Ratio {
    of: String,
    to: String,
    /// Of the processor time of a request: below one is better.
    cost: Spread,
    /// Of requests a second: above one is better.
    rate: Spread,
    /// Of the p99: below one is better.
    p99: Option<Spread>,
    /// Whether they are more than twice the noise of equals in the same run, and one is not in
    /// the interval; none without a control.
    cost_is_beyond_noise: Option<bool>,
    rate_is_beyond_noise: Option<bool>,
    p99_is_beyond_noise: Option<bool>,
}

impl Outcome {
    /// The lane that the others are set against: the peer that is best in this, or the first
    /// engine where there is no peer.
    pub(crate) fn measure(&self, quantity: Quantity) -> Option<&Lane> {
        self.best(quantity, |lane| lane.peer).or_else(|| self.lanes.first())
    }

    /// The best of some servers that only serve.
    pub(crate) fn best(&self, quantity: Quantity, among: impl Fn(&Lane) -> bool) -> Option<&Lane> {
        let counted = |lane: &&Lane| {
            !lane.control && lane.extra.is_none() && lane.cost().is_some() && among(lane)
        };
        let lanes = self.lanes.iter().filter(counted);
        lanes.min_by(|a, b| quantity.badness(a).total_cmp(&quantity.badness(b)))
    }

    /// What equals differ by: the ratios of the first lane run a second time.
    pub(crate) fn control(&self, quantity: Quantity) -> Option<Spread> {
        let again = self.lanes.iter().find(|lane| lane.control)?;
        match self.paired(again, self.lanes.first()?, quantity) {
            Compared::Ratio(spread, _) => Some(spread),
            _ => None,
        }
    }

    pub(crate) fn compare(&self, of: &Lane, to: &Lane, quantity: Quantity) -> Compared {
        match self.paired(of, to, quantity) {
            Compared::Ratio(spread, _) => {
                let noise = self.control(quantity);
                Compared::Ratio(spread, noise.map(|noise| spread.is_beyond(noise.noise())))
            }
            other => other,
        }
    }

    /// Ratios round by round where both count.
    fn paired(&self, of: &Lane, to: &Lane, quantity: Quantity) -> Compared {
        let ratios = common(of, to).map(|(of, to)| quantity.of(of) / quantity.of(to));
        match self.enough(ratios) {
            Ok(spread) => Compared::Ratio(spread, None),
            Err(0) => Compared::Never,
            Err(few) => Compared::TooFew(few),
        }
    }

    /// The spread of what rounds say, or their number if they are too few of those asked for.
    pub(crate) fn enough(&self, values: impl Iterator<Item = f64>) -> Result<Spread, usize> {
        let Some(spread) = Spread::of(values) else { return Err(0) };
        match self.extent.rounds >= ROUNDS_ASKED && spread.rounds < ROUNDS_COMMON {
            true => Err(spread.rounds),
            false => Ok(spread),
        }
    }

    fn ratio(&self, of: &Lane, to: &Lane) -> Option<Ratio> {
        let [cost, rate, p99] = Quantity::ALL.map(|quantity| self.compare(of, to, quantity));
        let (
            Compared::Ratio(cost, cost_is_beyond_noise),
            Compared::Ratio(rate, rate_is_beyond_noise),
        ) = (cost, rate)
        else {
            return None;
        };
        // A generator may not know it.
        let (p99, p99_is_beyond_noise) = match p99 {
            Compared::Ratio(p99, is_beyond) => (Some(p99), is_beyond),
            _ => (None, None),
        };
        Some(Ratio {
            of: of.name.clone(),
            to: to.name.clone(),
            cost,
            rate,
            p99,
            cost_is_beyond_noise,
            rate_is_beyond_noise,
            p99_is_beyond_noise,
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

    /// Everything, for programs.
    pub(crate) fn to_json(&self) -> Value {
        let mut ratios = Vec::new();
        for to in self.lanes.iter().filter(|lane| !lane.control) {
            let others = self.lanes.iter().filter(|of| !std::ptr::eq(*of, to));
            ratios.extend(others.filter_map(|of| self.ratio(of, to)));
        }
        let measures = Quantity::ALL.map(|quantity| {
            let name = self.measure(quantity).map(|lane| lane.name.clone());
            (quantity.name().to_owned(), json!(name))
        });
        json!({
            "congestion_control": self.congestion,
            "network": self.network,
            "workers": self.workers,
            "scenario": self.scenario,
            "extent": self.extent,
            "servers": self.lanes,
            "device": self.ceilings,
            "measures": Value::Object(measures.into_iter().collect()),
            "ratios": ratios,
            "added": self.added_json(),
            "targets": self.judged(),
            "notes": self.notes(),
        })
    }
}

impl Lane {
    pub(crate) fn counted(&self) -> impl Iterator<Item = &Round> {
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

/// Pairs of rounds with the same number that both count.
pub(crate) fn common<'a>(
    of: &'a Lane,
    to: &'a Lane,
) -> impl Iterator<Item = (&'a Round, &'a Round)> {
    let pairs = of.rounds.iter().zip(&to.rounds);
    pairs.filter(|(of, to)| of.void.is_none() && to.void.is_none())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::extra::Extra;
    use crate::generator::Load;
    use crate::servers::Contestant;

    pub(crate) fn lane(name: &str, control: bool, costs: &[f64]) -> Lane {
        let round = |&cost_us: &f64| Round {
            load: Load {
                requests: 10,
                bytes: 10,
                seconds: 1.0,
                errors: 0,
                due: None,
                p50_us: 1.0,
                p99_us: cost_us * 2.0,
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
            contestant: Contestant::Pitcrew(name.to_owned()),
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

    pub(crate) fn outcome(rounds: u32, lanes: Vec<Lane>) -> Outcome {
        Outcome {
            scenario: Scenario::find("small").unwrap(),
            extent: Extent { rounds, seconds: 1 },
            congestion: "cubic".to_owned(),
            network: Kind::Loopback,
            workers: 1,
            lanes,
            ceilings: Vec::new(),
        }
    }

    pub(crate) fn four() -> Outcome {
        outcome(
            3,
            vec![
                lane("nginx", false, &[10.0, 10.0, 11.0]),
                lane("nginx-copy", false, &[8.0, 8.0, 8.0]),
                lane("pitcrew uring", false, &[4.0, 99.0, 4.0]),
                lane("nginx again", true, &[10.2, 9.9, 11.0]),
            ],
        )
    }

    #[test]
    fn everything_is_told_to_programs() {
        let told = four().to_json();
        assert_eq!(told["servers"][2]["rounds"][1]["void"]["cause"], "wrong");
        assert_eq!(told["servers"][2]["rounds"][0]["load"]["busy"], 0.9);
        assert_eq!(told["measures"]["cost"], "nginx-copy");
        let ratios = told["ratios"].as_array().unwrap();
        let find =
            |of: &str, to: &str| ratios.iter().find(|one| one["of"] == of && one["to"] == to);
        let ratio = find("pitcrew uring", "nginx-copy").unwrap();
        assert_eq!((&ratio["p99"]["median"], &ratio["p99"]["rounds"]), (&json!(0.5), &json!(2)));
    }

    #[test]
    fn what_a_generator_does_not_know_is_told_of_nobody() {
        let mut all = four();
        for round in all.lanes.iter_mut().flat_map(|lane| &mut lane.rounds) {
            (round.load.p50_us, round.load.p99_us) = (f64::NAN, f64::NAN);
        }
        let ratio = &all.to_json()["ratios"][0];
        assert!(ratio["p99"].is_null() && ratio["cost"]["median"].is_number(), "{ratio}");
        assert!(!all.to_text().contains("NaN"), "{}", all.to_text());
    }

    #[test]
    fn the_measure_is_the_best_peer_in_each_quantity() {
        let mut all = four();
        for round in &mut all.lanes[0].rounds {
            (round.rate, round.load.p99_us) = (1e9, 1.0);
        }
        let names = Quantity::ALL.map(|quantity| all.measure(quantity).unwrap().name.clone());
        assert_eq!(names, ["nginx-copy", "nginx", "nginx"]);
    }

    #[test]
    fn what_equals_differ_by_is_noise() {
        let all = four();
        let beyond =
            |of: usize, quantity| match all.compare(&all.lanes[of], &all.lanes[0], quantity) {
                Compared::Ratio(_, beyond) => beyond,
                _ => None,
            };
        for quantity in Quantity::ALL {
            assert_eq!(beyond(3, quantity), Some(false));
            assert_eq!(beyond(1, quantity), Some(true));
        }
    }

    #[test]
    fn few_rounds_in_common_make_no_ratio() {
        let costs = |voids: usize| {
            (0..8).map(|round| if round < voids { 99.0 } else { 5.0 }).collect::<Vec<_>>()
        };
        let of = |voids| {
            let all =
                vec![lane("nginx", false, &costs(0)), lane("pitcrew x", false, &costs(voids))];
            let all = outcome(8, all);
            all.compare(&all.lanes[1], &all.lanes[0], Quantity::Cost)
        };
        assert!(matches!(of(3), Compared::Ratio(Spread { rounds: 5, .. }, None)));
        assert_eq!((of(4), of(8)), (Compared::TooFew(4), Compared::Never));
    }

    #[test]
    fn what_an_extra_adds_is_set_against_its_own_server() {
        let with_log = |name: &str, costs: &[f64]| Lane {
            contestant: Contestant::Pitcrew(name.to_owned()),
            extra: Some(Extra::Log),
            ..lane(&format!("{name}+log"), false, costs)
        };
        let mut outcome = four();
        outcome.lanes.push(with_log("nginx", &[12.0, 12.0, 13.0]));
        outcome.lanes.push(with_log("pitcrew uring", &[4.5, 4.5, 4.5]));
        // Names are for people.
        outcome.lanes[2].name = "the ring".to_owned();
        let table = outcome.added_table();
        let line = table.lines().find(|line| line.starts_with("the ring")).unwrap();
        assert!(line.ends_with("0.25 of what it adds to nginx"), "{table}");
        // A peer that pays nothing for it, or less, is no measure of what it costs.
        outcome.lanes[4] = with_log("nginx", &[9.0, 10.0, 12.0]);
        assert!(!outcome.added_table().contains("of what it adds"), "{}", outcome.added_table());
    }
}
