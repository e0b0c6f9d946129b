//! What the server needs to be started.
//!
//! Every field has been checked by `config` when it arrives here: ranges hold, names are
//! known, sizes are in bytes and times are durations. Budgets are for the whole server; each
//! worker gets its equal share, see [`Options::share`].

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use crate::access_log::Options as LogOptions;
pub use crate::base::Network;
use crate::connection::Via;
pub use crate::engines::{Kind, Thresholds};
pub use crate::http::forwarded::Trusted;
use crate::limits::{
    BODY_BUFFERS, BODY_TIMEOUT, CONNECTIONS, CONNECTIONS_PER_ADDRESS, DIRECT_BLOCK, DIRECT_CACHE,
    DRAIN_TIMEOUT, GATHERED_ANSWERS_MAX, HEAD_BUFFERS, HEAD_RATE, HEAD_TIMEOUT, IDLE_TIMEOUT,
    LISTING_MEMORY, OPEN_FILES, OPEN_FILES_VALID, PAGE_CACHE_DROP_FROM, PIPES_MAX, RATE_LIMIT,
    REQUESTS_PER_CONNECTION, SEND_RATE, SEND_TIMEOUT, WATCHES,
};
use crate::resource::options::{Host, Options as SiteOptions};
pub use crate::sandbox::Mode as Sandbox;
pub use crate::sys::Listen;
use crate::sys::memory::{Allowance, allowance};
pub use crate::telemetry::Lap;

/// Everything that the server room is told at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to accept connections. Never empty, without duplicates.
    pub listen: Vec<Listen>,
    /// Whether an IPv6 address that this machine lacks is a fault. It is only worth a note
    /// when no IPv6 address was written out: with the defaults, or for a bare port.
    pub ipv6_required: bool,
    /// What is served to whoever asks for no other host.
    pub site: SiteOptions,
    /// Other hosts.
    pub hosts: Vec<Host>,
    /// Whether directories are opened by their paths again when those were switched.
    pub root_follow: bool,
    /// How bodies travel.
    pub engine: Kind,
    /// Where the engine `auto` goes from one to another.
    pub thresholds: Thresholds,
    /// Whether answers show the engine of their body, and why it was chosen.
    pub server_timing: bool,
    /// Worker threads, each with its ring and its listener. Never 0.
    pub workers: usize,
    /// Whether each worker stays on one processor.
    pub pin: bool,

    /// Whether compressed neighbours of a file are served.
    pub precompressed: Precompressed,
    /// Whether relative links that stay beneath the root are followed.
    pub symlinks: bool,
    /// Memory for listings on their way, in bytes, in all workers.
    pub listing_memory: u64,
    /// What entity tags are made of.
    pub etag: Etag,

    /// Open connections at most, in all workers; each has its equal share.
    pub connections: usize,
    /// What becomes of connections beyond that.
    pub connections_beyond: Beyond,
    /// Open connections of one address at most, in all workers; 0 is no limit.
    pub connections_per_address: u32,
    /// Proxies that are believed who their clients are.
    pub trusted_proxies: Trusted,
    /// Whether these begin each connection with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Requests that one connection may carry; 0 is no limit.
    pub requests_per_connection: u64,
    /// Answers to pipelined requests of one connection that gather before they are sent.
    pub pipeline_depth: usize,
    /// The memory that this process may have, page cache and sockets included, as far as it is
    /// known. Budgets that nobody has set keep to it, see [`Options::fit`].
    pub memory: Option<Allowance>,
    /// Memory for request heads, in bytes, in all workers.
    pub head_buffers: usize,
    /// Memory for bodies that pass through the process, in bytes, in all workers.
    pub body_buffers: usize,
    /// Pipes that bodies pass through, in all workers.
    pub pipes: usize,
    /// Memory for blocks of files kept past the page cache, in bytes, in all workers.
    pub direct_cache: usize,
    /// Bytes of one such block, a power of two.
    pub direct_block: usize,
    /// Whether blocks are read that a pattern of earlier requests foresees.
    pub predictor: bool,
    /// Entries of the cache of open files, in all workers; a worker has 64 at least.
    pub open_files: usize,
    /// How long an open file is served before its name is looked up again; 0 is each time.
    pub open_files_valid: Duration,

    /// Directories that are watched, so that names in them need not be looked up, in all workers;
    /// 0 watches none.
    pub watches: usize,

    /// What the page cache keeps of large files.
    pub page_cache: PageCache,
    /// Bytes from which a file is large for that.
    pub page_cache_drop_from: u64,

    /// Memory for bodies of small files that are asked for again and again, in bytes, in all
    /// workers; 0 keeps none. If it is not given, it depends on the engine.
    pub hot_cache: Option<u64>,

    /// Time from the first byte of a request head to its last, and to the first byte of the first
    /// request of a connection.
    pub head_timeout: Duration,
    /// Bytes a second at which a request head must come; 0 is no limit.
    pub head_rate: u64,
    /// Time for the body of a request to come, from the end of its head.
    pub body_timeout: Duration,
    /// Time that a connection may stay without a further request.
    pub idle_timeout: Duration,
    /// Time that an answer may stay without progress.
    pub send_timeout: Duration,
    /// Bytes a second at which a client must take an answer; 0 is no limit.
    pub send_rate: u64,
    /// Bytes a second that one connection is sent at most; 0 is no limit.
    pub rate_limit: u64,
    /// Time that connections get to finish after SIGTERM; 0 closes them at once.
    pub drain_timeout: Duration,

    /// The page of figures.
    pub telemetry: Telemetry,
    /// The access log.
    pub access_log: LogOptions,
    /// Where a successor asks for the listeners: the path of a unix socket.
    pub hand_over: Option<PathBuf>,
    /// Who the server is once it listens: a name, or UID:GID.
    pub user: Option<String>,
    /// What the server gives up once it listens.
    pub sandbox: Sandbox,
    /// What the techniques did when they were last raced on this machine.
    pub laps: Vec<Lap>,
}

/// Defaults that `config.toml` repeats and `pitcrew --help` shows.
impl Default for Options {
    fn default() -> Self {
        Self {
            listen: Listen::loopback(PORT).to_vec(),
            ipv6_required: false,
            site: SiteOptions {
                root: PathBuf::from("."),
                index: vec!["index.html".to_owned()],
                ..SiteOptions::default()
            },
            hosts: Vec::new(),
            root_follow: false,
            engine: Kind::Auto,
            thresholds: Thresholds::default(),
            server_timing: false,
            workers: default_workers(),
            pin: false,
            precompressed: Precompressed::Off,
            symlinks: true,
            listing_memory: LISTING_MEMORY,
            etag: Etag::Modified,
            connections: CONNECTIONS,
            connections_beyond: Beyond::default(),
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            trusted_proxies: Trusted::default(),
            proxy_protocol: false,
            requests_per_connection: REQUESTS_PER_CONNECTION,
            pipeline_depth: GATHERED_ANSWERS_MAX,
            memory: allowance(),
            head_buffers: HEAD_BUFFERS,
            body_buffers: BODY_BUFFERS,
            pipes: PIPES_MAX,
            direct_cache: DIRECT_CACHE,
            direct_block: DIRECT_BLOCK,
            predictor: true,
            open_files: OPEN_FILES,
            open_files_valid: OPEN_FILES_VALID,
            watches: WATCHES,
            page_cache: PageCache::default(),
            page_cache_drop_from: PAGE_CACHE_DROP_FROM,
            hot_cache: None,
            head_timeout: HEAD_TIMEOUT,
            head_rate: HEAD_RATE,
            body_timeout: BODY_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            send_timeout: SEND_TIMEOUT,
            send_rate: SEND_RATE,
            rate_limit: RATE_LIMIT,
            drain_timeout: DRAIN_TIMEOUT,
            telemetry: Telemetry::default(),
            access_log: LogOptions::default(),
            hand_over: None,
            user: None,
            sandbox: Sandbox::default(),
            laps: Vec::new(),
        }
    }
}

impl Telemetry {
    /// The paths that are answered where the site is, each with the key that names it.
    pub fn paths_of_site(&self) -> Vec<(&str, &'static str)> {
        let figures = self.on && self.listen.is_empty();
        let figures = figures.then_some((self.path.as_str(), "telemetry-path"));
        let states = [(&*self.health_path, "health-path"), (&*self.ready_path, "ready-path")];
        let states = states.into_iter().filter(|_| self.health);
        figures.into_iter().chain(states).collect()
    }
}

impl Options {
    /// The part of a budget for all workers that one worker gets: `total / workers`, and at
    /// least 1 when the budget is not 0.
    ///
    /// # Panics
    /// When `workers` is 0, which no checked configuration holds.
    pub fn share(&self, total: usize) -> usize {
        assert!(self.workers > 0, "a server has at least one worker");
        if total == 0 { 0 } else { (total / self.workers).max(1) }
    }

    /// What every host serves, the one for all other names first.
    pub fn sites(&self) -> Vec<SiteOptions> {
        let others = self.hosts.iter().map(|host| host.over(&self.site));
        std::iter::once(self.site.clone()).chain(others).collect()
    }
}

/// The port when none is named.
pub const PORT: u16 = 8080;

/// Worker threads at most. With the default budgets each of this many still gets some heads
/// and a body buffer; above it a thread for each processor stops being the right shape.
pub const WORKERS_MAX: usize = 256;

/// One worker for each processor that this process may use, [`WORKERS_MAX`] at most, and one
/// when the number cannot be learnt.
pub fn default_workers() -> usize {
    /// Asked once: a confined process cannot read the limits of its control group again.
    static COUNT: LazyLock<usize> = LazyLock::new(|| {
        std::thread::available_parallelism().map_or(1, |count| count.get().min(WORKERS_MAX))
    });
    *COUNT
}

/// What the page cache keeps of large files that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PageCache {
    /// What the kernel thinks fit.
    #[default]
    Keep,
    /// What was there before.
    Drop,
}

impl PageCache {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Keep, Self::Drop];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
        }
    }
}

/// What becomes of connections beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Beyond {
    /// They are told 503 and closed.
    #[default]
    Refuse,
    /// They wait in the kernel's queue until another one ends. Each listener of a worker beside
    /// the first may let in one more than the limit.
    Wait,
}

impl Beyond {
    /// Every choice, in the order of the help.
    pub const ALL: [Self; 2] = [Self::Refuse, Self::Wait];

    /// The name in options and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Wait => "wait",
        }
    }
}

/// Which compressed neighbours (`name.br`, `name.zst`, `name.gz`) are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precompressed {
    /// None: `name.gz` is served only to who asks for it by name.
    #[default]
    Off,
    /// Every one that the client accepts.
    On,
    /// Those that are not older than the original.
    Fresh,
}

impl Precompressed {
    /// Every choice, in the order of the help.
    pub const ALL: [Self; 3] = [Self::Off, Self::On, Self::Fresh];

    /// The name in options and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Fresh => "fresh",
        }
    }
}

/// What the entity tag of a file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Etag {
    /// Its time of modification and its size.
    #[default]
    Modified,
    /// Its bytes: for trees whose files all bear one time.
    Content,
}

impl Etag {
    /// Every choice, in the order of the help.
    pub const ALL: [Self; 2] = [Self::Modified, Self::Content];

    /// The name in options and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Modified => "modified",
            Self::Content => "content",
        }
    }
}

/// The page of figures: where it is and who may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// Whether there is one.
    pub on: bool,
    /// The path that answers, beginning with a slash; a file of this name is hidden.
    pub path: String,
    /// Who may read it; everyone else gets 404.
    pub allow: Allow,
    /// Where it is answered, and nothing of the site is; if empty it is answered where the site is.
    pub listen: Vec<Listen>,
    /// Whether the two paths below are answered where the site is, too.
    pub health: bool,
    /// The path that says that the server lives.
    pub health_path: String,
    /// The path that says whether it accepts connections.
    pub ready_path: String,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            on: true,
            path: crate::telemetry::schema::PATH.to_owned(),
            allow: Allow::default(),
            listen: Vec::new(),
            health: false,
            health_path: "/health".to_owned(),
            ready_path: "/ready".to_owned(),
        }
    }
}

/// Who may read a page. Without an entry nobody may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// Clients of this machine: loopback addresses and unix sockets.
    pub loopback: bool,
    /// Clients of these networks.
    pub networks: Vec<Network>,
}

impl Default for Allow {
    fn default() -> Self {
        Self { loopback: true, networks: Vec::new() }
    }
}

impl Allow {
    /// Whether a client may read. `peer` is `None` for a unix socket. Whoever is only named by a
    /// proxy is not of this machine, whatever the proxy says; and behind one that is not trusted
    /// nobody is known: its own address speaks for nobody.
    pub fn permits(&self, peer: Option<IpAddr>, via: Via) -> bool {
        let loopback = self.loopback && via == Via::Nobody;
        match peer.map(|ip| ip.to_canonical()) {
            _ if via == Via::Unknown => false,
            None => loopback,
            Some(ip) => {
                loopback && ip.is_loopback()
                    || self.networks.iter().any(|network| network.contains(ip))
            }
        }
    }
}

/// Whether two addresses would need the same port of the same interface.
pub fn clash(one: &Listen, other: &Listen) -> bool {
    match (one, other) {
        (Listen::Tcp(one), Listen::Tcp(other)) => {
            let same_ip = one.ip() == other.ip()
                || one.is_ipv4() == other.is_ipv4()
                    && (one.ip().is_unspecified() || other.ip().is_unspecified());
            one.port() == other.port() && one.port() != 0 && same_ip && same_scope(one, other)
        }
        (Listen::Unix(one), Listen::Unix(other)) => one == other,
        _ => false,
    }
}

/// A link-local address is another address on another interface.
fn same_scope(one: &SocketAddr, other: &SocketAddr) -> bool {
    match (one, other) {
        (SocketAddr::V6(one), SocketAddr::V6(other)) => {
            one.scope_id() == other.scope_id()
                || one.ip().is_unspecified()
                || other.ip().is_unspecified()
        }
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::ip;

    #[test]
    fn figures_are_for_this_machine_by_default() {
        let allow = Allow::default();
        assert!(allow.permits(Some(ip("127.0.0.1")), Via::Nobody));
        assert!(allow.permits(Some(ip("::ffff:127.0.0.9")), Via::Nobody));
        assert!(allow.permits(None, Via::Nobody));
        assert!(!allow.permits(Some(ip("127.0.0.1")), Via::Unknown));
        assert!(!allow.permits(Some(ip("192.0.2.1")), Via::Nobody));
    }

    #[test]
    fn a_budget_is_shared_and_never_rounds_to_nothing() {
        let options = Options { workers: 4, ..Options::default() };
        assert_eq!(options.share(4096), 1024);
        assert_eq!(options.share(3), 1);
        assert_eq!(options.share(0), 0);
    }

    #[test]
    fn a_wildcard_clashes_with_an_address_of_its_family() {
        let tcp = |text: &str| Listen::Tcp(text.parse().unwrap());
        assert!(clash(&tcp("0.0.0.0:80"), &tcp("127.0.0.1:80")));
        assert!(!clash(&tcp("0.0.0.0:80"), &tcp("[::1]:80")));
        assert!(!clash(&tcp("127.0.0.1:80"), &tcp("127.0.0.2:80")));
        assert!(!clash(&tcp("127.0.0.1:0"), &tcp("127.0.0.1:0")));
        assert!(clash(&Listen::Unix("/a".into()), &Listen::Unix("/a".into())));
    }
}
