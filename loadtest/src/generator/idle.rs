//! Connections that stay open, each idle after one request.

use std::io;
use std::time::Instant;

use super::{Load, Task, percentiles, processor_seconds};
use crate::http::Client;
use crate::site::Site;

/// Open connections; they close with this value.
#[derive(Debug)]
pub(crate) struct Idlers(
    #[expect(dead_code, reason = "held open, and never asked again")] Vec<Client>,
);

pub(super) fn run(task: &Task<'_>) -> io::Result<(Load, Idlers)> {
    let wanted = task.scenario.connections as usize;
    let (mut clients, mut laps) = (Vec::with_capacity(wanted), Vec::with_capacity(wanted));
    let (mut bytes, mut errors) = (0, 0);
    let used_before = processor_seconds();
    let begin = Instant::now();
    while clients.len() < wanted {
        task.check()?;
        let mut client = Client::connect(task.address)?;
        let asked = Instant::now();
        let answer = client.get(&Site::target(0), |_| {})?;
        if answer.status == 200 && answer.body_bytes == task.site.size(0) {
            laps.push(asked.elapsed());
            bytes += answer.body_bytes;
        } else {
            errors += 1;
        }
        client.rest();
        clients.push(client);
    }
    let seconds = begin.elapsed().as_secs_f64();
    let (p50_us, p99_us) = percentiles(&mut laps);
    let busy = (processor_seconds() - used_before) / seconds;
    let requests = laps.len() as u64;
    let load = Load { requests, bytes, seconds, errors, due: None, p50_us, p99_us, busy };
    Ok((load, Idlers(clients)))
}
