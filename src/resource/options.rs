//! What the operator says of names: the rules of one host, each checked when it is made.
//!
//! Rules are made by constructors that refuse what could not be sent or could never apply, so
//! that a site needs to check nothing.

use std::path::PathBuf;

use crate::http::target;

pub use crate::http::cors::{Cors, CorsParts};
pub use crate::http::glob::Glob;
pub use crate::http::media::MediaTable;
pub use crate::http::place::Place;
pub use crate::http::response::FieldEdit;
pub use crate::http::status::Status;

/// Everything that one host serves, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The names by which it is asked for; the first host of a site needs none.
    pub names: Vec<HostName>,
    /// The directory that it serves.
    pub root: PathBuf,
    /// Names of files that stand for their directory, in the order in which they are tried.
    pub index: Vec<String>,
    /// Whether names that begin with a dot are served.
    pub dotfiles: bool,
    /// Whether a directory without an index file is listed; the same for every host.
    pub listing: bool,
    /// The file beneath the root that stands for pages that are not there.
    pub fallback: Option<String>,
    /// What is said of files that may not be read.
    pub forbidden: Forbidden,
    /// Media types by extension, besides those that are built in.
    pub media: MediaTable,
    /// Changes of response fields, the last of a field counts.
    pub fields: Vec<FieldRule>,
    /// What is shared with other origins; the first that matches a path counts.
    pub cors: Vec<CorsRule>,
    /// Files beneath the root that are sent with refusals.
    pub errors: Vec<ErrorPage>,
    /// Names that lead elsewhere; the first that matches a path counts.
    pub redirects: Vec<Redirect>,
    /// Other directories; the longest path counts.
    pub mounts: Vec<Mount>,
    /// Limits of bandwidth; the first that matches a file counts.
    pub rates: Vec<RateRule>,
}

/// A host as it is written: what it leaves out is that of the site, and what it writes takes its
/// place whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The names by which it is asked for.
    pub names: Vec<HostName>,
    /// See [`Options::root`].
    pub root: Option<PathBuf>,
    /// See [`Options::index`].
    pub index: Option<Vec<String>>,
    /// See [`Options::dotfiles`].
    pub dotfiles: Option<bool>,
    /// See [`Options::fallback`].
    pub fallback: Option<Option<String>>,
    /// See [`Options::forbidden`].
    pub forbidden: Option<Forbidden>,
    /// See [`Options::media`].
    pub media: Option<MediaTable>,
    /// See [`Options::fields`].
    pub fields: Option<Vec<FieldRule>>,
    /// See [`Options::cors`].
    pub cors: Option<Vec<CorsRule>>,
    /// See [`Options::errors`].
    pub errors: Option<Vec<ErrorPage>>,
    /// See [`Options::redirects`].
    pub redirects: Option<Vec<Redirect>>,
    /// See [`Options::mounts`].
    pub mounts: Option<Vec<Mount>>,
    /// See [`Options::rates`].
    pub rates: Option<Vec<RateRule>>,
}

impl Host {
    /// What is in force for it.
    pub fn over(&self, site: &Options) -> Options {
        fn either<T: Clone>(own: &Option<T>, site: &T) -> T {
            own.as_ref().unwrap_or(site).clone()
        }
        Options {
            names: self.names.clone(),
            root: either(&self.root, &site.root),
            index: either(&self.index, &site.index),
            dotfiles: either(&self.dotfiles, &site.dotfiles),
            listing: site.listing,
            fallback: either(&self.fallback, &site.fallback),
            forbidden: either(&self.forbidden, &site.forbidden),
            media: either(&self.media, &site.media),
            fields: either(&self.fields, &site.fields),
            cors: either(&self.cors, &site.cors),
            errors: either(&self.errors, &site.errors),
            redirects: either(&self.redirects, &site.redirects),
            mounts: either(&self.mounts, &site.mounts),
            rates: either(&self.rates, &site.rates),
        }
    }
}

/// What is said of a file that is there and may not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forbidden {
    /// Nothing: 404, as if it were not there.
    #[default]
    Hidden,
    /// 403.
    Told,
}

impl Forbidden {
    /// Every choice, in the order of the help.
    pub const ALL: [Self; 2] = [Self::Hidden, Self::Told];

    /// The name in options and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hidden => "404",
            Self::Told => "403",
        }
    }
}

/// A limit of bandwidth for some files, for each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRule {
    /// Which files.
    pub globs: Vec<Glob>,
    /// Bytes a second; 0 is no limit, whatever a later rule says.
    pub rate_limit: u64,
}

/// Changes of fields for some paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// Which files, or which paths where no file is sent.
    pub globs: Vec<Glob>,
    /// The changes.
    pub edits: Vec<FieldEdit>,
    /// Whether they are also made to answers that are neither 2xx nor 304.
    pub always: bool,
}

/// What some paths share with other origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsRule {
    /// Which paths.
    pub globs: Vec<Glob>,
    /// What is shared with whom.
    pub cors: Cors,
}

/// A file for a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// The status of the refusal.
    pub status: Status,
    /// The file, a path beneath the root.
    pub file: String,
}

impl ErrorPage {
    /// Refusals that may have a page. Not those whose answer says more than a page can (412 and
    /// 416), and not those of requests that could not be read to their end.
    pub const STATUSES: [Status; 8] = [
        Status::BadRequest,
        Status::Forbidden,
        Status::NotFound,
        Status::MethodNotAllowed,
        Status::Gone,
        Status::ExpectationFailed,
        Status::NotImplemented,
        Status::ServiceUnavailable,
    ];
}

/// Where some paths lead, or that they are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Which paths.
    pub from: Glob,
    /// Where to; none with [`Status::Gone`].
    pub to: Option<Place>,
    /// How.
    pub status: Status,
}

impl Redirect {
    /// What a redirect may answer with.
    pub const STATUSES: [Status; 5] = [
        Status::MovedPermanently,
        Status::Found,
        Status::TemporaryRedirect,
        Status::PermanentRedirect,
        Status::Gone,
    ];

    /// The path that a client asks for next that was sent on from a path of this rule, if it is
    /// one of this server; as [`Glob::matches`] has it.
    pub fn leads_to(&self, path: &[u8]) -> Option<Vec<u8>> {
        let to = self.to.as_ref()?;
        let mut raw = to.path()?.as_bytes().to_vec();
        if let Some(prefix) = self.from.directory().filter(|_| to.carries()) {
            target::encode(path.get(prefix.len()..)?, &mut raw);
        }
        let mut next = Vec::new();
        let target = target::resolve(&raw, &mut next).ok()?;
        if target.directory && !next.is_empty() {
            next.push(b'/');
        }
        Some(next)
    }
}

/// Another directory beneath a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The path, with a slash at both ends.
    pub path: String,
    /// The directory.
    pub root: PathBuf,
}

impl Mount {
    /// Checks a path.
    ///
    /// # Errors
    ///
    /// A sentence that says how it is written.
    pub fn check(path: &str) -> Result<(), String> {
        if path.len() < 2 || !path.starts_with('/') || !path.ends_with('/') {
            let name = path.trim_matches('/');
            let name = if name.is_empty() { "media" } else { name };
            return Err(format!("'{path}' is not the path of a directory; write '/{name}/'"));
        }
        match Glob::new(path) {
            Ok(glob) if glob.literal().is_some() => Ok(()),
            Ok(_) => Err("a mount has one path; a star means nothing here".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The name of a host: `a.example`, or `*.a.example` for every name beneath it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(Box<str>);

impl HostName {
    /// A name as a client may ask for it, in lower case and without a port.
    ///
    /// # Errors
    ///
    /// A sentence that says how it is written.
    pub fn new(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if address.is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()) && name == text {
            return Ok(Self(text.to_ascii_lowercase().into()));
        }
        if let Some((host, port)) = name.rsplit_once(':')
            && port.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(format!("a name of a host has no port; write '{host}'"));
        }
        let labels = name.strip_suffix('.').unwrap_or(name);
        if labels.is_empty() || !name.bytes().all(plain) || labels.split('.').any(str::is_empty) {
            return Err(format!("'{text}' is not a host; write 'a.example' or '*.a.example'"));
        }
        // The dot at the end of a full name is the same name.
        let text = text.strip_suffix('.').unwrap_or(text);
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name in lower case.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// For a wildcard, what a name ends in, with its dot.
    pub(super) fn suffix(&self) -> Option<&str> {
        self.0.strip_prefix('*')
    }
}

/// Checks the path of a file beneath the root.
///
/// # Errors
///
/// A sentence that says how it is written.
pub fn check_file(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Err(format!("'{path}' begins with a slash; write the path beneath the root"));
    }
    let wrong = |segment: &str| matches!(segment, "" | "." | "..");
    if path.split('/').any(wrong) || path.contains('\0') {
        return Err(format!("'{path}' is not the path of a file beneath the root"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts() {
        let name = |text: &str| HostName::new(text).map(|name| name.text().to_owned());
        assert_eq!(name("A.example."), Ok("a.example".into()));
        assert_eq!(name("*.B.example"), Ok("*.b.example".into()));
        assert_eq!(name("[::1]"), Ok("[::1]".into()));
        assert_eq!(name("127.0.0.1"), Ok("127.0.0.1".into()));
        assert!(name("a.example:80").unwrap_err().contains("write 'a.example'"));
        for wrong in ["", ".", "*", "*.", "a..b", "a b", "http://a", "a.*.b", "[::1", "*.[::1]"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_of_mounts_and_files() {
        assert!(Mount::check("/media/").is_ok() && Mount::check("/a b/c/").is_ok());
        assert!(Mount::check("/media").unwrap_err().contains("write '/media/'"));
        for wrong in ["", "/", "media/", "/a//b/", "/../", "/a*/", "/a%20/"] {
            assert!(Mount::check(wrong).is_err(), "{wrong}");
        }
        assert!(check_file("404.html").is_ok() && check_file("errors/404.html").is_ok());
        for wrong in ["", "/404.html", "../x", "a/./b", "a//b", "a\0"] {
            assert!(check_file(wrong).is_err(), "{wrong}");
        }
    }
}
