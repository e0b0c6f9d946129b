//! Processes that this program starts: pinned to a core, measured, and ended.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Error};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How long a process may take to end when it is asked.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// What gives a program a priority in real time.
const CHRT: &str = "chrt";
/// How often a process is looked at while it is waited for.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

/// The cores that this program may use.
pub(crate) fn cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Keeps the calling thread, and whatever it starts from now on, on some cores.
pub(crate) fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// A process that ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    output: PathBuf,
}

impl Process {
    /// Starts a command on some cores; what it writes goes into a file. It enters the control
    /// groups of `doors` before it runs, so that all its memory is theirs.
    pub(crate) fn start(
        command: Command,
        cores: &[usize],
        doors: &[PathBuf],
        output: &Path,
    ) -> io::Result<Self> {
        // One that is hurried comes behind the two words that say how.
        let hurried = (command.get_program() == CHRT).then(|| command.get_args().nth(2)).flatten();
        let name = Path::new(hurried.unwrap_or(command.get_program())).display().to_string();
        let mut command = through(doors, command);
        let file = File::create(output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // A process inherits the core of the thread that starts it.
        let before = sched_getaffinity(None)?;
        pin(cores)?;
        let child = command.spawn();
        sched_setaffinity(None, &before)?;
        let child =
            child.map_err(|error| Error::new(error.kind(), format!("start {name}: {error}")))?;
        Ok(Self { child, name, output: output.to_owned() })
    }

    /// What it wrote until now, to either output.
    pub(crate) fn output(&self) -> String {
        fs::read(&self.output)
            .map_or_else(|error| error.to_string(), |text| String::from_utf8_lossy(&text).into())
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// An error that says what it wrote last.
    pub(crate) fn fault(&self, what: &str) -> Error {
        let output = self.output();
        let told: Vec<&str> =
            output.lines().take_while(|line| *line != "Stack backtrace:").collect();
        let last: Vec<&str> =
            told.into_iter().rev().filter(|line| !line.is_empty()).take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Error::other(format!("{} {what}: {}", self.name, last.join(" | ")))
    }

    /// It and every process that it started, those of them too.
    pub(crate) fn family(&self) -> io::Result<Vec<u32>> {
        let mut parents = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            // One that ended meanwhile is nobody's.
            if let Some(stat) = Stat::of(&format!("/proc/{id}/stat")) {
                parents.insert(id, stat.parent);
            }
        }
        let mut family = vec![self.child.id()];
        let mut next = 0;
        while let Some(&parent) = family.get(next) {
            family.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(id, _)| *id));
            next += 1;
        }
        Ok(family)
    }

    /// What it and its family have used.
    pub(crate) fn usage(&self) -> io::Result<Usage> {
        let mut usage = Usage::default();
        for id in self.family()? {
            usage.add(id);
        }
        Ok(usage)
    }

    /// The share of a core that it used since its start. Only while it runs.
    pub(crate) fn busy(&self, since: Instant) -> f64 {
        let ticks = Stat::of(&format!("/proc/{}/stat", self.child.id()))
            .map_or(0, |stat| stat.user + stat.system);
        ticks as f64 / ticks_per_second() / since.elapsed().as_secs_f64()
    }

    /// Bytes of memory that it and its family occupy; pages that they share count once.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for id in self.family()? {
            // One that ended meanwhile has none.
            let told = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
            let pss = told.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kib = pss.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            bytes += kib.unwrap_or(0) * 1024;
        }
        Ok(bytes)
    }

    fn signal(&self, signal: Signal) {
        // Not yet waited for, so the id is still its own.
        if let Some(id) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(id, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for signal in [Signal::TERM, Signal::KILL] {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            self.signal(signal);
            let end = Instant::now() + END_PATIENCE;
            while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(LOOK);
            }
        }
    }
}

/// A program that gets its core as soon as it asks for it, before all that is not real-time
/// (chrt(1)). It is for a generator that takes little of it and shares it with others: else it
/// waits for their slices, some milliseconds each, and takes that for the server.
pub(crate) fn hurried(program: &str) -> Command {
    let mut command = Command::new(CHRT);
    command.args(["--fifo", "1", program]);
    command
}

/// Whether the machine lets this program have that.
pub(crate) fn may_hurry() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| {
        let mut command = hurried("true");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// A command that enters control groups before it becomes the one that is meant.
fn through(doors: &[PathBuf], command: Command) -> Command {
    if doors.is_empty() {
        return command;
    }
    // The shell writes its own number and becomes the command: no child, no other id.
    let script = "for door in $DOORS; do echo $$ >\"$door\" || exit 99; done; exec \"$@\"";
    let mut outer = Command::new("sh");
    outer.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    let names: Vec<String> = doors.iter().map(|door| door.display().to_string()).collect();
    outer.env("DOORS", names.join(" "));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        outer.current_dir(directory);
    }
    outer
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Fields of `/proc/ID/stat` (proc_pid_stat(5)).
struct Stat {
    parent: u32,
    user: u64,
    system: u64,
}

impl Stat {
    fn of(path: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may hold anything, so counting begins behind it, at field 3.
        let (_, behind) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = behind.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { parent: field(4)? as u32, user: field(14)?, system: field(15)? })
    }
}

/// Processor time and reads from storage of some processes, kernel workers of a ring included:
/// they are threads of the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// Nanoseconds on a core, and ready but waiting for it, by thread, where the kernel tells
    /// (CONFIG_SCHED_INFO).
    threads: BTreeMap<u32, [u64; 2]>,
    user_ticks: u64,
    system_ticks: u64,
    storage_bytes: u64,
}

/// What was used between two readings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Used {
    /// Seconds on a core.
    pub(crate) seconds: f64,
    /// Seconds that its threads waited for a core that somebody else had, added up.
    pub(crate) waited_seconds: f64,
    /// The part of them in user space, to a tick.
    pub(crate) user_share: f64,
    /// Bytes that were read from storage for the process.
    pub(crate) storage_bytes: u64,
}

impl Usage {
    fn add(&mut self, id: u32) {
        if let Some(stat) = Stat::of(&format!("/proc/{id}/stat")) {
            self.user_ticks += stat.user;
            self.system_ticks += stat.system;
        }
        if let Ok(io) = fs::read_to_string(format!("/proc/{id}/io")) {
            let bytes = io.lines().find_map(|line| line.strip_prefix("read_bytes: "));
            self.storage_bytes += bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        }
        let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else { return };
        for thread in threads.flatten() {
            let name = thread.file_name();
            let number = name.to_str().and_then(|name| name.parse::<u32>().ok());
            let spent = fs::read_to_string(thread.path().join("schedstat")).ok();
            let mut spent =
                spent.iter().flat_map(|text| text.split(' ')).map_while(|field| field.parse().ok());
            if let (Some(number), Some(ran), Some(waited)) = (number, spent.next(), spent.next()) {
                self.threads.insert(number, [ran, waited]);
            }
        }
    }

    /// What was used since an earlier reading.
    ///
    /// Nanoseconds of threads are exact, but those of a thread that ended are gone; then the
    /// ticks of its process, which keep them, are taken.
    pub(crate) fn since(&self, earlier: &Self) -> Used {
        let user = self.user_ticks.saturating_sub(earlier.user_ticks);
        let ticks = user + self.system_ticks.saturating_sub(earlier.system_ticks);
        let whole = !earlier.threads.is_empty()
            && earlier.threads.keys().all(|id| self.threads.contains_key(id));
        let told = |which: usize| {
            let before = |id| earlier.threads.get(id).map_or(0, |times| times[which]);
            let grown = self.threads.iter().map(|(id, now)| now[which].saturating_sub(before(id)));
            grown.sum::<u64>() as f64 / 1e9
        };
        let seconds = if whole { told(0) } else { ticks as f64 / ticks_per_second() };
        Used {
            seconds,
            waited_seconds: told(1),
            user_share: if ticks == 0 { 0.0 } else { user as f64 / ticks as f64 },
            storage_bytes: self.storage_bytes.saturating_sub(earlier.storage_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_a_name_with_everything_in_it() {
        let line = "7 (a ) b) S 3 7 7 0 -1 4194560 1 2 3 4 500 60 7 8 20 0 1 0 9";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.parent, stat.user, stat.system), (3, 500, 60));
        assert!(Stat::parse("7 (a)").is_none());
    }

    fn usage(threads: &[(u32, [u64; 2])], user_ticks: u64, system_ticks: u64) -> Usage {
        Usage {
            threads: threads.iter().copied().collect(),
            user_ticks,
            system_ticks,
            storage_bytes: 0,
        }
    }

    #[test]
    fn threads_are_exact_and_ticks_take_over_when_one_is_gone() {
        let before = usage(&[(1, [1_000, 5]), (2, [500, 0])], 10, 10);
        let grown =
            usage(&[(1, [2_000, 8]), (2, [500, 0]), (3, [4_000, 7])], 20, 40).since(&before);
        assert!((grown.seconds - 5e-6).abs() < 1e-12);
        assert!((grown.waited_seconds - 10e-9).abs() < 1e-15);
        assert_eq!(grown.user_share, 0.25);
        let gone = usage(&[(1, [2_000, 5])], 20, 40).since(&before);
        assert!((gone.seconds - 40.0 / ticks_per_second()).abs() < 1e-9);
    }

    #[test]
    fn a_process_is_pinned_measured_with_its_children_and_ended() {
        let core = cores().unwrap()[0];
        let output = std::env::temp_dir().join(format!("process-test-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; sleep 60 & while :; do :; done"]);
        let mut process = Process::start(command, &[core], &[], &output).unwrap();
        assert!(process.resident_bytes().unwrap() > 0);
        let before = process.usage().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(process.ended().unwrap().is_none());
        assert!(process.usage().unwrap().since(&before).seconds > 0.0);
        assert_eq!(process.family().unwrap().len(), 2);
        assert_eq!(process.output(), "begun\n");
        let family = process.family().unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", family[0])).unwrap();
        assert!(status.contains(&format!("Cpus_allowed_list:\t{core}\n")));
        drop(process);
        assert!(!Path::new(&format!("/proc/{}", family[0])).exists());
        // The child of a shell that was ended is the test's to end.
        let _ = kill_process(Pid::from_raw(family[1] as i32).unwrap(), Signal::TERM);
        fs::remove_file(output).unwrap();
    }
}
