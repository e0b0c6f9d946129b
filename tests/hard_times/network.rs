//! Networks that carry little at once, that lose packets, and whose sockets have little room.
//!
//! Each server has a network of its own, with nothing in it but loopback, and so has the client
//! that asks it.

use std::process::{Command, Stdio};

use crate::common::{Digest, ENGINES, Launch, Pattern, Scratch, Server, skipped};

/// The smallest that every host takes (RFC 791): a packet carries some five hundred bytes, and no
/// segmentation is left to a device.
const TINY_MTU: &str = "ip link set lo mtu 576 up";

/// Every eleventh packet is lost where it arrives, in both directions: by a count and not by
/// chance, so that runs are alike. Packets are as large as on an Ethernet, and not as large as
/// loopback can carry. What is lost where it leaves would be told to the sender, which no network
/// does.
const LOSS: &str = "ip link set lo mtu 1500 gso_max_segs 1 up \
    && nft add table inet loss \
    && nft add chain inet loss arriving '{ type filter hook input priority 0; }' \
    && nft add rule inet loss arriving meta l4proto tcp numgen inc mod 11 7 counter drop";

/// A socket takes a page at once, and is full again and again.
const SMALL_BUFFERS: &str =
    "ip link set lo up && echo 4096 4096 4096 > /proc/sys/net/ipv4/tcp_wmem";

const BYTES: u64 = 1_234_567;

/// What stands before a command line to have a network that is set up so; none where that cannot be
/// had, which is said.
fn network(what: &str, set_up: &str) -> Option<Vec<String>> {
    let script = format!("PATH=\"$PATH:/usr/sbin\" && {set_up} && exec \"$@\"");
    let through = ["unshare", "--net", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
    let mut command = Command::new(&through[0]);
    command.args(&through[1..]).args(["curl", "--version"]);
    let output = command.stdin(Stdio::null()).output();
    let works = output.as_ref().is_ok_and(|output| output.status.success());
    if !works {
        skipped(what, &format!("no such network can be set up here: {output:?}"));
    }
    works.then_some(through)
}

/// A program beside the server, and what it said.
fn inside(server: &Server, program: &[&str]) -> Vec<u8> {
    let pid = server.id().to_string();
    let mut command = Command::new("nsenter");
    command.args(["--net", "--target", &pid]).args(program);
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command.env("PATH", format!("{path}:/usr/sbin")).output().unwrap();
    assert!(output.status.success(), "{program:?}: {output:?}");
    output.stdout
}

/// Fetches a file, whole and in part, by each engine; `seen` is asked behind each.
fn every_engine_is_right(through: &[String], seen: impl Fn(&Server)) {
    let through: Vec<_> = through.iter().map(String::as_str).collect();
    for engine in ENGINES {
        let scratch = Scratch::new();
        scratch.pattern("a.bin", 5, BYTES);
        let arguments = ["--engine", engine, "--workers", "1"];
        let server = Launch::new(&arguments).through(&through).root(scratch.path()).start();
        let fetch = |range: &str| {
            let url = server.url("/a.bin");
            let asks = ["curl", "--silent", "--fail", "--noproxy", "*", "--range", range, &url];
            Digest::of(&inside(&server, &asks)[..]).unwrap()
        };
        assert_eq!(fetch("0-"), Pattern::new(5).digest(0, BYTES), "{engine}");
        assert_eq!(fetch("577-900000"), Pattern::new(5).digest(577, 899_424), "{engine}");
        seen(&server);
    }
}

#[test]
fn a_tiny_mtu_changes_no_byte() {
    let Some(through) = network("a tiny MTU", TINY_MTU) else { return };
    every_engine_is_right(&through, |_| {});
}

#[test]
fn small_send_buffers_change_no_byte() {
    let Some(through) = network("small send buffers", SMALL_BUFFERS) else { return };
    every_engine_is_right(&through, |server| {
        let told = inside(server, &["cat", "/proc/sys/net/ipv4/tcp_wmem"]);
        assert_eq!(String::from_utf8_lossy(&told).split_whitespace().next_back(), Some("4096"));
    });
}

#[test]
fn lost_packets_change_no_byte() {
    let Some(through) = network("packets that are lost", LOSS) else { return };
    every_engine_is_right(&through, |server| {
        let told = inside(server, &["nft", "list", "table", "inet", "loss"]);
        let told = String::from_utf8_lossy(&told);
        let lost = told.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
        let lost: u64 = lost.and_then(|count| count.parse().ok()).unwrap_or_else(|| {
            panic!("nft tells no count: {told}");
        });
        // Two megabytes are some 1,400 packets of data, and as many that confirm them or fewer.
        assert!(lost > 100, "only {lost} packets were lost: {told}");
    });
}
