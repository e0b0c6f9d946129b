//! Where a configured redirect leads: a path of this server, or a URL of another.
//!
//! It is checked when it is configured, so that no Location can end its line or name a host that
//! nobody wrote; what a request adds to it is encoded here.

use std::fmt;

use super::sink::Sink;
use super::target;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As it was written, without the `**` at its end.
    text: Box<str>,
    /// Whether `**` stood there: what a prefix left over goes in its place.
    carries: bool,
}

/// Why a text is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceError {
    /// Neither a path with one slash at its start nor a URL of http or https.
    Form,
    /// A byte that has to be percent-encoded, or a percent sign without two hex digits.
    Byte,
    /// A star that is not part of `/**` at the end.
    Star,
    /// A URL that names no host.
    Host,
}

impl fmt::Display for PlaceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Form => "write a path with one slash at its start, or http:// or https://",
            Self::Byte => "percent-encode what is not plain in a URL",
            Self::Star => "a star stands in '/**' at the end only",
            Self::Host => "the URL names no host",
        })
    }
}

impl Place {
    /// A place that is safe in a Location.
    ///
    /// # Errors
    ///
    /// [`PlaceError`] for what would not lead there.
    pub fn new(text: &str) -> Result<Self, PlaceError> {
        let (text, carries) = match text.strip_suffix("/**") {
            // The slash stays.
            Some(_) => (&text[..text.len() - 2], true),
            None => (text, false),
        };
        if text.contains('*') {
            return Err(PlaceError::Star);
        }
        let plain = |byte: u8| matches!(byte, 0x21..=0x7E) && !b"\"<>\\^`{|}".contains(&byte);
        let escaped = |after: &str| {
            after.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
        };
        if !text.bytes().all(plain) || !text.split('%').skip(1).all(escaped) {
            return Err(PlaceError::Byte);
        }
        if carries && text.contains(['?', '#']) {
            return Err(PlaceError::Star);
        }
        let other = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        match other {
            Some(rest) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                if rest[..end].is_empty() || rest[..end].contains('@') {
                    return Err(PlaceError::Host);
                }
            }
            // Two slashes at the start would name another host.
            None if !text.starts_with('/') || text.starts_with("//") => {
                return Err(PlaceError::Form);
            }
            None => {}
        }
        Ok(Self { text: text.into(), carries })
    }

    /// Whether what is left over of a prefix is carried over.
    pub fn carries(&self) -> bool {
        self.carries
    }

    /// The path that it leads to on this server, if it does.
    pub fn path(&self) -> Option<&str> {
        let end = self.text.find(['?', '#']).unwrap_or(self.text.len());
        self.text.starts_with('/').then_some(&self.text[..end])
    }

    /// Appends a whole Location line. `rest` is decoded and carried over where that is configured;
    /// `query` is that of the request, and kept unless the place has one of its own.
    pub fn location_line(&self, rest: &[u8], query: Option<&[u8]>, out: &mut Vec<u8>) {
        let (before, fragment) = match self.text.find('#') {
            Some(mark) => self.text.split_at(mark),
            None => (&*self.text, ""),
        };
        out.put(b"Location: ");
        out.put(before.as_bytes());
        if self.carries {
            target::encode(rest, out);
        }
        if let Some(query) = query
            && !before.contains('?')
        {
            out.put(b"?");
            target::encode_query(query, out);
        }
        out.put(fragment.as_bytes());
        out.put(b"\r\n");
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.text, if self.carries { "**" } else { "" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(place: &str, rest: &str, query: Option<&str>) -> String {
        let mut out = Vec::new();
        let place = Place::new(place).unwrap();
        place.location_line(rest.as_bytes(), query.map(str::as_bytes), &mut out);
        let text = String::from_utf8(out).unwrap();
        text.strip_prefix("Location: ").unwrap().strip_suffix("\r\n").unwrap().to_owned()
    }

    /// RFC 9110 section 10.2.2.
    #[test]
    fn the_query_is_kept_and_the_rest_is_carried() {
        assert_eq!(line("/new", "x", None), "/new");
        assert_eq!(line("/new", "x", Some("a=1")), "/new?a=1");
        assert_eq!(line("/new?b=2", "x", Some("a=1")), "/new?b=2");
        assert_eq!(line("/new#top", "x", Some("a=1")), "/new?a=1#top");
        assert_eq!(line("/new/**", "a b/c", None), "/new/a%20b/c");
        assert_eq!(line("https://b.example/**", "", Some("")), "https://b.example/?");
        assert_eq!(Place::new("/new/**").unwrap().to_string(), "/new/**");
    }

    #[test]
    fn nothing_else_is_a_place() {
        let fault = |text: &str| Place::new(text).unwrap_err();
        assert_eq!(fault("new"), PlaceError::Form);
        assert_eq!(fault("//evil.example"), PlaceError::Form);
        assert_eq!(fault("javascript:alert(1)"), PlaceError::Form);
        assert_eq!(fault("/a b"), PlaceError::Byte);
        assert_eq!(fault("/a\r\nX: y"), PlaceError::Byte);
        assert_eq!(fault("/\\evil.example"), PlaceError::Byte);
        assert_eq!(fault("/a%2"), PlaceError::Byte);
        assert_eq!(fault("/caf\u{e9}"), PlaceError::Byte);
        assert_eq!(fault("/*"), PlaceError::Star);
        assert_eq!(fault("/a?b/**"), PlaceError::Star);
        assert_eq!(fault("https:///a"), PlaceError::Host);
        assert_eq!(fault("https://user@b.example/"), PlaceError::Host);
    }

    proptest! {
        /// Whatever a client writes, the line stays one line of visible ASCII that leads to the
        /// same host.
        #[test]
        fn a_request_cannot_add_to_the_line(
            rest in prop::collection::vec(any::<u8>(), 0..40),
            query in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        ) {
            for place in ["/n/**", "/n", "https://b.example/**"] {
                let mut out = Vec::new();
                Place::new(place).unwrap().location_line(&rest, query.as_deref(), &mut out);
                let line = out.strip_suffix(b"\r\n").unwrap();
                prop_assert!(line[10..].iter().all(|byte| matches!(byte, 0x21..=0x7E)));
                let start = format!("Location: {}", place.trim_end_matches("**"));
                prop_assert!(line.starts_with(start.as_bytes()));
            }
        }
    }
}
