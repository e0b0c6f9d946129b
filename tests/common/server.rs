//! The built program as a child process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::wire::Wire;
use super::{PATIENCE, get};

/// The signal of a process that ends itself for a bug.
const ABORTED: i32 = Signal::ABORT.as_raw();

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    arguments: Vec<String>,
    through: Vec<String>,
    root: Option<PathBuf>,
    variables: Vec<(String, String)>,
}

impl Launch {
    /// With these arguments, and `--listen 127.0.0.1:0` unless they say where to listen.
    pub fn new(arguments: &[&str]) -> Self {
        Self { arguments: arguments.iter().map(ToString::to_string).collect(), ..Self::default() }
    }

    /// Serves this directory.
    pub fn root(mut self, root: &Path) -> Self {
        self.root = Some(root.to_owned());
        self
    }

    /// Starts the program by another one, which gets the command line behind these arguments and
    /// has to become it by exec, so that the process id stays the same.
    pub fn through(mut self, prefix: &[&str]) -> Self {
        self.through = prefix.iter().map(ToString::to_string).collect();
        self
    }

    /// Sets a variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has a build with debug assertions give memory back that it frees, for who measures memory.
    pub fn without_quarantine(self) -> Self {
        self.variable("QUARANTINE", "off")
    }

    fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_pitcrew");
        let mut command = match self.through.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.args(&self.arguments);
        if !self.arguments.iter().any(|argument| argument == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if let Some(root) = &self.root {
            command.arg(root);
        }
        // A configuration of the person who runs the tests must not leak in.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PITCREW_") {
                command.env_remove(name);
            }
        }
        command.env_remove("RUST_LOG").env("NO_COLOR", "1").current_dir("/");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn listeners(&self) -> usize {
        self.arguments.iter().filter(|argument| *argument == "--listen").count().max(1)
    }

    /// Starts it and waits until every listener is announced.
    pub fn start(&self) -> Server {
        let mut child = self.command().spawn().expect("the program can be started");
        let (lines, stdout) = read_lines(child.stdout.take().unwrap());
        let (stderr, gathering) = gather(child.stderr.take().unwrap());
        let mut server = Server {
            child,
            listening: Vec::new(),
            for_telemetry: Vec::new(),
            stderr,
            readers: vec![stdout, gathering],
            ended: None,
        };
        let end = Instant::now() + PATIENCE;
        while server.listening.len() < self.listeners() {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(place) = line.strip_prefix("listening on ") {
                        server.listening.push(Listening::parse(place));
                    } else if let Some(place) = line.strip_prefix("telemetry on ") {
                        server.for_telemetry.push(Listening::parse(place));
                    }
                }
                Err(error) => {
                    let state = server.child.try_wait();
                    panic!(
                        "the server did not say where it listens ({error}; {state:?}); \
                         its stderr:\n{}",
                        server.stderr()
                    );
                }
            }
        }
        server
    }

    /// Starts a server that is expected to give up, and waits for its end: status and stderr.
    pub fn refused(&self) -> (ExitStatus, String) {
        let mut child = self.command().spawn().expect("the program can be started");
        let (_lines, stdout) = read_lines(child.stdout.take().unwrap());
        let (stderr, gathering) = gather(child.stderr.take().unwrap());
        let mut server = Server {
            child,
            listening: Vec::new(),
            for_telemetry: Vec::new(),
            stderr,
            readers: vec![stdout, gathering],
            ended: None,
        };
        let status = server.wait();
        (status, server.stderr())
    }
}

/// Where a server says that it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listening {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Listening {
    /// A new connection.
    pub fn connect(&self) -> Wire {
        match self {
            Self::Tcp(address) => Wire::tcp(*address),
            Self::Unix(path) => Wire::unix(path),
        }
    }

    fn parse(place: &str) -> Self {
        if let Some(path) = place.strip_prefix("unix:") {
            return Self::Unix(PathBuf::from(path));
        }
        let address = place.strip_prefix("http://").unwrap_or_else(|| {
            panic!("a listener is announced as http://address or unix:path, not {place:?}")
        });
        Self::Tcp(address.trim_end_matches('/').parse().expect("the announced address parses"))
    }
}

/// A running server. It is ended by its process id when the value is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    listening: Vec<Listening>,
    for_telemetry: Vec<Listening>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

impl Server {
    /// Starts a server with these arguments over `root` and waits until it listens.
    pub fn start(arguments: &[&str], root: &Path) -> Self {
        Launch::new(arguments).root(root).start()
    }

    /// A server with this engine and one worker.
    pub fn engine(engine: &str, root: &Path) -> Self {
        Self::start(&["--engine", engine, "--workers", "1"], root)
    }

    /// The first TCP address.
    pub fn address(&self) -> SocketAddr {
        self.listening
            .iter()
            .find_map(|one| match one {
                Listening::Tcp(address) => Some(*address),
                Listening::Unix(_) => None,
            })
            .expect("the server has a TCP listener")
    }

    /// All that was announced.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Where telemetry alone is answered, as it was announced.
    pub fn for_telemetry(&self) -> &[Listening] {
        &self.for_telemetry
    }

    /// The address of a path below the root.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// A new connection to the first listener.
    pub fn connect(&self) -> Wire {
        self.listening[0].connect()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The figures of `/telemetry`.
    pub fn telemetry(&self) -> Value {
        let mut wire = self.connect();
        wire.send(&get("/telemetry", "Connection: close\r\nAccept: application/json\r\n"));
        let answer = wire.response().unwrap_or_else(|fault| {
            panic!("/telemetry was not answered: {fault:?}; stderr:\n{}", self.stderr())
        });
        assert_eq!(answer.status, 200, "/telemetry: {answer:?}");
        serde_json::from_slice(&answer.body).expect("/telemetry is JSON")
    }

    /// One figure by its path of keys, such as `["techniques", "sendfile", "bytes"]`.
    pub fn figure(&self, path: &[&str]) -> u64 {
        figure(&self.telemetry(), path)
    }

    /// Waits until a figure passes a test: counts may trail the last byte by one turn.
    pub fn figure_until(&self, path: &[&str], pass: impl Fn(u64) -> bool) -> u64 {
        let end = Instant::now() + PATIENCE;
        loop {
            let value = self.figure(path);
            if pass(value) {
                return value;
            }
            assert!(Instant::now() < end, "{path:?} stays at {value}:\n{:#}", self.telemetry());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the server can be signalled");
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.poll().is_none()
    }

    /// Waits for the end, which somebody else has asked for.
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_for(PATIENCE).unwrap_or_else(|| {
            panic!("the server did not end; its stderr:\n{}", self.stderr());
        })
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended
    }

    fn wait_for(&mut self, span: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + span;
        while self.poll().is_none() {
            if Instant::now() >= end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        self.ended
    }

    fn end(&mut self) {
        // The first asks to drain; clients of the test may still hold downloads open, so a
        // second follows soon. The last is for a server that does not listen.
        for (signal, span) in [(Signal::TERM, 2), (Signal::TERM, 5), (Signal::KILL, 10)] {
            if self.poll().is_some() {
                break;
            }
            let _ = kill_process(Pid::from_child(&self.child), signal);
            if self.wait_for(Duration::from_secs(span)).is_some() {
                break;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let stderr = self.stderr();
            eprintln!("--- stderr of the server ({:?}):\n{stderr}---", self.ended);
        } else {
            // It looks for writes to freed memory once more at its end.
            let aborted = self.ended.and_then(|status| status.signal()) == Some(ABORTED);
            assert!(!aborted, "the server was aborted; its stderr:\n{}", self.stderr());
        }
    }
}

/// One figure of a telemetry value by its path of keys.
pub fn figure(telemetry: &Value, path: &[&str]) -> u64 {
    let mut at = telemetry;
    for key in path {
        at = at
            .get(key)
            .unwrap_or_else(|| panic!("telemetry has no {path:?} (at {key:?}):\n{telemetry:#}"));
    }
    at.as_u64().unwrap_or_else(|| panic!("{path:?} is not a count: {at}"))
}

fn read_lines(from: impl Read + Send + 'static) -> (Receiver<String>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // Read on when nobody listens any more, so that the server never blocks on a full
            // pipe.
            let _ = sender.send(line);
        }
    });
    (receiver, reader)
}

fn gather(mut from: impl Read + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, JoinHandle<()>) {
    let gathered = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&gathered);
    let reader = std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            into.lock().unwrap().extend_from_slice(&chunk[..count]);
        }
    });
    (gathered, reader)
}
