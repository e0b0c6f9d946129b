//! A table of the file, read key by key, so that every mistake in it has its place.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::join;
use super::problem::{Problem, Source};
use super::{Written, nearest};

/// The file that tables are read from, and what was found wrong in them.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    pub(super) problems: Vec<Problem>,
}

/// One table. Keys are taken out of it; those that are left over at its end are unknown.
#[derive(Debug)]
pub(super) struct Table<'t> {
    /// What it is called in messages.
    name: &'t str,
    span: Range<usize>,
    rows: Vec<(&'t Spanned<std::borrow::Cow<'t, str>>, &'t Spanned<DeValue<'t>>)>,
    /// Every key that was asked for.
    known: Vec<&'static str>,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) source: Source,
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, problems: Vec::new() }
    }

    pub(super) fn source(&self, span: Range<usize>) -> Source {
        Source::File {
            path: self.path.to_owned(),
            place: Some(super::file::line_and_column(self.text, span.start)),
        }
    }

    /// The directory at which paths of the file begin.
    pub(super) fn base(&self) -> &'a Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    pub(super) fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        let source = self.source(span);
        self.problems.push(Problem { source, message: message.into() });
    }

    /// The tables of an array of them, `[[name]]`.
    pub(super) fn tables<'t>(
        &mut self,
        name: &'t str,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Vec<Table<'t>> {
        let DeValue::Array(all) = value.get_ref() else {
            self.problem(value.span(), format!("{name} is a list of tables; write [[{name}]]"));
            return Vec::new();
        };
        all.iter().filter_map(|one| self.table(name, one)).collect()
    }

    /// One table.
    pub(super) fn table<'t>(
        &mut self,
        name: &'t str,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Option<Table<'t>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Table::new(name, value.span(), table)),
            _ => {
                self.problem(value.span(), format!("{name} is a table; write [{name}]"));
                None
            }
        }
    }
}

impl<'t> Table<'t> {
    fn new(name: &'t str, span: Range<usize>, table: &'t DeTable<'t>) -> Self {
        let mut rows: Vec<_> = table.iter().collect();
        rows.sort_by_key(|(key, _)| key.span().start);
        Self { name, span, rows, known: Vec::new() }
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Takes a key out, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.push(key);
        let at = self.rows.iter().position(|(name, _)| name.get_ref() == key)?;
        Some(self.rows.remove(at).1)
    }

    /// Takes every row out, of a table whose keys are free.
    pub(super) fn rest(&mut self) -> Vec<(Range<usize>, &'t str, &'t Spanned<DeValue<'t>>)> {
        let rows = std::mem::take(&mut self.rows).into_iter();
        rows.map(|(name, value)| (name.span(), name.get_ref().as_ref(), value)).collect()
    }

    /// Takes a key out and reads it; a mistake is noted.
    pub(super) fn read<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: impl FnOnce(&Written) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        let value = self.take(key)?;
        match read(&Written::from(value.get_ref())) {
            Ok(read) => Some(Placed { value: read, source: reader.source(value.span()) }),
            Err(message) => {
                reader.problem(value.span(), format!("{key}: {message}"));
                None
            }
        }
    }

    /// The same, of a key that has to be there.
    pub(super) fn need<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: impl FnOnce(&Written) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        if !self.rows.iter().any(|(name, _)| name.get_ref() == key) {
            self.known.push(key);
            reader.problem(self.span(), format!("{} needs the key '{key}'", self.name));
            return None;
        }
        self.read(reader, key, read)
    }

    /// The members of a list, each read with its own place; a single text is a list of one.
    pub(super) fn members<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Placed<T>>> {
        let value = self.take(key)?;
        let one = std::slice::from_ref(value);
        let members: Vec<_> = match value.get_ref() {
            DeValue::Array(all) => all.iter().collect(),
            _ => one.iter().collect(),
        };
        let mut all = Vec::new();
        for member in members {
            let written = Written::from(member.get_ref());
            match written.text("text in quotes").and_then(&read) {
                Ok(read) => {
                    all.push(Placed { value: read, source: reader.source(member.span()) });
                }
                Err(message) => reader.problem(member.span(), format!("{key}: {message}")),
            }
        }
        Some(all)
    }

    /// Says of every key that nobody took that it is unknown.
    pub(super) fn end(self, reader: &mut Reader<'_>) {
        for (name, _) in self.rows {
            let word = name.get_ref();
            let of = self.name;
            let message = match nearest(word, self.known.iter().copied()) {
                Some(near) => format!("unknown key '{word}' of {of}; did you mean '{near}'?"),
                None => {
                    let known = self.known.join(", ");
                    format!("unknown key '{word}' of {of}; there are {known}")
                }
            };
            reader.problem(name.span(), message);
        }
    }
}

impl<T> Placed<T> {
    /// The values alone.
    pub(super) fn values(all: &[Self]) -> Vec<T>
    where
        T: Clone,
    {
        all.iter().map(|one| one.value.clone()).collect()
    }
}

/// A directory of the file, which begins at the file.
pub(super) fn directory(written: &Written, base: &Path) -> Result<PathBuf, String> {
    written.path().map(|path| join(base, path))
}
