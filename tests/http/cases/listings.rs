//! Listings of directories: their forms, their conditions, and what they leave out.

use pitcrew::http::refusal::Refusal;

use crate::case::{Case, Setup, clause, of, raw, request, target};

pub(super) fn cases() -> Vec<Case> {
    let tables = [forms(), conditional(), contents(), around()];
    let cases = tables.into_iter().flatten();
    cases.map(|case| case.setup(Setup::Listing)).collect()
}

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// A request for the listing of `/noindex/`, as JSON.
fn json(fields: &str) -> Case {
    let fields = ["Accept: application/json", fields].join("\r\n");
    of("/noindex/", fields.trim_end())
}

/// Answered by the listing of `/noindex/` as JSON.
fn listed(case: Case) -> Case {
    case.answered(200).listing(JSON).field("etag", "{listing}").says("{\"path\":\"/noindex/\"")
}

/// The mark of a row of HTML.
const ROW: &str = "<a href=\"file.txt\"><bdi>file.txt</bdi></a>";

fn forms() -> Vec<Case> {
    let html = |fields: &str| of("/noindex/", fields).answered(200).listing(HTML).says(ROW);
    clause(
        "RFC 9110 section 12.5.1",
        [
            target("/noindex/").answered(200).listing(HTML).says(ROW).named("HTML unless asked"),
            html("Accept: */*"),
            html("Accept: text/html"),
            html("Accept: image/png"),
            html("Accept: application/json;q=0.5, text/html"),
            html("Accept: application/json;q=0"),
            listed(json("")).named("JSON when asked for"),
            listed(of("/noindex/", "Accept: text/html;q=0.4, application/json;q=0.5")),
            listed(target("/noindex/?format=json")),
            listed(of("/noindex/?format=json", "Accept: text/html")),
            of("/noindex/?format=html", "Accept: application/json")
                .answered(200)
                .listing(HTML)
                .says(ROW),
        ],
    )
}

fn conditional() -> Vec<Case> {
    let not_modified = |case: Case| {
        let case = case.answered(304).empty().has("date").field("etag", "{listing}");
        case.lists("vary", "accept").lacks("content-length").lacks("last-modified")
    };
    clause(
        "RFC 9110 section 13",
        [
            not_modified(json("If-None-Match: {listing}")),
            not_modified(json("If-None-Match: W/{listing}")),
            not_modified(json("If-None-Match: \"x\", {listing}")),
            not_modified(json("If-None-Match: *")),
            listed(json("If-None-Match: \"other\"")),
            listed(json("If-Match: {listing}")),
            listed(json("If-Match: *")),
            json("If-Match: W/{listing}").failed(),
            json("If-Match: \"other\"").failed(),
            // It has no date to be weighed.
            listed(json("If-Modified-Since: {later}")),
            listed(json("If-Unmodified-Since: {earlier}")),
            // Nor ranges: its bytes are made anew each time.
            listed(json("Range: bytes=0-9")).lacks("content-range"),
            listed(json("Range: bytes=999999-")),
            listed(json("Range: bytes=0-0\r\nIf-Range: {listing}")),
        ],
    )
}

fn contents() -> Vec<Case> {
    let says = |target: &str, text: &'static str| {
        let case = of(target, "Accept: application/json").answered(200).listing(JSON);
        case.says(text)
    };
    let html = |path: &str, text: &'static str| target(path).answered(200).listing(HTML).says(text);
    let mut cases = clause(
        "RFC 3986 section 3.3",
        [
            says(
                "/odd%20names/",
                "\"name\":\"quote\\\"<&>.txt\",\"href\":\"quote%22%3C%26%3E.txt\"",
            ),
            says(
                "/odd%20names/",
                "\"name\":\"line\\r\\nfeed.txt\",\"href\":\"line%0D%0Afeed.txt\"",
            )
            .named("a line end in a listed name"),
            html(
                "/odd%20names/",
                "<a href=\"quote%22%3C%26%3E.txt\"><bdi>quote&quot;&lt;&amp;&gt;",
            )
            .named("a listed name in HTML"),
            html("/odd%20names/", "<title>/odd names/</title>").named("the title of a listing"),
            html("/odd%20names/?%22%3E%3Cscript%3E", "<title>/odd names/</title>")
                .named("a query of a listing"),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 15.3.1",
        [
            says("/noindex/?sort=size&order=desc", "\n{\"name\":\"file.txt\"")
                .named("the largest first"),
            says("/noindex/?sort=size&order=asc", "\n{\"name\":\"other.html\"")
                .named("the smallest first"),
            says("/.well-known/", "\"entries\":[\n{\"name\":\"security.txt\"")
                .named("names with a dot are left out"),
            says("/indexed/", "\"name\":\"index.html\",\"href\":\"index.html/\"")
                .named("an index that is a directory"),
            target("/dir/").whole("dir/index.html").named("an index comes first"),
            target("/").whole("index.html").named("also at the root"),
        ],
    ));
    cases
}

/// What a listing changes of the rest: nothing.
fn around() -> Vec<Case> {
    let mut cases = clause(
        "RFC 9110 section 15.5",
        [
            target("/missing/").missing(),
            target("/plain.txt/").missing(),
            target("/.hidden-directory/").missing(),
            target("/fifo/").missing(),
            target("/noindex/../..").refused(400, Refusal::TargetClimbs),
            request("POST /noindex/ HTTP/1.1", "").refused(405, Refusal::MethodNotAllowed),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 15.4.2",
        [target("/noindex?sort=size")
            .answered(301)
            .field("location", "/noindex/?sort=size")
            .named("a listing has its slash")],
    ));
    let one = "GET /noindex/ HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n";
    let file = "GET /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    cases.extend(clause(
        "RFC 9112 section 9.3.2",
        [
            listed(listed(raw("two listings", [one, one].concat()))),
            listed(
                listed(raw("listings and a file", [one, file, one].concat())).whole("plain.txt"),
            ),
        ],
    ));
    cases.extend(clause(
        "RFC 9110 section 9.3.2",
        [request("HEAD /noindex/ HTTP/1.1", "")
            .answered(200)
            .listing(HTML)
            .head()
            .named("the head of a listing")],
    ));
    cases.extend(clause(
        "RFC 9112 section 9.3",
        [
            raw("a listing in HTTP/1.0", "GET /noindex/ HTTP/1.0\r\n\r\n")
                .answered(200)
                .listing(HTML)
                .closed(),
            request("GET /noindex/ HTTP/1.1", "Connection: close")
                .answered(200)
                .listing(HTML)
                .closed(),
            request("GET /noindex/ HTTP/1.1", "Content-Length: 4\r\n\r\nbody")
                .answered(200)
                .listing(HTML)
                .named("a listing and a body"),
        ],
    ));
    cases
}
