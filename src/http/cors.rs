//! Cross-origin sharing: which origins may read an answer, and what a preflight is told (the
//! Fetch standard, section 3.3, "CORS protocol").
//!
//! An answer that is the same for everyone carries its fields always and needs no Vary, as the
//! Fetch standard advises ("CORS protocol and HTTP caches"); with several origins it depends on
//! the Origin and says so, also to requests that have none.

use super::response::{FieldEdit, FieldError};
use super::sink::Sink;
use super::syntax::is_token;

/// What is shared with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    origins: Origins,
    methods: Vec<String>,
    headers: Vec<String>,
    expose: Vec<String>,
    max_age: Option<u32>,
    credentials: bool,
}

/// What [`Cors::new`] is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorsParts {
    /// `*` alone, or origins as browsers send them: `https://app.example`.
    pub origins: Vec<String>,
    /// Methods that a preflight allows.
    pub methods: Vec<String>,
    /// Request fields that a preflight allows; `*` is any.
    pub headers: Vec<String>,
    /// Fields of the answer that a script may read; `*` is any.
    pub expose: Vec<String>,
    /// Seconds that a preflight may be kept.
    pub max_age: Option<u32>,
    /// Whether requests with cookies may be read.
    pub credentials: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origins {
    Any,
    These(Vec<String>),
}

/// Why [`CorsParts`] were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsError {
    /// No origin is named.
    NoOrigin,
    /// `*` stands beside other origins.
    AnyAmongOthers,
    /// Credentials or a wildcard that browsers ignore with credentials (Fetch, section 3.3.5).
    AnyWithCredentials,
    /// Not scheme, host and port alone, in lower case, as a browser sends it.
    Origin(String),
    /// Not a token.
    Name(String),
}

impl std::fmt::Display for CorsError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoOrigin => {
                out.write_str("no origin; write [\"https://app.example\"] or [\"*\"]")
            }
            Self::AnyAmongOthers => out.write_str("\"*\" is every origin; write it alone"),
            Self::AnyWithCredentials => out.write_str(
                "browsers take no \"*\" with credentials; name each origin and field, or leave \
                 credentials out",
            ),
            Self::Origin(origin) => write!(
                out,
                "'{origin}' is no origin; write scheme, host and port as a browser sends them: \
                 https://app.example"
            ),
            Self::Name(name) => write!(out, "'{name}' is not a name of a method or field"),
        }
    }
}

impl Cors {
    /// A rule that can be kept.
    ///
    /// # Errors
    ///
    /// [`CorsError`] for what browsers would not honour, or what could end a field line.
    pub fn new(parts: CorsParts) -> Result<Self, CorsError> {
        let CorsParts { origins, methods, headers, expose, max_age, credentials } = parts;
        let names = methods.iter().chain(&headers).chain(&expose);
        if let Some(name) = names.clone().find(|name| !is_token(name.as_bytes())) {
            return Err(CorsError::Name(name.clone()));
        }
        if credentials && names.chain(&origins).any(|name| name == "*") {
            return Err(CorsError::AnyWithCredentials);
        }
        let origins = match &origins[..] {
            [] => return Err(CorsError::NoOrigin),
            [any] if any == "*" => Origins::Any,
            all if all.iter().any(|origin| origin == "*") => return Err(CorsError::AnyAmongOthers),
            all => match all.iter().find(|origin| !is_origin(origin)) {
                Some(wrong) => return Err(CorsError::Origin(wrong.clone())),
                None => Origins::These(origins),
            },
        };
        Ok(Self { origins, methods, headers, expose, max_age, credentials })
    }

    /// What it was made of.
    pub fn parts(&self) -> CorsParts {
        CorsParts {
            origins: match &self.origins {
                Origins::Any => vec!["*".to_owned()],
                Origins::These(all) => all.clone(),
            },
            methods: self.methods.clone(),
            headers: self.headers.clone(),
            expose: self.expose.clone(),
            max_age: self.max_age,
            credentials: self.credentials,
        }
    }

    /// Whether answers differ by Origin.
    pub fn varies(&self) -> bool {
        matches!(&self.origins, Origins::These(all) if all.len() > 1)
    }

    /// The fields of an answer that is the same for every origin; none if answers differ.
    ///
    /// # Errors
    ///
    /// Never for a rule that [`Cors::new`] has made.
    pub fn fixed(&self) -> Result<Vec<FieldEdit>, FieldError> {
        let origin = match &self.origins {
            Origins::Any => "*",
            Origins::These(all) if all.len() == 1 => &all[0],
            Origins::These(_) => return Ok(Vec::new()),
        };
        let mut fields = vec![FieldEdit::set("Access-Control-Allow-Origin", origin)?];
        if self.credentials {
            fields.push(FieldEdit::set("Access-Control-Allow-Credentials", "true")?);
        }
        if !self.expose.is_empty() {
            fields.push(FieldEdit::set("Access-Control-Expose-Headers", &self.expose.join(", "))?);
        }
        Ok(fields)
    }

    /// Appends the lines of an answer that differ by Origin; nothing if they do not, or if this
    /// origin may not read the answer.
    pub fn lines(&self, origin: Option<&[u8]>, out: &mut Vec<u8>) {
        if self.varies()
            && let Some(origin) = self.allowed(origin)
        {
            self.share(origin, out);
            if !self.expose.is_empty() {
                list(out, "Access-Control-Expose-Headers", &self.expose);
            }
        }
    }

    /// Appends the lines for a preflight, if its origin may ask (Fetch, section 3.3.2). Which
    /// method and fields it asks for makes no difference: it is told all that are allowed.
    pub fn preflight(&self, origin: &[u8], out: &mut Vec<u8>) {
        if self.varies() {
            out.put(b"Vary: Origin\r\n");
        }
        let Some(origin) = self.allowed(Some(origin)) else { return };
        self.share(origin, out);
        list(out, "Access-Control-Allow-Methods", &self.methods);
        if !self.headers.is_empty() {
            list(out, "Access-Control-Allow-Headers", &self.headers);
        }
        if let Some(seconds) = self.max_age {
            out.put(b"Access-Control-Max-Age: ");
            out.put_decimal(u64::from(seconds));
            out.put(b"\r\n");
        }
    }

    /// The origin as it is written in the rule: origins are compared byte by byte.
    fn allowed(&self, origin: Option<&[u8]>) -> Option<&str> {
        match &self.origins {
            Origins::Any => Some("*"),
            Origins::These(all) => {
                let origin = origin?;
                all.iter().find(|one| one.as_bytes() == origin).map(String::as_str)
            }
        }
    }

    fn share(&self, origin: &str, out: &mut Vec<u8>) {
        out.put(b"Access-Control-Allow-Origin: ");
        out.put(origin.as_bytes());
        out.put(b"\r\n");
        if self.credentials {
            out.put(b"Access-Control-Allow-Credentials: true\r\n");
        }
    }
}

fn list(out: &mut Vec<u8>, name: &str, members: &[String]) {
    out.put(name.as_bytes());
    out.put(b": ");
    out.put(members.join(", ").as_bytes());
    out.put(b"\r\n");
}

/// Scheme, host and port as they are serialised (RFC 6454 section 6.2), or `null`.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return text == "null" };
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let default = match scheme {
        "http" => Some(":80"),
        "https" => Some(":443"),
        _ => None,
    };
    !scheme.is_empty()
        && scheme.bytes().all(|byte| lower(byte) || b"+-.".contains(&byte))
        && !host.is_empty()
        && host.bytes().all(|byte| lower(byte) || b"-._~:[]".contains(&byte))
        // A browser leaves the port of the scheme out.
        && !default.is_some_and(|port| host.ends_with(port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parts(origins: &[&str]) -> CorsParts {
        CorsParts {
            origins: origins.iter().map(ToString::to_string).collect(),
            methods: vec!["GET".into(), "HEAD".into()],
            ..CorsParts::default()
        }
    }

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// Fetch, "CORS protocol and HTTP caches".
    #[test]
    fn one_origin_or_any_is_always_told_and_several_vary() {
        for origins in [&["*"][..], &["https://a.example"][..]] {
            let cors = Cors::new(parts(origins)).unwrap();
            assert!(!cors.varies());
            assert_eq!(cors.fixed().unwrap().len(), 1);
            assert_eq!(text(|out| cors.lines(Some(b"https://a.example"), out)), "");
        }
        let cors = Cors::new(parts(&["https://a.example", "https://b.example"])).unwrap();
        assert!(cors.varies() && cors.fixed().unwrap().is_empty());
        assert_eq!(
            text(|out| cors.lines(Some(b"https://b.example"), out)),
            "Access-Control-Allow-Origin: https://b.example\r\n"
        );
        for other in [None, Some(&b"https://c.example"[..]), Some(b"HTTPS://A.EXAMPLE")] {
            assert_eq!(text(|out| cors.lines(other, out)), "");
        }
    }

    /// Fetch, section 3.3.3.
    #[test]
    fn a_preflight_is_told_everything_once() {
        let cors = Cors::new(CorsParts {
            headers: vec!["X-A".into(), "Range".into()],
            expose: vec!["ETag".into()],
            max_age: Some(600),
            credentials: true,
            ..parts(&["https://a.example", "https://b.example"])
        })
        .unwrap();
        assert_eq!(
            text(|out| cors.preflight(b"https://a.example", out)),
            "Vary: Origin\r\n\
             Access-Control-Allow-Origin: https://a.example\r\n\
             Access-Control-Allow-Credentials: true\r\n\
             Access-Control-Allow-Methods: GET, HEAD\r\n\
             Access-Control-Allow-Headers: X-A, Range\r\n\
             Access-Control-Max-Age: 600\r\n"
        );
        assert_eq!(text(|out| cors.preflight(b"https://c.example", out)), "Vary: Origin\r\n");
        assert_eq!(cors.parts().max_age, Some(600));
    }

    /// Fetch, section 3.3.5: with credentials `*` is no wildcard.
    #[test]
    fn what_browsers_would_not_honour_is_refused() {
        let fault = |parts| Cors::new(parts).unwrap_err();
        assert_eq!(fault(parts(&[])), CorsError::NoOrigin);
        assert_eq!(fault(parts(&["*", "https://a.example"])), CorsError::AnyAmongOthers);
        let any = CorsParts { credentials: true, ..parts(&["*"]) };
        assert_eq!(fault(any), CorsError::AnyWithCredentials);
        for wrong in [
            "a.example",
            "https://",
            "https://a.example/",
            "https://A.example",
            "https://a.example:443",
            "http://a.example:80",
            "https://a.example\r\nX: y",
            "",
        ] {
            assert_eq!(fault(parts(&[wrong])), CorsError::Origin(wrong.into()), "{wrong:?}");
        }
        for right in ["null", "http://a.example:8080", "https://[::1]:8443", "app://local"] {
            assert!(Cors::new(parts(&[right])).is_ok(), "{right}");
        }
        let name = CorsParts { headers: vec!["X A".into()], ..parts(&["*"]) };
        assert_eq!(fault(name), CorsError::Name("X A".into()));
    }
}
