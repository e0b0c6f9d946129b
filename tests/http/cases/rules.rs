//! What the rules of [`crate::site::RULES`] make of answers.

use pitcrew::http::refusal::Refusal;

use crate::case::{Case, Setup, clause, of, raw, request, target, with};

pub(super) fn cases() -> Vec<Case> {
    let tables = [fields(), pages(), fallback(), redirects(), mounts(), hosts(), shared()];
    let cases = tables.into_iter().flatten();
    cases.map(|case| case.setup(Setup::Rules)).collect()
}

fn fields() -> Vec<Case> {
    // The last rule of a field counts, and what is removed is gone.
    let young = |case: Case| {
        let case = case.field("cache-control", "max-age=60").field("x-all", "2");
        case.lacks("server").lacks("x-always")
    };
    clause(
        "RFC 9110 section 5.1",
        [
            young(target("/plain.txt").whole("plain.txt")),
            young(request("HEAD /plain.txt HTTP/1.1", "").answered(200).head()),
            young(with("If-None-Match: {etag}").not_modified()),
            young(with("Range: bytes=2-4").part("plain.txt", 2..5)),
            young(with("Range: bytes=0-1,5-6").parts("plain.txt", &[0..2, 5..7])),
            young(of("/page.html", "Accept-Encoding: br").whole("page.html.br").varies()),
            target("/style.css")
                .whole("style.css")
                .field("x-all", "1")
                .field("server", "pitcrew")
                .lacks("cache-control"),
            // They go by the file that is sent.
            target("/dir/").whole("dir/index.html").field("x-always", "yes").field("x-all", "1"),
            // Only on 2xx and 304, unless always.
            target("/missing.txt")
                .missing()
                .sends("dir/page.html")
                .lacks("x-all")
                .lacks("x-always"),
            target("/dir/missing.txt")
                .missing()
                .sends("dir/page.html")
                .lacks("x-all")
                .field("x-always", "yes"),
            target("/dir").answered(301).lacks("x-all").lacks("x-always"),
            target("/dir/sub").answered(301).lacks("x-all").field("x-always", "yes"),
            with("If-Match: \"x\"").failed().lacks("cache-control"),
            of("/dir/page.html", "If-Match: \"x\"").failed().field("x-always", "yes"),
            of("/dir/page.html", "Range: bytes=999-")
                .refused(416, Refusal::RangeUnsatisfiable)
                .field("x-always", "yes")
                .lacks("x-all"),
            // A request that could not be read names no path that a rule could go by.
            raw("a path in a head that is no head", "GET /dir/ HTTP/1.1\r\nHost : a\r\n\r\n")
                .ended(400, Refusal::FieldNameSpace)
                .lacks("x-always"),
            target("/thing.strange-ending")
                .whole("thing.strange-ending")
                .field("content-type", "text/x-strange; charset=utf-8"),
        ],
    )
}

fn pages() -> Vec<Case> {
    let lost = |case: Case| {
        let case = case.missing().sends("dir/page.html").lacks("etag").lacks("last-modified");
        case.field("content-type", "text/html; charset=utf-8").lacks("accept-ranges")
    };
    let mut cases = clause(
        "RFC 9110 section 15.5",
        [
            lost(target("/missing.txt")),
            lost(target("/dir/missing.txt")),
            lost(target("/.hidden")),
            lost(target("/plain.txt/x.y")),
            // Neither conditions nor ranges nor codings apply to it.
            lost(of("/missing.txt", "Range: bytes=0-1")),
            lost(of("/missing.txt", "If-None-Match: *\r\nIf-Match: \"x\"")),
            lost(of("/missing.txt", "Accept-Encoding: br, gzip")).lacks("content-encoding"),
            lost(of("/missing.txt", "Accept: application/json")),
            lost(request("HEAD /missing.txt HTTP/1.1", "")).head(),
            request("POST / HTTP/1.1", "")
                .refused(405, Refusal::MethodNotAllowed)
                .sends("app.js")
                .field("allow", "GET, HEAD, OPTIONS"),
            raw(
                "a body before a page",
                "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            )
            .refused(405, Refusal::MethodNotAllowed)
            .sends("app.js"),
            target("/dead/letter").refused(410, Refusal::Gone).sends("none.txt"),
            request("HEAD /dead/letter HTTP/1.1", "").refused(410, Refusal::Gone).head(),
            request("POST /dead/letter HTTP/1.1", "")
                .refused(405, Refusal::MethodNotAllowed)
                .sends("app.js"),
            // None of these has a page.
            target("/%00").refused(400, Refusal::TargetNul),
            request("BREW / HTTP/1.1", "").refused(501, Refusal::MethodUnknown),
        ],
    );
    cases.extend(clause(
        "RFC 9112 section 9.3",
        [
            lost(request("GET /missing.txt HTTP/1.1", "Connection: close")).closed(),
            lost(raw("a page in HTTP/1.0", "GET /missing.txt HTTP/1.0\r\n\r\n")).closed(),
        ],
    ));
    cases
}

fn fallback() -> Vec<Case> {
    let application = |path: &str| target(path).whole("index.html").has("etag");
    clause(
        "RFC 9110 section 15.3.1",
        [
            application("/users/7"),
            application("/users/7/"),
            application("/v1.2/"),
            application("/users/../people"),
            application("/plain/a?b=c.d"),
            of("/users/7", "If-None-Match: *").not_modified(),
            of("/users/7", "Range: bytes=0-8").part("index.html", 0..9),
            request("HEAD /users/7 HTTP/1.1", "").answered(200).head(),
            target("/missing.js").missing().sends("dir/page.html"),
            target("/.git/none").missing().sends("dir/page.html"),
            target("/elsewhere/none").missing().sends("dir/page.html"),
            request("DELETE /users/7 HTTP/1.1", "")
                .refused(405, Refusal::MethodNotAllowed)
                .sends("app.js"),
        ],
    )
}

fn redirects() -> Vec<Case> {
    let moved = |path: &str, status: u16, location: &str| {
        target(path).answered(status).field("location", location).lacks("etag")
    };
    clause(
        "RFC 9110 section 15.4",
        [
            moved("/old/keep.txt", 302, "/plain.txt#here"),
            // The fragment stands behind the query of the request (RFC 9110 section 10.2.2).
            moved("/old/keep.txt?x=1", 302, "/plain.txt?x=1#here"),
            moved("/old/a%20b/c?q", 308, "/new/a%20b/c?q"),
            moved("/old/", 308, "/new/"),
            moved("/%6fld//x/../y", 308, "/new/y"),
            moved("//old//evil.example/", 308, "/new/evil.example/"),
            moved("/old/%0d%0aX:%20y", 308, "/new/%0D%0AX%3A%20y").lacks("x"),
            moved("/old/%FF%22%3C", 308, "/new/%FF%22%3C"),
            moved("/shop/1/buy?a=b", 307, "https://shop.example/?from=here"),
            request("HEAD /old/x HTTP/1.1", "").answered(308).head().field("location", "/new/x"),
            request("POST /old/x HTTP/1.1", "")
                .refused(405, Refusal::MethodNotAllowed)
                .sends("app.js"),
            of("/old/x", "Range: bytes=0-0\r\nIf-Match: \"x\"")
                .answered(308)
                .field("location", "/new/x"),
            target("/shop/1/2/buy").whole("index.html"),
            target("/old").whole("index.html").named("the path of a prefix without its slash"),
            target("/old/%00").refused(400, Refusal::TargetNul),
        ],
    )
}

fn mounts() -> Vec<Case> {
    let slash = |path: &str, location: &str| target(path).answered(301).field("location", location);
    clause(
        "RFC 3986 section 5.2.4",
        [
            target("/elsewhere/page.html").whole("dir/page.html"),
            target("/elsewhere/").whole("dir/index.html"),
            target("/elsewhere/sub/").whole("dir/sub/index.html"),
            of("/elsewhere/page.html", "Range: bytes=0-0").part("dir/page.html", 0..1),
            of("/elsewhere/deep/", "Accept-Encoding: br").whole("docs/index.html.br").varies(),
            slash("/elsewhere", "/elsewhere/"),
            slash("/elsewhere?a=b", "/elsewhere/?a=b"),
            slash("/elsewhere/deep", "/elsewhere/deep/"),
            slash("/elsewhere/sub", "/elsewhere/sub/"),
            // What is resolved before the mount is looked for.
            target("/elsewhere/../plain.txt").whole("plain.txt"),
            target("/dir/../elsewhere/page.html").whole("dir/page.html"),
            target("/elsewhere/../../plain.txt").refused(400, Refusal::TargetClimbs),
            // A link that leaves the mounted directory, though not the root.
            target("/elsewhere/up.txt").missing().sends("dir/page.html"),
            target("/elsewhere/.secret").missing().sends("dir/page.html"),
            target("/elsewhere/deep/page.html").missing().sends("dir/page.html"),
        ],
    )
}

fn hosts() -> Vec<Case> {
    let at = |host: &str, path: &str| {
        let sent = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        raw(&format!("{path} of {host}"), sent)
    };
    clause(
        "RFC 9110 section 7.2",
        [
            at("b.example", "/").whole("dir/page.html"),
            at("B.EXAMPLE.:8080", "/").whole("dir/page.html"),
            at("x.y.c.example", "/").whole("dir/page.html"),
            at("c.example", "/").whole("index.html"),
            at("xb.example", "/").whole("index.html"),
            at("b.example", "/plain.txt").missing(),
            at("b.example", "/old/x").whole("dir/index.html"),
            at("b.example", "/elsewhere/page.html").missing(),
            at("127.0.0.1", "/").whole("index.html"),
            at("[::1]:80", "/").whole("index.html"),
            // The target wins over Host (RFC 9112 section 3.2.2).
            at("other.example", "http://b.example/").whole("dir/page.html"),
            at("b.example", "http://other.example/").whole("index.html"),
            raw("no Host", "GET / HTTP/1.0\r\n\r\n").whole("index.html").closed(),
            raw(
                "two hosts on one connection",
                "GET / HTTP/1.1\r\nHost: b.example\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            )
            .whole("dir/page.html")
            .whole("index.html"),
        ],
    )
}

/// What scripts of other origins may read.
fn shared() -> Vec<Case> {
    const ALLOWED: &str = "access-control-allow-origin";
    let origin = |path: &str, name: &str| of(path, &format!("Origin: https://{name}.example"));
    let told = |case: Case, name: &str| {
        let case = case.field(ALLOWED, &format!("https://{name}.example")).lists("vary", "origin");
        case.field("access-control-allow-credentials", "true")
    };
    let not = |case: Case| case.lacks(ALLOWED).lists("vary", "origin");
    let mut cases = clause(
        "Fetch section 3.3.3",
        [
            target("/data.json").whole("data.json").field(ALLOWED, "*").lacks("vary"),
            origin("/data.json", "z").whole("data.json").field(ALLOWED, "*"),
            told(origin("/dir/page.html", "a").whole("dir/page.html"), "a")
                .field("access-control-expose-headers", "ETag"),
            told(origin("/dir/page.html", "b").whole("dir/page.html"), "b"),
            not(origin("/dir/page.html", "z").whole("dir/page.html")),
            not(of("/dir/page.html", "Origin: null").whole("dir/page.html")),
            not(of("/dir/page.html", "Origin: https://a.example.evil").whole("dir/page.html")),
            not(target("/dir/page.html").whole("dir/page.html")),
            not(of("/dir/page.html", "Origin: https://a.example\r\nOrigin: https://b.example")
                .whole("dir/page.html")),
            // Refusals and redirects as well, or a script could not tell them.
            told(origin("/dir/missing.txt", "a").missing().sends("dir/page.html"), "a"),
            told(origin("/dir/sub", "b").answered(301), "b"),
            told(
                of("/dir/page.html", "Origin: https://a.example\r\nIf-None-Match: *")
                    .not_modified(),
                "a",
            ),
            // The coding and the origin, both.
            told(
                of("/page.html", "Accept-Encoding: br\r\nOrigin: https://a.example")
                    .whole("page.html.br")
                    .varies(),
                "a",
            ),
            origin("/plain.txt", "a").whole("plain.txt").lacks(ALLOWED).lacks("vary"),
        ],
    );
    let preflight = |path: &str, name: &str| {
        let fields =
            format!("Origin: https://{name}.example\r\nAccess-Control-Request-Method: GET");
        request(&format!("OPTIONS {path} HTTP/1.1"), &fields).answered(204).empty()
    };
    cases.extend(clause(
        "Fetch section 3.3.2",
        [
            preflight("/dir/x", "a")
                .field(ALLOWED, "https://a.example")
                .field("access-control-allow-methods", "GET, HEAD")
                .field("access-control-allow-headers", "Range")
                .field("access-control-max-age", "600"),
            preflight("/dir/x", "z").lacks(ALLOWED).lacks("access-control-allow-methods"),
            preflight("/plain.txt", "a").lacks(ALLOWED),
            request("OPTIONS /dir/x HTTP/1.1", "Origin: https://a.example")
                .answered(204)
                .empty()
                .lacks("access-control-allow-methods"),
        ],
    ));
    cases
}
