//! The file: TOML, one key a line, and the tables of rules.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Source};
use super::rules::{self, Rules, TABLES};
use super::table::Reader;
use super::{KEYS, Key, Written, nearest};

/// A file larger than this is not a configuration; the longest that is has a few KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One key and its value, as the file has them.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: &'static Key,
    pub(super) written: Written,
    pub(super) source: Source,
}

/// What a file says, as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) entries: Vec<Entry>,
    /// The tables of the site as a whole.
    pub(super) rules: Rules,
    pub(super) hosts: Vec<Rules>,
    /// Every problem, in the order of the file.
    pub(super) problems: Vec<Problem>,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Contents {
    match load(path) {
        Ok(text) => parse(path, &text),
        Err(message) => Contents {
            problems: vec![Problem { source: Source::file(path), message }],
            ..Contents::default()
        },
    }
}

fn load(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "this user may not read the file".to_owned(),
            io::ErrorKind::IsADirectory => "this is a directory, not a file".to_owned(),
            _ => format!("the file cannot be read: {error}"),
        })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("the file is larger than 1MiB; this is not a configuration".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|&&byte| byte == b'\n').count() + 1;
        format!("line {line} is not valid UTF-8")
    })
}

fn parse(path: &Path, text: &str) -> Contents {
    let mut reader = Reader::new(path, text);
    let mut contents = Contents::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What follows a mistake of syntax may be misread, so nothing more is said about it.
        let problem = |error: &toml::de::Error| Problem {
            source: error.span().map_or_else(|| Source::file(path), |span| reader.source(span)),
            message: error.message().lines().collect::<Vec<_>>().join(", "),
        };
        contents.problems = errors.iter().map(problem).collect();
        return contents;
    }
    let mut rows: Vec<_> = table.get_ref().iter().collect();
    rows.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in rows {
        let word: &str = name.get_ref();
        if let Some(key) = Key::find(word) {
            contents.entries.push(Entry {
                key,
                written: Written::from(value.get_ref()),
                source: reader.source(value.span()),
            });
        } else if word == "hosts" {
            contents.hosts = rules::hosts(&mut reader, value);
        } else if let Some(table) = TABLES.into_iter().find(|table| *table == word) {
            rules::read(&mut reader, table, value, &mut contents.rules);
        } else {
            reader.problem(name.span(), unknown(word, value));
        }
    }
    contents.problems = reader.problems;
    contents
}

fn unknown(name: &str, value: &Spanned<DeValue<'_>>) -> String {
    let tables = value
        .get_ref()
        .as_array()
        .is_some_and(|all| !all.is_empty() && all.iter().all(|one| one.get_ref().is_table()));
    if value.get_ref().is_table() || tables {
        return match nearest(name, TABLES) {
            Some(near) => format!("unknown table '{name}'; did you mean '{near}'?"),
            None => format!("unknown table '{name}'; there are {}", TABLES.join(", ")),
        };
    }
    match nearest(name, KEYS.iter().map(|key| key.name).chain(TABLES)) {
        Some(near) => format!("unknown key '{name}'; did you mean '{near}'?"),
        None => format!("unknown key '{name}'; 'pitcrew check --print' shows every key"),
    }
}

/// Both count from 1; a column is a character, as editors count.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

impl From<&DeValue<'_>> for Written {
    fn from(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Boolean(truth) => Self::Boolean(*truth),
            DeValue::Integer(number) => {
                let digits = number.as_str().trim_start_matches('+');
                // TOML promises 64 bits; more is refused as out of range later.
                Self::Integer(i128::from_str_radix(digits, number.radix()).unwrap_or(i128::MAX))
            }
            DeValue::Array(all) => {
                Self::List(all.iter().map(|one| Self::from(one.get_ref())).collect())
            }
            other => Self::Other(other.type_str().to_owned()),
        }
    }
}

/// A printed value, as the file would give it back.
#[cfg(test)]
pub(super) fn written(value: &toml::Value) -> Written {
    let text = format!("x = {value}");
    let table = DeTable::parse(&text).expect("what is printed is valid TOML");
    let (_, value) = table.get_ref().iter().next().expect("one key");
    Written::from(value.get_ref())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse(Path::new("config.toml"), text).problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_its_neighbour() {
        assert_eq!(
            problems("pin = true\n\n  engin = \"copy\"\n"),
            ["config.toml:3:3: unknown key 'engin'; did you mean 'engine'?"]
        );
        let all = problems("index = [\"é\"]  # é\n\"é\" = 1\n");
        assert!(all[0].starts_with("config.toml:2:1: unknown key 'é'"), "{all:?}");
    }

    #[test]
    fn all_problems_come_in_the_order_of_the_file() {
        let all = problems("zzz = 1\nhead_timeout = \"1s\"\n[server]\nport = 1\n");
        assert_eq!(all.len(), 3);
        assert!(all[0].starts_with("config.toml:1:1: unknown key 'zzz'; 'pitcrew check --print'"));
        assert!(all[1].contains("2:1: unknown key 'head_timeout'; did you mean 'head-timeout'?"));
        assert!(all[2].contains("unknown table 'server'"));
    }

    #[test]
    fn syntax_is_one_line_with_its_place() {
        let all = problems("pin = true\nengine = \"copy\nworkers = 1\n");
        assert!(all[0].starts_with("config.toml:2:"), "{all:?}");
        assert!(all.iter().all(|line| !line.contains('\n')));
        let twice = problems("pin = true\npin = false\n");
        assert!(twice[0].starts_with("config.toml:2:1: "), "{twice:?}");
    }

    #[test]
    fn values_keep_their_kind() {
        let text = "pin = true\nworkers = 0x10\nindex = [\"a\"]\nroot = 1.5\n";
        let entries = parse(Path::new("c"), text).entries;
        let kinds: Vec<_> = entries.into_iter().map(|entry| entry.written).collect();
        assert_eq!(
            kinds,
            [
                Written::Boolean(true),
                Written::Integer(16),
                Written::List(vec![Written::Text("a".into())]),
                Written::Other("float".into()),
            ]
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let message = |path: &Path| read(path).problems.remove(0).message;
        assert_eq!(message(&dir.path().join("none")), "there is no such file");
        assert_eq!(message(dir.path()), "this is a directory, not a file");
        let path = dir.path().join("c");
        std::fs::write(&path, b"pin = true\n\xff\n").unwrap();
        assert_eq!(message(&path), "line 2 is not valid UTF-8");
        std::fs::write(&path, vec![b'#'; (FILE_BYTES_MAX + 1) as usize]).unwrap();
        assert!(message(&path).contains("larger than 1MiB"));
    }
}
