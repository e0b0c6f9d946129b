//! The servers that take part: pitcrew by engine, and its peers by configuration.

use std::env;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::confines::{Bounds, Confines};
use crate::extra::{self, Entrant};
use crate::machine;
use crate::peers::{Brief, Launch, PeerKind};
use crate::process::{LOOK, Process};
use crate::site::{Scratch, Site};

/// How long a server may take until it accepts.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How often another port is tried when somebody else took the free one first.
const PORT_TRIES: u32 = 5;
/// How long a server that accepts is given to find out that it does not.
const SETTLE: Duration = Duration::from_millis(30);
/// Where the ports of peers begin in a network namespace that has none but them.
const FOREIGN_PORTS: u16 = 20_000;

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// pitcrew with an engine.
    Pitcrew(String),
    /// Another server.
    Peer(PeerKind),
    /// This program, as a server that does nothing.
    Null,
}

impl Contestant {
    /// The name in reports.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Pitcrew(engine) => format!("pitcrew {engine}"),
            Self::Peer(kind) => kind.name().to_owned(),
            Self::Null => "null".to_owned(),
        }
    }
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// The access log that it writes.
    pub(crate) log: Option<PathBuf>,
    /// How it was started: a command line, and a configuration if it has one.
    pub(crate) configuration: String,
    /// Goes away when the process has ended.
    _confines: Confines,
}

/// The engine of a variant of pitcrew: `auto` of `auto:pin=false+hot-cache=1MiB`.
pub(crate) fn engine_of(variant: &str) -> &str {
    variant.split(':').next().unwrap_or_default()
}

/// The options of a variant, as arguments.
fn options_of(variant: &str) -> Vec<String> {
    let options = variant.split_once(':').map_or("", |(_, options)| options);
    options.split('+').filter(|one| !one.is_empty()).map(|one| format!("--{one}")).collect()
}

/// Where servers are started.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) scratch: &'a Scratch,
    /// The cores of the servers, one worker for each.
    pub(crate) cores: &'a [usize],
    pub(crate) pitcrew: &'a Path,
    /// The address that servers listen on.
    pub(crate) host: IpAddr,
    /// The network namespace of the servers, if it is not that of the generator.
    pub(crate) namespace: Option<&'a str>,
    /// What each server may use.
    pub(crate) bounds: Bounds,
    /// Further arguments of pitcrew.
    pub(crate) arguments: &'a [String],
}

impl Ground<'_> {
    /// Starts a server on the files of a site and waits until it accepts.
    ///
    /// `number` keeps the files of several servers apart.
    pub(crate) fn start(
        &self,
        entrant: &Entrant,
        site: &Site,
        number: usize,
    ) -> io::Result<Server> {
        let log = entrant.extra.map(|_| extra::log_of(self.scratch.path(), number));
        let mut server = self.start_one(entrant, log.as_deref(), site, number)?;
        // How it was started is told to people who have not this machine.
        let scratch = self.scratch.path().display().to_string();
        server.configuration = server.configuration.replace(&scratch, "SCRATCH");
        Ok(Server { log, ..server })
    }

    fn start_one(
        &self,
        entrant: &Entrant,
        log: Option<&Path>,
        site: &Site,
        number: usize,
    ) -> io::Result<Server> {
        match &entrant.contestant {
            Contestant::Null => self.start_null(site, number),
            Contestant::Pitcrew(variant) => {
                let more = entrant.extra.zip(log);
                let more = more.map(|(extra, log)| extra.arguments(log)).unwrap_or_default();
                self.start_pitcrew(variant, &more, site, number)
            }
            Contestant::Peer(kind) => {
                let mut tries = 1;
                loop {
                    match self.start_peer(*kind, log, site, number) {
                        Err(error) if tries < PORT_TRIES && is_in_use(&error) => {}
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

    fn start_pitcrew(
        &self,
        variant: &str,
        more: &[String],
        site: &Site,
        number: usize,
    ) -> io::Result<Server> {
        let mut command = self.command(self.pitcrew);
        let (listen, workers) = (format!("{}:0", self.host), self.cores.len().to_string());
        let fixed = ["--engine", engine_of(variant), "--listen", &listen, "--workers", &workers];
        let options = options_of(variant);
        let further = self.arguments.iter().chain(more).chain(&options).map(String::as_str);
        let arguments: Vec<&str> = fixed.into_iter().chain(further).collect();
        command.args(&arguments).arg(site.root());
        // Neither a configuration file nor the environment may change what is measured.
        command.current_dir(self.scratch.path());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PITCREW_") {
                command.env_remove(name);
            }
        }
        let configuration = format!("pitcrew {} ROOT", arguments.join(" "));
        self.start_that_tells(command, configuration, site, number)
    }

    fn start_null(&self, site: &Site, number: usize) -> io::Result<Server> {
        let mut command = self.command(&env::current_exe()?);
        let listen = format!("{}:0", self.host);
        let file = site.root().join(&Site::target(0)[1..]);
        command.args(["null", "--listen", &listen, "--file"]).arg(file);
        let configuration = format!("loadtest null --listen {listen} --file ROOT/0.bin");
        self.start_that_tells(command, configuration, site, number)
    }

    /// Starts a server that says where it listens.
    fn start_that_tells(
        &self,
        command: Command,
        configuration: String,
        site: &Site,
        number: usize,
    ) -> io::Result<Server> {
        let confines = Confines::new(&self.bounds, site.root())?;
        let mut process =
            Process::start(command, self.cores, &confines.doors(), &self.output(number))?;
        let end = Instant::now() + START_PATIENCE;
        loop {
            let told = process.output();
            let ready = told.split("listening on http://").nth(1).and_then(|rest| {
                // The line has to be whole, or the port may be cut.
                let (line, _) = rest.split_once('\n')?;
                line.split(|c: char| c == '/' || c.is_whitespace()).next()?.parse().ok()
            });
            if let Some(address) = ready {
                return Ok(Server {
                    process,
                    address,
                    log: None,
                    configuration,
                    _confines: confines,
                });
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

    fn start_peer(
        &self,
        kind: PeerKind,
        log: Option<&Path>,
        site: &Site,
        number: usize,
    ) -> io::Result<Server> {
        // A peer cannot be asked which port it got, so a free one is looked for first.
        let address = TcpListener::bind((self.host, 0));
        let address = match address {
            Ok(listener) => listener.local_addr()?,
            // The host of the servers is in another network namespace, where ports are free.
            Err(_) => (self.host, FOREIGN_PORTS + number as u16).into(),
        };
        let prefix = self.scratch.path().join(format!("{}-{number}", kind.name()));
        fs::create_dir_all(&prefix)?;
        let brief = Brief { address, root: site.root(), prefix: &prefix, cores: self.cores, log };
        let Launch { configuration, arguments } = kind.launch(&brief);
        // static-web-server takes no file of another name.
        let file = prefix.join("configuration.toml");
        fs::write(&file, &configuration)?;
        let program = machine::program(kind.program()).unwrap_or_else(|| kind.program().into());
        let mut command = self.command(&program);
        for argument in &arguments {
            match argument.as_str() {
                "CONFIG" => command.arg(&file),
                other => command.arg(other),
            };
        }
        // Some keep state below their home.
        command.env("HOME", &prefix).env_remove("XDG_CONFIG_HOME").current_dir(&prefix);
        let confines = Confines::new(&self.bounds, site.root())?;
        let mut process =
            Process::start(command, self.cores, &confines.doors(), &self.output(number))?;
        let end = Instant::now() + START_PATIENCE;
        loop {
            // A server that lost the race for its port has ended when it is looked at again.
            if TcpStream::connect(address).is_ok() {
                std::thread::sleep(SETTLE);
                if process.ended()?.is_none() {
                    let root = site.root().display().to_string();
                    let configuration = configuration.replace(&root, "ROOT");
                    return Ok(Server {
                        process,
                        address,
                        log: None,
                        configuration,
                        _confines: confines,
                    });
                }
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

    /// A command that runs where the servers are.
    fn command(&self, program: &Path) -> Command {
        match self.namespace {
            None => Command::new(program),
            Some(name) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={name}")).arg(program);
                command
            }
        }
    }
}

/// Whether somebody else took the port first, in the words of any of the servers.
fn is_in_use(error: &io::Error) -> bool {
    error.to_string().to_lowercase().contains("address already in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_is_an_engine_with_options() {
        let variant = "auto:pin=false+hot-cache=1MiB";
        assert_eq!((engine_of(variant), engine_of("copy")), ("auto", "copy"));
        assert_eq!(options_of(variant), ["--pin=false", "--hot-cache=1MiB"]);
        assert!(options_of("copy").is_empty() && options_of("copy:").is_empty());
    }
}
