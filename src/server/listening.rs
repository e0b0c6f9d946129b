//! Where the server listens: the addresses are bound, shared among the workers, kept over a
//! reload, handed over to a successor, and announced.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::fault::Fault;
use super::options::Options;
use crate::broker::{Broker, Denied};
use crate::sys::socket::BindError;
use crate::sys::{self, Bound, Listen};

/// Everything that listens. Sockets close when nobody has them any more: no worker, and no set
/// of listeners.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// For the site.
    pub(super) site: Vec<Arc<Bound>>,
    /// For telemetry alone.
    pub(super) telemetry: Vec<Arc<Bound>>,
}

impl Listeners {
    /// Binds what the options ask for and these do not have. What they have and is still asked for
    /// is kept, as are sockets that were passed to the process; the rest is left out. Nothing stays
    /// bound when it fails.
    pub(super) fn renewed(
        &self,
        options: &Options,
        broker: Option<&Broker>,
    ) -> Result<Self, Fault> {
        let passed: Vec<_> =
            self.site.iter().filter(|one| one.wanted().is_none()).map(Arc::clone).collect();
        // Who passes sockets and names no address wants those sockets alone.
        let alone = !passed.is_empty() && options.listen == Options::default().listen;
        let wanted = if alone { &[] } else { &options.listen[..] };
        let made = Made { workers: options.workers, broker };
        let site = renew(&self.site, wanted, made, !options.ipv6_required)?;
        let site = passed.into_iter().chain(site).collect();
        let telemetry = renew(&self.telemetry, &options.telemetry.listen, made, false)?;
        Ok(Self { site, telemetry })
    }

    /// The sockets of one of so many workers: for the site, and for telemetry.
    pub(super) fn of(
        &self,
        worker: usize,
        workers: usize,
    ) -> Result<(Vec<OwnedFd>, Vec<OwnedFd>), Fault> {
        let own = |all: &[Arc<Bound>]| {
            let sockets = all.iter().flat_map(|one| one.sockets(worker, workers));
            let copies: std::io::Result<Vec<_>> =
                sockets.map(|socket| socket.try_clone_to_owned()).collect();
            copies.map_err(|error| Fault::System("a descriptor is missing", error))
        };
        Ok((own(&self.site)?, own(&self.telemetry)?))
    }

    /// Leaves the paths of unix sockets to a successor, who has the sockets.
    pub(super) fn leave_paths(&self) {
        self.site.iter().chain(&self.telemetry).for_each(|one| one.leave_path());
    }

    /// Has the paths of unix sockets that came from a predecessor, which leaves.
    pub(super) fn take_paths(&self) {
        self.site.iter().chain(&self.telemetry).for_each(|one| one.take_path());
    }

    /// Gives them up. The path of a unix socket is removed with the last who has it, and by the
    /// broker where this process may not.
    pub(super) fn give_up(mut self, broker: Option<&Broker>) {
        let all = self.site.iter_mut().chain(&mut self.telemetry);
        let last = all.filter_map(|one| Arc::get_mut(one));
        let traces: Vec<_> = last.filter_map(|bound| bound.trace()).collect();
        drop(self);
        for path in traces.iter().filter_map(|trace| trace.left()) {
            let removed = broker.map(|broker| broker.remove(path));
            if let Some(Err(denied)) = removed {
                tracing::warn!(path = %path.display(), "a unix socket is left behind: {denied}");
            }
        }
    }

    pub(super) fn announce(&self, options: &Options, quiet: bool) {
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
        for one in &self.telemetry {
            let _ = writeln!(out, "telemetry on {}", url(one.address()));
        }
        for one in &self.site {
            // Who closed standard output does not want to know.
            let _ = writeln!(out, "listening on {}", url(one.address()));
        }
        let _ = out.flush();
    }
}

/// How an address is bound: by this process, or by the broker of one that may not.
#[derive(Clone, Copy)]
struct Made<'a> {
    workers: usize,
    broker: Option<&'a Broker>,
}

impl Made<'_> {
    fn bind(self, listen: &Listen) -> Result<Result<Bound, BindError>, Fault> {
        let Some(broker) = self.broker else { return Ok(sys::socket::bind(listen, self.workers)) };
        let sockets = match broker.listener(listen) {
            Ok(sockets) => sockets,
            Err(Denied::NotBound(cause)) => {
                return Ok(Err(BindError { address: listen.clone(), cause }));
            }
            Err(denied) => {
                return Err(Fault::Outside(format!("cannot listen on {listen}: {denied}")));
            }
        };
        let bound = Bound::handed_over(Some(listen.clone()), sockets);
        bound.map(Ok).map_err(|error| Fault::System("a socket of the broker is odd", error))
    }
}

fn renew(
    old: &[Arc<Bound>],
    wanted: &[Listen],
    made: Made<'_>,
    ipv6_may_miss: bool,
) -> Result<Vec<Arc<Bound>>, Fault> {
    let mut all = Vec::new();
    for listen in wanted {
        if let Some(kept) = old.iter().find(|one| one.wanted() == Some(listen)) {
            all.push(Arc::clone(kept));
            continue;
        }
        match made.bind(listen)? {
            Ok(one) => all.push(Arc::new(one)),
            Err(error) if error.is_missing_ipv6() && ipv6_may_miss => {
                tracing::info!(%error, "not listening there");
            }
            Err(error) => return Err(Fault::Listen(error)),
        }
    }
    Ok(all)
}

/// The sockets that a service manager passed to this process.
pub(super) fn passed(sockets: Vec<OwnedFd>) -> Result<Listeners, Fault> {
    let one = |socket| {
        let bound = Bound::inherited(socket);
        bound.map_err(|e| Fault::System("a socket that was passed has no address", e))
    };
    let site = sockets.into_iter().map(|socket| one(socket).map(Arc::new));
    Ok(Listeners { site: site.collect::<Result<_, _>>()?, telemetry: Vec::new() })
}

pub(super) fn note_descriptors(options: &Options, descriptors: sys::descriptors::Descriptors) {
    let wanted = sys::descriptors::wanted(options.connections, options.open_files);
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

/// An address as a client writes it.
fn url(address: &Listen) -> String {
    match address {
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix(_) => address.to_string(),
    }
}
