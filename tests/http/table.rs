//! The table of requests and what each must lead to.

use std::ops::Range;

/// Small files of the served tree.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("index.html", "<!doctype html><title>start</title>"),
    ("plain.txt", "a plain file of some forty-odd bytes or so\n"),
    ("empty.bin", ""),
    ("style.css", "body { margin: 0 }\n"),
    ("app.js", "export const answer = 42;\n"),
    ("data.json", "{\"a\":1}\n"),
    ("mark.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n"),
    ("picture.png", "\u{1}no real picture"),
    ("no-ending", "what is this"),
    ("thing.strange-ending", "what is that"),
    ("with space.txt", "a space in a name"),
    ("100%.txt", "a percent sign in a name"),
    ("a+b.txt", "a plus is a plus in a path"),
    ("größe.txt", "a name beyond ASCII"),
    ("back\\slash.txt", "a backslash is a byte of a name"),
    ("quote\"<&>.txt", "a name that needs care"),
    (".hidden", "not served"),
    (".hidden-directory/file.txt", "not served"),
    (".well-known/security.txt", "served"),
    ("dir/index.html", "<!doctype html><title>dir</title>"),
    ("dir/page.html", "<!doctype html><title>page</title>"),
    ("dir/sub/index.html", "<!doctype html><title>sub</title>"),
    ("noindex/file.txt", "no index beside me"),
];

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) sent: Vec<u8>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) after: After,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) statuses: Vec<u16>,
    pub(crate) method: &'static str,
    pub(crate) fields: Vec<(&'static str, Want)>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Want {
    Is(String),
    Any,
    Absent,
}

#[derive(Debug)]
pub(crate) enum Body {
    Any,
    Empty,
    File(&'static str),
    Part(&'static str, Range<usize>),
}

/// How the connection stands after the last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Open,
    Closed,
    /// Both are right.
    Either,
}

impl Case {
    fn answered(mut self, statuses: &[u16]) -> Self {
        let statuses = statuses.to_vec();
        self.answers.push(Answer { statuses, method: "GET", fields: Vec::new(), body: Body::Any });
        self
    }

    fn last(&mut self) -> &mut Answer {
        self.answers.last_mut().expect("an answer is described before its parts")
    }

    fn file(mut self, name: &'static str) -> Self {
        self.last().body = Body::File(name);
        self
    }

    fn part(mut self, name: &'static str, span: Range<usize>) -> Self {
        self.last().body = Body::Part(name, span);
        self
    }

    fn empty(mut self) -> Self {
        self.last().body = Body::Empty;
        self
    }

    /// The answer is one to HEAD.
    fn head(mut self) -> Self {
        self.last().method = "HEAD";
        self
    }

    fn field(mut self, name: &'static str, value: &str) -> Self {
        self.last().fields.push((name, Want::Is(value.to_owned())));
        self
    }

    fn has(mut self, name: &'static str) -> Self {
        self.last().fields.push((name, Want::Any));
        self
    }

    fn lacks(mut self, name: &'static str) -> Self {
        self.last().fields.push((name, Want::Absent));
        self
    }

    fn closed(mut self) -> Self {
        self.after = After::Closed;
        self
    }

    fn either(mut self) -> Self {
        self.after = After::Either;
        self
    }
}

fn raw(name: &str, sent: impl AsRef<[u8]>) -> Case {
    let sent = sent.as_ref().to_vec();
    Case { name: name.to_owned(), sent, answers: Vec::new(), after: After::Open }
}

/// A GET of this target.
fn target(target: &str) -> Case {
    raw(&format!("GET {target}"), format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
}

/// A GET of `/plain.txt` with these field lines.
fn with(fields: &str) -> Case {
    raw(
        &format!("with {fields:?}"),
        format!("GET /plain.txt HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n"),
    )
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let groups = [served(), paths(), refused_targets(), methods(), versions(), malformed()];
    let more = [limits(), bodies(), conditions(), ranges(), persistence()];
    groups.into_iter().chain(more).flatten().collect()
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

fn served() -> Vec<Case> {
    let typed = |path: &str, file: &'static str, kind: &str| {
        target(path).answered(&[200]).file(file).field("content-type", kind)
    };
    vec![
        typed("/", "index.html", HTML),
        typed("/index.html", "index.html", HTML),
        typed("/plain.txt", "plain.txt", TEXT),
        typed("/style.css", "style.css", "text/css; charset=utf-8"),
        typed("/app.js", "app.js", "text/javascript; charset=utf-8"),
        target("/data.json").answered(&[200]).file("data.json").has("content-type"),
        target("/mark.svg").answered(&[200]).file("mark.svg").has("content-type"),
        typed("/picture.png", "picture.png", "image/png"),
        typed("/no-ending", "no-ending", "application/octet-stream"),
        typed("/thing.strange-ending", "thing.strange-ending", "application/octet-stream"),
        typed("/data.bin", "data.bin", "application/octet-stream"),
        target("/empty.bin").answered(&[200]).empty().field("content-length", "0"),
        target("/plain.txt?query=1&more").answered(&[200]).file("plain.txt"),
        target("/?").answered(&[200]).file("index.html"),
        target("/dir/").answered(&[200]).file("dir/index.html"),
        target("/dir/sub/").answered(&[200]).file("dir/sub/index.html"),
        target("/dir").answered(&[301]).field("location", "/dir/"),
        target("/dir/sub?a=b&c").answered(&[301]).field("location", "/dir/sub/?a=b&c"),
        raw("HEAD", "HEAD /plain.txt HTTP/1.1\r\nHost: test\r\n\r\n")
            .answered(&[200])
            .head()
            .empty()
            .field("content-length", "43"),
    ]
}

fn paths() -> Vec<Case> {
    let same = |path: &str, file: &'static str| target(path).answered(&[200]).file(file);
    let missing = |path: &str| target(path).answered(&[404]);
    vec![
        same("/%70lain.txt", "plain.txt"),
        same("/plain%2etxt", "plain.txt"),
        same("/with%20space.txt", "with space.txt"),
        same("/100%25.txt", "100%.txt"),
        same("/a+b.txt", "a+b.txt"),
        same("/gr%C3%B6%c3%9fe.txt", "größe.txt"),
        same("/back%5Cslash.txt", "back\\slash.txt"),
        same("/quote%22%3C&%3e.txt", "quote\"<&>.txt"),
        // RFC 3986 section 5.2.4, raw and encoded alike.
        same("/./plain.txt", "plain.txt"),
        same("/dir/../plain.txt", "plain.txt"),
        same("/dir/sub/../../plain.txt", "plain.txt"),
        same("/dir/%2e%2E/plain.txt", "plain.txt"),
        same("/%2e/plain.txt", "plain.txt"),
        same("/missing/../plain.txt", "plain.txt"),
        same("/dir/sub/..", "dir/index.html"),
        same("/dir/.", "dir/index.html"),
        same("/.well-known/security.txt", ".well-known/security.txt"),
        missing("/missing"),
        missing("/dir/missing.html"),
        missing("/plain.txt/"),
        missing("/plain.txt/more"),
        missing("/noindex/"),
        missing("/.hidden"),
        missing("/%2ehidden"),
        missing("/.hidden-directory/file.txt"),
        // Decoded once: what is left is a name with a percent sign.
        missing("/%2570lain.txt"),
        missing("/%252e%252e/plain.txt"),
        missing("/..."),
        target("//plain.txt").answered(&[200, 301, 308]),
        target("//evil.example/").answered(&[301, 308, 404]),
        target("//evil.example/..").answered(&[200, 301, 308, 404]),
        target("/dir//page.html").answered(&[200, 301, 308]),
        target(&format!("/{}", "n".repeat(300))).answered(&[404, 414]),
        target(&format!("/{}", "deep/".repeat(900))).answered(&[404, 414]),
    ]
}

fn refused_targets() -> Vec<Case> {
    let bad = |path: &str| target(path).answered(&[400]).either();
    let raw_byte = |byte: u8| {
        let mut sent = b"GET /plain".to_vec();
        sent.push(byte);
        sent.extend(b".txt HTTP/1.1\r\nHost: test\r\n\r\n");
        raw(&format!("raw byte {byte:#04x} in the target"), sent).answered(&[400]).either()
    };
    vec![
        bad("/../plain.txt"),
        bad("/.."),
        bad("/%2e%2e/plain.txt"),
        bad("/dir/../../plain.txt"),
        bad("/dir/%2e%2e/%2e%2e/plain.txt"),
        bad("/%"),
        bad("/%4"),
        bad("/%zz"),
        bad("/%u0041"),
        bad("/plain.txt%00"),
        bad("/%00"),
        bad("/dir%2findex.html"),
        bad("/dir%2F"),
        bad("/back\\slash.txt"),
        bad("/plain.txt#fragment"),
        bad("plain.txt"),
        bad("*"),
        bad("ftp://test/plain.txt"),
        bad("test:80"),
        raw_byte(0x00),
        raw_byte(0x01),
        raw_byte(0x7f),
        raw_byte(0x80),
        raw_byte(0xc3),
        raw_byte(0xff),
        // Section 3.2.2: a proxy's form is served by its path.
        target("http://test/plain.txt").answered(&[200]).file("plain.txt"),
        target("HTTP://elsewhere:8080/plain.txt").answered(&[200]).file("plain.txt"),
        target("http://test").answered(&[200]).file("index.html"),
    ]
}

fn methods() -> Vec<Case> {
    let refused = |method: &str| {
        raw(method, format!("{method} /plain.txt HTTP/1.1\r\nHost: test\r\n\r\n"))
            .answered(&[405])
            .field("allow", "GET, HEAD, OPTIONS")
            .either()
    };
    let unknown = |method: &str| {
        raw(method, format!("{method} /plain.txt HTTP/1.1\r\nHost: test\r\n\r\n"))
            .answered(&[501])
            .either()
    };
    vec![
        refused("POST"),
        refused("PUT"),
        refused("PATCH"),
        refused("DELETE"),
        refused("TRACE"),
        raw("CONNECT", "CONNECT test:443 HTTP/1.1\r\nHost: test\r\n\r\n")
            .answered(&[405])
            .field("allow", "GET, HEAD, OPTIONS")
            .either(),
        unknown("BREW"),
        unknown("get"),
        unknown("GETS"),
        unknown("G-E!T"),
        raw("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n")
            .answered(&[204])
            .field("allow", "GET, HEAD, OPTIONS")
            .lacks("content-length"),
        raw("OPTIONS of a path", "OPTIONS /plain.txt HTTP/1.1\r\nHost: test\r\n\r\n")
            .answered(&[204])
            .field("allow", "GET, HEAD, OPTIONS"),
    ]
}

fn versions() -> Vec<Case> {
    let line = |line: &str, statuses: &[u16]| {
        raw(line, format!("{line}\r\nHost: test\r\n\r\n")).answered(statuses).closed()
    };
    vec![
        line("GET /plain.txt HTTP/2.0", &[505]),
        line("GET /plain.txt HTTP/3.0", &[505]),
        line("GET /plain.txt HTTP/0.9", &[400, 505]),
        line("GET /plain.txt", &[400]),
        line("GET /plain.txt http/1.1", &[400]),
        line("GET /plain.txt HTTP/1", &[400]),
        line("GET /plain.txt HTTP/1.10", &[400]),
        line("GET /plain.txt HTTP/1.x", &[400]),
        line("GET /plain.txt HTTPS/1.1", &[400]),
        line("GET /plain.txt HTTP/1.1 more", &[400]),
        raw("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .answered(&[400, 505])
            .closed(),
        raw("HTTP/1.0 without Host", "GET /plain.txt HTTP/1.0\r\n\r\n")
            .answered(&[200])
            .file("plain.txt")
            .closed(),
        raw("HTTP/1.0 kept alive", "GET /plain.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .answered(&[200])
            .file("plain.txt")
            .field("connection", "keep-alive"),
        raw("HTTP/1.2", "GET /plain.txt HTTP/1.2\r\nHost: test\r\n\r\n")
            .answered(&[200])
            .file("plain.txt"),
        with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk")
            .answered(&[200])
            .file("plain.txt"),
    ]
}

fn malformed() -> Vec<Case> {
    let bad = |name: &str, sent: &[u8]| raw(name, sent).answered(&[400]).closed();
    vec![
        bad("no Host", b"GET / HTTP/1.1\r\n\r\n"),
        bad("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        bad("a space in Host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        bad("a slash in Host", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        bad("a user in Host", b"GET / HTTP/1.1\r\nHost: me@test\r\n\r\n"),
        bad("bare LF behind a field", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        bad("bare LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n"),
        bad("bare CR in a field", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n"),
        bad("NUL in a field", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n"),
        bad("a control byte in a field", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x01c\r\n\r\n"),
        bad("NUL first", b"\0GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("only NULs", &[0; 64]),
        bad("space before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n"),
        bad("a folded field", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n  c\r\n\r\n"),
        bad("a folded first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        bad("an empty field name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        bad("a field without colon", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        bad("a bad field name", b"GET / HTTP/1.1\r\nHost: a\r\nX(y): b\r\n\r\n"),
        bad("two spaces before the target", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("two spaces behind the target", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("a tab before the target", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("a space first", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("an empty target", b"GET  HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("no method", b"/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("a bad method", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("words", b"hello there\r\n\r\n"),
        bad("an answer instead of a request", b"HTTP/1.1 200 OK\r\nHost: a\r\n\r\n"),
        // RFC 9112 section 2.2: empty lines before a request line are skipped.
        raw("empty lines first", "\r\n\r\nGET /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n")
            .answered(&[200])
            .file("plain.txt"),
        raw("fields in any case", "GET /plain.txt HTTP/1.1\r\nhOST:a\r\nX:\t b \t\r\n\r\n")
            .answered(&[200])
            .file("plain.txt"),
    ]
}

fn limits() -> Vec<Case> {
    let fields = |count: usize| "X: y\r\n".repeat(count);
    let head = |fields: &str| format!("GET /plain.txt HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    vec![
        target(&format!("/plain.txt?{}", "q".repeat(8_000))).answered(&[200]).file("plain.txt"),
        target(&format!("/{}", "t".repeat(8_300))).answered(&[414]).closed(),
        target(&format!("/plain.txt?{}", "q".repeat(9_000))).answered(&[414]).closed(),
        raw("as many fields as there may be", head(&fields(99))).answered(&[200]).file("plain.txt"),
        raw("one field too many", head(&fields(100))).answered(&[431]).closed(),
        raw("a large head", head(&format!("X: {}\r\n", "v".repeat(15_000))))
            .answered(&[200])
            .file("plain.txt"),
        raw("a head too large", head(&format!("X: {}\r\n", "v".repeat(17_000))))
            .answered(&[431])
            .closed(),
        raw(
            "a head that never ends",
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "v".repeat(17_000)),
        )
        .answered(&[431])
        .closed(),
    ]
}

fn bodies() -> Vec<Case> {
    let post = |fields: &str, body: &str| {
        format!("POST /plain.txt HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}")
    };
    let bad = |fields: &str| raw(fields, post(fields, "")).answered(&[400]).closed();
    let bad_coding = |fields: &str| raw(fields, post(fields, "")).answered(&[400, 501]).closed();
    vec![
        raw("a body with a length", post("Content-Length: 5", "hello")).answered(&[405]),
        raw("a chunked body", post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"))
            .answered(&[405]),
        raw(
            "GET with a body",
            "GET /plain.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /",
        )
        .answered(&[200])
        .file("plain.txt"),
        raw("a body longer than is read away", post("Content-Length: 1000000", "begin"))
            .answered(&[405, 413])
            .closed(),
        bad("Content-Length: 5\r\nTransfer-Encoding: chunked"),
        bad("Content-Length: 5\r\nContent-Length: 6"),
        bad("Content-Length: 5\r\nContent-Length: 5"),
        bad("Content-Length: 5, 6"),
        bad("Content-Length: +5"),
        bad("Content-Length: -5"),
        bad("Content-Length: 0x5"),
        bad("Content-Length: 5 5"),
        bad("Content-Length:"),
        bad("Content-Length: 99999999999999999999999999"),
        bad_coding("Transfer-Encoding: xchunked"),
        bad_coding("Transfer-Encoding: chunked, gzip"),
        bad_coding("Transfer-Encoding: chunked, chunked"),
        bad_coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        bad_coding("Transfer-Encoding: gzip"),
        bad_coding("Transfer-Encoding: \"chunked\""),
        raw("a bad chunk size", post("Transfer-Encoding: chunked", "x\r\nhello\r\n0\r\n\r\n"))
            .answered(&[400])
            .closed(),
        raw(
            "a chunk longer than said",
            post("Transfer-Encoding: chunked", "4\r\nhello\r\n0\r\n\r\n"),
        )
        .answered(&[400])
        .closed(),
        raw("another expectation", post("Expect: wonders\r\nContent-Length: 0", ""))
            .answered(&[405, 417])
            .either(),
        with("Expect: wonders").answered(&[417]).either(),
    ]
}

/// RFC 9110 section 13. The marks stand for the validators of `/plain.txt`.
fn conditions() -> Vec<Case> {
    let not_modified = |fields: &str| {
        with(fields)
            .answered(&[304])
            .empty()
            .has("etag")
            .has("last-modified")
            .lacks("content-length")
            .lacks("content-range")
    };
    let whole = |fields: &str| with(fields).answered(&[200]).file("plain.txt");
    vec![
        not_modified("If-None-Match: {etag}"),
        not_modified("If-None-Match: W/{etag}"),
        not_modified("If-None-Match: *"),
        not_modified("If-None-Match: \"x\", {etag}"),
        not_modified("If-None-Match: \"x,y\",,{etag} , \"z\""),
        not_modified("If-None-Match: \"x\"\r\nIf-None-Match: {etag}"),
        not_modified("If-Modified-Since: {modified}"),
        not_modified("If-Modified-Since: {later}"),
        // Section 13.1.3: ignored beside If-None-Match.
        not_modified("If-None-Match: {etag}\r\nIf-Modified-Since: {earlier}"),
        whole("If-None-Match: \"x\"\r\nIf-Modified-Since: {modified}"),
        whole("If-None-Match: \"x\""),
        whole("If-Modified-Since: {earlier}"),
        whole("If-Modified-Since: yesterday"),
        whole("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"),
        whole("If-Modified-Since: Sun Nov  6 08:49:37 1994"),
        raw(
            "HEAD with a tag",
            "HEAD /plain.txt HTTP/1.1\r\nHost: a\r\nIf-None-Match: {etag}\r\n\r\n",
        )
        .answered(&[304])
        .head()
        .lacks("content-length"),
        // Section 13.2.1: no condition where there is nothing to be conditional about.
        raw("a tag for nothing", "GET /missing HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n")
            .answered(&[404]),
        // The condition decides before the range (section 13.2.2).
        not_modified("If-None-Match: {etag}\r\nRange: bytes=0-3"),
    ]
}

/// RFC 9110 section 14.
fn ranges() -> Vec<Case> {
    let part = |range: &str, span: Range<usize>| {
        let said = format!("bytes {}-{}/43", span.start, span.end - 1);
        with(&format!("Range: {range}"))
            .answered(&[206])
            .part("plain.txt", span)
            .field("content-range", &said)
    };
    let ignored = |range: &str| {
        with(&format!("Range: {range}")).answered(&[200]).file("plain.txt").lacks("content-range")
    };
    let beyond = |range: &str| {
        with(&format!("Range: {range}")).answered(&[416]).field("content-range", "bytes */43")
    };
    vec![
        part("bytes=0-0", 0..1),
        part("bytes=2-10", 2..11),
        part("bytes=40-", 40..43),
        part("bytes=-3", 40..43),
        part("bytes=-4000", 0..43),
        part("bytes=42-99999999999999999", 42..43),
        part("Bytes=1-2", 1..3),
        beyond("bytes=43-"),
        beyond("bytes=43-50"),
        beyond("bytes=-0"),
        beyond("bytes=9999999999-"),
        ignored("bytes=5-2"),
        ignored("bytes=a-b"),
        ignored("bytes=-"),
        ignored("bytes="),
        ignored("bytes 0-3"),
        ignored("lines=0-3"),
        ignored("bytes=+1-3"),
        raw("a range of HEAD", "HEAD /plain.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-3\r\n\r\n")
            .answered(&[200])
            .head()
            .field("content-length", "43"),
        raw("a range of nothing", "GET /empty.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0\r\n\r\n")
            .answered(&[416])
            .field("content-range", "bytes */0"),
    ]
}

/// RFC 9112 section 9.3.
fn persistence() -> Vec<Case> {
    let twice = |fields: &str| {
        let one = format!("GET /plain.txt HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        raw(&format!("twice with {fields:?}"), one.repeat(2))
    };
    vec![
        twice("").answered(&[200]).file("plain.txt").answered(&[200]).file("plain.txt"),
        twice("Connection: keep-alive\r\n")
            .answered(&[200])
            .file("plain.txt")
            .answered(&[200])
            .file("plain.txt"),
        // The second is never read.
        twice("Connection: close\r\n")
            .answered(&[200])
            .file("plain.txt")
            .field("connection", "close")
            .closed(),
        twice("Connection: something, CLOSE\r\n")
            .answered(&[200])
            .file("plain.txt")
            .field("connection", "close")
            .closed(),
        raw("HTTP/1.0 that closes", "GET /data.bin HTTP/1.0\r\nConnection: close\r\n\r\n")
            .answered(&[200])
            .file("data.bin")
            .closed(),
        raw(
            "close with a body below",
            "GET /data.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .answered(&[200])
        .file("data.bin")
        .field("connection", "close")
        .closed(),
        raw(
            "close with a refusal",
            "GET /missing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .answered(&[404])
        .field("connection", "close")
        .closed(),
        raw("open after a refusal", "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n").answered(&[404]),
    ]
}
