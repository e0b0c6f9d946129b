//! What becomes of a program with a bug that no sanitizer sees: the kernel writes by a ring to
//! memory that was freed. Each story is a process of its own, which has to end by the allocator of
//! all tests, and to say why.

#![allow(unsafe_code, clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use common::skipped;
use io_uring::{IoUring, opcode, types};
use pitcrew::sys::quarantine;

/// Chooses the story, in the process that plays it.
const STORY: &str = "STORY_OF_FREED_MEMORY";
const BYTES: usize = 5000;
const SIGABRT: i32 = 6;

/// Has a ring read into memory that was freed, or that is kept until the read is done.
fn read_into(freed: bool) {
    let mut ring = IoUring::new(8).unwrap();
    let (from, mut to) = std::io::pipe().unwrap();
    let mut memory = vec![0_u8; BYTES];
    let (start, bytes) = (memory.as_mut_ptr(), memory.len() as u32);
    let read = opcode::Read::new(types::Fd(from.as_raw_fd()), start, bytes).build();
    // SAFETY: none where it is freed: this is the bug. It is played in a process of its own, whose
    // allocator keeps the memory, so nothing else is there.
    unsafe { ring.submission().push(&read).unwrap() };
    assert_eq!(ring.submit().unwrap(), 1);
    let kept = (!freed).then_some(memory);
    to.write_all(b"late").unwrap();
    ring.submit_and_wait(1).unwrap();
    assert_eq!(ring.completion().next().unwrap().result(), 4);
    assert!(kept.is_none_or(|memory| memory.starts_with(b"late")));
}

#[test]
#[ignore = "a story that the other tests have played by a process of its own"]
fn story() {
    match std::env::var(STORY).unwrap_or_default().as_str() {
        "it looks" => {
            read_into(true);
            quarantine::check();
            unreachable!("it has ended");
        }
        "it ends" => read_into(true),
        "it goes on" => {
            read_into(true);
            // Whatever is freed later pushes out what was freed before.
            for _ in 0..pitcrew::limits::QUARANTINE_BYTES / BYTES * 2 {
                drop(vec![1_u8; BYTES]);
            }
            unreachable!("it has ended");
        }
        "there is no bug" => read_into(false),
        other => panic!("no story: {other}"),
    }
}

fn play(story: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "story", "--ignored", "--nocapture"]).env(STORY, story);
    // Who looks for other bugs may have turned it off.
    command.env_remove("QUARANTINE").output().unwrap()
}

fn is_there() -> bool {
    let there = cfg!(debug_assertions) && IoUring::new(8).is_ok();
    if !there {
        skipped("writes to freed memory", "no io_uring, or a build without debug assertions");
    }
    there
}

#[test]
fn a_ring_that_reads_into_freed_memory_is_found() {
    if !is_there() {
        return;
    }
    for story in ["it looks", "it ends", "it goes on"] {
        let ended = play(story);
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.signal(), Some(SIGABRT), "{story}: {:?}\n{told}", ended.status);
        let says = "memory was written to after it was freed: 4 bytes of a block of 5000, the \
                    first at 0, which holds 0x6c";
        assert!(told.contains(says), "{story}: {told}");
    }
}

#[test]
fn a_ring_that_reads_into_memory_that_is_there_is_let_be() {
    if !is_there() {
        return;
    }
    let ended = play("there is no bug");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
