//! The keys of the access log.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use toml::Value;

use crate::access_log::options::{
    Archive, Digest, Durability, Full, Glob, Place, SINKS_MAX, StatusClass, Template,
};
use crate::config::Written;
use crate::config::address::join;
use crate::config::key::{Key, Section};
use crate::config::shapes::{as_usize, count, strings};
use crate::config::written::{show_size, show_time};
use crate::limits::LOG_PIPE_BYTES;

const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
const SAMPLE: RangeInclusive<u64> = 1..=1_000_000;

pub(super) const ACCESS_LOG: Key = Key::one(
    Section::AccessLog,
    "access-log",
    "PLACE",
    "Where answers are recorded: a file, a FIFO, stdout, or a program as '|COMMAND'; repeatable, \
     off is nowhere [default: off]",
    |all, written, base| places(written, base).map(|sinks| all.server.access_log.sinks = sinks),
    |all| match &*all.server.access_log.sinks {
        [] => Value::Array(vec![Value::from("off")]),
        sinks => strings(sinks.iter()),
    },
)
.many()
.common();

pub(super) const FORMAT: Key = Key::one(
    Section::AccessLog,
    "access-log-format",
    "FORMAT",
    "common, combined, json, or a template such as '$remote_addr $status' [default: combined]",
    |all, written, _| {
        let text = written.text("a format such as \"combined\"")?;
        all.server.access_log.format = Template::parse(text).map_err(|error| error.to_string())?;
        Ok(())
    },
    |all| Value::from(all.server.access_log.format.text()),
);

pub(super) const SAMPLE_OF: Key = Key::one(
    Section::AccessLog,
    "access-log-sample",
    "COUNT",
    "Record one of so many answers [default: 1]",
    |all, written, _| written.count(SAMPLE).map(|one_of| all.server.access_log.sample = one_of),
    |all| count(all.server.access_log.sample),
);

pub(super) const STATUS: Key = Key::one(
    Section::AccessLog,
    "access-log-status",
    "STATUS",
    "Record these statuses only, such as 404 or 5xx; repeatable, all is every one [default: all]",
    |all, written, _| {
        let texts = unless("all", written.list("statuses")?);
        let read: Result<_, _> = texts.iter().map(|text| StatusClass::parse(text)).collect();
        read.map(|statuses| all.server.access_log.statuses = statuses)
    },
    |all| or("all", all.server.access_log.statuses.iter()),
)
.many();

pub(super) const MATCH: Key = Key::one(
    Section::AccessLog,
    "access-log-match",
    "GLOB",
    "Record answers of these paths only; repeatable, all is every one [default: all]",
    |all, written, _| {
        globs(&unless("all", written.list("globs")?))
            .map(|paths| all.server.access_log.paths = paths)
    },
    |all| or("all", all.server.access_log.paths.iter().map(Glob::text)),
)
.many();

pub(super) const FULL: Key = Key::one(
    Section::AccessLog,
    "access-log-full",
    "WHAT",
    "What happens when the log is too slow: drop records and count them, or have requests wait \
     [default: drop]",
    |all, written, _| {
        all.server.access_log.full = written.choice("choice", Full::ALL, Full::name)?;
        Ok(())
    },
    |all| Value::from(all.server.access_log.full.name()),
);

pub(super) const WAIT: Key = Key::one(
    Section::AccessLog,
    "access-log-wait",
    "TIME",
    "How long requests wait for the log before records are dropped [default: 1s]",
    |all, written, _| {
        let range = Duration::from_millis(1)..=Duration::from_secs(3600);
        written.time(range).map(|time| all.server.access_log.wait = time)
    },
    |all| Value::from(show_time(all.server.access_log.wait)),
);

pub(super) const BUFFER: Key = Key::one(
    Section::AccessLog,
    "access-log-buffer",
    "SIZE",
    "Records that each worker gathers; with half of it they are written [default: 64KiB]",
    |all, written, _| {
        let size = written.size(4 << 10..=LOG_PIPE_BYTES as u64)?;
        all.server.access_log.buffer = as_usize(size);
        Ok(())
    },
    |all| Value::from(show_size(all.server.access_log.buffer as u64)),
);

pub(super) const FLUSH: Key = Key::one(
    Section::AccessLog,
    "access-log-flush",
    "TIME",
    "How long a record waits for others to be written with [default: 100ms]",
    |all, written, _| {
        let range = Duration::ZERO..=Duration::from_secs(60);
        written.time(range).map(|time| all.server.access_log.flush = time)
    },
    |all| Value::from(show_time(all.server.access_log.flush)),
);

pub(super) const DURABILITY: Key = Key::one(
    Section::AccessLog,
    "access-log-durability",
    "WHICH",
    "What a write to a log file waits for: none, data (O_DSYNC) or full (O_SYNC) [default: none]",
    |all, written, _| {
        all.server.access_log.durability =
            written.choice("durability", Durability::ALL, Durability::name)?;
        Ok(())
    },
    |all| Value::from(all.server.access_log.durability.name()),
);

pub(super) const ROTATE_SIZE: Key = Key::one(
    Section::AccessLog,
    "access-log-rotate-size",
    "SIZE",
    "Archive a log file at this size; 0 is never [default: 0]",
    |all, written, _| {
        written.size(0..=1 << 50).map(|size| all.server.access_log.rotation.size = size)
    },
    |all| Value::from(show_size(all.server.access_log.rotation.size)),
);

pub(super) const ROTATE_EVERY: Key = Key::one(
    Section::AccessLog,
    "access-log-rotate-every",
    "TIME",
    "Archive a log file each time that so much of the clock (UTC) has passed; 0 is never \
     [default: 0]",
    |all, written, _| {
        let every = written.time(Duration::ZERO..=YEAR)?;
        if every.subsec_nanos() > 0 {
            return Err("archives are made by whole seconds; write 1s or more".to_owned());
        }
        all.server.access_log.rotation.every = every;
        Ok(())
    },
    |all| Value::from(show_time(all.server.access_log.rotation.every)),
);

pub(super) const ARCHIVE: Key = Key::one(
    Section::AccessLog,
    "access-log-archive",
    "HOW",
    "How an archive is made: rename, or copy, which leaves the file the same one \
     [default: rename]",
    |all, written, _| {
        all.server.access_log.rotation.archive =
            written.choice("choice", Archive::ALL, Archive::name)?;
        Ok(())
    },
    |all| Value::from(all.server.access_log.rotation.archive.name()),
);

pub(super) const COMPRESS: Key = Key::one(
    Section::AccessLog,
    "access-log-compress",
    "BOOL",
    "Compress archives by gzip [default: false]",
    |all, written, _| written.boolean().map(|on| all.server.access_log.rotation.compress = on),
    |all| Value::from(all.server.access_log.rotation.compress),
)
.switch();

pub(super) const KEEP: Key = Key::one(
    Section::AccessLog,
    "access-log-keep",
    "COUNT",
    "Archives that are kept; 0 is all [default: 0]",
    |all, written, _| {
        let kept = written.count(0..=1_000_000)?;
        all.server.access_log.rotation.keep = as_usize(kept);
        Ok(())
    },
    |all| count(all.server.access_log.rotation.keep as u64),
);

pub(super) const MIRROR: Key = Key::one(
    Section::AccessLog,
    "mirror",
    "GLOB",
    "Mirror the bodies of these paths into the access log (engine splice); repeatable, off is \
     none [default: off]",
    |all, written, _| {
        globs(&unless("off", written.list("globs")?))
            .map(|paths| all.server.access_log.mirror.paths = paths)
    },
    |all| or("off", all.server.access_log.mirror.paths.iter().map(Glob::text)),
)
.many();

pub(super) const MIRROR_SAMPLE: Key = Key::one(
    Section::AccessLog,
    "mirror-sample",
    "COUNT",
    "Mirror one of so many of these bodies [default: 1]",
    |all, written, _| {
        written.count(SAMPLE).map(|one_of| all.server.access_log.mirror.sample = one_of)
    },
    |all| count(all.server.access_log.mirror.sample),
);

pub(super) const MIRROR_DIGEST: Key = Key::one(
    Section::AccessLog,
    "mirror-digest",
    "DIGEST",
    "Digest of a mirrored body in its record: blake3 or sha256 [default: blake3]",
    |all, written, _| {
        all.server.access_log.mirror.digest =
            written.choice("digest", Digest::ALL, Digest::name)?;
        Ok(())
    },
    |all| Value::from(all.server.access_log.mirror.digest.name()),
);

pub(super) const MIRROR_STORE: Key = Key::one(
    Section::AccessLog,
    "mirror-store",
    "DIR",
    "Directory to store mirrored bodies in; off is none [default: off]",
    |all, written, base| {
        let path = written.path()?;
        let off = path.as_os_str() == "off";
        all.server.access_log.mirror.store = (!off).then(|| join(base, path));
        Ok(())
    },
    |all| {
        let store = all.server.access_log.mirror.store.as_deref();
        Value::from(store.map_or("off".into(), Path::to_string_lossy).into_owned())
    },
);

/// The places of the log. A command may hold commas, so one behind a bar is not split.
fn places(written: &Written, base: &Path) -> Result<Vec<Place>, String> {
    let members = match written {
        Written::List(members) => &members[..],
        one => std::slice::from_ref(one),
    };
    let mut texts = Vec::new();
    for member in members {
        match member {
            Written::Loose(_) => {
                let text = member.text("a place")?;
                if text.trim_start().starts_with('|') {
                    texts.push(text.to_owned());
                } else {
                    texts.extend(member.list("places")?);
                }
            }
            other => texts.push(other.text("a place such as \"/var/log/access.log\"")?.to_owned()),
        }
    }
    let texts = unless("off", texts);
    if texts.len() > SINKS_MAX {
        return Err(format!("{} places are too many; {SINKS_MAX} at most", texts.len()));
    }
    let mut places = Vec::new();
    for text in texts {
        let place = match Place::parse(&text)? {
            Place::Path(path) => Place::Path(join(base, path)),
            other => other,
        };
        if places.contains(&place) {
            return Err(format!("'{place}' stands there twice"));
        }
        places.push(place);
    }
    Ok(places)
}

/// A list that a single word stands for the absence of.
fn unless(word: &str, texts: Vec<String>) -> Vec<String> {
    if texts == [word] { Vec::new() } else { texts }
}

/// Likewise when it is shown.
fn or<T: ToString>(word: &str, all: impl ExactSizeIterator<Item = T>) -> Value {
    if all.len() == 0 { Value::Array(vec![Value::from(word)]) } else { strings(all) }
}

fn globs(texts: &[String]) -> Result<Vec<Glob>, String> {
    let read = |text: &String| Glob::new(text).map_err(|error| format!("'{text}': {error}"));
    texts.iter().map(read).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_command_keeps_its_commas_and_paths_begin_at_the_file() {
        let one = |text: &str| Written::Loose(text.into());
        let base = Path::new("/etc");
        let read = places(&Written::List(vec![one("|cut -d, -f1"), one("a,stdout")]), base);
        let shown: Vec<_> = read.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["|cut -d, -f1", "/etc/a", "stdout"]);
        assert_eq!(places(&one("off"), base), Ok(Vec::new()));
        assert!(places(&one("a,a"), base).unwrap_err().contains("twice"));
        assert!(places(&one("a,b,c,d,e"), base).unwrap_err().contains("too many"));
    }
}
