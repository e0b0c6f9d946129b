//! A control group that allows little memory.

use crate::common::{ENGINES, Group, Launch, Pattern, Scratch, get, skipped};

const LITTLE: u64 = 192 << 20;
const BYTES: u64 = 5_000_000;

fn group() -> Option<Group> {
    let group = Group::with_memory(LITTLE);
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
