//! A network that carries little at once.

use std::process::{Command, Stdio};

use crate::common::{Digest, ENGINES, Launch, Pattern, Scratch, skipped};

/// The smallest that every host takes (RFC 791): a packet carries some five hundred bytes, and no
/// segmentation is left to a device.
const MTU: &str = "ip link set lo mtu 576 up && exec \"$@\"";
const BYTES: u64 = 1_234_567;

fn works(command: &[&str]) -> bool {
    let (program, arguments) = command.split_first().expect("a program");
    let mut command = Command::new(program);
    let status = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn a_tiny_mtu_changes_no_byte() {
    let through = ["unshare", "--net", "sh", "-c", MTU, "sh"];
    if !works(&[&through[..], &["curl", "--version"]].concat()) {
        return skipped("a tiny MTU", "unshare, ip or curl is missing, or may not be used");
    }
    for engine in ENGINES {
        let scratch = Scratch::new();
        scratch.pattern("a.bin", 5, BYTES);
        let arguments = ["--engine", engine, "--workers", "1"];
        let server = Launch::new(&arguments).through(&through).root(scratch.path()).start();
        let inside = |range: &str| {
            let pid = server.id().to_string();
            let output = Command::new("nsenter")
                .args(["--net", "--target", &pid, "curl", "--silent", "--fail", "--noproxy", "*"])
                .args(["--range", range, &server.url("/a.bin")])
                .output()
                .unwrap();
            assert!(output.status.success(), "{engine}: {output:?}");
            Digest::of(&output.stdout[..]).unwrap()
        };
        assert_eq!(inside("0-"), Pattern::new(5).digest(0, BYTES), "{engine}");
        assert_eq!(inside("577-900000"), Pattern::new(5).digest(577, 899_424), "{engine}");
    }
}
