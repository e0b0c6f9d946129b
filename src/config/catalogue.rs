//! Every key, once.
//!
//! A row gives a key its name in the file and on the command line, its variable
//! (`PITCREW_` and the name in capitals with underscores), its help, how it is read into the
//! settings and how it is printed from them. What is printed reads back as the same value.

mod access_log;
mod engines;
mod limits;

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Value;

pub(super) use self::limits::rate_limit;
use super::address::{allow, join, listen_all};
use super::hand_over;
use super::key::{Key, Section};
use super::lab_results;
use super::privileges;
use super::shapes::{as_usize, count, fallback, file_name, strings, url_path};
use super::written::{show_size, show_time};
use super::{Format, Level, Written};

use crate::limits::{BODY_SHARE_MIN, HEAD_SHARE_MIN};
use crate::resource::options::Forbidden;
use crate::server::options::{Etag, Precompressed, WORKERS_MAX, default_workers};

const HOUR: Duration = Duration::from_secs(3600);
/// Below this a time limit would cut clients that are merely on another continent.
const PATIENCE: RangeInclusive<Duration> = Duration::from_millis(10)..=HOUR;

/// Every key, in the order of the help and of the file.
pub static KEYS: [Key; 75] = [
    Key::one(
        Section::Serving,
        "root",
        "DIR",
        "Directory to serve [default: www if it is there, else .]",
        |all, written, base| written.path().map(|path| all.server.site.root = join(base, path)),
        |all| Value::from(all.server.site.root.to_string_lossy().into_owned()),
    )
    .common(),
    Key::one(
        Section::Serving,
        "root-follow",
        "BOOL",
        "Open directories by their paths again when those were switched, as when a link is \
         deployed [default: false]",
        |all, written, _| written.boolean().map(|on| all.server.root_follow = on),
        |all| Value::from(all.server.root_follow),
    )
    .switch(),
    Key::one(
        Section::Serving,
        "listen",
        "ADDRESS",
        "ADDR:PORT, PORT (loopback), :PORT (every interface) or unix:PATH; repeatable \
         [default: 127.0.0.1:8080, [::1]:8080]",
        |all, written, base| {
            let texts = written.list("addresses")?;
            let (listen, ipv6_required) = listen_all(&texts, base)?;
            all.server.listen = listen;
            all.server.ipv6_required = ipv6_required;
            Ok(())
        },
        |all| strings(all.server.listen.iter()),
    )
    .many()
    .common(),
    hand_over::HAND_OVER,
    privileges::USER,
    privileges::SANDBOX,
    engines::ENGINE,
    engines::SERVER_TIMING,
    Key::one(
        Section::Files,
        "index",
        "NAME",
        "Index file of a directory; repeatable, tried in order [default: index.html]",
        |all, written, _| {
            let names = written.list("names")?;
            names.iter().try_for_each(|name| file_name(name))?;
            all.server.site.index = names;
            Ok(())
        },
        |all| strings(all.server.site.index.iter()),
    )
    .many(),
    Key::one(
        Section::Files,
        "precompressed",
        "WHICH",
        "Serve name.br, name.zst and name.gz beside a file: off, on, or fresh (not older than \
         the file) [default: off]",
        |all, written, _| {
            all.server.precompressed =
                written.choice("choice", &Precompressed::ALL, Precompressed::name)?;
            Ok(())
        },
        |all| Value::from(all.server.precompressed.name()),
    ),
    Key::one(
        Section::Files,
        "dotfiles",
        "BOOL",
        "Serve names that begin with a dot; .well-known always is [default: false]",
        |all, written, _| written.boolean().map(|on| all.server.site.dotfiles = on),
        |all| Value::from(all.server.site.dotfiles),
    )
    .switch(),
    Key::one(
        Section::Files,
        "symlinks",
        "BOOL",
        "Follow relative links that stay beneath the root [default: true]",
        |all, written, _| written.boolean().map(|on| all.server.symlinks = on),
        |all| Value::from(all.server.symlinks),
    )
    .switch(),
    Key::one(
        Section::Files,
        "listing",
        "BOOL",
        "List a directory that has no index file [default: false]",
        |all, written, _| written.boolean().map(|on| all.server.site.listing = on),
        |all| Value::from(all.server.site.listing),
    )
    .switch(),
    Key::one(
        Section::Files,
        "etag",
        "SOURCE",
        "Make entity tags of a file's time and size, or of its bytes: modified or content \
         [default: modified]",
        |all, written, _| {
            all.server.etag = written.choice("source", &Etag::ALL, Etag::name)?;
            Ok(())
        },
        |all| Value::from(all.server.etag.name()),
    ),
    Key::one(
        Section::Files,
        "fallback",
        "FILE",
        "File beneath the root that stands for pages that are not there, for applications of \
         one page; off is none [default: off]",
        |all, written, _| fallback(written).map(|file| all.server.site.fallback = file),
        |all| Value::from(all.server.site.fallback.as_deref().unwrap_or("off")),
    ),
    Key::one(
        Section::Files,
        "forbidden",
        "STATUS",
        "What is said of files that may not be read: 404 or 403 [default: 404]",
        |all, written, _| {
            all.server.site.forbidden =
                written.choice("status", &Forbidden::ALL, Forbidden::name)?;
            Ok(())
        },
        |all| Value::from(all.server.site.forbidden.name()),
    ),
    Key::one(
        Section::Workers,
        "workers",
        "COUNT",
        "Worker threads, 1 to 256, or auto for one a processor [default: auto]",
        |all, written, _| {
            all.server.workers = match written {
                Written::Loose(text) if text == "auto" => default_workers(),
                Written::Text(text) if text == "auto" => default_workers(),
                number => as_usize(number.count(1..=WORKERS_MAX as u64)?),
            };
            Ok(())
        },
        |all| count(all.server.workers as u64),
    )
    .common(),
    Key::one(
        Section::Workers,
        "pin",
        "BOOL",
        "Keep each worker on one processor [default: false]",
        |all, written, _| written.boolean().map(|on| all.server.pin = on),
        |all| Value::from(all.server.pin),
    )
    .switch()
    .common(),
    Key::one(
        Section::Workers,
        "head-buffers",
        "SIZE",
        "Memory for request heads, in all workers; less where memory is limited [default: 16MiB]",
        |all, written, _| {
            all.server.head_buffers = as_usize(written.size(HEAD_SHARE_MIN..=64 << 30)?);
            Ok(())
        },
        |all| Value::from(show_size(all.server.head_buffers as u64)),
    ),
    Key::one(
        Section::Workers,
        "body-buffers",
        "SIZE",
        "Memory for bodies of the engines uring, direct and copy, in all workers; less \
         where memory is limited [default: 64MiB]",
        |all, written, _| {
            all.server.body_buffers = as_usize(written.size(BODY_SHARE_MIN..=1 << 40)?);
            Ok(())
        },
        |all| Value::from(show_size(all.server.body_buffers as u64)),
    ),
    limits::PIPES,
    engines::DIRECT_CACHE,
    engines::DIRECT_BLOCK_BYTES,
    engines::PREDICTOR,
    limits::LISTING_MEMORY,
    Key::one(
        Section::Workers,
        "open-files",
        "COUNT",
        "Names whose files are kept open, in all workers, 64 or more [default: 4096]",
        |all, written, _| {
            all.server.open_files = as_usize(written.count(64..=1_000_000)?);
            Ok(())
        },
        |all| count(all.server.open_files as u64),
    ),
    Key::one(
        Section::Workers,
        "open-files-valid",
        "TIME",
        "How long a file kept open is served before its name is looked up again, where its \
         directory is not watched; 0 looks each time and watches none [default: 1s]",
        |all, written, _| {
            written.time(Duration::ZERO..=HOUR).map(|time| all.server.open_files_valid = time)
        },
        |all| Value::from(show_time(all.server.open_files_valid)),
    ),
    Key::one(
        Section::Workers,
        "watches",
        "COUNT",
        "Directories watched for changes, in all workers, so that a replaced file is seen by the \
         next request; 0 watches none [default: 4096]",
        |all, written, _| {
            all.server.watches = as_usize(written.count(0..=1_000_000)?);
            Ok(())
        },
        |all| count(all.server.watches as u64),
    ),
    engines::HOT_CACHE,
    engines::PAGE_CACHE,
    engines::PAGE_CACHE_DROP_FROM,
    limits::CONNECTIONS,
    limits::CONNECTIONS_BEYOND,
    limits::CONNECTIONS_PER_ADDRESS,
    limits::TRUSTED_PROXIES,
    limits::PROXY_PROTOCOL,
    limits::REQUESTS_PER_CONNECTION,
    limits::PIPELINE_DEPTH,
    limits::HEAD_TIMEOUT,
    limits::HEAD_RATE,
    limits::BODY_TIMEOUT,
    limits::IDLE_TIMEOUT,
    limits::SEND_TIMEOUT,
    limits::SEND_RATE,
    limits::RATE_LIMIT,
    limits::DRAIN_TIMEOUT,
    Key::one(
        Section::Telemetry,
        "telemetry",
        "BOOL",
        "Answer with the figures of the server at the telemetry path [default: true]",
        |all, written, _| written.boolean().map(|on| all.server.telemetry.on = on),
        |all| Value::from(all.server.telemetry.on),
    )
    .switch(),
    Key::one(
        Section::Telemetry,
        "telemetry-path",
        "PATH",
        "The path that answers with the figures [default: /telemetry]",
        |all, written, _| {
            all.server.telemetry.path = url_path(written.text("a path such as \"/telemetry\"")?)?;
            Ok(())
        },
        |all| Value::from(all.server.telemetry.path.as_str()),
    ),
    Key::one(
        Section::Telemetry,
        "telemetry-allow",
        "WHO",
        "Who may read the figures: loopback, an address or a network; repeatable \
         [default: loopback]",
        |all, written, _| {
            all.server.telemetry.allow = allow(&written.list("networks")?)?;
            Ok(())
        },
        |all| {
            let allow = &all.server.telemetry.allow;
            let loopback = allow.loopback.then(|| "loopback".to_owned());
            strings(loopback.into_iter().chain(allow.networks.iter().map(ToString::to_string)))
        },
    )
    .many(),
    Key::one(
        Section::Telemetry,
        "telemetry-listen",
        "ADDRESS",
        "Answer for telemetry at addresses of its own, and no more where the site is: as listen, \
         or off; repeatable [default: off]",
        |all, written, base| {
            let texts = written.list("addresses")?;
            all.server.telemetry.listen = match &texts[..] {
                [] => Vec::new(),
                [text] if text == "off" => Vec::new(),
                texts => listen_all(texts, base)?.0,
            };
            Ok(())
        },
        |all| strings(all.server.telemetry.listen.iter()),
    )
    .many(),
    Key::one(
        Section::Telemetry,
        "health",
        "BOOL",
        "Answer the health and ready paths where the site is, too, to everybody [default: false]",
        |all, written, _| written.boolean().map(|on| all.server.telemetry.health = on),
        |all| Value::from(all.server.telemetry.health),
    )
    .switch(),
    Key::one(
        Section::Telemetry,
        "health-path",
        "PATH",
        "The path that says that the server lives [default: /health]",
        |all, written, _| {
            let path = url_path(written.text("a path such as \"/health\"")?)?;
            all.server.telemetry.health_path = path;
            Ok(())
        },
        |all| Value::from(all.server.telemetry.health_path.as_str()),
    ),
    Key::one(
        Section::Telemetry,
        "ready-path",
        "PATH",
        "The path that says whether it accepts connections: 200, or 503 while it drains \
         [default: /ready]",
        |all, written, _| {
            all.server.telemetry.ready_path = url_path(written.text("a path such as \"/ready\"")?)?;
            Ok(())
        },
        |all| Value::from(all.server.telemetry.ready_path.as_str()),
    ),
    lab_results::LAB_RESULTS,
    access_log::ACCESS_LOG,
    access_log::FORMAT,
    access_log::SAMPLE_OF,
    access_log::STATUS,
    access_log::MATCH,
    access_log::FULL,
    access_log::WAIT,
    access_log::BUFFER,
    access_log::FLUSH,
    access_log::DURABILITY,
    access_log::ROTATE_SIZE,
    access_log::ROTATE_EVERY,
    access_log::ARCHIVE,
    access_log::COMPRESS,
    access_log::KEEP,
    access_log::MIRROR,
    access_log::MIRROR_SAMPLE,
    access_log::MIRROR_DIGEST,
    access_log::MIRROR_STORE,
    Key::one(
        Section::Log,
        "log-level",
        "LEVEL",
        "How much is said: off, error, warn, info, debug or trace [default: info]",
        |all, written, _| {
            all.log.level = written.choice("level", &Level::ALL, Level::name)?;
            Ok(())
        },
        |all| Value::from(all.log.level.name()),
    )
    .common(),
    Key::one(
        Section::Log,
        "log-format",
        "FORMAT",
        "For people or for programs: human or json [default: human]",
        |all, written, _| {
            all.log.format = written.choice("format", &Format::ALL, Format::name)?;
            Ok(())
        },
        |all| Value::from(all.log.format.name()),
    )
    .common(),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::super::effective::Settings;
    use super::*;

    #[test]
    fn names_are_kebab_case_and_unique() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(key.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
            assert!(KEYS[..index].iter().all(|other| other.name != key.name), "{}", key.name);
            assert!(!key.help.ends_with('.'), "{}", key.name);
        }
        assert_eq!(Key::find("head-timeout").unwrap().variable(), "PITCREW_HEAD_TIMEOUT");
    }

    #[test]
    fn what_is_shown_reads_back() {
        let settings = Settings::default();
        for key in &KEYS {
            let mut again = Settings::default();
            let written = super::super::file::written(&(key.show)(&settings));
            (key.set)(&mut again, &written, Path::new("")).unwrap();
            assert_eq!(again, settings, "{}", key.name);
        }
    }

    #[test]
    fn the_help_tells_the_default() {
        let settings = Settings::default();
        for key in &KEYS {
            let told = key.help.split("[default: ").nth(1).expect(key.name);
            let told = told.strip_suffix(']').unwrap();
            if matches!(key.name, "root" | "workers") {
                continue; // these depend on the place and the machine
            }
            let mut again = Settings::default();
            (key.set)(&mut again, &Written::Loose(told.into()), Path::new("")).unwrap();
            assert_eq!(again, settings, "{}", key.name);
        }
    }

    #[test]
    fn the_help_names_every_engine() {
        let help = Key::find("engine").unwrap().help;
        assert!(crate::server::options::Kind::ALL.iter().all(|kind| help.contains(kind.name())));
    }
}
