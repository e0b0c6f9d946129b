//! A control group that allows little memory.

use crate::common::{ENGINES, Group, Launch, Pattern, Scratch, eventually, get, skipped};
use rustix::process::Signal;

const LITTLE: u64 = 192 << 20;
/// Room for two configurations with `direct`, and for what a server takes beside its buffers.
const FOR_TWO: u64 = 320 << 20;
const BYTES: u64 = 5_000_000;

fn group() -> Option<Group> {
    group_with(LITTLE)
}

fn group_with(bytes: u64) -> Option<Group> {
    let group = Group::with_memory(bytes);
    if let Err(error) = &group {
        skipped("little memory", &format!("no control group can be made: {error}"));
    }
    group.ok()
}

/// Buffers that are registered are pinned as a whole: were they as large as elsewhere, the kernel
/// would end the server before it listens.
#[test]
fn every_engine_fits_the_memory_of_its_group() {
    let Some(group) = group() else { return };
    let prefix = group.prefix();
    let prefix: Vec<_> = prefix.iter().map(String::as_str).collect();
    for engine in ENGINES {
        let scratch = Scratch::new();
        scratch.pattern("a.bin", 3, BYTES);
        let launch = Launch::new(&["--engine", engine]).through(&prefix).root(scratch.path());
        let server = launch.start();
        let mut wire = server.connect();
        wire.send(&get("/a.bin", ""));
        let (_, got, fault) = wire.hashed().unwrap();
        assert_eq!((got, fault), (Pattern::new(3).digest(0, BYTES), None), "{engine}");
        let told = server.telemetry();
        assert_eq!(told["server"]["memory_limit_bytes"], LITTLE, "{engine}");
        let pools = told["pools"].as_object().unwrap().values();
        let all: u64 = pools.map(|pool| pool["budget_bytes"].as_u64().unwrap()).sum();
        assert!(all <= LITTLE / 2, "{engine}: {all}");
    }
}

/// What was set and cannot be is an error where the start would take it all, and else a warning;
/// both name the limit.
#[test]
fn budgets_beyond_the_memory_of_the_group_are_told() {
    let Some(group) = group() else { return };
    let prefix = group.prefix();
    let prefix: Vec<_> = prefix.iter().map(String::as_str).collect();
    let scratch = Scratch::new();
    let bound = group.bound();
    let launch = |engine: &str| {
        let arguments = ["--engine", engine, "--direct-cache", "256MiB"];
        Launch::new(&arguments).through(&prefix).root(scratch.path())
    };
    let (status, told) = launch("direct").refused();
    assert_eq!(status.code(), Some(2), "{told}");
    let server = launch("auto").start();
    for told in [told, server.stderr()] {
        for word in ["--direct-cache", "192MiB", bound.to_str().unwrap(), "lower direct-cache"] {
            assert!(told.contains(word), "{word} is missing: {told}");
        }
    }
}

/// Each configuration has its buffers, pinned from its start: with those of three the kernel would
/// end the server.
#[test]
fn a_reload_waits_for_memory_and_is_refused_where_that_never_comes() {
    let Some(group) = group_with(FOR_TWO) else { return };
    let prefix = group.prefix();
    let prefix: Vec<_> = prefix.iter().map(String::as_str).collect();
    let scratch = Scratch::new();
    scratch.pattern("huge.bin", 9, 64 << 20);
    let file = scratch.write("pitcrew.toml", "engine = \"direct\"\n");
    let launch = Launch::new(&["--config", file.to_str().unwrap(), "--drain-timeout", "1h"]);
    let mut server = launch.through(&prefix).root(scratch.path()).without_quarantine().start();
    let reloads =
        |count| server.figure_until(&["configuration", "reloads"], |so_far| so_far == count);
    // It keeps the first configuration.
    let mut slow = server.connect();
    slow.send(&get("/huge.bin", ""));
    slow.head().unwrap();
    server.signal(Signal::HUP);
    reloads(1);
    server.signal(Signal::HUP);
    eventually("the next one waits", || {
        server.stderr().contains("no memory for the buffers of one more").then_some(())
    });
    reloads(1);
    drop(slow);
    reloads(2);
    std::fs::write(&file, "engine = \"direct\"\ndirect-cache = \"200MiB\"\n").unwrap();
    server.signal(Signal::HUP);
    server.figure_until(&["configuration", "refused"], |count| count == 1);
    let told = server.stderr();
    for word in ["320 MiB", group.bound().to_str().unwrap(), "lower direct-cache"] {
        assert!(told.contains(word), "{word} is missing: {told}");
    }
    assert!(server.runs());
}
