//! Where the server listens: the addresses are bound, shared among the workers, and announced.

use std::io::Write;
use std::os::fd::OwnedFd;

use super::options::Options;
use super::run::Fault;
use crate::sys::{self, Bound, Listen};

pub(super) fn bind_all(options: &Options, inherited: Vec<OwnedFd>) -> Result<Vec<Bound>, Fault> {
    let mut bound = Vec::new();
    for socket in inherited {
        let one = Bound::inherited(socket);
        bound.push(one.map_err(|e| Fault::System("a socket that was passed has no address", e))?);
    }
    // Who passes sockets and names no address wants those sockets alone.
    if !bound.is_empty() && options.listen == Options::default().listen {
        return Ok(bound);
    }
    let ipv6_may_miss = !options.ipv6_required;
    for listen in &options.listen {
        match sys::socket::bind(listen, options.workers) {
            Ok(one) => bound.push(one),
            Err(error) if error.is_missing_ipv6() && ipv6_may_miss => {
                tracing::info!(%error, "not listening there");
            }
            Err(error) => return Err(Fault::Listen(error)),
        }
    }
    Ok(bound)
}

pub(super) fn bind_telemetry(options: &Options) -> Result<Vec<Bound>, Fault> {
    let bind = |listen| sys::socket::bind(listen, options.workers).map_err(Fault::Listen);
    options.telemetry.listen.iter().map(bind).collect()
}

/// The listeners of one worker.
pub(super) fn sockets(bound: &[Bound], worker: usize) -> Result<Vec<OwnedFd>, Fault> {
    bound.iter().map(|one| owned(one.socket(worker))).collect()
}

pub(super) fn note_descriptors(options: &Options, descriptors: sys::descriptors::Descriptors) {
    // A connection may hold its socket, a pipe and a file; most hold only their socket.
    let wanted = (options.connections + 2 * options.open_files) as u64;
    let missing = descriptors.missing(wanted);
    if missing > 0 {
        tracing::info!(
            limit = descriptors.now,
            missing,
            "connections and open-files may need more descriptors than this process may have; \
             raise the limit (ulimit -n, LimitNOFILE=) or lower them"
        );
    }
}

pub(super) fn announce(options: &Options, bound: &[Bound], for_telemetry: &[Bound], quiet: bool) {
    tracing::info!(
        engine = %options.engine,
        workers = options.workers,
        root = %options.site.root.display(),
        "serving"
    );
    if quiet {
        return;
    }
    let mut out = std::io::stdout().lock();
    for one in for_telemetry {
        let _ = writeln!(out, "telemetry on {}", url(one.address()));
    }
    for one in bound {
        // Who closed standard output does not want to know.
        let _ = writeln!(out, "listening on {}", url(one.address()));
    }
    let _ = out.flush();
}

/// An address as a client writes it.
fn url(address: &Listen) -> String {
    match address {
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix(_) => address.to_string(),
    }
}

pub(super) fn owned(fd: std::os::fd::BorrowedFd<'_>) -> Result<OwnedFd, Fault> {
    fd.try_clone_to_owned().map_err(|error| Fault::System("a descriptor is missing", error))
}
