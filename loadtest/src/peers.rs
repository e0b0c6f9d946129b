//! The servers that pitcrew is set against, each at its best: how it is configured and started.
//!
//! One row of [`ROWS`] for each configuration. All have the same files, one worker for each core
//! they are given, no access log unless a scenario asks for one, and keep-alive without a limit
//! that a run could reach.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A peer and how it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PeerKind {
    /// nginx with sendfile and tcp_nopush.
    Nginx,
    /// nginx without sendfile, which is cheaper for small files.
    NginxCopy,
    /// nginx with sendfile in a pool of threads, for files that may not be in memory.
    NginxThreads,
    /// nginx with O_DIRECT and a pool of threads, for files that are not in memory.
    NginxDirect,
    /// lighttpd with its sendfile backend.
    Lighttpd,
    /// H2O.
    H2o,
    /// Caddy's file server.
    Caddy,
    /// static-web-server.
    StaticWebServer,
}

/// What a peer is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brief<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) root: &'a Path,
    /// Where it keeps what it writes.
    pub(crate) prefix: &'a Path,
    /// The cores it may use, one worker for each.
    pub(crate) cores: &'a [usize],
    /// The access log that it writes, if it can and shall.
    pub(crate) log: Option<&'a Path>,
}

/// How a peer is started: a configuration file, and the arguments with `CONFIG` for its path.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) configuration: String,
    pub(crate) arguments: Vec<String>,
}

struct Row {
    kind: PeerKind,
    name: &'static str,
    /// The server, as it is named in arguments, and its program.
    server: &'static str,
    /// How it is installed.
    install: &'static str,
    launch: fn(&Brief<'_>) -> Launch,
}

const ROWS: [Row; 8] = [
    nginx_row(PeerKind::Nginx, "nginx", |brief| nginx(brief, "sendfile on; tcp_nopush on;")),
    nginx_row(PeerKind::NginxCopy, "nginx-copy", |brief| {
        nginx(brief, "sendfile off; output_buffers 2 128k;")
    }),
    nginx_row(PeerKind::NginxThreads, "nginx-threads", |brief| {
        nginx(brief, "sendfile on; tcp_nopush on; aio threads;")
    }),
    nginx_row(PeerKind::NginxDirect, "nginx-direct", |brief| {
        nginx(brief, "sendfile off; aio threads; directio 4k; output_buffers 4 512k;")
    }),
    Row {
        kind: PeerKind::Lighttpd,
        name: "lighttpd",
        server: "lighttpd",
        install: "apt-get install lighttpd",
        launch: lighttpd,
    },
    Row {
        kind: PeerKind::H2o,
        name: "h2o",
        server: "h2o",
        install: "apt-get install h2o",
        launch: h2o,
    },
    Row {
        kind: PeerKind::Caddy,
        name: "caddy",
        server: "caddy",
        install: "apt-get install caddy",
        launch: caddy,
    },
    Row {
        kind: PeerKind::StaticWebServer,
        name: "static-web-server",
        server: "static-web-server",
        install: "cargo install static-web-server",
        launch: static_web_server,
    },
];

const fn nginx_row(kind: PeerKind, name: &'static str, launch: fn(&Brief<'_>) -> Launch) -> Row {
    Row { kind, name, server: "nginx", install: "apt-get install nginx-light", launch }
}

const _: () = {
    let mut index = 0;
    while index < ROWS.len() {
        assert!(ROWS[index].kind as usize == index, "the table is in the order of the enum");
        index += 1;
    }
};

impl PeerKind {
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Every name that can be asked for: servers, and configurations of them.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        ROWS.iter().map(|row| row.name)
    }

    /// Whether a server or a configuration is called so.
    pub(crate) fn is_name(name: &str) -> bool {
        ROWS.iter().any(|row| row.name == name || row.server == name)
    }

    /// The name in reports and arguments.
    pub(crate) fn name(self) -> &'static str {
        self.row().name
    }

    /// The program.
    pub(crate) fn program(self) -> &'static str {
        self.row().server
    }

    /// The command that installs it.
    pub(crate) fn install(self) -> &'static str {
        self.row().install
    }

    /// Whether it is asked for by its own name, or by that of its server.
    pub(crate) fn is_called(self, name: &str) -> bool {
        self.row().name == name || self.row().server == name || name == "all"
    }

    /// How it is started.
    pub(crate) fn launch(self, brief: &Brief<'_>) -> Launch {
        (self.row().launch)(brief)
    }
}

fn launch(configuration: String, arguments: &[&str]) -> Launch {
    Launch { configuration, arguments: arguments.iter().map(|&one| one.to_owned()).collect() }
}

fn nginx(brief: &Brief<'_>, directives: &str) -> Launch {
    let Brief { address, root, prefix, cores, log } = brief;
    let log = match log {
        Some(log) => format!("{} combined buffer=64k", log.display()),
        None => "off".to_owned(),
    };
    // Without a user the worker of a root's master could not read the scratch directory.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let mut masks = String::new();
    for core in *cores {
        let _ = write!(masks, " 1{}", "0".repeat(*core));
    }
    let (root, workers) = (root.display(), cores.len());
    // Its 32 threads are fewer than the reads that 64 connections ask for. Where nothing is read by
    // threads they would only take memory.
    let pool = match directives.contains("aio threads") {
        true => "thread_pool default threads=128 max_queue=65536;\n",
        false => "",
    };
    // With one socket for all, a worker that is busy accepts what another one could serve.
    let reuseport = if workers > 1 { " reuseport" } else { "" };
    let configuration = format!(
        "\
{user}daemon off;
pid nginx.pid;
worker_processes {workers};
worker_cpu_affinity{masks};
worker_rlimit_nofile 32768;
{pool}events {{ worker_connections 16384; use epoll; multi_accept on; }}
http {{
    access_log {log};
    {directives}
    tcp_nodelay on;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    open_file_cache max=8192 inactive=300s;
    open_file_cache_valid 60s;
    default_type application/octet-stream;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{ listen {address} backlog=4096{reuseport}; root {root}; autoindex on; }}
}}
"
    );
    let prefix = prefix.display().to_string();
    launch(configuration, &["-e", "stderr", "-p", &prefix, "-c", "CONFIG"])
}

fn lighttpd(brief: &Brief<'_>) -> Launch {
    let Brief { address, root, cores, .. } = brief;
    // One process without workers is what it is made for; more are asked for only with more cores.
    let workers = if cores.len() > 1 { cores.len() } else { 0 };
    let (root, host, port) = (root.display(), address.ip(), address.port());
    let configuration = format!(
        "\
server.document-root = \"{root}\"
server.bind = \"{host}\"
server.port = {port}
server.max-worker = {workers}
server.max-fds = 32768
server.max-connections = 16384
server.max-keep-alive-requests = 1000000000
server.max-keep-alive-idle = 300
server.network-backend = \"sendfile\"
server.event-handler = \"linux-sysepoll\"
mimetype.assign = ( \"\" => \"application/octet-stream\" )
"
    );
    launch(configuration, &["-D", "-f", "CONFIG"])
}

fn h2o(brief: &Brief<'_>) -> Launch {
    let Brief { address, root, cores, prefix, .. } = brief;
    let user = if rustix::process::geteuid().is_root() { "user: root\n" } else { "" };
    let (root, host, port) = (root.display(), address.ip(), address.port());
    let (threads, prefix) = (cores.len(), prefix.display());
    let configuration = format!(
        "\
{user}num-threads: {threads}
max-connections: 16384
http1-request-timeout: 300
pid-file: {prefix}/h2o.pid
temp-buffer-path: {prefix}
listen:
  host: {host}
  port: {port}
hosts:
  default:
    paths:
      /:
        file.dir: {root}
"
    );
    launch(configuration, &["-m", "worker", "-c", "CONFIG"])
}

fn caddy(brief: &Brief<'_>) -> Launch {
    let Brief { address, root, prefix, .. } = brief;
    let (root, prefix) = (root.display(), prefix.display());
    let (host, port) = (address.ip(), address.port());
    let configuration = format!(
        "\
{{
    admin off
    auto_https off
    storage file_system {prefix}
}}
http://{host}:{port} {{
    bind {host}
    root * {root}
    file_server
}}
"
    );
    launch(configuration, &["run", "--adapter", "caddyfile", "--config", "CONFIG"])
}

/// Its multiplier is one of the cores that it is pinned to.
fn static_web_server(brief: &Brief<'_>) -> Launch {
    let Brief { address, root, .. } = brief;
    let (root, host, port) = (root.display(), address.ip(), address.port());
    let configuration = format!(
        "\
[general]
host = \"{host}\"
port = {port}
root = \"{root}\"
log-level = \"error\"
threads-multiplier = 1
compression = false
cache-control-headers = false
security-headers = false
directory-listing = false
"
    );
    launch(configuration, &["--config-file", "CONFIG"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brief<'a>(cores: &'a [usize]) -> Brief<'a> {
        let address = "127.0.0.1:1".parse().unwrap();
        Brief { address, root: Path::new("/x"), prefix: Path::new("/y"), cores, log: None }
    }

    #[test]
    fn peers_are_called_by_their_name_or_their_server() {
        assert!(PeerKind::NginxCopy.is_called("nginx") && PeerKind::Nginx.is_called("nginx"));
        assert!(PeerKind::NginxCopy.is_called("nginx-copy"));
        assert!(!PeerKind::Nginx.is_called("nginx-copy"));
        assert!(PeerKind::Caddy.is_called("all") && !PeerKind::Caddy.is_called("nginx"));
        assert_eq!(PeerKind::names().count(), ROWS.len());
    }

    #[test]
    fn every_peer_is_told_its_root_and_its_address() {
        for row in ROWS {
            let Launch { configuration, arguments } = row.kind.launch(&brief(&[2]));
            assert!(configuration.contains("/x") && configuration.contains("127.0.0.1"));
            assert!(arguments.iter().any(|one| one == "CONFIG"), "{}", row.name);
            let reads_by_threads = configuration.contains("aio threads");
            assert_eq!(configuration.contains("threads=128"), reads_by_threads, "{}", row.name);
        }
    }

    #[test]
    fn the_mask_of_nginx_names_each_core_from_the_right() {
        let of = |cores: &[usize]| PeerKind::Nginx.launch(&brief(cores)).configuration;
        assert!(of(&[2]).contains("worker_cpu_affinity 100;"));
        assert!(of(&[0, 1]).contains("worker_processes 2;\nworker_cpu_affinity 1 10;"));
        assert!(of(&[0, 1]).contains(" reuseport;") && !of(&[2]).contains("reuseport"));
    }
}
