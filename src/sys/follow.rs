//! A file that is read to its end and beyond, as tail(1) does with -F: what is written to it later,
//! and the file that takes its name when it is rotated.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes that are looked at at once when lines are counted from the end.
const STEP: u64 = 64 << 10;

/// A file by its name.
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    file: File,
    identity: (u64, u64),
    at: u64,
}

/// What reading on found.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// So many bytes.
    Bytes(usize),
    /// The end, for now.
    End,
    /// Another file has the name, or this one was cut: it is read from its start next, and a line
    /// that was begun has no end.
    Other,
}

impl Followed {
    /// Opens a file, at its start, or where its last lines begin, as many as are asked for.
    ///
    /// # Errors
    /// When it cannot be opened or read, or is a directory.
    pub fn open(path: &Path, last: Option<u64>) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let facts = file.metadata()?;
        if facts.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let identity = (facts.dev(), facts.ino());
        let at = match last {
            Some(lines) if facts.is_file() => start_of_last(&mut file, facts.len(), lines)?,
            _ => 0,
        };
        if facts.is_file() {
            file.seek(SeekFrom::Start(at))?;
        }
        Ok(Self { path: path.to_owned(), file, identity, at })
    }

    /// Reads on.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        let read = loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.at += read as u64;
        if read > 0 {
            return Ok(Next::Bytes(read));
        }
        let own = self.file.metadata()?;
        if own.is_file() && own.len() < self.at {
            self.at = 0;
            self.file.seek(SeekFrom::Start(0))?;
            return Ok(Next::Other);
        }
        // While nothing has the name, more may still come to the file that had it.
        let Ok(named) = fs::metadata(&self.path) else { return Ok(Next::End) };
        if (named.dev(), named.ino()) == self.identity {
            return Ok(Next::End);
        }
        let Ok(next) = File::open(&self.path) else { return Ok(Next::End) };
        let facts = next.metadata()?;
        (self.file, self.identity, self.at) = (next, (facts.dev(), facts.ino()), 0);
        Ok(Next::Other)
    }
}

/// Where the last lines begin.
fn start_of_last(file: &mut File, length: u64, lines: u64) -> io::Result<u64> {
    let mut buffer = vec![0; STEP as usize];
    let (mut end, mut found) = (length, 0);
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let part = &mut buffer[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        for at in memchr::memrchr_iter(b'\n', part) {
            let begin = start + at as u64 + 1;
            // The end of the last line is none of its beginnings.
            if begin < length {
                found += 1;
                if found == lines {
                    return Ok(begin);
                }
            }
        }
        if lines == 0 {
            return Ok(length);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn all(followed: &mut Followed) -> (String, Next) {
        let (mut text, mut buffer) = (Vec::new(), [0; 7]);
        loop {
            match followed.read(&mut buffer).unwrap() {
                Next::Bytes(count) => text.extend_from_slice(&buffer[..count]),
                other => return (String::from_utf8(text).unwrap(), other),
            }
        }
    }

    #[test]
    fn a_file_is_followed_over_rotation_and_truncation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        let mut followed = Followed::open(&path, None).unwrap();
        assert_eq!(all(&mut followed), ("one\ntwo\nthree\n".into(), Next::End));
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"four\n").unwrap();
        assert_eq!(all(&mut followed), ("four\n".into(), Next::End));
        fs::rename(&path, dir.path().join("log.1")).unwrap();
        file.write_all(b"late\n").unwrap();
        assert_eq!(all(&mut followed), ("late\n".into(), Next::End));
        fs::write(&path, "new\n").unwrap();
        assert_eq!(all(&mut followed), (String::new(), Next::Other));
        assert_eq!(all(&mut followed), ("new\n".into(), Next::End));
        fs::write(&path, "x\n").unwrap();
        assert_eq!(all(&mut followed), (String::new(), Next::Other));
        assert_eq!(all(&mut followed), ("x\n".into(), Next::End));
        assert!(Followed::open(dir.path(), None).is_err());
        assert!(Followed::open(&dir.path().join("none"), None).is_err());
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let lines: Vec<String> = (0..40_000).map(|number| format!("line {number}\n")).collect();
        fs::write(&path, lines.concat()).unwrap();
        for count in [0, 1, 10, 20_000, 40_000, 50_000] {
            let mut followed = Followed::open(&path, Some(count)).unwrap();
            let start = lines.len().saturating_sub(count as usize);
            let (text, _) = all(&mut followed);
            assert!(text == lines[start..].concat(), "{count}: {} bytes", text.len());
        }
        fs::write(&path, "one\nhalf").unwrap();
        let mut followed = Followed::open(&path, Some(1)).unwrap();
        assert_eq!(all(&mut followed).0, "half");
    }
}
