//! Mounts that note when their files are read: who does so may wait for the disk, and the loop must
//! not.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Launch, Scratch, eventually, skipped};
use crate::is_served;
use crate::local::image;

/// A mount beneath a scratch directory, taken off with the value.
struct Mounted(PathBuf);

impl Mounted {
    fn new(kind: &str, options: &str, source: &Path, at: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(at).unwrap();
        run(Command::new("mount").args(["-t", kind, "-o", options]).arg(source).arg(at))?;
        Ok(Self(at.to_owned()))
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        run(Command::new("mount").args(["-o", &options]).arg(&self.0)).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let done = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let told = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    if done.status.success() { Ok(()) } else { Err(told) }
}

/// With strictatime each read is noted, so that each one is left to a thread; other options of the
/// same mount are seen while its files are open.
#[test]
fn a_mount_that_notes_every_read_is_read_by_threads_and_one_that_does_no_more_is_not() {
    let scratch = Scratch::new();
    scratch.write("fast.txt", "fast\n");
    let (disk, at) = (Scratch::new(), scratch.join("noted"));
    let mounted = image(&disk, 0, |_| Vec::new())
        .and_then(|image| Mounted::new("ext4", "loop,strictatime", &image, &at));
    let mounted = match mounted {
        Ok(mounted) => mounted,
        Err(told) => return skipped("mounts that note each read", &told),
    };
    std::fs::write(at.join("a"), vec![b'a'; 20_000]).unwrap();
    let arguments = ["--engine", "sendfile", "--workers", "1"];
    let server = Launch::new(&arguments).root(scratch.path()).start();
    let blocking = |count| {
        eventually("the options of the mount are known", || {
            is_served(&server, "/noted/a", &[b'a'; 20_000]);
            (server.figure(&["mounts", "blocking"]) == count).then_some(())
        });
    };
    let by_sendfile = || server.figure(&["techniques", "sendfile", "bytes"]);
    blocking(1);
    let before = by_sendfile();
    is_served(&server, "/noted/a", &[b'a'; 20_000]);
    assert_eq!(by_sendfile(), before, "the loop reads what notes its access");
    mounted.remount("relatime");
    blocking(0);
    eventually("the loop sends again", || {
        is_served(&server, "/noted/a", &[b'a'; 20_000]);
        (by_sendfile() > before).then_some(())
    });
    mounted.remount("strictatime");
    blocking(1);
    drop(server);
}

/// What overlayfs keeps in its upper layer is noted there.
#[test]
fn the_first_read_of_a_file_of_an_overlay_is_left_to_a_thread() {
    let scratch = Scratch::new();
    let layers = Scratch::new();
    // An overlay cannot be made of what may lie on another one.
    let below = match Mounted::new("tmpfs", "relatime", Path::new("tmpfs"), &layers.join("tmpfs")) {
        Ok(mounted) => mounted,
        Err(told) => return skipped("overlays", &told),
    };
    let layer = |name: &str| {
        let path = below.0.join(name);
        std::fs::create_dir(&path).unwrap();
        path.display().to_string()
    };
    let (lower, upper, work) = (layer("lower"), layer("upper"), layer("work"));
    std::fs::write(format!("{upper}/a"), vec![b'a'; 200_000]).unwrap();
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let at = scratch.join("over");
    let _over = match Mounted::new("overlay", &options, Path::new("overlay"), &at) {
        Ok(mounted) => mounted,
        Err(told) => return skipped("overlays", &told),
    };
    let accessed = || {
        use std::os::unix::fs::MetadataExt;
        let facts = std::fs::metadata(format!("{upper}/a")).unwrap();
        (facts.atime(), facts.atime_nsec())
    };
    let arguments = ["--engine", "sendfile", "--workers", "1"];
    let server = Launch::new(&arguments).root(scratch.path()).start();
    let by_sendfile = || server.figure(&["techniques", "sendfile", "bytes"]);
    let before = accessed();
    is_served(&server, "/over/a", &[b'a'; 200_000]);
    assert_eq!(by_sendfile(), 0, "the loop reads what notes its access");
    assert_ne!(accessed(), before, "it is noted");
    eventually("what is in memory is sent by the loop from then on", || {
        is_served(&server, "/over/a", &[b'a'; 200_000]);
        (by_sendfile() > 0).then_some(())
    });
    drop(server);
}
