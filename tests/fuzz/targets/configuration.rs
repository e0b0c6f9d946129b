//! A configuration is read or refused with a place; what is printed of it reads back the same.

#![no_main]

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use pitcrew::config::{self, Effective};

thread_local! {
    static FILE: OnceCell<PathBuf> = const { OnceCell::new() };
}

/// A file of this process, in memory where that is possible.
fn file() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let directory = if memory.is_dir() { memory } else { std::env::temp_dir() };
    directory.join(format!("pitcrew-fuzz-{}.toml", std::process::id()))
}

/// What is read of what is printed.
fn printed(path: &Path, all: &Effective) -> Effective {
    let text = config::toml(all);
    std::fs::write(path, &text).expect("a scratch file can be written");
    config::resolve(&[], [], Some(path))
        .unwrap_or_else(|problems| panic!("what was printed is refused: {problems:?}\n{text}"))
}

fuzz_target!(|input: &[u8]| {
    FILE.with(|path| {
        let path = path.get_or_init(file);
        std::fs::write(path, input).expect("a scratch file can be written");
        let read = config::resolve(&[], [], Some(path));
        match read {
            Err(problems) => {
                assert!(!problems.is_empty());
                assert!(problems.iter().all(|problem| !problem.message.is_empty()));
            }
            Ok(all) => {
                // Paths of a file are those beside it, so the first reading may name others.
                let again = printed(path, &all);
                assert_eq!(again.settings, printed(path, &again).settings);
            }
        }
        let _ = std::fs::remove_file(path);
    });
});
