//! Shapes that values of several keys have.

use toml::Value;

use super::Written;
use super::nearest::nearest;
use super::written::show_size;
use crate::resource::options::check_file;

pub(super) fn as_usize(number: u64) -> usize {
    usize::try_from(number).expect("io_uring and this program exist on 64 bits only")
}

/// A count that the file can hold; ranges keep every count within it.
pub(super) fn count(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A size that is a power of two.
pub(super) fn power_of_two(bytes: u64) -> Result<u64, String> {
    if bytes.is_power_of_two() {
        return Ok(bytes);
    }
    let above = bytes.next_power_of_two();
    let (below, above) = (show_size(above / 2), show_size(above));
    Err(format!("{} is not a power of two; write {below} or {above}", show_size(bytes)))
}

pub(super) fn strings(all: impl Iterator<Item = impl ToString>) -> Value {
    Value::Array(all.map(|one| Value::String(one.to_string())).collect())
}

pub(super) fn file_name(name: &str) -> Result<(), String> {
    match name {
        "" | "." | ".." => Err(format!("'{name}' is not the name of a file")),
        name if name.contains('/') => {
            Err(format!("'{name}' is a path; an index file is named without a directory"))
        }
        name if name.contains('\0') => Err("a name cannot hold a NUL byte".to_owned()),
        _ => Ok(()),
    }
}

/// A path of a target that no dot segment or escape gives a second spelling.
pub(super) fn url_path(path: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    if !path.starts_with('/') || path.len() < 2 {
        return Err(format!("'{path}' is not a path of the server; write /telemetry"));
    }
    if !path.bytes().all(plain) {
        return Err(format!("'{path}' may hold letters, digits and / - . _ ~ only"));
    }
    if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("'{path}' has an empty part or a dot segment"));
    }
    Ok(path.to_owned())
}

/// The file for pages that are not there; `off` is none.
pub(super) fn fallback(written: &Written) -> Result<Option<String>, String> {
    let file = written.text("a file beneath the root, or off")?;
    if file == "off" {
        return Ok(None);
    }
    check_file(file)?;
    Ok(Some(file.to_owned()))
}

/// A size of the hot cache, where the engine does not have the say.
pub(super) const BY_ENGINE: &str = "by-engine";

/// Memory for small hot files.
pub(super) fn hot_cache(written: &Written) -> Result<Option<u64>, String> {
    match written.text("a size, or by-engine") {
        Ok(BY_ENGINE) => Ok(None),
        Ok(word) if nearest(word, [BY_ENGINE]).is_some() => {
            Err(format!("'{word}' is not a size; did you mean '{BY_ENGINE}'?"))
        }
        _ => written.size(0..=1 << 40).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_server_have_one_spelling() {
        assert!(url_path("/telemetry").is_ok());
        for bad in ["", "/", "telemetry", "/a//b", "/a/../b", "/a?b", "/a%20b", "/a/"] {
            assert!(url_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_block_is_a_power_of_two_and_the_message_names_two() {
        assert_eq!(power_of_two(4096), Ok(4096));
        let told = power_of_two(96 << 10).expect_err("three times 32 KiB");
        assert_eq!(told, "96KiB is not a power of two; write 64KiB or 128KiB");
    }

    #[test]
    fn a_hot_cache_is_a_size_or_up_to_the_engine() {
        let read = |text: &str| hot_cache(&Written::Loose(text.into()));
        assert_eq!((read("by-engine"), read("1MiB")), (Ok(None), Ok(Some(1 << 20))));
        let told = read("bye-engine").expect_err("a slip");
        assert_eq!(told, "'bye-engine' is not a size; did you mean 'by-engine'?");
        assert!(read("64").expect_err("no unit").contains("has no unit"));
    }

    #[test]
    fn an_index_is_a_name() {
        assert!(file_name("index.html").is_ok());
        for bad in ["", ".", "..", "a/b", "a\0b"] {
            assert!(file_name(bad).is_err());
        }
    }
}
