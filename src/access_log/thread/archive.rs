//! Archives of a log file: made, compressed and kept to a count.
//!
//! An archive is called as the log with the time of its making and a number behind it,
//! `access.log.20261231T235959Z.000`, so that names sort by age.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::SystemTime;

use rustix::fs::{
    CWD, Mode, OFlags, RenameFlags, fchmod, fdatasync, fstat, ftruncate, openat, renameat_with,
};
use rustix::io::Errno;

use super::file::seconds_of;
use super::target::said;
use crate::access_log::options::{Archive, Rotation};
use crate::http::date;
use crate::techniques::copy_range;

/// What an archive under way is called, so that a half one is never taken for a whole.
const UNFINISHED: &str = ".part";

pub(super) fn now_seconds() -> i64 {
    seconds_of(SystemTime::now())
}

/// Which span of the clock a second lies in.
pub(super) fn span(rotation: &Rotation, second: i64) -> u64 {
    let every = rotation.every.as_secs();
    second.max(0).unsigned_abs().checked_div(every).unwrap_or(0)
}

/// Archives what is in the file. Says whether the file was emptied; else it has another name now.
/// What is durable stays so.
pub(super) fn make(
    path: &Path,
    file: &OwnedFd,
    rotation: &Rotation,
    durable: bool,
) -> Result<bool, String> {
    match rotation.archive {
        Archive::Rename => {
            named(path, |archive| renameat_with(CWD, path, CWD, archive, RenameFlags::NOREPLACE))
                .map_err(|errno| format!("it cannot be archived: {}", said(errno)))?;
            Ok(false)
        }
        Archive::Copy => {
            copy(path, file, durable).map_err(|why| format!("it cannot be archived: {why}"))?;
            Ok(true)
        }
    }
}

/// Tries names until one is free.
fn named<T>(path: &Path, mut with: impl FnMut(&Path) -> Result<T, Errno>) -> Result<T, Errno> {
    let time = date::format_rfc3339(now_seconds());
    let time: String =
        time.iter().map(|byte| char::from(*byte)).filter(|sign| !"-:".contains(*sign)).collect();
    for number in 0..1000 {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{time}.{number:03}"));
        let mut compressed = name.clone();
        compressed.push(".gz");
        if Path::new(&compressed).exists() {
            continue;
        }
        match with(Path::new(&name)) {
            Err(Errno::EXIST) => {}
            other => return other,
        }
    }
    Err(Errno::EXIST)
}

/// Copies inside the kernel, which shares the bytes where the file system can, and empties the
/// file. Until the copy has its name, the log is whole.
fn copy(path: &Path, file: &OwnedFd, durable: bool) -> Result<(), String> {
    let known = fstat(file).map_err(said)?;
    let from = File::open(path).map_err(|error| error.to_string())?;
    let named_now = fstat(&from).map_err(said)?;
    if (named_now.st_dev, named_now.st_ino) != (known.st_dev, known.st_ino) {
        return Err("another file has its name".to_owned());
    }
    let mode = Mode::from_raw_mode(known.st_mode & 0o777);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made =
        named(path, |archive| openat(CWD, archive, flags, mode).map(|to| (to, archive.to_owned())));
    let (to, archive) = made.map_err(said)?;
    // Whatever the umask took away.
    let moved = fchmod(&to, mode)
        .map_err(said)
        .and_then(|()| fill(&from, &to, &archive, durable))
        .and_then(|()| empty(file));
    if moved.is_err() {
        // A part of an archive would be taken for a whole one, and a whole one of a log that was
        // not emptied would have each record a second time.
        let _ = fs::remove_file(&archive);
    }
    moved
}

fn fill(from: &File, to: &OwnedFd, archive: &Path, durable: bool) -> Result<(), String> {
    let copied = copy_range::copy(from, 0, to.as_fd(), 0, u64::MAX);
    let copied = copied.map_err(|stopped| format!("{:?}", stopped.error))?;
    if let Some(why) = copied.fell_back {
        tracing::debug!(?why, "the archive was copied by hand");
    }
    if durable {
        // What was on the device is taken from it only when the copy is there, and its name.
        fdatasync(to).map_err(said)?;
        sync_directory_of(archive);
    }
    Ok(())
}

fn empty(file: &OwnedFd) -> Result<(), String> {
    let Err(errno) = ftruncate(file, 0) else { return Ok(()) };
    // Some file systems shorten the file before they fail: then the archive is all there is.
    let is_empty = fstat(file).is_ok_and(|known| known.st_size == 0);
    if is_empty { Ok(()) } else { Err(said(errno)) }
}

/// Has the names of a directory on the device, too: a file that was made or renamed there is found
/// after a loss of power only then (fsync(2)).
pub(super) fn sync_directory_of(path: &Path) {
    // The names of a link's target are those of another directory.
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let synced = File::open(directory_of(&file)).and_then(|directory| directory.sync_all());
    if let Err(error) = synced {
        // Not each time: a file system that has no such call never has it.
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            tracing::warn!(
                file = %file.display(), %error,
                "the directory of the access log cannot be synchronized; after a loss of power \
                 the name of a new file may be missing there"
            );
        });
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Compresses archives and removes those beyond the count, on a thread of its own: the log goes
/// on meanwhile.
pub(super) fn tidy_up(path: &Path, rotation: &Rotation, durable: bool) {
    if !rotation.compress && rotation.keep == 0 {
        return;
    }
    let (log, rotation) = (path.to_owned(), *rotation);
    let begun = std::thread::Builder::new().name("log-archive".to_owned()).spawn(move || {
        // One at a time: what two would do at once, the later does alone.
        static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = tend(&log, &rotation, durable) {
            tracing::warn!(log = %log.display(), %error, "its archives could not be tended");
        }
    });
    if let Err(error) = begun {
        tracing::warn!(log = %path.display(), %error, "its archives are not tended");
    }
}

fn tend(path: &Path, rotation: &Rotation, durable: bool) -> io::Result<()> {
    let mut archives = archives(path)?;
    if rotation.keep > 0 {
        let beyond = archives.len().saturating_sub(rotation.keep);
        for archive in archives.drain(..beyond) {
            fs::remove_file(archive)?;
        }
    }
    if rotation.compress {
        for archive in archives.iter().filter(|name| name.extension().is_none_or(|e| e != "gz")) {
            compress(archive, durable)?;
        }
    }
    Ok(())
}

/// The archives of a log, the oldest first.
fn archives(path: &Path) -> io::Result<Vec<PathBuf>> {
    let log = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir(directory_of(path))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_prefix(&log).is_some_and(is_archive) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// `.20261231T235959Z.000`, with `.gz` or without.
fn is_archive(rest: &str) -> bool {
    let rest = rest.strip_suffix(".gz").unwrap_or(rest);
    let form = b".dddddddd\x54dddddd\x5a.ddd";
    rest.len() == form.len()
        && rest.bytes().zip(form).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            sign => byte == *sign,
        })
}

fn compress(archive: &Path, durable: bool) -> io::Result<()> {
    let with = |suffix: &str| {
        let mut name = archive.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let (part, whole) = (with(UNFINISHED), with(".gz"));
    let mut from = File::open(archive)?;
    // Who may not read the one may not read the other, not even for a moment.
    let to = File::options().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    to.set_permissions(from.metadata()?.permissions())?;
    let mut coder = flate2::write::GzEncoder::new(to, flate2::Compression::default());
    io::copy(&mut from, &mut coder)?;
    let to = coder.finish()?;
    if durable {
        // So was the archive that it replaces.
        to.sync_data()?;
    }
    fs::rename(&part, &whole)?;
    if durable {
        sync_directory_of(&whole);
    }
    fs::remove_file(archive)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn archives_are_told_from_other_files() {
        assert!(is_archive(".20261231T235959Z.000") && is_archive(".20261231T235959Z.999.gz"));
        for other in ["", ".1", ".gz", ".20261231T235959Z.000.part", ".2026-231T235959Z.000"] {
            assert!(!is_archive(other), "{other}");
        }
    }

    #[test]
    fn archives_are_compressed_and_kept_to_a_count() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        for number in 0..5 {
            let name = format!("a.log.20261231T235959Z.{number:03}");
            fs::write(directory.path().join(name), format!("{number}\n")).unwrap();
        }
        fs::write(directory.path().join("a.log.old"), "kept").unwrap();
        let rotation = Rotation { compress: true, keep: 2, ..Rotation::default() };
        tend(&log, &rotation, true).unwrap();
        let left = archives(&log).unwrap();
        assert_eq!(left.len(), 2);
        let mut text = String::new();
        let last = File::open(left.last().unwrap()).unwrap();
        flate2::read::GzDecoder::new(last).read_to_string(&mut text).unwrap();
        assert_eq!(text, "4\n");
        assert!(directory.path().join("a.log.old").exists());
    }

    #[test]
    fn a_copy_leaves_the_file_and_takes_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        fs::write(&log, "one\ntwo\n").unwrap();
        let file = OwnedFd::from(File::options().write(true).open(&log).unwrap());
        let rotation = Rotation { archive: Archive::Copy, ..Rotation::default() };
        assert_eq!(make(&log, &file, &rotation, true), Ok(true));
        assert_eq!(fs::read(&log).unwrap(), b"");
        let made = archives(&log).unwrap();
        assert_eq!(fs::read(&made[0]).unwrap(), b"one\ntwo\n");
        fs::write(&log, "three\n").unwrap();
        assert_eq!(make(&log, &file, &Rotation::default(), false), Ok(false));
        assert_eq!((archives(&log).unwrap().len(), log.exists()), (2, false));
    }

    #[test]
    fn who_may_read_the_log_may_read_its_archives_and_nobody_else() {
        use std::os::unix::fs::PermissionsExt;
        for archive in [Archive::Copy, Archive::Rename] {
            let directory = tempfile::tempdir().unwrap();
            let log = directory.path().join("a.log");
            fs::write(&log, "one\n").unwrap();
            fs::set_permissions(&log, fs::Permissions::from_mode(0o620)).unwrap();
            let file = OwnedFd::from(File::options().write(true).open(&log).unwrap());
            let rotation = Rotation { archive, compress: true, ..Rotation::default() };
            make(&log, &file, &rotation, false).unwrap();
            let modes = |names: Vec<PathBuf>| -> Vec<u32> {
                names.iter().map(|name| name.metadata().unwrap().permissions().mode()).collect()
            };
            assert_eq!(modes(archives(&log).unwrap()), [0o100_620]);
            tend(&log, &rotation, false).unwrap();
            let packed = archives(&log).unwrap();
            assert!(packed[0].extension().is_some_and(|end| end == "gz"));
            assert_eq!(modes(packed), [0o100_620]);
        }
    }

    #[test]
    fn a_file_that_has_taken_the_name_is_not_archived_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        fs::write(&log, "one\n").unwrap();
        let file = OwnedFd::from(File::options().write(true).open(&log).unwrap());
        let moved = directory.path().join("moved");
        fs::rename(&log, &moved).unwrap();
        fs::write(&log, "other\n").unwrap();
        let rotation = Rotation { archive: Archive::Copy, ..Rotation::default() };
        assert!(make(&log, &file, &rotation, false).is_err());
        assert_eq!(fs::read(&moved).unwrap(), b"one\n", "it is not emptied");
        assert!(archives(&log).unwrap().is_empty());
    }

    #[test]
    fn a_log_that_cannot_be_emptied_leaves_no_copy_behind() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        fs::write(&log, "one\n").unwrap();
        // ftruncate(2) refuses a descriptor that is not open for writing.
        let file = OwnedFd::from(File::open(&log).unwrap());
        let rotation = Rotation { archive: Archive::Copy, ..Rotation::default() };
        for durable in [false, true] {
            assert!(make(&log, &file, &rotation, durable).is_err());
            assert_eq!(archives(&log).unwrap(), Vec::<PathBuf>::new());
        }
        assert_eq!(fs::read(&log).unwrap(), b"one\n");
    }
}
