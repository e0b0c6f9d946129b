//! Whether an answer is the one that a case wants, and what holds for every answer.

use std::time::{Duration, SystemTime};

use crate::case::{After, Answer, Body, Case, Setup, Want};
use crate::common::{Response, multipart};
use crate::site;

/// The validators of some files, as the server gives them; they take the place of marks.
#[derive(Debug)]
pub(crate) struct Marks(Vec<(String, String)>);

impl Marks {
    /// Asks for the validators. `ask` sends a request and reads its answer.
    pub(crate) fn learn(setup: Setup, mut ask: impl FnMut(&[u8]) -> Response) -> Self {
        let mut marks = Vec::new();
        if setup == Setup::Listing {
            let request = b"GET /noindex/?format=json HTTP/1.1\r\nHost: marks\r\n\r\n";
            let tag = ask(request).field("etag").expect("a listing has a tag").to_owned();
            marks.push(("{listing}".to_owned(), tag));
        }
        let mut get = |path: &str, coding: &str| {
            let text =
                format!("GET {path} HTTP/1.1\r\nHost: marks\r\nAccept-Encoding: {coding}\r\n\r\n");
            let answer = ask(text.as_bytes());
            assert_eq!(answer.status, 200, "{path} is served: {answer:?}");
            let field = |name: &str| answer.field(name).expect("validators are sent").to_owned();
            (field("etag"), field("last-modified"))
        };
        let (etag, modified) = get("/plain.txt", "identity");
        let time = httpdate::parse_http_date(&modified).expect("Last-Modified is a date");
        let day = Duration::from_secs(24 * 60 * 60);
        let second = Duration::from_secs(1);
        let mut mark = |name: &str, value: String| marks.push((format!("{{{name}}}"), value));
        mark("etag", etag);
        mark("rfc850", rfc850(&modified));
        mark("asctime", asctime(&modified));
        mark("modified", modified);
        mark("earlier", httpdate::fmt_http_date(time - day));
        mark("just-before", httpdate::fmt_http_date(time - second));
        mark("just-after", httpdate::fmt_http_date(time + second));
        mark("ten-after", httpdate::fmt_http_date(time + site::LATER_BY));
        mark("later", httpdate::fmt_http_date(time + Duration::from_secs(60 * 60)));
        mark("data", get("/data.bin", "identity").0);
        for coding in ["identity", "br", "zstd", "gzip"] {
            let (etag, modified) = get("/page.html", coding);
            mark(&format!("page.{coding}"), etag);
            mark(&format!("page.{coding}.modified"), modified);
        }
        Self(marks)
    }

    /// Replaces the marks in a case.
    pub(crate) fn settle(&self, case: &mut Case) {
        case.sent = self.fill(&case.sent);
        for (_, want) in case.answers.iter_mut().flat_map(|answer| &mut answer.fields) {
            if let Want::Is(text) = want {
                *text = String::from_utf8(self.fill(text.as_bytes())).expect("marks are text");
            }
        }
    }

    fn fill(&self, sent: &[u8]) -> Vec<u8> {
        if !sent.contains(&b'{') {
            return sent.to_vec();
        }
        // Heads may hold bytes that are no text, so each is one character for the moment.
        let mut text: String = sent.iter().map(|byte| char::from(*byte)).collect();
        for (mark, value) in &self.0 {
            text = text.replace(mark, value);
        }
        text.chars().map(|one| u8::try_from(one).expect("it was a byte before")).collect()
    }
}

/// The obsolete form of RFC 850, from the preferred one (RFC 9110 section 5.6.7).
fn rfc850(date: &str) -> String {
    let (day, rest) = date.split_once(", ").unwrap();
    let day = match day {
        "Mon" => "Monday",
        "Tue" => "Tuesday",
        "Wed" => "Wednesday",
        "Thu" => "Thursday",
        "Fri" => "Friday",
        "Sat" => "Saturday",
        _ => "Sunday",
    };
    let parts: Vec<&str> = rest.split(' ').collect();
    format!("{day}, {}-{}-{} {} GMT", parts[0], parts[1], &parts[2][2..], parts[3])
}

/// The form of asctime(3).
fn asctime(date: &str) -> String {
    let (day, rest) = date.split_once(", ").unwrap();
    let parts: Vec<&str> = rest.split(' ').collect();
    let number: u32 = parts[0].parse().unwrap();
    format!("{day} {} {number:2} {} {}", parts[1], parts[3], parts[2])
}

/// Checks one answer of a case.
pub(crate) fn check(what: &str, expected: &Answer, answer: &Response) {
    assert_eq!(answer.status, expected.status, "{what}: {expected:?}, not {answer:?}");
    for (name, want) in &expected.fields {
        let value = answer.field(name);
        let lists = |member: &str| {
            let mut members = value.unwrap_or_default().split(',');
            members.any(|one| one.trim().eq_ignore_ascii_case(member))
        };
        let fits = match want {
            Want::Is(text) => value == Some(text.as_str()),
            Want::Any => value.is_some(),
            Want::Absent => value.is_none(),
            Want::Lists(member) => lists(member),
        };
        assert!(fits, "{what}: {name}: {want:?}, not {value:?}");
    }
    match &expected.body {
        Body::Any => {}
        Body::Empty => assert!(answer.body.is_empty(), "{what}: {answer:?}"),
        Body::File(name) => {
            assert!(answer.body == site::content(name), "{what}: not the content of {name}");
        }
        Body::Part(name, span) => {
            let whole = site::content(name);
            assert!(answer.body == whole[span.clone()], "{what}: wrong part of {name}");
            let said = format!("bytes {}-{}/{}", span.start, span.end - 1, whole.len());
            assert_eq!(answer.field("content-range"), Some(said.as_str()), "{what}");
        }
        Body::Parts(name, spans) => multipart::check(what, &site::content(name), spans, answer),
        Body::Says(text) => {
            assert!(answer.text().contains(text), "{what}: does not say {text:?}: {answer:?}");
        }
    }
    always(what, expected.method, answer);
}

/// What holds for every answer, whatever it is an answer to.
pub(crate) fn always(what: &str, method: &str, answer: &Response) {
    if answer.status < 200 {
        assert_eq!((answer.status, answer.fields.len()), (100, 0), "{what}");
        return;
    }
    let has = |name: &str| {
        answer.field(name).unwrap_or_else(|| panic!("{what}: no {name}: {answer:?}")).to_owned()
    };
    // RFC 9110 section 5.6.7: the preferred form, which is the only one that comes out the same.
    let date = has("date");
    let parsed = httpdate::parse_http_date(&date).unwrap_or_else(|_| panic!("{what}: {date}"));
    assert_eq!(httpdate::fmt_http_date(parsed), date, "{what}");
    let reason = pitcrew::http::status::Status::ALL
        .iter()
        .find(|status| status.code() == answer.status)
        .map(|status| status.reason());
    assert_eq!(reason, Some(answer.reason.as_str()), "{what}: the phrase of the RFC");
    if matches!(answer.status, 204 | 304) {
        // RFC 9110 sections 15.3.5 and 15.4.5, and section 8.6 for the length.
        assert!(answer.field("content-length").is_none(), "{what}: {answer:?}");
        assert!(answer.body.is_empty(), "{what}: {answer:?}");
    } else {
        has("content-type");
        has("content-length");
    }
    assert_eq!(has("x-content-type-options"), "nosniff", "{what}");
    match answer.status {
        200 | 206 | 304 => {
            let tag = has("etag");
            let opaque = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let strong = opaque.is_some_and(|tag| !tag.is_empty() && !tag.contains('"'));
            assert!(strong, "{what}: not a strong tag: {tag}");
            // A listing has neither date nor ranges, and is told by what it depends on.
            let listed = |one: &str| one.trim().eq_ignore_ascii_case("accept");
            if answer.field("vary").is_some_and(|vary| vary.split(',').any(listed)) {
                return;
            }
            let modified = httpdate::parse_http_date(&has("last-modified")).unwrap();
            // RFC 9110 section 8.8.2.1: never later than the message.
            assert!(modified <= parsed, "{what}: Last-Modified lies in the future");
            if answer.status != 304 {
                assert_eq!(has("accept-ranges"), "bytes", "{what}");
            }
        }
        204 => assert_eq!(has("allow"), "GET, HEAD, OPTIONS", "{what}"),
        301 | 302 | 307 | 308 => {
            let location = has("location");
            let here = location.starts_with('/') && !location.starts_with("//");
            // A rule may lead elsewhere, and what a client asked for may not.
            assert!(here || location == "https://shop.example/?from=here", "{what}: {location}");
            assert!(location.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{what}");
        }
        status => {
            assert!(status >= 400, "{what}: an unexpected kind of answer: {answer:?}");
            assert!(matches!(status, 400..=499 | 501 | 503 | 505), "{what}: {answer:?}");
            assert!(has("content-length").parse::<u64>().unwrap() < 4096, "{what}: not short");
            assert!(method == "HEAD" || !answer.body.is_empty(), "{what}: a refusal says so");
            assert_eq!(answer.field("allow").is_some(), status == 405, "{what}");
            assert_eq!(answer.field("retry-after").is_some(), status == 503, "{what}");
            assert!(answer.field("etag").is_none(), "{what}: a refusal has no validator");
            let said = answer.text().to_lowercase();
            for inside in ["src/", "panicked", "os error", ".rs", "io_uring", "/tmp", "site/"] {
                assert!(!said.contains(inside), "{what}: tells about the inside: {said}");
            }
        }
    }
}

/// Checks that the Date of an answer lies between the request and now, to the second. The
/// server's clock is the kernel's coarse one, which lags by a tick (clock_gettime(2)).
pub(crate) fn date_is_right(what: &str, asked: SystemTime, answer: &Response) {
    const TICK: Duration = Duration::from_millis(10);
    let Some(date) = answer.field("date") else { return };
    let date = httpdate::parse_http_date(date).unwrap();
    let second = Duration::from_secs(1);
    assert!(date + second > asked - TICK, "{what}: the Date is of before the request");
    assert!(date <= SystemTime::now(), "{what}: the Date lies in the future");
}

/// The last answer of a case says that the connection closes exactly when it does.
pub(crate) fn says_its_end(case: &Case, number: usize, answer: &Response) {
    if answer.status < 200 {
        return;
    }
    let last = number + 1 == case.answers.len();
    let closes = last && case.after == After::Closed;
    // HTTP/1.0 without keep-alive closes in any case; it is said all the same.
    assert_eq!(answer.says_close(), closes, "{}: answer {}: {answer:?}", case.name, number + 1);
}
