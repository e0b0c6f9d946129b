//! The content type of a file, by its name.
//!
//! The extensions come from `mime_guess`, with corrections where its answer is outdated or means
//! something else on the web, and with additions that the caller configures. Every text type says
//! `charset=utf-8`; nothing is guessed from the bytes.

use super::sink::Sink;

/// What is served when nothing is known of a name.
pub const UNKNOWN: Media<'static> = Media { essence: "application/octet-stream", utf8: false };

/// A content type: the type itself, and whether `charset=utf-8` goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    /// Type and subtype, with parameters if they were configured.
    pub essence: &'a str,
    /// `; charset=utf-8` follows.
    pub utf8: bool,
}

impl<'a> Media<'a> {
    /// A type, with the charset that a text type without one gets.
    pub fn new(essence: &'a str) -> Media<'a> {
        // The charset of XML in a field overrides its own declaration (RFC 7303 section 3), so
        // the declaration is left to speak.
        let text = starts_with_ignore_case(essence, "text/")
            && !starts_with_ignore_case(essence, "text/xml");
        Media { essence, utf8: text && !essence.contains(';') }
    }

    /// Writes the value of a Content-Type field.
    pub fn write(&self, out: &mut impl Sink) {
        out.put(self.essence.as_bytes());
        if self.utf8 {
            out.put(b"; charset=utf-8");
        }
    }
}

/// Why an addition to the table was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaError {
    /// The extension is empty, or holds a slash or a control byte.
    Extension,
    /// The type is not `type/subtype` in visible ASCII.
    Type,
}

impl std::fmt::Display for MediaError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Extension => "an extension is what follows a dot: html, tar.gz",
            Self::Type => "a media type is type/subtype in plain ASCII: text/html",
        })
    }
}

/// Content types by extension, those that the caller added first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaTable {
    /// Extension without its dot in lower case, and type; sorted by extension.
    additions: Vec<(String, String)>,
}

impl MediaTable {
    /// Adds a type for an extension, with or without its dot, as `tar.gz` or `.tar.gz`; the last
    /// addition for an extension counts.
    ///
    /// # Errors
    ///
    /// [`MediaError`] when the pair could not be sent as it is; the table is then unchanged.
    pub fn add(&mut self, extension: &str, essence: &str) -> Result<(), MediaError> {
        let extension = extension.strip_prefix('.').unwrap_or(extension);
        if extension.is_empty() || extension.bytes().any(|byte| byte == b'/' || byte < b' ') {
            return Err(MediaError::Extension);
        }
        let (kind, rest) = essence.split_once('/').ok_or(MediaError::Type)?;
        let visible = essence.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let named = [kind, rest.split(';').next().unwrap_or_default().trim_end()];
        if !visible || named.iter().any(|name| name.is_empty() || !name.bytes().all(is_token)) {
            return Err(MediaError::Type);
        }
        let extension = extension.to_ascii_lowercase();
        match self.additions.binary_search_by(|(known, _)| known.cmp(&extension)) {
            Ok(at) => self.additions[at].1 = essence.to_owned(),
            Err(at) => self.additions.insert(at, (extension, essence.to_owned())),
        }
        Ok(())
    }

    /// What was added: extensions without their dots, and their types.
    pub fn additions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.additions.iter().map(|(extension, essence)| (extension.as_str(), essence.as_str()))
    }

    /// The content type of a file by its name, which may be a path.
    ///
    /// The longest extension in the additions wins, then the last extension in the known ones. A
    /// dot at the start of a name begins no extension.
    pub fn of_name(&self, name: &[u8]) -> Media<'_> {
        let start = memchr::memrchr(b'/', name).map_or(0, |slash| slash + 1);
        let name = &name[start..];
        if !self.additions.is_empty() {
            let dots = memchr::memchr_iter(b'.', name).filter(|dot| *dot > 0);
            if let Some(essence) = dots.into_iter().find_map(|dot| self.added(&name[dot + 1..])) {
                return Media::new(essence);
            }
        }
        match memchr::memrchr(b'.', name) {
            None | Some(0) => UNKNOWN,
            Some(dot) => known(&name[dot + 1..]).map_or(UNKNOWN, Media::new),
        }
    }

    fn added(&self, extension: &[u8]) -> Option<&str> {
        let lower = |byte: &u8| byte.to_ascii_lowercase();
        let by_extension =
            |(known, _): &(String, String)| known.bytes().cmp(extension.iter().map(lower));
        self.additions.binary_search_by(by_extension).ok().map(|at| self.additions[at].1.as_str())
    }
}

/// Corrections of `mime_guess`, sorted by extension.
const CORRECTIONS: &[(&str, &str)] = &[
    ("cjs", "text/javascript"),
    ("deb", "application/vnd.debian.binary-package"),
    ("jsonl", "application/jsonl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json"),
    ("mjs", "text/javascript"),
    ("otf", "font/otf"),
    ("rs", "text/plain"),
    ("sh", "text/plain"),
    ("toml", "application/toml"),
    // On the web a transport stream of a live video, not the format of a television maker.
    ("ts", "video/mp2t"),
    ("usdz", "model/vnd.usdz+zip"),
    ("webmanifest", "application/manifest+json"),
    ("woff", "font/woff"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zst", "application/zstd"),
];

fn known(extension: &[u8]) -> Option<&'static str> {
    let extension = std::str::from_utf8(extension).ok()?;
    let corrected = CORRECTIONS.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known));
    match corrected {
        Some((_, essence)) => Some(essence),
        None => mime_guess::from_ext(extension).first_raw(),
    }
}

fn starts_with_ignore_case(text: &str, start: &str) -> bool {
    text.as_bytes()
        .get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(table: &MediaTable, name: &[u8]) -> String {
        let mut out = Vec::new();
        table.of_name(name).write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// RFC 9110 section 8.3.
    #[test]
    fn types_of_the_web() {
        let table = MediaTable::default();
        for (name, media) in [
            ("index.html", "text/html; charset=utf-8"),
            ("INDEX.HTM", "text/html; charset=utf-8"),
            ("a/b.c/style.css", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("README.md", "text/markdown; charset=utf-8"),
            ("a.csv", "text/csv; charset=utf-8"),
            ("a.wasm", "application/wasm"),
            ("a.json", "application/json"),
            ("a.js.map", "application/json"),
            ("site.webmanifest", "application/manifest+json"),
            ("a.woff", "font/woff"),
            ("a.woff2", "font/woff2"),
            ("a.avif", "image/avif"),
            ("a.webp", "image/webp"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("favicon.ico", "image/x-icon"),
            ("a.mp4", "video/mp4"),
            ("a.pdf", "application/pdf"),
            ("a.toml", "application/toml"),
            ("a.xml", "application/xml"),
            ("a.tar.gz", "application/gzip"),
            ("a.html.br", "application/octet-stream"),
            ("LICENSE", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            (".html", "application/octet-stream"),
            ("dir.html/file", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(of(&table, name.as_bytes()), media, "{name}");
        }
        assert_eq!(of(&table, b"a.\xff"), "application/octet-stream");
    }

    #[test]
    fn additions_win() {
        let mut table = MediaTable::default();
        table.add(".HTML", "text/x-mine").unwrap();
        table.add("gz", "application/x-one").unwrap();
        table.add("tar.gz", "application/x-two; v=1").unwrap();
        table.add("txt", "text/plain; charset=iso-8859-1").unwrap();
        assert_eq!(of(&table, b"a.hTml"), "text/x-mine; charset=utf-8");
        assert_eq!(of(&table, b"a.b.gz"), "application/x-one");
        assert_eq!(of(&table, b"a.b.Tar.gz"), "application/x-two; v=1");
        assert_eq!(of(&table, b"a.txt"), "text/plain; charset=iso-8859-1");
        assert_eq!(of(&table, b"a.css"), "text/css; charset=utf-8");
    }

    /// RFC 9110 section 5.5.
    #[test]
    fn an_addition_cannot_end_the_line() {
        let mut table = MediaTable::default();
        for essence in ["", "text", "text/", "/a", "a/b\r\nc: d", "a/b\u{e4}", "a b/c", ";a/b"] {
            assert_eq!(table.add("a", essence), Err(MediaError::Type), "{essence:?}");
        }
        assert_eq!(table.add(".", "a/b"), Err(MediaError::Extension));
        assert_eq!(table.add("a/b", "a/b"), Err(MediaError::Extension));
    }
}
