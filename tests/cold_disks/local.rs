//! A disk of this machine, made of one file: a file system on a block device, which waits where
//! the file does.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::Scratch;

/// Bytes of the device. What is not written of it takes no room.
const DEVICE_BYTES: u64 = 320 << 20;

/// Bytes of what the kernel counts in devices by.
const SECTOR_BYTES: usize = 512;

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
    /// Sectors that were read ahead from the device before, if that was changed: it outlives this,
    /// and has another file next time.
    read_ahead: Option<String>,
}

impl Local {
    /// With how many bytes the kernel reads ahead, where that makes a difference.
    pub(crate) fn mount(
        image: &Path,
        at: &Path,
        read_ahead: Option<usize>,
    ) -> Result<Self, String> {
        let options = ["--find", "--show", "--read-only", "--direct-io=off"];
        let device = run(Command::new("losetup").args(options).arg(image))?.trim().to_owned();
        if device.is_empty() {
            return Err("losetup names no device".to_owned());
        }
        let mut local = Self { device, at: at.to_owned(), read_ahead: None };
        if let Some(bytes) = read_ahead {
            let before = run(Command::new("blockdev").args(["--getra", &local.device]))?;
            local.read_ahead = Some(before.trim().to_owned());
            local.set_read_ahead(&(bytes / SECTOR_BYTES).to_string())?;
        }
        run(Command::new("mount").args(["-t", "ext4", "-o", "ro"]).arg(&local.device).arg(at))?;
        Ok(local)
    }

    fn set_read_ahead(&self, sectors: &str) -> Result<(), String> {
        run(Command::new("blockdev").args(["--setra", sectors, &self.device])).map(|_| ())
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
        if let Some(before) = &self.read_ahead {
            let _ = self.set_read_ahead(before);
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
