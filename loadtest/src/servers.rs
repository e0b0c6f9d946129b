//! The servers that take part: pitcrew by engine, and its peers by configuration.

use std::env;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::machine;
use crate::process::{LOOK, Process};
use crate::site::{Scratch, Site};

/// How long a server may take until it accepts.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How often another port is tried when somebody else took the free one first.
const PORT_TRIES: u32 = 5;

/// A peer and how it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PeerKind {
    /// nginx with sendfile and tcp_nopush.
    Nginx,
    /// nginx without sendfile, which is cheaper for small files.
    NginxCopy,
    /// nginx with O_DIRECT and a pool of threads, for files that are not in memory.
    NginxDirect,
}

impl PeerKind {
    /// The name in reports and arguments.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxCopy => "nginx-copy",
            Self::NginxDirect => "nginx-direct",
        }
    }

    /// Whether it is asked for by its own name, or by that of its server.
    pub(crate) fn is_called(self, name: &str) -> bool {
        self.name() == name || name == "nginx"
    }

    fn directives(self) -> &'static str {
        match self {
            Self::Nginx => "sendfile on; tcp_nopush on;",
            Self::NginxCopy => "sendfile off; output_buffers 2 128k;",
            Self::NginxDirect => "sendfile off; aio threads; directio 4k; output_buffers 2 128k;",
        }
    }
}

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// pitcrew with an engine.
    Pitcrew(String),
    /// Another server.
    Peer(PeerKind),
}

impl Contestant {
    /// The name in reports.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Pitcrew(engine) => format!("pitcrew {engine}"),
            Self::Peer(kind) => kind.name().to_owned(),
        }
    }
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// How it was started: a command line, and a configuration if it has one.
    pub(crate) configuration: String,
}

/// Where servers are started.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) scratch: &'a Scratch,
    pub(crate) core: usize,
    pub(crate) pitcrew: &'a Path,
}

impl Ground<'_> {
    /// Starts a server on the files of a site and waits until it accepts.
    ///
    /// `number` keeps the files of several servers apart.
    pub(crate) fn start(
        &self,
        contestant: &Contestant,
        site: &Site,
        number: usize,
    ) -> io::Result<Server> {
        match contestant {
            Contestant::Pitcrew(engine) => self.start_pitcrew(engine, site, number),
            Contestant::Peer(kind) => {
                let mut tries = 1;
                loop {
                    match self.start_nginx(*kind, site, number) {
                        Err(error)
                            if tries < PORT_TRIES
                                && error.to_string().contains("Address already in use") => {}
                        other => return other,
                    }
                    tries += 1;
                }
            }
        }
    }

    fn output(&self, number: usize) -> PathBuf {
        self.scratch.path().join(format!("server-{number}.log"))
    }

    fn start_pitcrew(&self, engine: &str, site: &Site, number: usize) -> io::Result<Server> {
        let mut command = Command::new(self.pitcrew);
        let arguments = ["--engine", engine, "--listen", "127.0.0.1:0", "--workers", "1"];
        command.args(arguments).arg(site.root());
        // Neither a configuration file nor the environment may change what is measured.
        command.current_dir(self.scratch.path());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PITCREW_") {
                command.env_remove(name);
            }
        }
        let mut process = Process::start(command, self.core, &self.output(number))?;
        let end = Instant::now() + START_PATIENCE;
        loop {
            let told = process.output();
            let ready = told.split("listening on http://").nth(1).and_then(|rest| {
                // The line has to be whole, or the port may be cut.
                let (line, _) = rest.split_once('\n')?;
                line.split(|c: char| c == '/' || c.is_whitespace()).next()?.parse().ok()
            });
            if let Some(address) = ready {
                let configuration = format!("pitcrew {} ROOT", arguments.join(" "));
                return Ok(Server { process, address, configuration });
            }
            if process.ended()?.is_some() {
                return Err(process.fault("ended at once"));
            }
            if Instant::now() > end {
                return Err(process.fault("does not say that it listens"));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn start_nginx(&self, kind: PeerKind, site: &Site, number: usize) -> io::Result<Server> {
        // nginx cannot be asked which port it got, so a free one is looked for first.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let prefix = self.scratch.path().join(format!("nginx-{number}"));
        fs::create_dir_all(&prefix)?;
        let text = nginx_configuration(kind, address, site.root(), self.core);
        let file = prefix.join("nginx.conf");
        fs::write(&file, &text)?;
        let mut command = Command::new(machine::program("nginx").unwrap_or_else(|| "nginx".into()));
        command.args(["-e", "stderr", "-p"]).arg(&prefix).arg("-c").arg(&file);
        let mut process = Process::start(command, self.core, &self.output(number))?;
        let end = Instant::now() + START_PATIENCE;
        loop {
            // A child says that the master is through with its configuration and holds the port.
            if process.family()?.len() > 1 && TcpStream::connect(address).is_ok() {
                let root = site.root().display().to_string();
                let configuration = text.replace(&root, "ROOT");
                return Ok(Server { process, address, configuration });
            }
            if process.ended()?.is_some() {
                return Err(process.fault("ended at once"));
            }
            if Instant::now() > end {
                return Err(process.fault("does not accept"));
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn nginx_configuration(kind: PeerKind, address: SocketAddr, root: &Path, core: usize) -> String {
    // Without a user the worker of a root's master could not read the scratch directory.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let mask = format!("1{}", "0".repeat(core));
    let directives = kind.directives();
    let root = root.display();
    format!(
        "\
{user}daemon off;
pid nginx.pid;
worker_processes 1;
worker_cpu_affinity {mask};
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; use epoll; multi_accept on; }}
http {{
    access_log off;
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
    server {{ listen {address} backlog=4096; root {root}; }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_called_by_their_name_or_their_server() {
        assert!(PeerKind::NginxCopy.is_called("nginx") && PeerKind::Nginx.is_called("nginx"));
        assert!(PeerKind::NginxCopy.is_called("nginx-copy"));
        assert!(!PeerKind::Nginx.is_called("nginx-copy"));
    }

    #[test]
    fn the_mask_of_nginx_names_one_core_from_the_right() {
        let address = "127.0.0.1:1".parse().unwrap();
        let text = nginx_configuration(PeerKind::Nginx, address, Path::new("/x"), 2);
        assert!(text.contains("worker_cpu_affinity 100;"));
    }
}
