//! A walk over all files: each once, in random order, with a thread for each connection.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Load, Task, percentiles, processor_seconds};
use crate::http::Client;
use crate::site::{Dice, Site};

/// Asks for every file once in random order, each connection in a thread of its own.
pub(super) fn run(task: &Task<'_>) -> io::Result<Load> {
    let Task { site, interrupted, .. } = *task;
    let order = Dice::new(u64::from(task.number) + 1).shuffled(site.files());
    let next = AtomicUsize::new(0);
    let mut clients = Vec::new();
    for _ in 0..task.scenario.connections {
        clients.push(Client::connect(task.address)?);
    }
    let used_before = processor_seconds();
    let begin = Instant::now();
    let walks: Vec<Walked> = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for client in clients {
            threads.push(scope.spawn(|| walk_one(client, site, &order, &next, interrupted)));
        }
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|walked| walked.expect("a walk does not panic")).collect()
    });
    let seconds = begin.elapsed().as_secs_f64();
    let busy = (processor_seconds() - used_before) / seconds;
    task.check()?;
    let mut laps: Vec<Duration> = walks.iter().flat_map(|walked| walked.laps.clone()).collect();
    let (p50_us, p99_us) = percentiles(&mut laps);
    Ok(Load {
        requests: laps.len() as u64,
        bytes: walks.iter().map(|walked| walked.bytes).sum(),
        seconds,
        errors: walks.iter().map(|walked| walked.errors).sum(),
        due: None,
        p50_us,
        p99_us,
        busy,
    })
}

#[derive(Debug, Default)]
struct Walked {
    laps: Vec<Duration>,
    bytes: u64,
    errors: u64,
}

fn walk_one(
    mut client: Client,
    site: &Site,
    order: &[u32],
    next: &AtomicUsize,
    interrupted: &AtomicBool,
) -> Walked {
    let mut walked = Walked::default();
    while !interrupted.load(Ordering::Relaxed) {
        let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
        let begin = Instant::now();
        match client.get(&Site::target(index), |_| {}) {
            Ok(answer) if answer.status == 200 && answer.body_bytes == site.size(index) => {
                walked.bytes += answer.body_bytes;
                walked.laps.push(begin.elapsed());
            }
            Ok(_) => walked.errors += 1,
            Err(_) => {
                walked.errors += 1;
                break;
            }
        }
    }
    walked
}
