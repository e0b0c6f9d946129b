//! What every integration test needs: a running server, a socket that is read strictly, content
//! that can be made again from a seed, and scratch trees on a real file system.
//!
//! - [`Server`]: the built program on a free port of loopback, ended by its own process id
//! - [`Wire`]: one connection; a parser that accepts only what RFC 9112 allows
//! - [`multipart`]: bodies of several parts, read as strictly
//! - [`Pattern`], [`Digest`]: bytes and their hashes, streamed, so that no large body is held
//! - [`browser`]: a real browser, by WebDriver
//! - [`Manager`]: who is told when a server is ready
//! - [`Scratch`]: a root below the target directory, gone with the value
//!
//! No test asserts a time. [`PATIENCE`] only turns a hang into a failure.

// Each test program uses a part of this room.
#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used)]

pub mod browser;
mod confine;
mod content;
mod manager;
pub mod multipart;
mod process;
#[path = "../quarantine/mod.rs"]
mod quarantine;
mod scratch;
mod server;
mod skip;
mod wire;

pub use confine::{
    Group, with_little_memlock, without_io_uring, without_landlock, without_lines,
    without_restrictions, without_seccomp,
};
pub use content::{Digest, Pattern, digest_of_bytes, digest_of_file};
pub use manager::Manager;
pub use process::{broker_of, children_of, is_running};
pub use scratch::Scratch;
pub use server::{Launch, Listening, Server, figure};
pub use skip::skipped;
pub use wire::{End, Fault, Response, Wire, exchange, get, head_methods};

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Long enough for a loaded machine, short enough that a hang is noticed. Seconds: 60.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The engines a body can travel by.
pub const ENGINES: [&str; 6] = ["sendfile", "splice", "uring", "direct", "copy", "auto"];

/// Whether the long form of the suite was asked for (`PITCREW_LONG=1`).
pub fn long() -> bool {
    std::env::var_os("PITCREW_LONG").is_some_and(|value| value == "1")
}

/// Asks `ready` again and again until it answers, and fails with `what` when it never does.
pub fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(std::time::Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until somebody listens on the unix socket at a path, and says nothing there: the path is
/// there a moment before.
pub fn listens_at(path: &Path) {
    let end = format!(" {}", path.display());
    // __SO_ACCEPTCON, among the flags of unix(7).
    let listens = |line: &str| line.contains(" 00010000 ") && line.ends_with(&end);
    eventually("somebody listens", || {
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
        sockets.lines().any(listens).then_some(())
    });
}

/// Tells a load to stop, also when what is done meanwhile fails.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
