//! The program from outside: arguments, configuration, exit codes and what is printed.
#![allow(clippy::unwrap_used)]

mod quarantine;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs the program in a directory, without variables of its own.
fn pitcrew(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().unwrap()
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pitcrew"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PITCREW_")) {
        command.env_remove(name);
    }
    command.current_dir(dir).args(arguments);
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the program ends by itself")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn empty() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_misspelt_engine_is_a_usage_error_with_the_nearest_name() {
    let output = pitcrew(empty().path(), &["--engine", "sendfil"]);
    assert_eq!(code(&output), 2);
    assert_eq!(
        stderr(&output),
        "pitcrew: --engine: unknown engine 'sendfil'; did you mean 'sendfile'?\n"
    );
    let output = pitcrew(empty().path(), &["--engine", "fast"]);
    assert!(stderr(&output).contains("choose one of sendfile, splice, uring, direct, copy, auto"));
}

#[test]
fn a_misspelt_flag_is_a_usage_error_with_the_nearest_name() {
    let output = pitcrew(empty().path(), &["--engin", "copy"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--engine"));
}

#[test]
fn mistakes_in_the_file_have_file_line_and_column() {
    let dir = empty();
    fs::write(dir.path().join("config.toml"), "pin = true\n\n  engin = 'copy'\nworkers = 0\n")
        .unwrap();
    for arguments in [&["check", "--config", "config.toml"][..], &["--config", "config.toml"]] {
        let output = pitcrew(dir.path(), arguments);
        assert_eq!(code(&output), 3);
        assert_eq!(
            stderr(&output),
            "pitcrew: config.toml:3:3: unknown key 'engin'; did you mean 'engine'?\n\
             pitcrew: config.toml:4:11: workers: 0 is out of range; from 1 to 256 is allowed\n"
        );
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn a_file_is_read_only_when_it_is_named() {
    let dir = empty();
    fs::write(dir.path().join("config.toml"), "nonsense").unwrap();
    assert_eq!(code(&pitcrew(dir.path(), &["check"])), 0);
    let named = command(dir.path(), &["check"]).env("PITCREW_CONFIG", "config.toml").output();
    assert_eq!(code(&named.unwrap()), 3);
    let output = pitcrew(dir.path(), &["check", "--config", "none.toml"]);
    assert_eq!(code(&output), 3);
    assert_eq!(stderr(&output), "pitcrew: none.toml: there is no such file\n");
}

#[test]
fn a_root_that_cannot_be_served_has_its_own_code() {
    let dir = empty();
    fs::write(dir.path().join("file"), "").unwrap();
    for (root, text) in [("none", "does not exist"), ("file", "is not a directory")] {
        for arguments in [&[root][..], &["--root", root], &["check", root]] {
            let output = pitcrew(dir.path(), arguments);
            assert_eq!(code(&output), 4, "{arguments:?}: {}", stderr(&output));
            assert!(stderr(&output).contains(&format!("root '{root}' {text}")));
        }
    }
    let output = pitcrew(dir.path(), &["chek"]);
    assert!(stderr(&output).contains("or did you mean 'pitcrew check'?"));
}

#[test]
fn the_root_is_named_once() {
    let output = pitcrew(empty().path(), &["--root", ".", "."]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("cannot be used with"));
}

#[test]
fn an_address_that_is_taken_has_its_own_code() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = pitcrew(empty().path(), &["--listen", &address]);
    // Where io_uring is forbidden the program ends one step earlier.
    assert!(matches!(code(&output), 5 | 6), "{}", stderr(&output));
    if code(&output) == 5 {
        assert!(stderr(&output).contains(&format!("cannot listen on {address}: ")));
    }
}

#[test]
fn check_says_that_the_configuration_is_right() {
    let dir = empty();
    fs::write(dir.path().join("c.toml"), "engine = 'copy'\n").unwrap();
    let output = pitcrew(dir.path(), &["check", "--config", "c.toml"]);
    assert_eq!(code(&output), 0);
    assert_eq!(stdout(&output), "c.toml: the configuration is right\n");
    assert_eq!(stderr(&output), "");
}

#[test]
fn check_prints_what_is_in_force_and_where_it_comes_from() {
    let dir = empty();
    fs::write(dir.path().join("c.toml"), "workers = 2\nengine = 'copy'\n").unwrap();
    let arguments = ["check", "--config", "c.toml", "--print", "--engine", "splice"];
    let output = command(dir.path(), &arguments).env("PITCREW_PIN", "true").output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let printed = stdout(&output);
    for line in [
        "root = \".\"  # default",
        "engine = \"splice\"  # --engine",
        "workers = 2  # c.toml:1:11",
        "pin = true  # PITCREW_PIN",
        "listen = [\"127.0.0.1:8080\", \"[::1]:8080\"]  # default",
        "idle-timeout = \"75s\"  # default",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n{printed}");
    }
    fs::write(dir.path().join("printed.toml"), &printed).unwrap();
    let again = pitcrew(dir.path(), &["check", "--config", "printed.toml"]);
    assert_eq!(code(&again), 0, "{}", stderr(&again));
}

#[test]
fn check_prints_json() {
    let output = pitcrew(empty().path(), &["check", "--print", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(value["engine"]["value"], "auto");
    assert_eq!(value["engine"]["source"], "default");
}

#[test]
fn www_is_the_root_where_it_is_there() {
    let dir = empty();
    fs::create_dir(dir.path().join("www")).unwrap();
    let output = pitcrew(dir.path(), &["check", "--print"]);
    assert!(stdout(&output).contains("root = \"www\"  # default\n"));
}

#[test]
fn a_directory_named_as_a_command_is_served_with_a_dot_in_front() {
    let dir = empty();
    fs::create_dir(dir.path().join("check")).unwrap();
    let output = pitcrew(dir.path(), &["check", "--print", "./check"]);
    assert!(stdout(&output).contains("root = \"./check\"  # ROOT\n"), "{}", stderr(&output));
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = pitcrew(empty().path(), &["--version"]);
    assert_eq!(code(&output), 0);
    let expected = format!("pitcrew {}", env!("CARGO_PKG_VERSION"));
    assert!(stdout(&output).starts_with(&expected));
}

#[test]
fn the_help_has_headings_and_every_exit_code_and_the_short_one_is_short() {
    let long = stdout(&pitcrew(empty().path(), &["--help"]));
    for heading in ["Serving:", "Files:", "Workers and memory:", "Limits and times:", "Log:"] {
        assert!(long.contains(heading), "{heading}\n{long}");
    }
    assert!(long.contains("Exit codes:") && long.contains("70  a fault"));
    for key in &pitcrew::config::KEYS {
        assert!(long.contains(&format!("--{}", key.name)), "{}", key.name);
    }
    let short = stdout(&pitcrew(empty().path(), &["-h"]));
    assert!(short.lines().count() < 50, "{short}");
    assert!(short.contains("--engine") && !short.contains("--send-timeout"));
}

#[test]
fn what_is_piped_has_no_colour() {
    let dir = empty();
    let outputs = [
        pitcrew(dir.path(), &["--help"]),
        pitcrew(dir.path(), &["--engin", "x"]),
        pitcrew(dir.path(), &["--engine", "x"]),
        pitcrew(dir.path(), &["check", "--print"]),
        command(dir.path(), &["--help"]).env("NO_COLOR", "1").output().unwrap(),
    ];
    for output in outputs {
        assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b));
    }
}

#[test]
fn a_misspelt_variable_is_a_warning() {
    let output = command(empty().path(), &["check"]).env("PITCREW_ENGIN", "copy").output();
    let output = output.unwrap();
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).contains("PITCREW_ENGIN: unknown variable; did you mean"));
}

/// The server is started, asked to end, and ends as asked.
#[test]
fn a_signal_ends_the_server_and_its_log_is_json_when_asked() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;
    let arguments = ["--listen", "127.0.0.1:0", "--workers", "1", "--log-format", "json"];
    let dir = empty();
    let mut server = command(dir.path(), &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if line.is_empty() {
        // Where io_uring is forbidden there is no server to end.
        assert_eq!(server.wait().unwrap().code(), Some(6));
        return;
    }
    assert!(line.starts_with("listening on http://127.0.0.1:"), "{line}");
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut log = String::new();
    server.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0), "{log}");
    assert!(log.lines().count() >= 2, "{log}");
    for line in log.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(record["level"].is_string() && record["message"].is_string(), "{line}");
    }
}
