//! A disk of this machine, made of one file: a file system on a block device, which waits where
//! the file does.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::Scratch;

/// Bytes of the device. What is not written of it takes no room.
const DEVICE_BYTES: u64 = 320 << 20;

/// Makes a file system in a file, with files named by their numbers.
pub(crate) fn image(
    scratch: &Scratch,
    files: usize,
    content: impl Fn(usize) -> Vec<u8>,
) -> Result<PathBuf, String> {
    for number in 0..files {
        scratch.write(&format!("tree/{number}"), content(number));
    }
    let (tree, image) = (scratch.join("tree"), scratch.join("image"));
    std::fs::create_dir_all(&tree).unwrap();
    File::create(&image).and_then(|file| file.set_len(DEVICE_BYTES)).unwrap();
    // Without a journal, as nobody writes to it.
    let options = ["-q", "-F", "-O", "^has_journal", "-d"];
    run(Command::new("mkfs.ext4").args(options).arg(tree).arg(&image))?;
    Ok(image)
}

/// A mounted device, read-only. It is taken off and detached with the value: by then its reads are
/// answered, or that waits, too.
pub(crate) struct Local {
    device: String,
    at: PathBuf,
}

impl Local {
    pub(crate) fn mount(image: &Path, at: &Path) -> Result<Self, String> {
        let options = ["--find", "--show", "--read-only", "--direct-io=off"];
        let device = run(Command::new("losetup").args(options).arg(image))?.trim().to_owned();
        if device.is_empty() {
            return Err("losetup names no device".to_owned());
        }
        let local = Self { device, at: at.to_owned() };
        run(Command::new("mount").args(["-t", "ext4", "-o", "ro"]).arg(&local.device).arg(at))?;
        Ok(local)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // The kernel may still be closing the files of a server that has just ended; then the
        // device goes when it has.
        let at = &self.at;
        if run(Command::new("umount").arg(at)).is_err() {
            let _ = run(Command::new("umount").arg("-l").arg(at));
        }
        let _ = run(Command::new("losetup").args(["-d", &self.device]));
    }
}

/// What a program says, or why it did nothing.
fn run(command: &mut Command) -> Result<String, String> {
    let why = match command.output() {
        Ok(output) if output.status.success() => {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(format!("{command:?}: {why}"))
}
