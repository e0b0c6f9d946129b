//! What pitcrew is to reach in a scenario, and whether it does. A target that is not reached stays
//! in the report, with what was found to be in its way.

use serde::{Deserialize, Serialize};

use crate::report::{Outcome, Quantity, common};
use crate::rounds::{Lane, Round};
use crate::statistics::Spread;
use crate::table::{Table, words};
use crate::tables::{interval, to_alone};

/// A target of a scenario.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) metric: Metric,
    /// Servers, the best of which counts.
    pub(crate) of: Vec<String>,
    /// Whom they are set against: a server, in the best of its configurations, or [`BEST_FIXED`].
    #[serde(default)]
    pub(crate) to: Option<String>,
    /// What has to be reached.
    #[serde(default)]
    pub(crate) at_least: Option<f64>,
    /// What is wished for.
    #[serde(default)]
    pub(crate) aim: Option<f64>,
    /// What was found to be in the way of it.
    #[serde(default)]
    pub(crate) in_the_way: Option<String>,
}

/// The best of pitcrew's engines but that which chooses among the others.
const BEST_FIXED: &str = "best-fixed";

/// What a target is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    /// Processor time of a request to that of another server.
    CostRatio,
    /// Requests a second to those of another server.
    RateRatio,
    /// The p99 to that of another server.
    P99Ratio,
    /// The p99 beside others to the p99 alone.
    P99ToAlone,
    /// Bytes a second to what the device gives.
    DeviceShare,
    /// Bytes of memory of an idle connection, over those of the server without any.
    IdleBytes,
    /// Memory of all processes to that of another server.
    MemoryRatio,
    /// The same with the growth of the kernel's slab.
    MemoryAndSlabRatio,
    /// What an extra adds to a request to what it adds to another server.
    AddedRatio,
    /// What an extra adds to a request, in microseconds.
    AddedUs,
    /// Entries of the ring into the kernel for a request.
    RingEntries,
}

/// Whether a bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Reached,
    NotReached,
    /// On this or that side by less than the rounds or equals differ.
    WithinNoise,
    /// Whom it is about did not take part, or too few rounds count.
    NotMeasured,
}

/// A target with what was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judged {
    metric: Metric,
    of: String,
    to: Option<String>,
    figure: Option<Spread>,
    at_least: Option<f64>,
    verdict: Option<Verdict>,
    aim: Option<f64>,
    aim_verdict: Option<Verdict>,
    in_the_way: Option<String>,
}

impl Target {
    /// Why it cannot be.
    pub(crate) fn objection(&self) -> Option<&'static str> {
        match self {
            Self { of, .. } if of.is_empty() => Some("a target is of a server"),
            Self { at_least: None, aim: None, .. } => Some("a target has at-least or aim"),
            Self { metric, to, .. } if metric.is_to_another() != to.is_some() => {
                Some("a target has `to` if its metric sets a server against another, and only then")
            }
            _ => None,
        }
    }
}

impl Metric {
    fn is_to_another(self) -> bool {
        self == Self::AddedRatio || self.ratio_of().is_some()
    }

    fn more_is_better(self) -> bool {
        matches!(self, Self::RateRatio | Self::DeviceShare)
    }

    /// What is set against the same of another server.
    fn ratio_of(self) -> Option<fn(&Round) -> f64> {
        match self {
            Self::CostRatio => Some(|round| Quantity::Cost.of(round)),
            Self::RateRatio => Some(|round| Quantity::Rate.of(round)),
            Self::P99Ratio => Some(|round| Quantity::P99.of(round)),
            Self::MemoryRatio => Some(|round| round.resident_bytes as f64),
            Self::MemoryAndSlabRatio => {
                Some(|round| round.resident_bytes as f64 + round.slab_bytes as f64)
            }
            _ => None,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::CostRatio => "cost of a request",
            Self::RateRatio => "requests a second",
            Self::P99Ratio => "p99",
            Self::P99ToAlone => "p99 beside others to alone",
            Self::DeviceShare => "bytes a second to the device",
            Self::IdleBytes => "bytes of an idle connection",
            Self::MemoryRatio => "memory",
            Self::MemoryAndSlabRatio => "memory and slab",
            Self::AddedRatio => "what it adds to a request",
            Self::AddedUs => "what it adds to a request, us",
            Self::RingEntries => "ring entries a request",
        }
    }

    /// Whether the first of two figures is better.
    fn is_better(self, one: f64, other: f64) -> bool {
        if self.more_is_better() { one > other } else { one < other }
    }

    /// `noise` is what equals differ by, in the unit of the figure.
    fn judge(self, figure: Option<Spread>, bound: f64, noise: f64) -> Verdict {
        let Some(figure) = figure else { return Verdict::NotMeasured };
        if figure.contains(bound) || (figure.median - bound).abs() <= 2.0 * noise {
            Verdict::WithinNoise
        } else if self.is_better(figure.median, bound) {
            Verdict::Reached
        } else {
            Verdict::NotReached
        }
    }
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::NotReached => "NOT REACHED",
            Self::WithinNoise => "within noise",
            Self::NotMeasured => "not measured",
        }
    }
}

impl Outcome {
    /// All targets of the scenario.
    pub(crate) fn judged(&self) -> Vec<Judged> {
        self.scenario.targets.iter().map(|target| self.judge(target)).collect()
    }

    fn judge(&self, target: &Target) -> Judged {
        let metric = target.metric;
        let found = target.of.iter().filter_map(|of| {
            let (figure, to) = self.figure(target, of)?;
            Some((of, figure, to))
        });
        let best =
            found.reduce(
                |one, other| {
                    if metric.is_better(other.1.median, one.1.median) { other } else { one }
                },
            );
        let (of, figure, to) = match best {
            Some((of, figure, to)) => (of.clone(), Some(figure), to),
            None => (target.of.join(" or "), None, target.to.clone()),
        };
        let verdict = |bound: Option<f64>| {
            bound.map(|bound| metric.judge(figure, bound, self.noise(metric, &of, bound)))
        };
        let (at_least, aim) = (target.at_least, target.aim);
        let (verdict, aim_verdict) = (verdict(at_least), verdict(aim));
        let in_the_way = target.in_the_way.clone();
        Judged { metric, of, to, figure, at_least, verdict, aim, aim_verdict, in_the_way }
    }

    /// What a figure near a bound differs by between equals, in its own unit.
    fn noise(&self, metric: Metric, of: &str, bound: f64) -> f64 {
        let relative =
            |ratios: Vec<f64>| self.enough(ratios.into_iter()).map_or(0.0, |spread| spread.noise());
        let controls = self.lanes.iter().find(|lane| lane.control).zip(self.lanes.first());
        let Some((again, first)) = controls else { return 0.0 };
        if matches!(metric, Metric::AddedRatio | Metric::AddedUs) {
            let cost = common(again, first).map(|(again, first)| again.cost_us / first.cost_us);
            let noise = relative(cost.collect());
            let all = self.added();
            let without = all.iter().find(|one| one.server == of).map_or(0.0, |one| one.without);
            // That of a ratio of differences is in its interval, which is the widest there is.
            return if metric == Metric::AddedUs { noise * without } else { 0.0 };
        }
        let pairs = self.values(metric, again).into_iter().zip(self.values(metric, first));
        let ratios = pairs.filter_map(|(again, first)| Some(again? / first?));
        relative(ratios.collect()) * bound
    }

    /// What each round of a server says for a target; none where it does not count.
    fn values(&self, metric: Metric, lane: &Lane) -> Vec<Option<f64>> {
        let connections = f64::from(self.scenario.connections);
        let value = |(number, round): (usize, &Round)| {
            let value = match metric {
                Metric::P99ToAlone => to_alone((round, round.beside.as_ref()?)),
                Metric::DeviceShare => {
                    round.bytes_per_second() / self.ceilings.get(number)?.bytes_per_second
                }
                Metric::IdleBytes => {
                    (round.resident_bytes as f64 - lane.started_bytes as f64) / connections
                }
                Metric::RingEntries => round.ring.as_ref()?.enters,
                _ => metric.ratio_of()?(round),
            };
            round.void.is_none().then_some(value)
        };
        lane.rounds.iter().enumerate().map(value).collect()
    }

    /// What was measured of a server for a target, and whom it was set against.
    fn figure(&self, target: &Target, of: &str) -> Option<(Spread, Option<String>)> {
        let metric = target.metric;
        if matches!(metric, Metric::AddedRatio | Metric::AddedUs) {
            return self.added_figure(target, of);
        }
        let plain = |lane: &&Lane| !lane.control && lane.extra.is_none();
        let lane = self.lanes.iter().filter(plain).find(|lane| lane.name == of)?;
        let Some(value) = metric.ratio_of() else {
            let values = self.values(metric, lane).into_iter().flatten();
            return Some((self.enough(values).ok()?, None));
        };
        let wanted = target.to.as_deref()?;
        let best = self.lanes.iter().filter(plain).filter(|to| is_called(&to.name, wanted));
        let best = best.filter_map(|to| Some((to, to.spread(value)?.median)));
        let (to, _) =
            best.reduce(|one, other| if metric.is_better(other.1, one.1) { other } else { one })?;
        let ratios = common(lane, to).map(|(of, to)| value(of) / value(to));
        Some((self.enough(ratios).ok()?, Some(to.name.clone())))
    }

    fn added_figure(&self, target: &Target, of: &str) -> Option<(Spread, Option<String>)> {
        let all = self.added();
        let own = all.iter().find(|one| one.server == of)?;
        let Some(wanted) = target.to.as_deref() else { return Some((own.added, None)) };
        let peers =
            all.iter().filter(|one| one.extra == own.extra && is_called(&one.server, wanted));
        let least = peers.min_by(|a, b| a.added.median.total_cmp(&b.added.median))?;
        let (own, to) = (own.added, least.added);
        // Of two small differences no ratio can be made round by round. The widest interval that
        // the two leave is taken; a difference that may be nothing has no ratio.
        if to.low <= 0.0 {
            return None;
        }
        let half = [own.middle_half[0] / to.middle_half[1], own.middle_half[1] / to.middle_half[0]];
        let spread = Spread {
            low: own.low / if own.low < 0.0 { to.low } else { to.high },
            median: own.median / to.median,
            high: own.high / to.low,
            middle_half: half,
            rounds: own.rounds.min(to.rounds),
        };
        Some((spread, Some(least.server.clone())))
    }

    /// The targets as a table, if there are any.
    pub(crate) fn targets(&self) -> Option<Table> {
        let judged = self.judged();
        if judged.is_empty() {
            return None;
        }
        let columns = vec![
            words("target", "what is to be reached, by whom, and against whom"),
            words("measured", "the median of the rounds with its 95 % interval"),
            words("at least", "what has to be reached"),
            words("", "whether it is; within noise is neither yes nor no"),
            words("aim", "what is wished for"),
            words(" ", "whether that is reached"),
            words("in the way", "what was found to be in the way"),
        ];
        let rows = judged.iter().map(Judged::row).collect();
        Some(Table { title: "Targets".to_owned(), columns, rows })
    }
}

impl Judged {
    fn row(&self) -> Vec<String> {
        let to = self.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
        let sign = if self.metric.more_is_better() { "≥" } else { "≤" };
        let bound =
            |bound: Option<f64>| bound.map_or("–".to_owned(), |one| format!("{sign} {one}"));
        let word = |verdict: Option<Verdict>| verdict.map_or("", Verdict::words).to_owned();
        vec![
            format!("{} of {}{to}", self.metric.words(), self.of),
            self.figure.map_or("–".to_owned(), interval),
            bound(self.at_least),
            word(self.verdict),
            bound(self.aim),
            word(self.aim_verdict),
            self.in_the_way.clone().filter(|_| !self.is_reached()).unwrap_or_default(),
        ]
    }

    /// Whether nothing is left to be wished for.
    fn is_reached(&self) -> bool {
        let verdicts = [self.verdict, self.aim_verdict];
        verdicts.into_iter().flatten().all(|verdict| verdict == Verdict::Reached)
    }
}

/// The targets of all scenarios as one table, if there are any.
pub(crate) fn summary(outcomes: &[Outcome]) -> Option<Table> {
    let mut all = outcomes.iter().filter_map(|outcome| Some((outcome, outcome.targets()?)));
    let (first, mut table) = all.next()?;
    let name = |outcome: &Outcome, row: &mut Vec<String>| {
        row.insert(0, format!("{}, {}", outcome.scenario.name, outcome.conditions()));
    };
    table.rows.iter_mut().for_each(|row| name(first, row));
    for (outcome, mut next) in all {
        next.rows.iter_mut().for_each(|row| name(outcome, row));
        table.rows.append(&mut next.rows);
    }
    table.columns.insert(0, words("scenario", "what was asked for, and under which conditions"));
    table.title = "All targets".to_owned();
    Some(table)
}

/// Whether a lane is a server, in one of its configurations.
fn is_called(lane: &str, server: &str) -> bool {
    if server == BEST_FIXED {
        return lane
            .strip_prefix("pitcrew ")
            .is_some_and(|engine| engine != "auto" && !engine.contains(':'));
    }
    lane.strip_prefix(server).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extra::Extra;
    use crate::report::tests::{four, lane, outcome};
    use crate::servers::Contestant;

    fn target(metric: Metric, of: &[&str], to: Option<&str>, at_least: f64) -> Target {
        Target {
            metric,
            of: of.iter().map(|&of| of.to_owned()).collect(),
            to: to.map(str::to_owned),
            at_least: Some(at_least),
            aim: None,
            in_the_way: Some("the kernel's part".to_owned()),
        }
    }

    fn verdict(outcome: &Outcome, target: &Target) -> Verdict {
        outcome.judge(target).verdict.unwrap()
    }

    #[test]
    fn a_target_is_reached_or_not_or_within_noise() {
        let all = four();
        let uring = |at_least| {
            let target = target(Metric::CostRatio, &["pitcrew uring"], Some("nginx"), at_least);
            verdict(&all, &target)
        };
        // It is half of nginx-copy, the cheaper configuration, and equals differ by 1 %.
        assert_eq!(uring(0.55), Verdict::Reached);
        assert_eq!(uring(0.505), Verdict::WithinNoise);
        assert_eq!(uring(0.4), Verdict::NotReached);
        let rate = target(Metric::RateRatio, &["pitcrew uring"], Some("nginx"), 1.25);
        assert_eq!(verdict(&all, &rate), Verdict::Reached);
        let nobody = target(Metric::CostRatio, &["pitcrew auto"], Some("nginx"), 1.0);
        assert_eq!(verdict(&all, &nobody), Verdict::NotMeasured);
    }

    #[test]
    fn who_chooses_is_set_against_the_best_that_does_not() {
        let lanes = vec![
            lane("nginx", false, &[9.0, 9.0]),
            lane("pitcrew sendfile", false, &[8.0, 8.0]),
            lane("pitcrew uring", false, &[4.0, 4.0]),
            lane("pitcrew auto", false, &[5.0, 5.0]),
        ];
        let all = outcome(2, lanes);
        let judged =
            all.judge(&target(Metric::CostRatio, &["pitcrew auto"], Some(BEST_FIXED), 1.05));
        assert_eq!(
            (judged.to.as_deref(), judged.figure.unwrap().median),
            (Some("pitcrew uring"), 1.25)
        );
        assert_eq!(judged.verdict, Some(Verdict::NotReached));
    }

    #[test]
    fn equals_that_differ_leave_memory_undecided() {
        let mut lanes = vec![
            lane("nginx", false, &[9.0, 9.0]),
            lane("pitcrew auto", false, &[9.0, 9.0]),
            lane("nginx again", true, &[9.0, 9.0]),
        ];
        for round in &mut lanes[1].rounds {
            round.resident_bytes = 4 << 20;
        }
        let memory = target(Metric::MemoryRatio, &["pitcrew auto"], Some("nginx"), 1.0);
        assert_eq!(verdict(&outcome(2, lanes.clone()), &memory), Verdict::Reached);
        lanes[2].rounds[0].resident_bytes = 8 << 20;
        lanes[2].rounds[1].resident_bytes = 8 << 20;
        assert_eq!(verdict(&outcome(2, lanes), &memory), Verdict::WithinNoise);
    }

    #[test]
    fn targets_of_all_scenarios_stand_in_one_table() {
        let mut all = four();
        all.scenario.targets =
            vec![target(Metric::CostRatio, &["pitcrew uring"], Some("nginx"), 0.4)];
        let table = summary(&[all, outcome(1, Vec::new())]).unwrap();
        assert!(table.rows[0][0].starts_with("small, loopback"), "{table:?}");
        assert!(
            table.rows.len() > 2 && table.rows.iter().all(|row| row.len() == table.columns.len())
        );
        assert!(summary(&[]).is_none());
    }

    #[test]
    fn the_best_of_several_counts_and_few_rounds_do_not() {
        let all = four();
        let of = ["nginx", "pitcrew uring"];
        let judged = all.judge(&target(Metric::CostRatio, &of, Some("nginx-copy"), 0.9));
        assert_eq!(judged.of, "pitcrew uring");
        let eight = |cost: f64| [cost, cost, cost, cost, 99.0, 99.0, 99.0, 99.0];
        let lanes =
            vec![lane("nginx", false, &eight(8.0)), lane("pitcrew uring", false, &eight(4.0))];
        let few = target(Metric::CostRatio, &["pitcrew uring"], Some("nginx"), 0.9);
        assert_eq!(verdict(&outcome(8, lanes), &few), Verdict::NotMeasured);
    }

    #[test]
    fn what_an_extra_adds_is_a_target() {
        let with = |name: &str, costs: &[f64]| {
            let mut lane = lane(&format!("{name}+log"), false, costs);
            lane.contestant = Contestant::Pitcrew(name.to_owned());
            lane.extra = Some(Extra::Log);
            lane
        };
        let lanes = vec![
            lane("nginx", false, &[10.0, 10.0]),
            with("nginx", &[12.0, 12.0]),
            lane("pitcrew auto", false, &[5.0, 5.0]),
            with("pitcrew auto", &[5.5, 5.5]),
        ];
        let all = outcome(2, lanes);
        let ratio =
            |at_least| target(Metric::AddedRatio, &["pitcrew auto"], Some("nginx"), at_least);
        assert_eq!(verdict(&all, &ratio(0.5)), Verdict::Reached);
        assert_eq!(verdict(&all, &ratio(0.2)), Verdict::NotReached);
        let cost = target(Metric::AddedUs, &["pitcrew auto"], None, 0.1);
        assert_eq!(verdict(&all, &cost), Verdict::NotReached);
    }

    #[test]
    fn what_is_not_reached_is_shown_with_what_is_in_its_way() {
        let mut all = four();
        all.scenario.targets =
            vec![target(Metric::CostRatio, &["pitcrew uring"], Some("nginx"), 0.4)];
        let text = all.to_text();
        let line = text.lines().find(|line| line.starts_with("cost of a request of")).unwrap();
        let told = "to nginx-copy  0.500 [0.500 0.500]  ≤ 0.4     NOT REACHED";
        assert!(line.contains(told) && line.ends_with("the kernel's part"), "{text}");
        all.scenario.targets[0].at_least = Some(0.9);
        assert!(!all.to_text().contains("the kernel's part"), "reached");
        all.scenario.targets[0].at_least = Some(0.4);
        let told = &all.to_json()["targets"][0];
        assert_eq!(told["verdict"], "not_reached");
        assert_eq!(told["in_the_way"], "the kernel's part");
    }

    #[test]
    fn what_no_target_can_be_is_refused() {
        let good = target(Metric::CostRatio, &["x"], Some("nginx"), 1.0);
        assert_eq!(good.objection(), None);
        assert!(Target { at_least: None, ..good.clone() }.objection().is_some());
        assert!(Target { to: None, ..good.clone() }.objection().is_some());
        assert!(Target { metric: Metric::AddedUs, ..good.clone() }.objection().is_some());
        assert!(Target { of: Vec::new(), ..good }.objection().is_some());
    }
}
