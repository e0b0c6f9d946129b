//! What a confined server cannot do itself its broker does, and nothing else.
#![allow(clippy::unwrap_used)]

mod common;
// A part of what it can do is for others.
#[allow(dead_code)]
#[path = "cold_disks/disk.rs"]
mod disk;
#[path = "broker/hangs.rs"]
mod hangs;
#[path = "broker/impostor.rs"]
mod impostor;
#[path = "broker/places.rs"]
mod places;
#[path = "broker/requests.rs"]
mod requests;
#[path = "broker/roots.rs"]
mod roots;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use common::{Launch, Scratch, Server, get, skipped};
use pitcrew::sandbox::landlock_abi;
use rustix::process::{Pid, Signal, kill_process};

/// A tree to serve, and a configuration in a directory of its own.
struct Site {
    scratch: Scratch,
    file: PathBuf,
}

impl Site {
    fn new(configuration: &str) -> Self {
        let scratch = Scratch::new();
        scratch.write("root/a.txt", "first\n");
        scratch.write("other/a.txt", "second\n");
        scratch.write("third/a.txt", "third\n");
        fs::create_dir(scratch.join("log")).unwrap();
        let file = scratch.write("conf/pitcrew.toml", configuration);
        Self { scratch, file }
    }

    fn launch(&self, more: &[&str]) -> Launch {
        let options = ["--config", self.file.to_str().unwrap()];
        Launch::new(&[&options[..], more].concat())
    }

    fn rewrite(&self, configuration: &str) {
        fs::write(&self.file, configuration).unwrap();
    }
}

/// Whether the kernel can confine at all; a build service has to be able to.
fn can_confine() -> bool {
    if landlock_abi() > 0 {
        return true;
    }
    skipped("broker", "this kernel has no Landlock");
    false
}

fn ask(server: &Server) -> String {
    let mut wire = server.connect();
    wire.send(&get("/a.txt", "Connection: close\r\n"));
    wire.response().unwrap().text().to_owned()
}

fn reload(server: &Server, figure: &str) {
    let path = ["configuration", figure];
    let before = server.figure(&path);
    server.signal(Signal::HUP);
    server.figure_until(&path, |count| count == before + 1);
}

fn kill(process: u32) {
    let _ = kill_process(Pid::from_raw(process.cast_signed()).unwrap(), Signal::KILL);
}

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
