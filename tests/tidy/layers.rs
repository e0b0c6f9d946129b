//! The table of rooms and layers, and what each room may touch.

use super::paths::{ABOVE_THE_CRATE, Named, paths};
use super::source::Source;

/// One room: what it may import whole, and of which rooms it may import only what is named so.
pub(crate) struct Room {
    pub(crate) name: &'static str,
    pub(crate) may: &'static [&'static str],
    pub(crate) only: Option<Only>,
}

/// Types whose name ends so, or that live in a module named so in lower case.
pub(crate) struct Only {
    pub(crate) suffix: &'static str,
    pub(crate) of: &'static [&'static str],
}

const fn room(name: &'static str, may: &'static [&'static str]) -> Room {
    Room { name, may, only: None }
}

const fn limited(
    name: &'static str,
    may: &'static [&'static str],
    suffix: &'static str,
    of: &'static [&'static str],
) -> Room {
    Room { name, may, only: Some(Only { suffix, of }) }
}

/// Every room, lowest level first, and its edges. An import that is not an edge is an error.
pub(crate) const ROOMS: &[Room] = &[
    // 0
    room("limits", &[]),
    room("base", &[]),
    // 1
    room("sys", &["limits", "base"]),
    room("http", &["limits", "base"]),
    room("predict", &["limits", "base"]),
    room("eviction", &["limits", "base"]),
    room("sandbox", &[]),
    // 2
    room("techniques", &["limits", "base", "sys"]),
    // 3
    room("broker", &["limits", "base", "sys", "sandbox", "techniques"]),
    room("ring", &["limits", "base", "sys", "techniques"]),
    // 4
    room("batch", &["limits", "base", "sys", "techniques", "ring", "predict"]),
    room("cache", &["limits", "base", "sys", "ring", "http", "predict", "eviction"]),
    room("access_log", &["limits", "base", "sys", "techniques", "broker", "ring", "http"]),
    // 5
    room("resource", &["limits", "base", "sys", "http", "ring", "cache"]),
    room("engines", &["limits", "base", "sys", "techniques", "ring", "cache"]),
    // 6
    room(
        "connection",
        &["limits", "base", "http", "ring", "cache", "resource", "engines", "access_log"],
    ),
    room("lab", &["limits", "base", "sys", "techniques", "ring", "batch", "predict", "eviction"]),
    room(
        "doctor",
        &["limits", "base", "sys", "sandbox", "techniques", "ring", "batch", "predict", "engines"],
    ),
    // 7
    limited("telemetry", &["limits", "base"], "Stats", BELOW_TELEMETRY),
    // 8
    room("server", BELOW_SERVER),
    // 9
    limited("config", &["limits", "base"], "Options", BELOW_CONFIG),
    limited("watch", &["limits", "base", "http"], "Schema", &["telemetry", "access_log"]),
    // 10
    room("cli", &["limits", "base", "config"]),
    // 11
    room("main", EVERYTHING),
    room("lib", EVERYTHING),
];

const BELOW_TELEMETRY: &[&str] = &[
    "sys",
    "http",
    "predict",
    "sandbox",
    "techniques",
    "broker",
    "ring",
    "batch",
    "cache",
    "access_log",
    "resource",
    "engines",
    "connection",
    "lab",
    "doctor",
];

const BELOW_SERVER: &[&str] = &[
    "limits",
    "base",
    "sys",
    "http",
    "predict",
    "sandbox",
    "techniques",
    "broker",
    "ring",
    "batch",
    "cache",
    "access_log",
    "resource",
    "engines",
    "connection",
    "telemetry",
];

const BELOW_CONFIG: &[&str] = &[
    "sys",
    "http",
    "predict",
    "sandbox",
    "techniques",
    "broker",
    "ring",
    "batch",
    "cache",
    "access_log",
    "resource",
    "engines",
    "connection",
    "lab",
    "doctor",
    "telemetry",
    "server",
];

const EVERYTHING: &[&str] = &[
    "limits",
    "base",
    "sys",
    "http",
    "predict",
    "sandbox",
    "techniques",
    "broker",
    "ring",
    "batch",
    "cache",
    "access_log",
    "resource",
    "engines",
    "connection",
    "lab",
    "doctor",
    "telemetry",
    "server",
    "config",
    "watch",
    "cli",
];

/// Rooms that may call the kernel by name, and files outside of them.
const AT_THE_KERNEL: &[&str] =
    &["sys", "sandbox", "techniques", "broker", "ring", "lab", "doctor", "config"];
const FILES_AT_THE_KERNEL: &[&str] = &["access_log/thread/"];

/// Rooms that start threads. The lab has laps of several threads, and receivers at the other ends
/// of its sockets.
const START_THREADS: &[&str] = &["server", "ring", "access_log", "lab"];

/// Imports that the table does not allow.
pub(crate) fn wrong_imports(source: &Source) -> Vec<String> {
    let own = source.room();
    let Some(room) = ROOMS.iter().find(|room| room.name == own) else {
        return vec![format!("src/{}: the room `{own}` is not in the table", source.path)];
    };
    let own_crate = paths(source).into_iter();
    let own_crate =
        own_crate.filter(|named| matches!(named.path[0].as_str(), "crate" | ABOVE_THE_CRATE));
    own_crate.filter_map(|named| wrong_import(source, room, &named)).collect()
}

fn wrong_import(source: &Source, room: &Room, named: &Named) -> Option<String> {
    let place = format!("src/{}:{}", source.path, named.line);
    let written = named.path.join("::");
    if named.path[0] == ABOVE_THE_CRATE {
        return Some(format!("{place}: more `super` than there are modules"));
    }
    let Some(target) = named.path.get(1).map(String::as_str) else {
        return Some(format!("{place}: `{written}` names the root of the crate, not a room"));
    };
    if target == room.name || room.may.contains(&target) {
        return None;
    }
    if !ROOMS.iter().any(|room| room.name == target) {
        return Some(format!("{place}: `{written}`: `{target}` is no room of the table"));
    }
    match &room.only {
        Some(only) if only.of.contains(&target) => {
            if is_named_so(&named.path[2..], only.suffix) {
                return None;
            }
            let suffix = only.suffix;
            Some(format!(
                "{place}: `{}` may import only ...{suffix} of `{target}`, not `{written}`",
                room.name
            ))
        }
        _ => Some(format!("{place}: `{}` may not import `{target}` (`{written}`)", room.name)),
    }
}

/// Whether the first type of a path ends in the suffix, or a module before it is named so.
fn is_named_so(rest: &[String], suffix: &str) -> bool {
    for segment in rest {
        if *segment == suffix.to_lowercase() {
            return true;
        }
        if segment.starts_with(char::is_uppercase) {
            return segment.ends_with(suffix);
        }
    }
    false
}

/// Calls to the kernel where no room may make them.
pub(crate) fn wrong_kernel_calls(source: &Source) -> Vec<String> {
    let room = source.room();
    let below = |place: &&str| source.path.starts_with(place);
    if AT_THE_KERNEL.contains(&room.as_str()) || FILES_AT_THE_KERNEL.iter().any(below) {
        return Vec::new();
    }
    paths(source)
        .iter()
        .filter(|named| calls_kernel(&named.path))
        .map(|named| {
            let written = named.path.join("::");
            format!("src/{}:{}: `{room}` may not use `{written}`", source.path, named.line)
        })
        .collect()
}

fn calls_kernel(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    // The number of an error is a value, and no call.
    if path.starts_with(&["rustix", "io", "Errno"]) {
        return false;
    }
    matches!(
        path.as_slice(),
        ["rustix" | "libc" | "io_uring" | "socket2" | "landlock" | "seccompiler", ..]
            | ["std", "fs", ..]
            | ["std", "os", "unix" | "linux", "fs" | "net", ..]
            | ["std", "net", "TcpStream" | "TcpListener" | "UdpSocket", ..]
            | ["std", "process", "Command", ..]
    )
}

/// Threads started where no room may start them.
pub(crate) fn wrong_threads(source: &Source) -> Vec<String> {
    let room = source.room();
    if START_THREADS.contains(&room.as_str()) {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    // By the last two names, so that `use std::thread;` hides nothing.
    for window in source.code.windows(3) {
        if window[0].is("thread")
            && let Some(verb @ ("spawn" | "Builder" | "scope")) = window[2].word()
        {
            let line = window[0].line;
            wrong.push(format!("src/{}:{line}: `{room}` may not use thread::{verb}", source.path));
        }
    }
    for named in paths(source) {
        let path: Vec<&str> = named.path.iter().map(String::as_str).collect();
        if let ["std", "thread", verb @ ("spawn" | "Builder" | "scope"), ..] = path.as_slice() {
            let text =
                format!("src/{}:{}: `{room}` may not use thread::{verb}", source.path, named.line);
            if !wrong.contains(&text) {
                wrong.push(text);
            }
        }
    }
    wrong
}
