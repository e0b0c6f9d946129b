//! What happens to names is seen by the next request, however long names are good.

use pitcrew::ring::Technique;
use pitcrew::ring::simulated::{Fault, Faults, World};
use rustix::io::Errno;

use super::worker::Rig;

/// The answer to one request: its status, and its body if it is 200.
fn get(rig: &mut Rig, path: &str) -> String {
    let client = rig.ask(path);
    let answer = rig.first_of(&client);
    client.close();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    match &head[9..12] {
        "200" => body.to_owned(),
        status => status.to_owned(),
    }
}

/// Asks until nothing is looked up any more.
fn settle(rig: &mut Rig, paths: &[&str]) {
    for _ in 0..8 {
        for path in paths {
            get(rig, path);
        }
    }
    let before = opens(rig);
    for path in paths {
        get(rig, path);
    }
    assert_eq!(opens(rig), before, "what is watched is not looked up");
}

fn opens(rig: &Rig) -> u64 {
    rig.shard.ring.technique(Technique::Open).operations.read()
}

fn world() -> World {
    let world = World::new(3);
    world.file("a/b/file", "one");
    world.file("a/b/other", "stays");
    world.file("next/file", "two");
    world.file("index.html", "home");
    world.link("way", "a/b");
    world.link("a/up", "../a/./b");
    world.link("chain", "a/up/../../way/");
    world.link("name", "a/b/file");
    world.link("gone", "none/file");
    world.link("a/b/on", "../../next/file");
    world
}

/// Each change, and what is asked for: before and after it.
type Change = (fn(&World), &'static str, &'static str, &'static str);

const CHANGES: &[Change] = &[
    (|world| world.file("a/b/file", "two"), "/a/b/file", "one", "two"),
    (|world| world.rename("next/file", "a/b/file"), "/a/b/file", "one", "two"),
    (|world| world.remove("a/b/file"), "/a/b/file", "one", "404"),
    (|world| world.file("a/b/new", "two"), "/a/b/new", "404", "two"),
    (|world| world.file("a/new/deep/file", "two"), "/a/new/deep/file", "404", "two"),
    (|world| world.rename("a", "gone"), "/a/b/file", "one", "404"),
    (|world| world.remove("a/b"), "/a/b/file", "one", "404"),
    (|world| world.rename("next", "a/b"), "/a/b/file", "one", "two"),
    (|world| world.forbid("a/b/file"), "/a/b/file", "one", "404"),
    (|world| world.forbid("a/b"), "/a/b/file", "one", "404"),
    (|world| world.file("index.html", "two"), "/", "home", "two"),
    (
        |world| {
            world.remove("a/b");
            world.link("a/b", "../next");
        },
        "/a/b/file",
        "one",
        "two",
    ),
    (|world| world.link("way", "next"), "/way/file", "one", "two"),
    (|world| world.file("a/b/file", "two"), "/way/file", "one", "two"),
    (|world| world.remove("a/b/file"), "/way/file", "one", "404"),
    (|world| world.rename("a", "gone-away"), "/way/file", "one", "404"),
    (|world| world.rename("next", "a/b"), "/way/file", "one", "two"),
    (|world| world.forbid("a/b"), "/way/file", "one", "404"),
    (|world| world.link("a/b/new", "../../next/file"), "/way/new", "404", "two"),
    (|world| world.link("a/b/file", "../../next/file"), "/way/file", "one", "two"),
    (|world| world.file("next/file", "three"), "/way/on", "two", "three"),
    (|world| world.file("next/file", "three"), "/a/b/on", "two", "three"),
    (|world| world.link("a/up", "../next"), "/a/up/file", "one", "two"),
    (|world| world.link("way", "next"), "/chain/file", "one", "two"),
    (|world| world.remove("a/up"), "/chain/file", "one", "404"),
    (|world| world.link("way", "/next"), "/chain/file", "one", "404"),
    (|world| world.link("name", "next/file"), "/name", "one", "two"),
    (|world| world.file("name", "two"), "/name", "one", "two"),
    (|world| world.file("a/b/file", "two"), "/name", "one", "two"),
    (|world| world.link("a/b/file", "../../next/file"), "/name", "one", "two"),
    (|world| world.remove("a/b"), "/name", "one", "404"),
    (|world| world.rename("next", "a/b"), "/name", "one", "two"),
    (|world| world.file("none/file", "two"), "/gone", "404", "two"),
    (|world| world.file("none/file/deep", "two"), "/gone/deep", "404", "two"),
];

#[test]
fn a_change_is_seen_by_the_next_request_when_names_are_watched() {
    for (number, (change, path, before, after)) in CHANGES.iter().enumerate() {
        let mut rig = Rig::with(world(), true, 0);
        settle(&mut rig, &[path, "/a/b/other", "/index.html"]);
        assert_eq!(get(&mut rig, path), *before, "{number}: {path}");
        change(&rig.world);
        assert_eq!(get(&mut rig, path), *after, "{number}: {path}");
        assert!(rig.shard.cache.notices.read() > 0, "{number}: it was told");
    }
}

#[test]
fn a_change_is_seen_by_the_next_request_while_no_watch_is_there_yet() {
    for asked in 1..6 {
        for (number, (change, path, before, after)) in CHANGES.iter().enumerate() {
            let mut rig = Rig::with(world(), true, 0);
            for _ in 0..asked {
                assert_eq!(get(&mut rig, path), *before, "{number}: {path}");
            }
            change(&rig.world);
            assert_eq!(get(&mut rig, path), *after, "{number}, asked {asked} times: {path}");
        }
    }
}

#[test]
fn what_is_not_watched_waits_for_its_time() {
    let mut rig = Rig::with(world(), false, 0);
    settle(&mut rig, &["/a/b/file"]);
    rig.world.file("a/b/file", "two");
    assert_eq!(get(&mut rig, "/a/b/file"), "one");
    assert_eq!(rig.shard.cache.watches.read(), 0);
}

/// It is an error for the names that were passed, by a directory or as the name itself.
#[test]
fn a_link_that_leads_out_is_watched_until_it_leads_elsewhere() {
    let mut rig = Rig::with(world(), true, 0);
    rig.world.link("way", "../a/b");
    rig.world.link("name", "/a/b/file");
    rig.world.link("round", "round");
    rig.world.link("circle", "circle");
    settle(&mut rig, &["/way/file", "/name", "/round", "/circle/file", "/a/b/file"]);
    assert_eq!(rig.shard.cache.unwatched.read(), 0);
    assert_eq!(rig.shard.cache.watches_refused.read(), 0);
    for path in ["/way/file", "/name", "/round", "/circle/file"] {
        assert_eq!(get(&mut rig, path), "404", "{path}");
    }
    let others =
        [("way", "next"), ("name", "next/file"), ("round", "next/file"), ("circle", "next")];
    for (link, target) in others {
        rig.world.link(link, target);
    }
    for path in ["/way/file", "/name", "/round", "/circle/file"] {
        assert_eq!(get(&mut rig, path), "two", "{path}");
    }
}

#[test]
fn what_links_lead_to_is_watched() {
    let mut rig = Rig::with(world(), true, 0);
    let paths = ["/way/file", "/a/up/file", "/chain/other", "/name", "/gone", "/a/b/file"];
    settle(&mut rig, &paths);
    assert_eq!(rig.shard.cache.unwatched.read(), 0);
    assert_eq!(rig.shard.cache.watches_refused.read(), 0);
    assert_eq!(rig.shard.cache.watches.read(), 3, "the root, a and b");
}

#[test]
fn after_a_loss_everything_is_looked_up_again() {
    for (change, path, _, after) in CHANGES {
        let mut rig = Rig::with(world(), true, 0);
        settle(&mut rig, &[path, "/a/b/other"]);
        rig.world.set_faults(Faults { notices_lost: 1000, ..Faults::NONE });
        change(&rig.world);
        assert_eq!(get(&mut rig, path), *after, "{path}");
        assert!(rig.shard.cache.notices_lost.read() > 0, "{path}");
        let before = opens(&rig);
        get(&mut rig, "/a/b/other");
        assert!(opens(&rig) > before, "nothing is relied on");
    }
}

#[test]
fn who_cannot_be_heard_is_not_relied_on() {
    let mut rig = Rig::with(world(), true, 0);
    settle(&mut rig, &["/a/b/file"]);
    rig.world.script(Technique::Notices, 0, Fault::Fail(Errno::IO));
    rig.world.file("a/b/file", "two");
    assert_eq!(get(&mut rig, "/a/b/file"), "two");
    assert_eq!(rig.shard.cache.watches.read(), 0);
}

#[test]
fn a_watch_that_fails_or_is_slow_costs_a_look_each_time_and_no_more() {
    for fault in [Fault::Fail(Errno::IO), Fault::Late(std::time::Duration::from_secs(5))] {
        let mut rig = Rig::with(world(), true, 0);
        rig.world.script(Technique::Watch, 0, fault);
        for text in ["one", "two", "three", "four"] {
            rig.world.file("a/b/file", text);
            assert_eq!(get(&mut rig, "/a/b/file"), text);
        }
    }
}

#[test]
fn directories_that_nobody_asks_for_any_more_are_not_watched() {
    let world = World::new(5);
    for number in 0..400 {
        world.file(&format!("d{number}/file"), "x");
    }
    let mut rig = Rig::with(world, true, 0);
    for number in 0..400 {
        for _ in 0..5 {
            assert_eq!(get(&mut rig, &format!("/d{number}/file")), "x");
        }
    }
    let (watches, most) = (rig.shard.cache.watches.read(), rig.shard.cache.watches_max.read());
    assert!(watches > 0 && watches <= most, "{watches} of {most}");
}
