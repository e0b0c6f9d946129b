//! The table of refusals, walked: each has its status, its end of the connection, and its
//! counter.

use pitcrew::http::refusal::Refusal::{self, *};

use crate::case::{After, Case, Setup};
use crate::cases::cases;
use crate::common::{ENGINES, End, Server, Wire, eventually, figure, get};
use crate::real::{Player, Way};
use crate::site::Site;

/// What provokes a refusal.
enum Provoked {
    /// A case of the table.
    Case,
    /// A test of its own, below.
    Here,
    /// Nothing that comes over a socket, and why.
    No(&'static str),
}

/// Every refusal as it should be, written down once more and not taken from the table under
/// test: status, and whether the connection ends.
const EXPECTED: &[(Refusal, u16, bool, Provoked)] = {
    use Provoked::{Case, Here, No};
    &[
        (EmptyLines, 400, true, Case),
        (BareLineFeed, 400, true, Case),
        (BareCarriageReturn, 400, true, Case),
        (MethodMissing, 400, true, Case),
        (MethodByte, 400, true, Case),
        (MethodTooLong, 501, true, Case),
        (TargetMissing, 400, true, Case),
        (TargetByte, 400, true, Case),
        (TargetTooLong, 414, true, Case),
        (VersionMissing, 400, true, Case),
        (VersionMalformed, 400, true, Case),
        (VersionUnsupported, 505, true, Case),
        (HeadTooLong, 431, true, Case),
        (FieldsTooMany, 431, true, Case),
        (FieldFolded, 400, true, Case),
        (FieldNameMissing, 400, true, Case),
        (FieldNameByte, 400, true, Case),
        (FieldNameSpace, 400, true, Case),
        (FieldValueByte, 400, true, Case),
        (HostMissing, 400, true, Case),
        (HostRepeated, 400, true, Case),
        (HostInvalid, 400, true, Case),
        (LengthAndCoding, 400, true, Case),
        (LengthMalformed, 400, true, Case),
        (LengthRepeated, 400, true, Case),
        (CodingMalformed, 400, true, Case),
        (CodingUnknown, 501, true, Case),
        (CodingInHttp10, 400, true, Case),
        (MethodNotAllowed, 405, false, Case),
        (MethodUnknown, 501, false, Case),
        (ExpectationUnknown, 417, false, Case),
        (TargetForm, 400, false, Case),
        (TargetScheme, 400, false, Case),
        (TargetAuthority, 400, false, Case),
        (TargetEscape, 400, false, Case),
        (TargetNul, 400, false, Case),
        (TargetSlash, 400, false, Case),
        (TargetBackslash, 400, false, Case),
        (TargetClimbs, 400, false, Case),
        (NotFound, 404, false, Case),
        (Gone, 410, false, No("a rule says so, as tests/rules.rs does")),
        (Forbidden, 403, false, No("it is told with forbidden = 403 only, see tests/rules.rs")),
        (PreconditionFailed, 412, false, Case),
        (RangeUnsatisfiable, 416, false, Case),
        (ChunkSize, 400, true, Case),
        (ChunkExtension, 400, true, Case),
        (ChunkEnd, 400, true, Case),
        (TrailerMalformed, 400, true, Case),
        (TrailerTooLong, 431, true, Case),
        (BodyTooLong, 413, true, Case),
        (HeadTimeout, 408, true, Case),
        (BodyTimeout, 408, true, Case),
        (ConnectionsTooMany, 503, true, Here),
        (AddressTooMany, 503, false, No("a proxy names its client, see tests/http/limits.rs")),
        (Overloaded, 503, false, No("every entry of the cache must be in flight at once")),
        (StorageUnavailable, 503, false, Here),
        (OwnFault, 500, true, No("it stands for what cannot happen")),
    ]
};

#[test]
fn every_refusal_has_its_row() {
    let known: Vec<Refusal> = EXPECTED.iter().map(|row| row.0).collect();
    assert_eq!(known, Refusal::ALL, "a row for each refusal, in the order of the table");
    for (refusal, status, closes, _) in EXPECTED {
        assert_eq!(refusal.status().code(), *status, "{refusal:?}");
        assert_eq!(refusal.closes(), *closes, "{refusal:?}");
    }
}

/// For each refusal one case that provokes it and it alone: the counter rises by one, the others
/// stay, and the connection lives on or ends as the row says.
#[test]
fn every_refusal_is_answered_and_counted() {
    let site = Site::new();
    let mut usual = Player::new(&site, "sendfile", Setup::Usual);
    let mut hasty = Player::new(&site, "uring", Setup::Hasty);
    for (refusal, status, closes, provoked) in EXPECTED {
        let case = cases().into_iter().find(|case| provokes(case, *refusal, *closes));
        let mut case = match (provoked, case) {
            (Provoked::Case, Some(case)) => case,
            (Provoked::Case, None) => panic!("no case provokes {refusal:?} and nothing else"),
            (Provoked::Here, None) => continue,
            (Provoked::No(why), None) => {
                eprintln!("{refusal:?} is not provoked: {why}");
                continue;
            }
            (Provoked::Here | Provoked::No(_), Some(case)) => {
                panic!("{refusal:?} is provoked by {}", case.name)
            }
        };
        let player = if case.setup == Setup::Hasty { &mut hasty } else { &mut usual };
        let before = player.server.telemetry();
        player.play(&mut case, Way::Whole);
        let after = player.server.telemetry();
        assert_eq!(case.answers[0].status, *status, "{}", case.name);
        for other in Refusal::ALL {
            let path = ["refusals", other.name()];
            let risen = figure(&after, &path) - figure(&before, &path);
            assert_eq!(risen, u64::from(other == refusal), "{other:?} in {}", case.name);
        }
    }
}

fn provokes(case: &Case, refusal: Refusal, closes: bool) -> bool {
    let [answer] = &case.answers[..] else { return false };
    let after = if closes { After::Closed } else { After::Open };
    answer.refusal == Some(refusal)
        && case.after == after
        && matches!(case.setup, Setup::Usual | Setup::Hasty)
}

/// What is begun may take as long as it likes.
const PATIENT: [&str; 4] = ["--head-timeout", "10m", "--head-rate", "0"];
/// Who has begun a request does not give its place to others, however long it waits.
const BEGUN: &[u8] = b"GET /telemetry HTTP/1.1\r\nHo";
const REST: &[u8] = b"st: a\r\nAccept: application/json\r\n\r\n";

/// One more than the limit is told so, and when to come back (RFC 9110 section 10.2.3).
#[test]
fn a_connection_too_many_is_told_so() {
    let site = Site::new();
    ENGINES.iter().for_each(|engine| told_so(&site, engine));
}

fn told_so(site: &Site, engine: &str) {
    let flags = ["--engine", engine, "--workers", "1", "--connections", "2"];
    let server = Server::start(&[&flags[..], &PATIENT].concat(), &site.root());
    let mut held: Vec<Wire> = (0..2).map(|_| server.connect()).collect();
    for wire in &mut held {
        wire.serves().unwrap();
        wire.send(BEGUN);
    }
    let mut third = server.connect();
    let answer = third.response().unwrap();
    assert_eq!((answer.status, answer.says_close()), (503, true), "{answer:?}");
    assert!(answer.field("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()));
    assert_eq!(third.end(), End::Closed);
    drop(third);
    // Those within the limit go on, and one of them asks for the figures.
    held[0].send(REST);
    let told = held[0].response().unwrap();
    let told = serde_json::from_slice(&told.body).unwrap();
    assert_eq!(figure(&told, &["refusals", "connections_too_many"]), 1);
    held[1].send(REST);
    assert_eq!(held[1].response().unwrap().status, 200);
    // A place that is free again is taken.
    drop(held.pop());
    eventually("a connection is taken again", || server.connect().serves().ok());
}

/// One more than the limit waits for its turn, if that is asked for (RFC 9110 section 15.6.4
/// leaves it to the server to refuse).
#[test]
fn a_connection_too_many_waits_if_it_is_told_to() {
    let site = Site::new();
    let flags = ["--workers", "1", "--connections", "2", "--connections-beyond", "wait"];
    let server = Server::start(&[&flags[..], &PATIENT].concat(), &site.root());
    let mut held: Vec<Wire> = (0..2).map(|_| server.connect()).collect();
    for wire in &mut held {
        wire.serves().unwrap();
        wire.send(BEGUN);
    }
    let mut third = server.connect();
    third.send(&get("/plain.txt", ""));
    held[0].send(REST);
    let told = serde_json::from_slice(&held[0].response().unwrap().body).unwrap();
    assert_eq!(figure(&told, &["connections", "open"]), 2);
    assert!(figure(&told, &["connections", "accepts_held"]) > 0);
    drop(held.pop());
    assert_eq!(third.response().unwrap().status, 200);
    third.serves().unwrap();
    assert_eq!(held[0].serves(), Ok(()));
    held[0].send(&get("/telemetry", ""));
    let told = serde_json::from_slice(&held[0].response().unwrap().body).unwrap();
    assert_eq!(figure(&told, &["farewells", "too_many"]), 0);
}

/// Out of descriptors, a name that is not open yet gets 503 and the connection goes on (RFC 9110
/// section 15.6.4).
#[test]
fn a_shortage_of_descriptors_is_told_and_passes() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let site = Site::new();
    let server = Server::engine("sendfile", &site.root());
    let mut wire = server.connect();
    wire.serves().unwrap();
    let process = Pid::from_raw(i32::try_from(server.id()).unwrap());
    let usual = getrlimit(Resource::Nofile);
    let limit = |current| {
        prlimit(process, Resource::Nofile, Rlimit { current, maximum: usual.maximum }).unwrap();
    };
    limit(Some(3));
    wire.send(&get("/style.css", ""));
    let answer = wire.response().unwrap();
    assert_eq!((answer.status, answer.says_close()), (503, false), "{answer:?}");
    assert!(answer.field("retry-after").is_some(), "{answer:?}");
    limit(usual.current);
    wire.send(&get("/style.css", ""));
    assert_eq!(wire.response().unwrap().status, 200);
    assert_eq!(server.figure(&["refusals", "storage_unavailable"]), 1);
}
