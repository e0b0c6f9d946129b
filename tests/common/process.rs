//! What /proc says of other processes.

use std::fs;

use super::Server;

/// Whether a process runs: one that has ended and was not waited for does not.
pub fn is_running(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything.
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The processes that this one has started and that run.
pub fn children_of(process: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let number = entry.ok()?.file_name().to_str()?.parse::<u32>().ok()?;
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        let parent = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse::<u32>().ok()?;
        (parent == process && is_running(number)).then_some(number)
    });
    all.collect()
}

/// The broker of a server, by what the server says at its start.
pub fn broker_of(server: &Server) -> u32 {
    super::eventually("the server names its broker", || {
        let told = server.stderr();
        let rest = told.split(" broker=").nth(1)?;
        rest.split(|sign: char| !sign.is_ascii_digit()).next()?.parse().ok()
    })
}
