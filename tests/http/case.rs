//! What a case is made of: bytes in; status, fields, body and the state of the connection out.

use std::ops::Range;

use pitcrew::http::refusal::Refusal;

/// One exchange on one connection.
#[derive(Debug)]
pub(crate) struct Case {
    /// The clause it proves, and what it is about.
    pub(crate) name: String,
    pub(crate) setup: Setup,
    /// The bytes that the client sends, with marks such as `{etag}`.
    pub(crate) sent: Vec<u8>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) after: After,
    /// Nothing may be sent behind it: it would become a part of it.
    pub(crate) alone: bool,
}

/// How the server of a case is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Setup {
    /// With precompressed variants, and all else as it comes.
    Usual,
    /// Without variants.
    NoVariants,
    /// With variants that are not older than their originals.
    FreshVariants,
    /// With names that begin with a dot.
    Dotfiles,
    /// Without symbolic links.
    NoLinks,
    /// Two requests on each connection.
    TwoRequests,
    /// With a list of index files, tried in its order.
    TwoIndexes,
    /// With little time for heads and bodies.
    Hasty,
    /// With listings.
    Listing,
    /// With entity tags made of content.
    ContentTags,
    /// With the rules of [`crate::site::RULES`].
    Rules,
}

impl Setup {
    pub(crate) const ALL: [Self; 11] = [
        Self::Usual,
        Self::NoVariants,
        Self::FreshVariants,
        Self::Dotfiles,
        Self::NoLinks,
        Self::TwoRequests,
        Self::TwoIndexes,
        Self::Hasty,
        Self::Listing,
        Self::ContentTags,
        Self::Rules,
    ];
}

/// What one answer must be.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The refusal that must have been counted.
    pub(crate) refusal: Option<Refusal>,
    /// The method of the request: HEAD has no body in its answer.
    pub(crate) method: &'static str,
    pub(crate) fields: Vec<(&'static str, Want)>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Want {
    Is(String),
    Any,
    Absent,
    /// A list that has this member.
    Lists(&'static str),
}

#[derive(Debug)]
pub(crate) enum Body {
    Any,
    Empty,
    File(&'static str),
    Part(&'static str, Range<usize>),
    /// A multipart of these parts, in this order.
    Parts(&'static str, Vec<Range<usize>>),
    /// Some text that is in it.
    Says(&'static str),
}

/// How the connection stands after the last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request is answered.
    Open,
    /// It is closed, and what follows is never answered.
    Closed,
    /// More is waited for; when the client ends instead, the server closes without a word.
    Pending,
}

impl Case {
    pub(crate) fn answered(mut self, status: u16) -> Self {
        self.answers.push(Answer {
            status,
            refusal: None,
            method: "GET",
            fields: Vec::new(),
            body: Body::Any,
        });
        self
    }

    /// Refused with this status for this cause; the connection goes on.
    pub(crate) fn refused(self, status: u16, refusal: Refusal) -> Self {
        let mut case = self.answered(status);
        case.last().refusal = Some(refusal);
        case.last().body = Body::Says(refusal.text());
        case
    }

    /// Refused with this status for this cause, and closed.
    pub(crate) fn ended(self, status: u16, refusal: Refusal) -> Self {
        self.refused(status, refusal).closed()
    }

    /// Served whole: 200 with the content of a file.
    pub(crate) fn whole(self, name: &'static str) -> Self {
        let mut case = self.answered(200);
        case.last().body = Body::File(name);
        case
    }

    /// A part of a file: 206.
    pub(crate) fn part(self, name: &'static str, span: Range<usize>) -> Self {
        let mut case = self.answered(206);
        case.last().body = Body::Part(name, span);
        case
    }

    /// Parts of a file: 206 as multipart/byteranges.
    pub(crate) fn parts(self, name: &'static str, spans: &[Range<usize>]) -> Self {
        let mut case = self.answered(206).lacks("content-range");
        case.last().body = Body::Parts(name, spans.to_vec());
        case
    }

    /// 304, as RFC 9110 section 15.4.5 wants it.
    pub(crate) fn not_modified(self) -> Self {
        let case = self.answered(304).empty().has("etag").has("last-modified").has("date");
        case.lacks("content-length").lacks("content-range").lacks("content-type")
    }

    /// The answer is the listing of a directory, of this media type.
    pub(crate) fn listing(self, kind: &str) -> Self {
        let case = self.field("content-type", kind).lists("vary", "accept").has("etag");
        let case = case.lacks("last-modified").lacks("accept-ranges").lacks("content-encoding");
        case.field("cache-control", "no-cache")
    }

    /// The body of the answer is this file, whatever its status.
    pub(crate) fn sends(mut self, name: &'static str) -> Self {
        self.last().body = Body::File(name);
        self
    }

    /// 412.
    pub(crate) fn failed(self) -> Self {
        self.refused(412, Refusal::PreconditionFailed)
    }

    /// 404.
    pub(crate) fn missing(self) -> Self {
        self.refused(404, Refusal::NotFound)
    }

    pub(crate) fn last(&mut self) -> &mut Answer {
        self.answers.last_mut().expect("an answer is described before its parts")
    }

    pub(crate) fn empty(mut self) -> Self {
        self.last().body = Body::Empty;
        self
    }

    /// The answer is one to HEAD.
    pub(crate) fn head(mut self) -> Self {
        self.last().method = "HEAD";
        self.empty()
    }

    pub(crate) fn says(mut self, text: &'static str) -> Self {
        self.last().body = Body::Says(text);
        self
    }

    fn want(mut self, name: &'static str, want: Want) -> Self {
        self.last().fields.push((name, want));
        self
    }

    pub(crate) fn field(self, name: &'static str, value: &str) -> Self {
        self.want(name, Want::Is(value.to_owned()))
    }

    pub(crate) fn has(self, name: &'static str) -> Self {
        self.want(name, Want::Any)
    }

    pub(crate) fn lacks(self, name: &'static str) -> Self {
        self.want(name, Want::Absent)
    }

    pub(crate) fn lists(self, name: &'static str, member: &'static str) -> Self {
        self.want(name, Want::Lists(member))
    }

    /// The answer is of a name that has variants.
    pub(crate) fn varies(self) -> Self {
        self.lists("vary", "accept-encoding")
    }

    pub(crate) fn closed(mut self) -> Self {
        self.after = After::Closed;
        self
    }

    pub(crate) fn pending(mut self) -> Self {
        self.after = After::Pending;
        self.alone()
    }

    pub(crate) fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    pub(crate) fn setup(mut self, setup: Setup) -> Self {
        self.setup = setup;
        self
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Bytes that the framing of the case itself leads to, for the counters.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = Refusal> {
        self.answers.iter().filter_map(|answer| answer.refusal)
    }
}

/// These bytes.
pub(crate) fn raw(name: &str, sent: impl AsRef<[u8]>) -> Case {
    Case {
        name: name.to_owned(),
        setup: Setup::Usual,
        sent: sent.as_ref().to_vec(),
        answers: Vec::new(),
        after: After::Open,
        alone: false,
    }
}

/// A request with this request line and these field lines, Host and line ends added.
pub(crate) fn request(line: &str, fields: &str) -> Case {
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
    let name = if fields.is_empty() {
        line.to_owned()
    } else {
        format!("{line} with {:?}", fields.trim_end())
    };
    raw(&shortened(&name), format!("{line}\r\nHost: test\r\n{fields}\r\n"))
}

/// A GET of this target.
pub(crate) fn target(target: &str) -> Case {
    request(&format!("GET {target} HTTP/1.1"), "").named(&shortened(target))
}

/// A GET of `/plain.txt` with these field lines.
pub(crate) fn with(fields: &str) -> Case {
    of("/plain.txt", fields)
}

/// A GET of this target with these field lines.
pub(crate) fn of(target: &str, fields: &str) -> Case {
    request(&format!("GET {target} HTTP/1.1"), fields)
        .named(&shortened(&format!("{target} with {fields:?}")))
}

/// Names of cases with much padding stay readable.
fn shortened(name: &str) -> String {
    const KEPT: usize = 160;
    if name.len() <= KEPT {
        return name.to_owned();
    }
    let start: String = name.chars().take(KEPT).collect();
    format!("{start}... ({} bytes)", name.len())
}

/// The cases that prove a clause, which their names begin with.
pub(crate) fn clause(clause: &str, cases: impl IntoIterator<Item = Case>) -> Vec<Case> {
    let named = |mut case: Case| {
        case.name = format!("{clause}: {}", case.name);
        case
    };
    cases.into_iter().map(named).collect()
}

/// Does something with each case and tells of every one that failed, not only of the first.
pub(crate) fn each(cases: Vec<Case>, mut play: impl FnMut(usize, Case)) {
    let mut failed = Vec::new();
    for (number, case) in cases.into_iter().enumerate() {
        let name = case.name.clone();
        let played = std::panic::AssertUnwindSafe(|| play(number, case));
        if std::panic::catch_unwind(played).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}
