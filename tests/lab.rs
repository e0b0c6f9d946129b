//! The lab from outside: every lap over a small file, what it prints and keeps, and its refusals.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Server, skipped};
use pitcrew::lab::{Report, SCHEMA, Verdict};
use pitcrew::sys::mapping::Mapping;
use pitcrew::techniques::direct::DirectFile;
use serde_json::Value;

/// Beside the build, which is on a disk: a directory for temporary files may be in memory.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pitcrew"));
    command.current_dir(directory).env("TMPDIR", directory).arg("lab").args(arguments);
    command
}

fn lab(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const SHORT: [&str; 6] = ["--size", "256KiB", "--rounds", "2", "--runtime", "2ms"];

fn short<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SHORT[..], more].concat()
}

/// What of a value breaks a schema, of the keywords that ours has.
fn breaks(schema: &Value, root: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        return breaks(target, root, value, at, found);
    }
    let mut fail = |text: String| found.push(format!("{at}: {text}"));
    for (keyword, rule) in schema.as_object().unwrap() {
        let number = |bound: &Value| bound.as_f64().unwrap();
        let right = match keyword.as_str() {
            "$schema" | "title" | "$defs" => true,
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => match rule {
                Value::Array(all) => all.iter().any(|name| is_of(value, name.as_str().unwrap())),
                name => is_of(value, name.as_str().unwrap()),
            },
            "minimum" => value.as_f64().is_none_or(|it| it >= number(rule)),
            "maximum" => value.as_f64().is_none_or(|it| it <= number(rule)),
            "minItems" => value.as_array().is_none_or(|all| all.len() as f64 >= number(rule)),
            "required" => value.as_object().is_none_or(|it| {
                rule.as_array().unwrap().iter().all(|name| it.contains_key(name.as_str().unwrap()))
            }),
            "additionalProperties" => value
                .as_object()
                .is_none_or(|it| it.keys().all(|name| schema["properties"].get(name).is_some())),
            "oneOf" => {
                let fits = rule.as_array().unwrap().iter().filter(|one| {
                    let mut own = Vec::new();
                    breaks(one, root, value, at, &mut own);
                    own.is_empty()
                });
                fits.count() == 1
            }
            "properties" | "items" => true,
            other => panic!("the validator does not know the keyword {other}"),
        };
        if !right {
            fail(format!("{value} breaks {keyword}: {rule}"));
        }
    }
    if let (Some(properties), Some(members)) = (schema["properties"].as_object(), value.as_object())
    {
        for (name, below) in properties {
            if let Some(member) = members.get(name) {
                breaks(below, root, member, &format!("{at}.{name}"), found);
            }
        }
    }
    if let (Some(items), Some(all)) = (schema.get("items"), value.as_array()) {
        for (index, item) in all.iter().enumerate() {
            breaks(items, root, item, &format!("{at}[{index}]"), found);
        }
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("no type is called {other}"),
    }
}

fn broken(value: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut found = Vec::new();
    breaks(&schema, &schema, value, "report", &mut found);
    found
}

#[test]
fn every_lap_races_and_the_json_is_of_its_schema() {
    let directory = scratch();
    let output = lab(directory.path(), &short(&["--format", "json", "--output", "kept.json"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(broken(&value), [""; 0]);
    assert_eq!(fs::read(directory.path().join("kept.json")).unwrap(), output.stdout);
    let report: Report = serde_json::from_value(value.clone()).unwrap();
    let refused = direct_is_refused(directory.path());
    for lap in &report.laps {
        match lap.verdict {
            Verdict::Raced => {
                let figures = lap.figures.as_ref().unwrap();
                assert!(figures.bytes_per_second.median > 0.0, "{}", lap.lap);
                // Each block that was delivered, once a round. Which ones several threads went
                // over does not follow from their number.
                let most = if lap.lap == "pread-threads" { 1 } else { 64 };
                let delivered: u64 = lap.runs.iter().map(|run| run.operations.min(most)).sum();
                let verified = figures.verified_blocks;
                assert!(verified >= delivered, "{}: {verified} of {delivered}", lap.lap);
                assert_eq!(lap.runs.len(), 2);
                let moved = |run: &pitcrew::lab::Run| run.bytes == run.operations * 4096;
                assert!(lap.runs.iter().all(moved), "{}", lap.lap);
            }
            Verdict::NotRun => {
                let reason = lap.reason.as_deref().unwrap();
                let polled = lap.lap == "uring-polled" && reason.contains("than two processors");
                let direct = lap.technique == "direct" && refused;
                assert!(polled || direct, "{}: {reason}", lap.lap);
                println!("SKIPPED {}: {reason}", lap.lap);
            }
            // Others use the memory of this machine, too.
            Verdict::Void => {
                let reason = lap.reason.as_deref().unwrap();
                assert!(reason.starts_with("it was not warm: "), "{}: {reason}", lap.lap);
                println!("SKIPPED {}: {reason}", lap.lap);
            }
            Verdict::Wrong | Verdict::Failed => panic!("{}: {:?}", lap.lap, lap.reason),
        }
    }
    let crossover = report.crossover.as_ref().unwrap();
    assert!(!crossover.sends.is_empty() && !crossover.wrong, "{:?}", crossover.missing);
    assert!(crossover.small_bytes_max.is_some());
    assert!(report.keeping.iter().all(|one| one.s3_fifo >= one.lru) && report.keeping.len() == 3);
    // The validator sees what it should.
    let mut odd = value.clone();
    odd["laps"][0]["depth"] = 0.into();
    odd["laps"][1]["figures"]["bytes_per_second"]["median"] = "fast".into();
    odd["race"].as_object_mut().unwrap().remove("cache");
    odd["more"] = 1.into();
    assert_eq!(broken(&odd).len(), 4, "{:?}", broken(&odd));
}

/// Whether there is no O_DIRECT for blocks of 4 KiB in a directory.
fn direct_is_refused(directory: &Path) -> bool {
    let path = directory.join("direct");
    fs::write(&path, [7; 8192]).unwrap();
    let file = DirectFile::open(&path);
    fs::remove_file(&path).unwrap();
    !file.is_ok_and(|file| 4096 % file.alignment().offset_bytes == 0)
}

/// The lab within a shell of root, after some commands that take from it what root may. `$LAB` is
/// the lab.
fn deprived(directory: &Path, script: &str) -> Option<Output> {
    let skip = |why: &str| {
        skipped(script, why);
        None
    };
    if !rustix::process::geteuid().is_root() {
        return skip("only root has it to give away");
    }
    let program = format!("{} lab", env!("CARGO_BIN_EXE_pitcrew"));
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-e", "-c", script]).current_dir(directory);
    let output = shell.env("TMPDIR", directory).env("LAB", program).output();
    let Ok(output) = output else { return skip("unshare is missing; it is of util-linux") };
    match output.status.code() {
        Some(126 | 127) => skip(&text(&output.stderr)),
        _ => Some(output),
    }
}

#[test]
fn a_file_of_another_user_is_not_raced_through_the_page_cache() {
    let directory = scratch();
    let path = directory.path().join("other");
    fs::write(&path, vec![7; 65536]).unwrap();
    if std::os::unix::fs::chown(&path, Some(65534), None).is_err() {
        skipped("a file of another user", "this user cannot give one away");
        return;
    }
    let plain = "exec setpriv --bounding-set=-fowner,-dac_override $LAB other --rounds 1";
    let Some(list) = deprived(directory.path(), &format!("{plain} --list")) else { return };
    let list = text(&list.stdout);
    assert!(list.contains("no: the kernel tells only the owner of the file"), "{list}");
    for cache in ["warm", "cold"] {
        let script = format!("{plain} --cache {cache} --techniques read,mmap");
        let output = deprived(directory.path(), &script).unwrap();
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{complaint}");
        assert!(complaint.contains("read: the kernel tells only the owner"), "{complaint}");
    }
}

#[test]
fn a_race_in_which_no_lap_comes_through_has_its_own_code() {
    let directory = scratch();
    let path = directory.path().join("held");
    fs::write(&path, vec![7; 65536]).unwrap();
    let file = fs::File::open(&path).unwrap();
    file.sync_all().unwrap();
    // Pages that somebody has mapped and looked at stay in memory.
    let held = Mapping::new(&file, 0, 65536).unwrap();
    held.copy_out(0, &mut [0; 65536]);
    let arguments = ["held", "--cache", "cold", "--techniques", "read", "--rounds", "1"];
    let output = lab(directory.path(), &arguments);
    let table = text(&output.stdout);
    if table.contains("can be run here") || table.contains("never cold") {
        skipped("a race without a lap", &table);
        return;
    }
    assert!(table.contains("it was not cold: 100.0%"), "{table}{}", text(&output.stderr));
    assert!(table.ends_with("NO LAP CAME THROUGH\n"), "{table}");
    assert_eq!(output.status.code(), Some(11));
    let help = text(&lab(directory.path(), &["--help"]).stdout);
    assert!(help.contains("11  no lap came through"), "{help}");
}

#[test]
fn rings_that_memory_may_not_be_locked_for_are_said_not_to_run() {
    let directory = scratch();
    let little = "ulimit -l 64; exec setpriv --bounding-set=-ipc_lock $LAB";
    let Some(list) = deprived(directory.path(), &format!("{little} --list")) else { return };
    let list = text(&list.stdout);
    let state = |lap: &str| {
        let mut lines = list.lines().skip_while(|line| !line.starts_with(&format!("  {lap} ")));
        lines.nth(1).unwrap_or_else(|| panic!("{lap}\n{list}")).trim()
    };
    assert!(state("uring-fixed").starts_with("can run here: no: "), "{list}");
    assert!(state("uring-fixed").contains("ulimit -l"), "{list}");
    // Some kernels count the rings themselves, too, and those of others of the same user.
    for plain in ["uring-1", "uring-8", "uring-64", "uring-256"] {
        let told = state(plain);
        assert!(told.ends_with(": yes") || told.contains("ulimit -l"), "{plain}: {told}");
    }
    let laps = "--techniques uring,direct-uring --size 256KiB --rounds 3 --runtime 2ms";
    let output = deprived(directory.path(), &format!("{little} {laps}")).unwrap();
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    assert!(table.contains("ulimit -l") && !table.contains("FAILED"), "{table}");
}

#[test]
fn a_block_that_cannot_be_cut_is_said_and_no_other_call_is_raced() {
    let directory = scratch();
    let buffered = short(&["--techniques", "readv", "--block-size", "512B", "--format", "json"]);
    let report: Report = serde_json::from_slice(&lab(directory.path(), &buffered).stdout).unwrap();
    assert!(report.figures("readv").is_some());
    if direct_is_refused(directory.path()) {
        skipped("blocks that O_DIRECT cannot cut", "it is refused here");
        return;
    }
    let list = lab(directory.path(), &["--list", "--direct", "--block-size", "512B"]);
    let list = text(&list.stdout);
    for lap in ["readv", "writev"] {
        let mut lines = list.lines().skip_while(|line| !line.starts_with(&format!("  {lap} ")));
        let state = lines.nth(1).unwrap();
        assert!(state.contains("no: O_DIRECT") && state.contains("--block-size"), "{state}");
    }
}

#[test]
fn beside_a_file_without_room_only_the_writing_laps_are_not_run() {
    let directory = scratch();
    let script = "mkdir small; mount -t tmpfs -o size=1m none small
        head -c 600000 /dev/zero > small/file
        $LAB small/file --rounds 1 --runtime 1ms --techniques read,write,copy";
    let Some(output) = deprived(directory.path(), script) else { return };
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    assert!(table.contains("bytes free, and the scratch files need"), "{table}");
    assert!(table.contains("FASTEST LAP: read "), "{table}");
}

#[test]
fn the_table_ends_with_the_fastest_lap_and_has_no_colour_when_piped() {
    let directory = scratch();
    let output = lab(directory.path(), &short(&["--techniques", "read,mmap", "--seed", "7"]));
    let table = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!table.contains('\x1b') && !text(&output.stderr).contains('\x1b'));
    assert!(table.contains("seed 7") && table.contains('█'), "{table}");
    let last = table.lines().last().unwrap();
    assert!(last.starts_with("FASTEST LAP: "), "{last}");
    assert!(last.contains(" at ") && last.ends_with("x the baseline)"), "{last}");
}

#[test]
fn csv_and_the_plot_have_each_lap() {
    let directory = scratch();
    let more = ["--techniques", "pread", "--format", "csv", "--plot", "plot.svg"];
    let output = lab(directory.path(), &short(&more));
    let table = text(&output.stdout);
    let columns = table.lines().next().unwrap().split(',').count();
    assert_eq!(table.lines().count(), 1 + 3, "{table}");
    assert!(table.lines().all(|line| line.split(',').count() == columns), "{table}");
    let plot = fs::read_to_string(directory.path().join("plot.svg")).unwrap();
    for lap in ["read", "pread", "pread-threads"] {
        assert!(plot.contains(&format!(">{lap}</text>")), "{plot}");
    }
    assert!(plot.starts_with("<svg") && plot.ends_with("</svg>\n"));
}

#[test]
fn the_list_says_of_each_lap_whether_it_can_run_and_why_not() {
    let directory = scratch();
    let list = text(&lab(directory.path(), &["--list"]).stdout);
    for lap in [
        "read",
        "uring-256",
        "uring-fixed",
        "direct-uring",
        "predict-strided",
        "mmap",
        "posix-aio",
        "sendfile",
        "splice-tee",
        "copy-file-range",
        "o-sync",
    ] {
        assert!(list.lines().any(|line| line.starts_with(&format!("  {lap} "))), "{lap}\n{list}");
    }
    let list = text(&lab(directory.path(), &["--list", "--direct"]).stdout);
    assert!(list.contains("no: it moves pages of the page cache"), "{list}");
}

#[test]
fn wrong_options_name_the_remedy() {
    let directory = scratch();
    for (arguments, words) in [
        (&["--size", "7"][..], "--size: 7 has no unit"),
        (&["--size", "1KiB"], "less than one block of 4096; give more"),
        (&["--block-size", "1000B"], "no multiple of 512"),
        (&["--iodepth", "0"], "--iodepth: 0 is out of range; from 1 to 256"),
        (&["--rw", "reed"], "did you mean 'read'?"),
        (&["--cache", "hot"], "choose one of warm, cold"),
        (&["--runtime", "5"], "write 5s or 5ms"),
        (&["--rounds", "0"], "from 1 to 1000"),
        (&["--verify", "no"], "choose one of pass, timed, off"),
        (&["--techniques", "warp"], "no lap or technique 'warp'; see --list"),
        (&["--output", "none/lab.json"], "'none/lab.json' cannot be written"),
        (&["--form", "json"], "--format"),
    ] {
        let output = lab(directory.path(), arguments);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {complaint}");
        assert!(complaint.contains(words), "{arguments:?}: {complaint}");
    }
}

#[test]
fn a_file_that_cannot_be_raced_has_its_reason() {
    let directory = scratch();
    let path = directory.path().join("small");
    fs::write(&path, [7; 6000]).unwrap();
    for (arguments, words) in [
        (&["none"][..], "'none' does not exist; name a file"),
        (&["/dev/null"], "neither a regular file nor a directory"),
        (&["small", "--block-size", "8KiB"], "less than one block of 8192"),
        (&["small", "--size", "1MiB"], "less than the 1048576 of --size"),
        (
            &["--size", "1024GiB", "--block-size", "1MiB", "."],
            "bytes free, and the scratch files need",
        ),
    ] {
        let output = lab(directory.path(), arguments);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{arguments:?}: {complaint}");
        assert!(complaint.contains(words), "{arguments:?}: {complaint}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        println!("SKIPPED a file without permission: this user may read everything");
        return;
    }
    let complaint = text(&lab(directory.path(), &["small"]).stderr);
    assert!(complaint.contains("may not be read by this user"), "{complaint}");
}

#[test]
fn a_file_that_was_named_is_only_read() {
    let directory = scratch();
    let path = directory.path().join("own");
    let bytes: Vec<u8> = (0..70_000u32).map(|at| (at * 7 / 3) as u8).collect();
    fs::write(&path, &bytes).unwrap();
    let arguments = ["own", "--rounds", "1", "--runtime", "1ms", "--format", "json"];
    let output = lab(directory.path(), &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report.race.made, report.race.size), (false, 69_632));
    assert!(report.figures("write").is_some() && report.figures("copy").is_some());
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn nothing_is_left_when_the_lab_is_interrupted() {
    let directory = scratch();
    let arguments = ["--size", "8MiB", "--runtime", "1s"];
    let mut running = command(directory.path(), &arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Its files are there once it has more descriptors than the standard ones.
    let files = format!("/proc/{}/fd", running.id());
    let begun = Instant::now();
    while fs::read_dir(&files).map_or(0, Iterator::count) < 6 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the lab never began");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&running);
    // SIGINT is ignored by whoever was started in the background of a script.
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(!running.wait().unwrap().success());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_file_system_in_memory_is_never_cold_and_says_so() {
    let memory = Path::new("/dev/shm");
    let Ok(directory) = tempfile::tempdir_in(memory) else {
        println!("SKIPPED a file system in memory: /dev/shm cannot be written");
        assert!(std::env::var_os("CI").is_none(), "/dev/shm cannot be written");
        return;
    };
    let list = text(&lab(directory.path(), &["--list", "--cache", "cold"]).stdout);
    assert!(list.contains("no: the file system keeps its files in memory"), "{list}");
    let output = lab(directory.path(), &short(&["--techniques", "read,direct"]));
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    assert!(table.contains("tmpfs is memory"), "{table}");
    let cold = lab(directory.path(), &short(&["--techniques", "read", "--cache", "cold"]));
    assert_eq!(cold.status.code(), Some(7));
    assert!(text(&cold.stderr).contains("none of the laps can be run here"));
}

#[test]
fn the_server_tells_what_the_lab_has_kept() {
    let directory = scratch();
    let more = ["--techniques", "mmap,pread", "--output", "lab.json"];
    let output = lab(directory.path(), &short(&more));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let kept = directory.path().join("lab.json");
    let server = Server::start(&["--lab-results", kept.to_str().unwrap()], directory.path());
    let told = server.telemetry();
    let kept: Report = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    for lap in kept.laps.iter().filter(|lap| lap.verdict == Verdict::Raced) {
        let rate = lap.figures.as_ref().unwrap().bytes_per_second.median as u64;
        assert_eq!(told["laps"][&lap.lap]["bytes_per_second"], rate, "{}", lap.lap);
        assert_eq!(told["laps"][&lap.lap]["measured_at"], kept.measured_at);
    }
    assert!(told["laps"].as_object().is_some_and(|laps| !laps.is_empty()));
    let plain = Server::start(&[], directory.path());
    assert_eq!(plain.telemetry()["laps"], serde_json::json!({}));
}
