//! Reports on the figures, for those who ask: made in pieces, shared, and never older than the
//! question.
//!
//! A report serves every request that began before its reading did. At most one of a form is begun
//! in [`REPORT_EVERY`], and a piece of one is made in a turn, so that neither many workers nor many
//! scrapers hold the clients of the server up. When it is made, those who wait are told in small
//! groups, one a turn: what they all send would be one long turn otherwise.

use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use super::shards::Shards;
use crate::base::Instant;
use crate::limits::{REPORT_EVERY, REPORT_PIECE_COST, REPORT_WAKES, REPORTS_MAX};
use crate::ring::{Deadline, Io, Owner};
use crate::telemetry::{About, Form, Report, Shard};

/// See the module.
#[derive(Debug)]
pub(super) struct Reports {
    shards: Arc<Shards>,
    making: Option<Making>,
    /// By form.
    desks: [Desk; Form::ALL.len()],
    /// Reports that were handed out and may still be on their way.
    out: Vec<Weak<[u8]>>,
    /// Those whose report is made, and who are told in the turns that follow.
    due: VecDeque<Owner>,
    /// Those who are told in this turn.
    woken: Vec<Owner>,
}

/// What is known of one form.
#[derive(Debug, Default)]
struct Desk {
    waiting: Vec<Owner>,
    begun: Option<Instant>,
    made: Option<(Instant, Rc<[u8]>)>,
}

#[derive(Debug)]
struct Making {
    form: Form,
    begun: Instant,
    report: Report,
    /// Those who counted when it was begun.
    shards: Arc<[Shard]>,
    waiting: Vec<Owner>,
}

/// The answer to a question for a report.
#[derive(Debug)]
pub(super) enum Asked {
    /// Here it is.
    Made(Rc<[u8]>),
    /// It is being made; the owner is woken.
    Waiting,
    /// Too many are on their way.
    Full,
}

impl Reports {
    pub(super) fn new(shards: Arc<Shards>) -> Self {
        let desks = std::array::from_fn(|_| Desk::default());
        Self {
            shards,
            making: None,
            desks,
            out: Vec::new(),
            due: VecDeque::new(),
            woken: Vec::new(),
        }
    }

    /// A report that was begun at `since` or later.
    pub(super) fn ask(&mut self, form: Form, owner: Owner, since: Instant) -> Asked {
        let desk = &mut self.desks[form as usize];
        match &desk.made {
            Some((begun, report)) if *begun >= since => Asked::Made(Rc::clone(report)),
            _ => {
                self.out.retain(|report| report.strong_count() > 0);
                if self.out.len() >= REPORTS_MAX {
                    return Asked::Full;
                }
                desk.waiting.push(owner);
                Asked::Waiting
            }
        }
    }

    /// Whether somebody waits and it is not known when work goes on.
    pub(super) fn has_work(&self) -> bool {
        let waiting = self.desks.iter().any(|desk| !desk.waiting.is_empty());
        self.making.is_some() || waiting || !self.due.is_empty()
    }

    /// Makes one piece, or says by a deadline when it may, and tells some of those whose report is
    /// made. `about` tells of the server as of now. Whether it wants the next turn, too.
    pub(super) fn work(&mut self, io: &mut dyn Io, about: impl FnOnce() -> About) -> bool {
        let goes_on = self.make(io, about);
        let told = self.due.len().min(REPORT_WAKES);
        self.woken.extend(self.due.drain(..told));
        goes_on || !self.due.is_empty()
    }

    fn make(&mut self, io: &mut dyn Io, about: impl FnOnce() -> About) -> bool {
        if self.making.is_none() {
            match self.next_form(io.now()) {
                Some((form, Duration::ZERO)) => self.begin(form, io.now(), about()),
                Some((_, wait)) => {
                    io.deadline(Some((Deadline::Retry, io.now() + wait)));
                    return false;
                }
                None => return false,
            }
        }
        let making = self.making.as_mut().expect("it was just begun, or goes on");
        if let Some(text) = making.report.go_on(&making.shards, REPORT_PIECE_COST) {
            let Making { form, begun, waiting, .. } =
                self.making.take().expect("it has come to its end");
            let report: Rc<[u8]> = text.into();
            self.out.push(Rc::downgrade(&report));
            self.desks[form as usize].made = Some((begun, report));
            self.due.extend(waiting);
        }
        self.making.is_some() || self.desks.iter().any(|desk| !desk.waiting.is_empty())
    }

    /// The next owner who may ask again.
    pub(super) fn next_woken(&mut self) -> Option<Owner> {
        self.woken.pop()
    }

    fn begin(&mut self, form: Form, begun: Instant, mut about: About) {
        let desk = &mut self.desks[form as usize];
        desk.begun = Some(begun);
        let waiting = std::mem::take(&mut desk.waiting);
        let shards = self.shards.all();
        let counting = shards.iter().filter(|shard| !shard.is_left());
        // The place of what the server counts itself has no turns.
        let turns = counting.map(Shard::longest_turn).filter(|longest| *longest > 0);
        about.longest_turns = turns.collect();
        let report = Report::new(form, about);
        self.making = Some(Making { form, begun, report, shards, waiting });
    }

    /// The form that may be begun first, and how long that is from now.
    fn next_form(&self, now: Instant) -> Option<(Form, Duration)> {
        let wanted = Form::ALL.into_iter().zip(&self.desks);
        let wanted = wanted.filter(|(_, desk)| !desk.waiting.is_empty());
        let waits = wanted.map(|(form, desk)| {
            let passed = desk.begun.map_or(REPORT_EVERY, |begun| now.since(begun));
            (form, REPORT_EVERY.saturating_sub(passed))
        });
        waits.min_by_key(|(_, wait)| *wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::simulated::{Simulated, World};
    use crate::ring::{Options, Reactor, Wake};

    struct Rig {
        reactor: Reactor<Simulated>,
        reports: Reports,
        itself: Owner,
        pieces: usize,
    }

    impl Rig {
        fn new(workers: usize) -> Self {
            let options = Options {
                rings: 1,
                operations_max: 16,
                owners_max: 200,
                pools: [(4096, 4); 5],
                pipes_max: 1,
                pipe_bytes: 4096,
                turn_bytes: 4096,
                shared_turn_bytes: 4096,
            };
            let kernel = World::new(1).kernel();
            let mut reactor = Reactor::new(kernel, options, Arc::default(), |_, _| None).unwrap();
            let itself = reactor.register().unwrap();
            let shards = Arc::new(Shards::default());
            (0..workers).for_each(|_| drop(shards.take()));
            Self { reactor, reports: Reports::new(shards), itself, pieces: 0 }
        }

        fn ask(&mut self, owner: Owner, since: Instant) -> Asked {
            self.reports.ask(Form::Json, owner, since)
        }

        /// Turns until somebody may ask again; says who.
        fn turn_until_woken(&mut self) -> Owner {
            for _ in 0..1000 {
                if let Some(owner) = self.reports.next_woken() {
                    return owner;
                }
                self.pieces += 1;
                if self.reports.work(&mut self.reactor.io(self.itself), About::default) {
                    self.reactor.wake_next_turn(self.itself);
                }
                self.reactor.turn().unwrap();
                while self.reactor.next_wake().is_some() {}
            }
            panic!("nobody was woken");
        }
    }

    #[test]
    fn a_report_is_shared_by_all_who_asked_before_it_was_begun_and_by_nobody_later() {
        let mut rig = Rig::new(1);
        let owners: Vec<_> = (0..3).map(|_| rig.reactor.register().unwrap()).collect();
        let first = rig.reactor.now();
        assert!(matches!(rig.ask(owners[0], first), Asked::Waiting));
        assert!(matches!(rig.ask(owners[1], first), Asked::Waiting));
        rig.turn_until_woken();
        rig.turn_until_woken();
        let (Asked::Made(one), Asked::Made(other)) =
            (rig.ask(owners[0], first), rig.ask(owners[1], first))
        else {
            panic!("it was made");
        };
        assert!(Rc::ptr_eq(&one, &other));
        let later = rig.reactor.now();
        assert!(later > first);
        assert!(matches!(rig.ask(owners[2], later), Asked::Waiting));
        assert_eq!(rig.turn_until_woken(), owners[2]);
        let passed = rig.reactor.now().since(first);
        assert!(passed >= REPORT_EVERY, "a second report {passed:?} after the first");
        let Asked::Made(next) = rig.ask(owners[2], later) else { panic!("it was made") };
        assert!(!Rc::ptr_eq(&one, &next));
    }

    /// However many scrape: one report is made, in pieces of which each turn makes one, and no
    /// turn lets more than a few of them send it.
    #[test]
    fn a_thousand_scrapers_cost_a_turn_no_more_than_a_few_do() {
        let mut rig = Rig::new(1);
        let since = rig.reactor.now();
        // The same ones ask again: who asks is told once for each time.
        let owners: Vec<_> = (0..100).map(|_| rig.reactor.register().unwrap()).collect();
        for owner in owners.iter().cycle().take(1000) {
            assert!(matches!(rig.ask(*owner, since), Asked::Waiting));
        }
        let (mut told, mut turns) = (0, 0);
        let mut first = None;
        while told < 1000 {
            turns += 1;
            assert!(turns < 1000, "they are told in the end");
            rig.reports.work(&mut rig.reactor.io(rig.itself), About::default);
            let mut now = 0;
            while let Some(owner) = rig.reports.next_woken() {
                now += 1;
                let Asked::Made(report) = rig.ask(owner, since) else { panic!("it was made") };
                assert!(Rc::ptr_eq(first.get_or_insert_with(|| Rc::clone(&report)), &report));
            }
            assert!(now <= REPORT_WAKES, "{now} of them send in one turn");
            told += now;
            assert_eq!(rig.reports.has_work(), told < 1000);
        }
        assert!(turns > 1000 / REPORT_WAKES, "{turns} turns");
    }

    #[test]
    fn the_more_workers_there_are_the_more_pieces_it_takes() {
        let pieces = [1, 64].map(|workers| {
            let mut rig = Rig::new(workers);
            let since = rig.reactor.now();
            let owner = rig.reactor.register().unwrap();
            assert!(matches!(rig.ask(owner, since), Asked::Waiting));
            rig.turn_until_woken();
            rig.pieces
        });
        assert!(pieces[0] > 1 && pieces[1] > 10 * pieces[0], "{pieces:?}");
    }

    #[test]
    fn reports_that_nobody_takes_are_bounded() {
        let mut rig = Rig::new(1);
        let owner = rig.reactor.register().unwrap();
        let mut held = Vec::new();
        for _ in 0..REPORTS_MAX {
            let since = rig.reactor.now();
            assert!(matches!(rig.ask(owner, since), Asked::Waiting));
            rig.turn_until_woken();
            let Asked::Made(report) = rig.ask(owner, since) else { panic!("it was made") };
            held.push(report);
            rig.reactor.wake(rig.itself, Wake::Turn);
            rig.reactor.turn().unwrap();
        }
        let since = rig.reactor.now();
        assert!(matches!(rig.ask(owner, since), Asked::Full));
        // The last one is kept for who may share it.
        held.truncate(1);
        assert!(matches!(rig.ask(owner, since), Asked::Waiting));
    }
}
