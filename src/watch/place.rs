//! Where a server is, from what was typed.

use std::path::PathBuf;

use crate::telemetry::schema;

/// A server, and the path of its figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it listens.
    pub spot: Spot,
    /// The path, with a slash in front.
    pub path: String,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    /// Host and port, as they stand in a Host field, too.
    Tcp(String),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl Place {
    /// Reads a URL, an address, a port, or a socket; `path` wins over that of a URL.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and what there is.
    ///
    /// ```
    /// use pitcrew::watch::{Place, Spot};
    ///
    /// let place = Place::parse("http://[::1]:9400/figures", None)?;
    /// assert_eq!((place.spot, &*place.path), (Spot::Tcp("[::1]:9400".to_owned()), "/figures"));
    /// assert!(Place::parse("https://a/", None).is_err());
    /// # Ok::<(), String>(())
    /// ```
    pub fn parse(text: &str, path: Option<&str>) -> Result<Self, String> {
        let path = path.filter(|path| !path.is_empty());
        if let Some(path) = path.filter(|path| !is_a_path(path)) {
            return Err(format!("'{path}' is no path; it begins with a slash and has no blank"));
        }
        let known = |from: Option<&str>| path.or(from).unwrap_or(schema::PATH).to_owned();
        let socket = text.strip_prefix("unix:").or(text.starts_with(['/', '.']).then_some(text));
        if let Some(socket) = socket {
            if socket.is_empty() {
                return Err(format!("'{text}' names no socket; write unix:PATH"));
            }
            return Ok(Self { spot: Spot::Unix(socket.into()), path: known(None) });
        }
        if text.starts_with("https:") {
            return Err(format!(
                "'{text}': there is no TLS here; name the address at which the server listens"
            ));
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        if rest.contains("://") {
            return Err(format!("'{text}' is no http:// URL"));
        }
        let (authority, from) = match rest.find('/') {
            Some(at) => (&rest[..at], Some(&rest[at..]).filter(|path| *path != "/")),
            None => (rest, None),
        };
        if let Some(path) = from.filter(|path| !is_a_path(path)) {
            return Err(format!("'{text}' has a path that cannot be asked for: '{path}'"));
        }
        let host = host(authority).ok_or_else(|| {
            format!(
                "'{text}' is no server; write http://HOST:PORT, HOST:PORT, a port, or unix:PATH"
            )
        })?;
        Ok(Self { spot: Spot::Tcp(host), path: known(from) })
    }

    /// What stands in the Host field.
    pub(super) fn host(&self) -> &str {
        match &self.spot {
            Spot::Tcp(host) => host,
            Spot::Unix(_) => "localhost",
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.spot {
            Spot::Tcp(host) => write!(out, "http://{host}{}", self.path),
            Spot::Unix(socket) => write!(out, "unix:{} ({})", socket.display(), self.path),
        }
    }
}

/// What may stand in a request line without being encoded; a query is put behind it.
fn is_a_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?')
}

/// Host and port; 80 is the port of http, and a port alone is one of this machine.
fn host(authority: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte);
    if authority.is_empty() || !authority.bytes().all(plain) {
        return None;
    }
    if let Some(port) = authority.strip_prefix(':').or(Some(authority))
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return port.parse::<u16>().ok().map(|port| format!("127.0.0.1:{port}"));
    }
    let behind = authority.rsplit(']').next().unwrap_or(authority);
    match behind.rsplit_once(':') {
        None => Some(format!("{authority}:80")),
        Some((_, port)) => port.parse::<u16>().ok().map(|_| authority.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Result<(String, String), String> {
        Place::parse(text, None).map(|place| match place.spot {
            Spot::Tcp(host) => (host, place.path),
            Spot::Unix(socket) => panic!("{socket:?}"),
        })
    }

    #[test]
    fn what_is_typed_is_a_server() {
        for (text, host, path) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "/telemetry"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080", "/telemetry"),
            ("http://a.example/figures", "a.example:80", "/figures"),
            ("localhost:9", "localhost:9", "/telemetry"),
            ("9400", "127.0.0.1:9400", "/telemetry"),
            (":9400", "127.0.0.1:9400", "/telemetry"),
            ("[::1]:9400/x", "[::1]:9400", "/x"),
            ("[::1]", "[::1]:80", "/telemetry"),
        ] {
            assert_eq!(tcp(text), Ok((host.to_owned(), path.to_owned())), "{text}");
        }
        for (text, socket) in
            [("unix:/run/p.sock", "/run/p.sock"), ("/run/p.sock", "/run/p.sock"), ("./s", "./s")]
        {
            let place = Place::parse(text, Some("/figures"));
            let spot = Spot::Unix(socket.into());
            assert_eq!(place, Ok(Place { spot, path: "/figures".to_owned() }), "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused_with_what_there_is() {
        for (text, words) in [
            ("", "is no server"),
            ("https://a", "there is no TLS"),
            ("ftp://a", "no http:// URL"),
            ("http://", "is no server"),
            ("http://a:b/", "is no server"),
            ("99999", "is no server"),
            ("a:1/ x", "cannot be asked for"),
            ("a b", "is no server"),
            ("unix:", "names no socket"),
        ] {
            let error = Place::parse(text, None).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(Place::parse("9", Some("x")).is_err_and(|error| error.contains("begins with")));
    }
}
