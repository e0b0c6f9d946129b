//! The program `pitcrew`: parse, configure, run, and say by the exit code how it ended.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pitcrew::broker::{self, Role};
use pitcrew::cli::{
    Arguments, COMMANDS, Check, Command, Doctor, DoctorFormat, Lab, LabFormat, LogFormat, LogView,
    PrintFormat, Serve, Top,
};
use pitcrew::config::{self, Effective, Format, Log, Problem, Source};
use pitcrew::server::{self, End, Fault};
use pitcrew::sys::client::{self, Peer};
use pitcrew::sys::follow::{Followed, Next};
use pitcrew::sys::root::{RootCause, RootError};
use pitcrew::sys::{Exchange, Root};
use pitcrew::watch::log::{self, Line, View};
use pitcrew::{doctor, lab, limits, watch};
use tracing::level_filters::LevelFilter;

#[cfg(debug_assertions)]
#[global_allocator]
static ALLOCATOR: pitcrew::sys::Quarantine = pitcrew::sys::Quarantine;

/// How the program ends; README.md and the help say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Usage = 2,
    Configuration = 3,
    Root = 4,
    Listen = 5,
    Ring = 6,
    Lab = 7,
    Lap = 8,
    Engine = 9,
    Watch = 10,
    NoLap = 11,
    Internal = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

fn main() -> ExitCode {
    let role = match broker::role() {
        Ok(Some(Role::Deed(deed))) => {
            return deed.run().map_or_else(internal, |()| Exit::Done).into();
        }
        Ok(role) => role,
        Err(why) => return internal(why).into(),
    };
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => {
            // Help and version are answers on the standard output, mistakes on the other.
            let _ = answer.print();
            return if answer.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let exit = match &arguments.command {
        None => match role {
            Some(Role::Broker(line)) => act_as_broker(&arguments.serve, line),
            Some(Role::Successor(line)) => serve(&arguments.serve, Some(line)),
            _ => serve(&arguments.serve, None),
        },
        Some(Command::Check(check)) => configure(&check.serve).and_then(|all| report(check, &all)),
        Some(Command::Doctor(one)) => configure(&one.serve).and_then(|all| examine(one, &all)),
        Some(Command::Top(top)) => look(top),
        Some(Command::Lab(lab)) => race(lab),
        Some(Command::Log(view)) => read_log(view),
    };
    exit.unwrap_or_else(|exit| exit).into()
}

fn configure(given: &Serve) -> Result<Effective, Exit> {
    config::resolve(&given.given(), std::env::vars_os(), given.config.as_deref()).map_err(
        |problems| {
            problems.iter().for_each(complain);
            let by_flags = problems.iter().all(|problem| problem.source.is_flag());
            if by_flags { Exit::Usage } else { Exit::Configuration }
        },
    )
}

/// `check`: what is wrong, else what is in force.
fn report(check: &Check, all: &Effective) -> Result<Exit, Exit> {
    all.warnings.iter().for_each(complain);
    Root::open(&all.settings.server.site.root)
        .map_err(|error| refuse_root(&check.serve, &error))?;
    let text = match (check.print, check.format) {
        (true, PrintFormat::Toml) => config::toml(all),
        (true, PrintFormat::Json) => config::json(all),
        (false, _) => match &all.file {
            Some(path) => format!("{}: the configuration is right\n", Source::file(path)),
            None => "the configuration is right; no file was named\n".to_owned(),
        },
    };
    print(&text)
}

fn print(text: &str) -> Result<Exit, Exit> {
    // A reader that has seen enough, as head(1), is no fault.
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
        _ => Ok(Exit::Done),
    }
}

/// `doctor`: what the machine allows for this configuration.
fn examine(given: &Doctor, all: &Effective) -> Result<Exit, Exit> {
    let report = doctor::examine(&config::doctor_options(&all.settings.server))
        .map_err(|error| refuse_root(&given.serve, &error))?;
    print(&match given.format {
        DoctorFormat::Text => doctor::text(&report, colour(&io::stdout())),
        DoctorFormat::Json => report.to_json(),
    })?;
    Ok(match (report.all_engines_run, report.io_uring) {
        (true, _) => Exit::Done,
        (false, true) => Exit::Engine,
        (false, false) => Exit::Ring,
    })
}

/// `top`: on the terminal, or in tables where there is none.
fn look(given: &Top) -> Result<Exit, Exit> {
    let place = watch::Place::parse(&given.server, given.path.as_deref()).map_err(misused)?;
    let mut server = Asked(match &place.spot {
        watch::Spot::Tcp(host) => Peer::Tcp(host.clone()),
        watch::Spot::Unix(path) => Peer::Unix(path.clone()),
    });
    let mut out = io::stdout();
    let Top { interval, once, .. } = *given;
    let options = watch::Options { interval, once, colour: colour(&out) };
    let ended = match once || !out.is_terminal() {
        true => watch::print(&mut server, &place, &options, &mut out),
        false => watch::screen(&mut server, &place, &options),
    };
    ended.map(|()| Exit::Done).map_err(|fault| {
        complain(&fault);
        if matches!(fault, watch::Fault::Server(_)) { Exit::Watch } else { Exit::Internal }
    })
}

/// The server that is looked at.
struct Asked(Peer);

impl watch::Server for Asked {
    fn exchange(&mut self, question: &[u8]) -> io::Result<Vec<u8>> {
        client::exchange(&self.0, question, limits::WATCH_BYTES_MAX, limits::WATCH_PATIENCE)
    }
}

/// `lab`: the race, and what is kept of it.
fn race(given: &Lab) -> Result<Exit, Exit> {
    let options = given.options().map_err(|problems| {
        problems.iter().for_each(complain);
        Exit::Usage
    })?;
    let refuse = |fault: lab::Fault| {
        complain(&fault);
        if matches!(fault, lab::Fault::Unknown { .. }) { Exit::Usage } else { Exit::Lab }
    };
    if given.list {
        return print(&lab::list(&options).map_err(refuse)?);
    }
    // Before the race, so that a minute is not spent for a result that cannot be kept.
    for path in [&given.output, &given.plot].into_iter().flatten() {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if !directory.is_none_or(Path::is_dir) || path.is_dir() {
            let why = format_args!("'{}' cannot be written: no such place", path.display());
            return Err(misused(why));
        }
    }
    let report = lab::run(&options, &mut Bar::default()).map_err(refuse)?;
    let keep = |path: &Option<PathBuf>, text: &dyn Fn() -> String| match path {
        None => Ok(()),
        Some(path) => lab::keep(path, &text()).map_err(|error| {
            complain(format_args!("'{}' cannot be written: {error}", path.display()));
            Exit::Lab
        }),
    };
    let kept = keep(&given.output, &|| report.to_json());
    let plotted = keep(&given.plot, &|| lab::svg(&report));
    print(&match given.format {
        LabFormat::Table => lab::text(&report, colour(&io::stdout())),
        LabFormat::Json => report.to_json(),
        LabFormat::Csv => lab::csv(&report),
    })?;
    kept.and(plotted)?;
    Ok(match (report.has_fault(), &report.fastest) {
        (true, _) => Exit::Lap,
        (false, None) => Exit::NoLap,
        (false, Some(_)) => Exit::Done,
    })
}

/// `log`: the records that are wanted, and those that come.
fn read_log(given: &LogView) -> Result<Exit, Exit> {
    let mut options = log::Options {
        paths: given.path.clone(),
        engines: given.engine.clone(),
        farewells: given.farewell.clone(),
        slower: given.slower,
        json: given.format == LogFormat::Json,
        colour: colour(&io::stdout()),
        ..log::Options::default()
    };
    for text in &given.status {
        let Some(range) = log::statuses(text) else {
            let why = format_args!("--status {text}: write a status as 404, 5xx or 400-499");
            return Err(misused(why));
        };
        options.statuses.push(range);
    }
    let named = given.file.as_deref().filter(|path| *path != Path::new("-"));
    if named.is_none() && io::stdin().is_terminal() {
        return Err(misused("no log: name a file, or pipe one into 'pitcrew log'"));
    }
    let path = named.unwrap_or(Path::new("/dev/stdin"));
    let cannot =
        |error: io::Error| misused(format_args!("'{}' cannot be read: {error}", path.display()));
    let last = given.lines.or(given.follow.then_some(FOLLOWED_LINES));
    let mut followed = Followed::open(path, last).map_err(cannot)?;
    let mut view = View::new(options);
    let mut shown = view.heading();
    let (mut part, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let next = followed.read(&mut buffer).map_err(cannot)?;
        let read = if let Next::Bytes(count) = next { &buffer[..count] } else { &[] };
        for piece in read.split_inclusive(|byte| *byte == b'\n') {
            part.extend_from_slice(piece);
            if part.pop_if(|byte| *byte == b'\n').is_some() {
                show(&mut view, &part, &mut shown);
                part.clear();
            } else if part.len() > RECORD_BYTES_MAX {
                complain("a line is longer than any record; it is cut");
                part.clear();
            }
        }
        let over = next == Next::End && !given.follow;
        if over && !part.is_empty() {
            show(&mut view, &part, &mut shown);
        }
        match io::stdout().write_all(shown.as_bytes()).and_then(|()| io::stdout().flush()) {
            Ok(()) => shown.clear(),
            // A reader that has seen enough, as head(1), is no fault.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Done),
            Err(error) => return Err(unwritten(&error)),
        }
        match next {
            Next::End if over => break,
            Next::End => std::thread::sleep(FOLLOW_LOOK),
            Next::Other => part.clear(),
            Next::Bytes(_) => {}
        }
    }
    if view.odd() > 1 {
        complain(format_args!("{} lines were no records", view.odd()));
    }
    Ok(Exit::Done)
}

/// Lines that `log --follow` begins with, as tail(1).
const FOLLOWED_LINES: u64 = 10;
/// How often it looks for more.
const FOLLOW_LOOK: Duration = Duration::from_millis(100);
/// A record has a target of 8 KiB and fields of a head of 16 KiB, escaped, at most.
const RECORD_BYTES_MAX: usize = 1 << 20;

fn show(view: &mut View, line: &[u8], out: &mut String) {
    if let Line::Odd(what) = view.line(line, out) {
        complain(what);
    }
}

/// How far the race is, on the terminal if the standard error output is one.
#[derive(Default)]
struct Bar(Option<indicatif::ProgressBar>);

impl lab::Progress for Bar {
    fn begin(&mut self, runs: u64) {
        let form = "{bar:30} {pos}/{len}  {msg}  {eta} left";
        let style = indicatif::ProgressStyle::with_template(form);
        let bar = indicatif::ProgressBar::new(runs);
        // The form is a constant; without it the bar has the one of the library.
        self.0 = Some(style.map_or(bar.clone(), |style| bar.with_style(style)));
    }

    fn run(&mut self, round: u32, lap: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(format!("round {round}: {lap:<16}"));
            bar.inc(1);
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

/// The process that does for a confined server what that cannot do itself.
fn act_as_broker(given: &Serve, line: Exchange) -> Result<Exit, Exit> {
    let read = || {
        let all = config::resolve(&given.given(), std::env::vars_os(), given.config.as_deref());
        all.map_err(|problems| problems.first().map(ToString::to_string).unwrap_or_default())
    };
    // The server says what is wrong with it, and what is odd.
    start_log(read().map(|all| all.settings.log).unwrap_or_default());
    let brokered = |all: Effective| all.settings.server.brokered(&files(&all));
    broker::serve(line, &mut || read().map(brokered)).map(|()| Exit::Done).map_err(internal)
}

fn unwritten(error: &io::Error) -> Exit {
    internal(format_args!("the standard output cannot be written: {error}"))
}

fn misused(why: impl Display) -> Exit {
    complain(why);
    Exit::Usage
}

fn internal(why: impl Display) -> Exit {
    complain(why);
    Exit::Internal
}

fn serve(given: &Serve, taking: Option<Exchange>) -> Result<Exit, Exit> {
    let all = &configure(given)?;
    start_log(all.settings.log);
    for Problem { source, message } in &all.warnings {
        tracing::warn!("{source}: {message}");
    }
    match &all.file {
        Some(path) => tracing::info!(file = %path.display(), "configuration read"),
        None => tracing::debug!("no configuration file was named"),
    }
    // Which engine serves, and who said so; where it cannot, the telemetry counts who did instead.
    let engine = all.settings.server.engine;
    let by = config::KEYS.iter().find(|key| key.name == "engine").map(|key| all.source(key));
    let by = by.map(ToString::to_string).unwrap_or_default();
    tracing::info!(by, "engine {engine}: {}", engine.help());
    let again = Again { given: given.clone(), log: all.settings.log, files: files(all) };
    // Who takes a place was announced by the one that had it.
    let quiet = given.quiet || taking.is_some();
    let end = server::run(&all.settings.server, quiet, Box::new(again), taking);
    let end = end.map_err(|fault| match fault {
        Fault::Root(error) => refuse_root(given, &error),
        fault => {
            complain(&fault);
            code(&fault)
        }
    })?;
    match end {
        End::Drained => tracing::info!("ended; everything begun was finished or out of time"),
        End::Replaced => tracing::info!("ended; another process serves in this one's place"),
        End::AtOnce(signal) => tracing::warn!(%signal, "ended at once; what had begun is cut"),
    }
    Ok(Exit::Done)
}

/// The configuration read once more, from the flags and the environment of the start.
struct Again {
    given: Serve,
    log: Log,
    files: Vec<PathBuf>,
}

/// What was read for a configuration.
fn files(all: &Effective) -> Vec<PathBuf> {
    all.file.iter().chain(&all.settings.lab_results).cloned().collect()
}

impl server::Reload for Again {
    fn load(&mut self, looks: &dyn Fn(&Path)) -> Result<server::Options, Vec<String>> {
        let (flags, file) = (self.given.given(), self.given.config.as_deref());
        let all = config::resolve_and_tell(&flags, std::env::vars_os(), file, looks);
        let all = all.map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        for Problem { source, message } in &all.warnings {
            tracing::warn!("{source}: {message}");
        }
        if all.settings.log != self.log {
            tracing::warn!("log-level and log-format change with a restart only");
        }
        self.files = files(&all);
        Ok(all.settings.server)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }
}

/// The exit code of a fault.
fn code(fault: &Fault) -> Exit {
    match fault {
        Fault::Root(_) => Exit::Root,
        Fault::Sandbox(_) | Fault::NoBroker(_) => Exit::Configuration,
        Fault::Exposed(_) | Fault::Outside(_) => Exit::Configuration,
        Fault::Listen(_) | Fault::Inherited(_) | Fault::HandOver(..) => Exit::Listen,
        Fault::Ring(_) | Fault::NoRing(_) => Exit::Ring,
        Fault::System(..) | Fault::Worker(_) | Fault::Lost => Exit::Internal,
    }
}

/// A word that is no directory may be a misspelt command.
fn refuse_root(given: &Serve, error: &RootError) -> Exit {
    let word = given.bare_word().filter(|_| error.cause == RootCause::Missing);
    match word.and_then(|word| config::nearest(word, COMMANDS)) {
        Some(command) => complain(format_args!("{error}; or did you mean 'pitcrew {command}'?")),
        None => complain(error),
    }
    Exit::Root
}

/// Problems before and after the server's time are lines for whoever started it, in every
/// format of the log.
fn complain(problem: impl Display) {
    // Nobody is left to be told that nobody can be told.
    let _ = writeln!(io::stderr(), "pitcrew: {problem}");
}

/// Starts the log. A second start keeps the first.
fn start_log(log: Log) {
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(log.level.name().parse().unwrap_or(LevelFilter::INFO))
        .with_target(false);
    // The only error is that there is a log already.
    let _ = match log.format {
        Format::Human => builder.with_ansi(colour(&io::stderr())).try_init(),
        Format::Json => builder.with_ansi(false).json().flatten_event(true).try_init(),
    };
}

/// Colour is for a terminal that can show it and a person who wants it (no-color.org).
fn colour(output: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !refused && !dumb && output.is_terminal()
}
