//! The table over real sockets.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use pitcrew::http::refusal::Refusal;

use crate::case::{After, Case, Setup, each};
use crate::cases::cases;
use crate::check::{self, Marks};
use crate::common::{ENGINES, End, Fault, Server, Wire};
use crate::site::{self, MARKER, MARKER_FILE, Site};

impl Setup {
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Usual => &["--precompressed", "on"],
            Self::NoVariants => &["--precompressed", "off"],
            Self::FreshVariants => &["--precompressed", "fresh"],
            Self::Dotfiles => &["--precompressed", "on", "--dotfiles"],
            Self::NoLinks => &["--precompressed", "on", "--symlinks=false"],
            Self::TwoRequests => &["--precompressed", "on", "--requests-per-connection", "2"],
            Self::TwoIndexes => {
                &["--precompressed", "on", "--index", "index.html", "--index", "other.html"]
            }
            Self::Hasty => {
                &["--precompressed", "on", "--head-timeout", "50ms", "--body-timeout", "50ms"]
            }
            Self::Listing => &["--precompressed", "on", "--listing"],
            Self::ContentTags => &["--precompressed", "on", "--etag", "content"],
            // They are in a file.
            Self::Rules => &[],
        }
    }
}

/// A server in an engine for one setup, and what it should have counted.
pub(crate) struct Player {
    pub(crate) server: Server,
    marks: Marks,
    refusals: BTreeMap<&'static str, u64>,
}

/// How the bytes of a case are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// At once.
    Whole,
    /// At once, with the marker behind.
    Marked,
    /// In two parts that are cut here.
    Parts(usize),
}

impl Player {
    pub(crate) fn new(site: &Site, engine: &str, setup: Setup) -> Self {
        let mut flags = vec!["--engine", engine, "--workers", "1"];
        flags.extend(setup.flags());
        let rules = site.rules();
        if setup == Setup::Rules {
            flags.extend(["--config", rules.to_str().unwrap()]);
        }
        let server = Server::start(&flags, &site.root());
        let marks = Marks::learn(setup, |request| {
            let mut wire = server.connect();
            wire.send(request);
            wire.response().unwrap()
        });
        Self { server, marks, refusals: BTreeMap::new() }
    }

    /// Plays a case and checks all that comes.
    pub(crate) fn play(&mut self, case: &mut Case, way: Way) {
        self.marks.settle(case);
        let mut wire = self.server.connect();
        let asked = SystemTime::now();
        // A refusal may come before the last byte was taken, so a failed send is no failure.
        match way {
            Way::Whole => drop(wire.try_send(&case.sent)),
            Way::Marked => drop(wire.try_send(&[&case.sent, MARKER].concat())),
            Way::Parts(at) => {
                drop(wire.try_send(&case.sent[..at]));
                // Time for the server to look at the first part; it need not take it.
                std::thread::sleep(Duration::from_millis(1));
                drop(wire.try_send(&case.sent[at..]));
            }
        }
        if case.after == After::Pending {
            wire.finish();
        }
        for (number, expected) in case.answers.iter().enumerate() {
            let what = format!("{} (answer {}, {way:?})", case.name, number + 1);
            let answer = wire
                .answer(expected.method)
                .unwrap_or_else(|fault| panic!("{what}: {fault:?} instead of {expected:?}"));
            check::check(&what, expected, &answer);
            check::date_is_right(&what, asked, &answer);
            check::says_its_end(case, number, &answer);
        }
        for refusal in case.refusals() {
            *self.refusals.entry(refusal.name()).or_default() += 1;
        }
        self.end(&mut wire, case, way);
    }

    fn end(&self, wire: &mut Wire, case: &Case, way: Way) {
        let what = format!("{} ({way:?})", case.name);
        match (case.after, way) {
            (After::Open, Way::Marked) => {
                let marker = wire.response().unwrap_or_else(|fault| {
                    panic!("{what}: the marker is not answered: {fault:?}")
                });
                assert_eq!(marker.status, 200, "{what}: the marker: {marker:?}");
                assert!(marker.body == site::content(MARKER_FILE), "{what}: the marker");
            }
            (After::Open, _) => {
                wire.serves().unwrap_or_else(|fault| panic!("{what}: not kept open: {fault:?}"));
            }
            // The second part may come after the close, which is answered by a reset.
            (After::Closed, Way::Parts(_)) => {
                assert!(matches!(wire.end(), End::Closed | End::Reset), "{what}");
            }
            (After::Closed, _) => assert_eq!(wire.end(), End::Closed, "{what}"),
            (After::Pending, _) => assert_eq!(wire.rest(), (vec![], Fault::Closed), "{what}"),
        }
    }

    /// Every refusal was counted by its cause, and no other.
    fn counts_add_up(&self) {
        for refusal in Refusal::ALL {
            let wanted = self.refusals.get(refusal.name()).copied().unwrap_or(0);
            let path = ["refusals", refusal.name()];
            assert_eq!(self.server.figure(&path), wanted, "refusals for {refusal:?}");
        }
    }
}

fn play_all(engine: &str, way: Way) {
    let site = Site::new();
    for setup in Setup::ALL {
        let mut player = Player::new(&site, engine, setup);
        let skipped = |case: &Case| way == Way::Marked && case.alone;
        let cases = cases().into_iter().filter(|case| case.setup == setup && !skipped(case));
        each(cases.collect(), |_, mut case| player.play(&mut case, way));
        player.counts_add_up();
    }
}

macro_rules! table_in_each_engine {
    ($($engine:ident),*) => {$(
        mod $engine {
            use super::{Way, play_all};

            #[test]
            fn whole_table() { play_all(stringify!($engine), Way::Whole) }
            #[test]
            fn whole_table_with_a_marker_behind() { play_all(stringify!($engine), Way::Marked) }
        }
    )*};
}

table_in_each_engine!(sendfile, splice, uring, direct, copy, auto);

/// RFC 9112 section 2.2: a message is a sequence of octets, however they are packed.
#[test]
fn whole_table_in_two_parts() {
    let site = Site::new();
    // Where time is short, a slow machine would see the time-out of the first part.
    for setup in Setup::ALL.into_iter().filter(|setup| *setup != Setup::Hasty) {
        let mut players: Vec<_> =
            ENGINES.iter().map(|engine| Player::new(&site, engine, setup)).collect();
        let cases = cases().into_iter().filter(|case| case.setup == setup && !case.sent.is_empty());
        each(cases.collect(), |number, mut case| {
            // Anywhere, but the same place each time.
            let at = (number + 1) * 7919 % case.sent.len();
            let count = players.len();
            let player = &mut players[number % count];
            // Marks change the length, and the cut must stay where it is.
            player.marks.settle(&mut case);
            player.play(&mut case, Way::Parts(at));
        });
        players.iter().for_each(Player::counts_add_up);
    }
}
