//! Rules of the configuration over real sockets: fields, cross-origin sharing, pages of refusals,
//! fallback, redirects, mounts, hosts, and directories that are switched.

#![allow(clippy::unwrap_used)]

mod common;

use common::{ENGINES, Launch, Response, Scratch, Server, digest_of_bytes, get};

/// A server over `site` of a scratch directory with these rules.
fn serve(scratch: &Scratch, arguments: &[&str], rules: &str) -> Server {
    launch(scratch, arguments, rules).start()
}

fn launch(scratch: &Scratch, arguments: &[&str], rules: &str) -> Launch {
    let config = scratch.write("config.toml", format!("root = \"site\"\n{rules}"));
    let mut all = vec!["--workers", "1", "--config", config.to_str().unwrap()];
    all.extend(arguments);
    Launch::new(&all)
}

fn ask(server: &Server, method: &str, path: &str, fields: &str) -> Response {
    let mut wire = server.connect();
    wire.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes());
    let answer = wire.answer(method).unwrap();
    // Whatever was answered, the next request on the connection is read right.
    wire.serves().unwrap();
    answer
}

fn site() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("site/index.html", "home");
    scratch.write("site/assets/app.js", "script");
    scratch.write("site/docs/index.html", "docs");
    scratch.write("site/404.html", "<h1>lost</h1>");
    scratch.write("media/clip.mp4", "clip");
    scratch.write("media/index.html", "clips");
    scratch
}

/// RFC 9110 section 5.1: fields by glob, set, replaced and removed, on 2xx and 304 or on all.
#[test]
fn fields_go_by_the_file_that_is_sent() {
    let scratch = site();
    let server = serve(
        &scratch,
        &[],
        r#"
        [[fields]]
        match = "/**"
        set = { X-All = "1", Cache-Control = "no-cache" }
        [[fields]]
        match = ["/assets/**"]
        set = { Cache-Control = "max-age=60" }
        remove = ["Server"]
        [[fields]]
        match = "/**/*.html"
        set = { X-Page = "yes" }
        [[fields]]
        match = "/**"
        set = { X-Always = "1" }
        always = true
        "#,
    );
    let home = ask(&server, "GET", "/", "");
    assert_eq!(home.field("x-page"), Some("yes"), "the index is a page");
    assert_eq!(home.field("cache-control"), Some("no-cache"));
    assert_eq!(home.field("server"), Some("pitcrew"));
    let script = ask(&server, "HEAD", "/assets/app.js", "");
    assert_eq!(script.field("cache-control"), Some("max-age=60"), "the last rule counts");
    assert_eq!((script.field("server"), script.field("x-page")), (None, None));
    // RFC 9110 section 15.4.5: a 304 has the fields that a 200 would have had.
    let tag = format!("If-None-Match: {}\r\n", home.field("etag").unwrap());
    let kept = ask(&server, "GET", "/", &tag);
    assert_eq!((kept.status, kept.field("cache-control")), (304, Some("no-cache")));
    let part = ask(&server, "GET", "/assets/app.js", "Range: bytes=0-1\r\n");
    assert_eq!((part.status, part.field("cache-control")), (206, Some("max-age=60")));
    for (path, fields, status) in [
        ("/none.js", "", 404),
        ("/docs", "", 301),
        ("/", "Range: bytes=9-\r\n", 416),
        ("/", "If-Match: \"x\"\r\n", 412),
    ] {
        let other = ask(&server, "GET", path, fields);
        assert_eq!(other.status, status);
        assert_eq!(other.field("x-always"), Some("1"), "{path}");
        assert_eq!(other.field("x-all"), None, "{path}: only on 2xx and 304");
    }
}

/// Fetch, section 3.3: the CORS protocol.
#[test]
fn scripts_of_other_origins_read_what_is_shared() {
    let scratch = site();
    let server = serve(
        &scratch,
        &[],
        r#"
        fallback = "index.html"
        [[cors]]
        match = "/assets/**"
        origins = ["*"]
        [[cors]]
        match = ["/", "/docs/**", "/app/**"]
        origins = ["https://a.example", "https://b.example"]
        headers = ["Range"]
        expose = ["ETag"]
        max-age = "10m"
        credentials = true
        "#,
    );
    let origin = |name: &str| format!("Origin: https://{name}.example\r\n");
    let allowed =
        |answer: &Response| answer.field("access-control-allow-origin").map(ToOwned::to_owned);
    for fields in [String::new(), origin("z")] {
        let answer = ask(&server, "GET", "/assets/app.js", &fields);
        assert_eq!(allowed(&answer).as_deref(), Some("*"));
        assert_eq!(answer.field("vary"), None, "it is the same for everyone");
    }
    // One cached file, by turns for each origin, by each way that leads to it.
    for path in ["/", "/docs/", "/app/page", "/docs/none.txt"] {
        for (name, shared) in [("a", true), ("z", false), ("b", true)] {
            let answer = ask(&server, "GET", path, &origin(name));
            let expected = shared.then(|| format!("https://{name}.example"));
            assert_eq!(allowed(&answer), expected, "{path} {name}");
            assert!(answer.field("vary").unwrap().contains("Origin"), "{path}");
            let credentials = answer.field("access-control-allow-credentials");
            assert_eq!(credentials.is_some(), shared);
        }
        let same = ask(&server, "GET", path, "");
        assert_eq!(allowed(&same), None);
        assert!(same.field("vary").unwrap().contains("Origin"), "{path}");
    }
    // The same file by its own name is not shared, and does not vary.
    let plain = ask(&server, "GET", "/index.html", &origin("a"));
    assert_eq!((allowed(&plain), plain.field("vary")), (None, None));
    let tag = ask(&server, "GET", "/", "").field("etag").unwrap().to_owned();
    let kept = ask(&server, "GET", "/", &format!("If-None-Match: {tag}\r\n{}", origin("b")));
    assert_eq!((kept.status, allowed(&kept)), (304, Some("https://b.example".into())));

    let preflight = |path: &str, name: &str| {
        let fields = format!("{}Access-Control-Request-Method: GET\r\n", origin(name));
        let answer = ask(&server, "OPTIONS", path, &fields);
        assert_eq!(answer.status, 204);
        answer
    };
    let answer = preflight("/docs/x", "a");
    assert_eq!(allowed(&answer), Some("https://a.example".into()));
    assert_eq!(answer.field("access-control-allow-methods"), Some("GET, HEAD"));
    assert_eq!(answer.field("access-control-allow-headers"), Some("Range"));
    assert_eq!(answer.field("access-control-max-age"), Some("600"));
    assert_eq!(allowed(&preflight("/docs/x", "z")), None);
    assert_eq!(allowed(&preflight("/other", "a")), None);
    // RFC 9110 section 9.3.7: without the request method it is no preflight.
    let options = ask(&server, "OPTIONS", "/docs/x", &origin("a"));
    assert_eq!(options.field("access-control-allow-methods"), None);
    assert_eq!(options.field("allow"), Some("GET, HEAD, OPTIONS"));
}

/// RFC 9110 section 15.5: the explanation of an error may be a page of the site.
#[test]
fn a_refusal_has_its_page_in_every_engine() {
    let scratch = site();
    let page: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    scratch.write("site/404.html", &page);
    scratch.write("site/method.txt", "no");
    for engine in ENGINES {
        let server = serve(
            &scratch,
            &["--engine", engine],
            "[errors]\n404 = \"404.html\"\n405 = \"method.txt\"\n403 = \"none.html\"\n",
        );
        let lost = ask(&server, "GET", "/none", "Range: bytes=0-1\r\nIf-None-Match: *\r\n");
        assert_eq!(lost.status, 404, "{engine}");
        assert_eq!(digest_of_bytes(&lost.body), digest_of_bytes(&page), "{engine}");
        assert_eq!(lost.field("content-type"), Some("text/html; charset=utf-8"));
        for absent in ["etag", "last-modified", "accept-ranges", "content-range"] {
            assert_eq!(lost.field(absent), None, "{engine} {absent}");
        }
        // RFC 9110 section 9.3.2.
        let head = ask(&server, "HEAD", "/none", "");
        assert_eq!((head.status, head.body.len()), (404, 0));
        assert_eq!(head.field("content-length"), Some("300000"));
        // RFC 9110 section 15.5.6: Allow stays, whatever the body.
        let post = ask(&server, "POST", "/", "Content-Length: 0\r\n");
        assert_eq!((post.status, post.text().as_str()), (405, "no"));
        assert_eq!(post.field("allow"), Some("GET, HEAD, OPTIONS"));
        // By its own name it is a file like others, and conditions keep their answers.
        assert_eq!(ask(&server, "GET", "/404.html", "").status, 200);
        assert_eq!(ask(&server, "GET", "/", "Range: bytes=99-\r\n").status, 416);
        assert_eq!(ask(&server, "GET", "/", "If-Match: \"x\"\r\n").status, 412);
        assert!(server.figure(&["refusals", "not_found"]) >= 2, "{engine}");
    }
}

/// RFC 9110 section 15.5: the first error is the one that is told.
#[test]
fn a_page_that_is_not_there_is_no_second_refusal() {
    let scratch = site();
    let server = serve(&scratch, &[], "[errors]\n404 = \"gone/away.html\"\n");
    let answer = ask(&server, "GET", "/none", "");
    assert_eq!((answer.status, answer.text().lines().next()), (404, Some("404 Not Found")));
    // It is looked for again, and found when it has come.
    scratch.write("site/gone/away.html", "here");
    common::eventually("the page is sent", || {
        (ask(&server, "GET", "/none", "").text() == "here").then_some(())
    });
}

/// RFC 9110 section 15.3.1: the fallback file is the answer, with its validators.
#[test]
fn pages_that_are_not_there_are_the_application() {
    let scratch = site();
    scratch.write("site/.git/config", "secret");
    let server = serve(
        &scratch,
        &[],
        "fallback = \"index.html\"\n[[mounts]]\npath = \"/media/\"\nroot = \"media\"\n",
    );
    for path in ["/", "/users/7", "/users/7/", "/v1.2/", "/a?b=c.d"] {
        let answer = ask(&server, "GET", path, "");
        assert_eq!((answer.status, answer.text().as_str()), (200, "home"), "{path}");
        assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
    }
    for path in ["/none.js", "/a/b.html", "/.git/none", "/.git/config", "/media/none"] {
        assert_eq!(ask(&server, "GET", path, "").status, 404, "{path}");
    }
    assert_eq!(ask(&server, "POST", "/users", "Content-Length: 0\r\n").status, 405);
    let tag = ask(&server, "HEAD", "/users/7", "").field("etag").unwrap().to_owned();
    assert_eq!(ask(&server, "GET", "/x", &format!("If-None-Match: {tag}\r\n")).status, 304);
    assert_eq!(ask(&server, "GET", "/assets/app.js", "").text(), "script");
}

/// RFC 9110 sections 15.4 and 10.2.2.
#[test]
fn redirects_lead_where_they_say() {
    let scratch = site();
    let server = serve(
        &scratch,
        &[],
        r#"
        [[redirects]]
        from = "/old/keep"
        to = "/assets/app.js"
        status = 302
        [[redirects]]
        from = "/old/**"
        to = "/new/**"
        status = 308
        [[redirects]]
        from = "/shop/*/buy"
        to = "https://shop.example/?from=here"
        status = 307
        [[redirects]]
        from = "/dead"
        status = 410
        "#,
    );
    for (path, status, location) in [
        ("/old/keep?x=1", 302, "/assets/app.js?x=1"),
        ("/old/a%20b/c?q", 308, "/new/a%20b/c?q"),
        ("/old/", 308, "/new/"),
        ("/%6fld//x/../y", 308, "/new/y"),
        ("/old//evil.example/%0d%0aX:%20y", 308, "/new/evil.example/%0D%0AX%3A%20y"),
        ("/shop/1/buy?a=b", 307, "https://shop.example/?from=here"),
    ] {
        let answer = ask(&server, "GET", path, "");
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.field("location"), Some(location), "{path}");
        assert_eq!(answer.field("x"), None);
        assert_eq!(ask(&server, "HEAD", path, "").status, status);
    }
    assert_eq!(ask(&server, "GET", "/dead", "").status, 410);
    assert_eq!(ask(&server, "GET", "/old", "").status, 404);
    assert_eq!(ask(&server, "GET", "/shop/1/2/buy", "").status, 404);
}

/// RFC 3986 section 3.3: by the first segments of the path, once it is resolved.
#[test]
fn mounts_are_other_directories() {
    let scratch = site();
    scratch.write("deep/x.txt", "deep");
    scratch.write("site/media/hidden.txt", "hidden");
    let server = serve(
        &scratch,
        &[],
        "[[mounts]]\npath = \"/media/\"\nroot = \"media\"\n\
         [[mounts]]\npath = \"/media/deep/\"\nroot = \"deep\"\n\
         [[fields]]\nmatch = \"/media/**\"\nset = { X-Media = \"1\" }\n",
    );
    let text = |path: &str| {
        let answer = ask(&server, "GET", path, "");
        (answer.status, answer.text())
    };
    assert_eq!(text("/media/clip.mp4"), (200, "clip".into()));
    assert_eq!(text("/media/"), (200, "clips".into()));
    assert_eq!(text("/media/deep/x.txt"), (200, "deep".into()));
    for path in ["/media/hidden.txt", "/media/deep/", "/media/../media/x.txt"] {
        assert_eq!(text(path).0, 404, "{path}");
    }
    let slash = ask(&server, "GET", "/media?a=b", "");
    assert_eq!((slash.status, slash.field("location")), (301, Some("/media/?a=b")));
    let deep = ask(&server, "GET", "/media/deep", "");
    assert_eq!(deep.field("location"), Some("/media/deep/"));
    assert_eq!(ask(&server, "GET", "/media/", "").field("x-media"), Some("1"));
    // The same name beneath two directories is two files.
    assert_eq!(text("/index.html").1, "home");
    assert_eq!(text("/media/index.html").1, "clips");
}

/// RFC 9110 section 7.2, RFC 9112 section 3.2.2.
#[test]
fn each_host_has_its_own_rules() {
    let scratch = site();
    scratch.write("a/index.html", "host a");
    scratch.write("b/start.html", "host b");
    let server = serve(
        &scratch,
        &[],
        r#"
        [[fields]]
        match = "/**"
        set = { X-From = "site" }
        [[redirects]]
        from = "/old"
        to = "/new"
        [[hosts]]
        names = ["a.example"]
        root = "a"
        [[hosts]]
        names = ["*.b.example", "b.example"]
        root = "b"
        index = ["start.html"]
        redirects = []
        [[hosts.fields]]
        match = "/**"
        set = { X-From = "b" }
        "#,
    );
    let at = |target: &str, host: &str| {
        let mut wire = server.connect();
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        wire.answer("GET").unwrap()
    };
    for (host, text, from) in [
        ("a.example", "host a", "site"),
        ("A.EXAMPLE.:8080", "host a", "site"),
        ("b.example", "host b", "b"),
        ("x.y.b.example:1", "host b", "b"),
        ("other.example", "home", "site"),
        ("127.0.0.1", "home", "site"),
    ] {
        let answer = at("/", host);
        assert_eq!(answer.text(), text, "{host}");
        assert_eq!(answer.field("x-from"), Some(from), "{host}");
    }
    assert_eq!(at("http://a.example/", "b.example").text(), "host a");
    assert_eq!(at("/old", "a.example").status, 301);
    assert_eq!(at("/old", "b.example").status, 404, "an empty table takes the place");
    // Without Host it is the first.
    let mut wire = server.connect();
    wire.send(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(wire.answer("GET").unwrap().text(), "home");
}

/// RFC 9110 sections 15.5.4 and 15.5.5: 404 hides a file, 403 tells of it.
#[test]
fn a_file_that_may_not_be_read_is_told_when_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = site();
    let path = scratch.write("site/locked.txt", "locked");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
    for (rule, status) in [("", 404), ("forbidden = \"403\"\n", 403)] {
        let mut launch = launch(&scratch, &[], rule);
        if rustix::process::geteuid().is_root() {
            // Root reads everything, unless it lacks the capabilities for it.
            let without = "-dac_override,-dac_read_search";
            launch = launch.through(&["setpriv", "--bounding-set", without]);
        }
        let server = launch.start();
        assert_eq!(ask(&server, "GET", "/locked.txt", "").status, status);
        assert_eq!(server.figure(&["refusals", "forbidden"]), u64::from(status == 403));
    }
}

/// RFC 9110 section 8.3.
#[test]
fn media_types_are_those_of_the_rules() {
    let scratch = site();
    scratch.write("site/a.tar.gz", "x");
    scratch.write("site/a.new", "x");
    let server =
        serve(&scratch, &[], "[media]\n\"tar.gz\" = \"application/x-two\"\nnew = \"text/x-new\"\n");
    let kind =
        |path: &str| ask(&server, "GET", path, "").field("content-type").map(ToOwned::to_owned);
    assert_eq!(kind("/a.tar.gz").as_deref(), Some("application/x-two"));
    assert_eq!(kind("/a.new").as_deref(), Some("text/x-new; charset=utf-8"));
}

/// RFC 9110 section 3.1: the target is the same resource, whatever directory it comes from now.
#[test]
fn a_switched_link_is_followed() {
    let scratch = Scratch::new();
    scratch.write("one/index.html", "one");
    scratch.write("two/index.html", "two");
    let link = scratch.join("site");
    std::os::unix::fs::symlink("one", &link).unwrap();
    let switch = |to: &str| {
        let next = scratch.join("next");
        std::os::unix::fs::symlink(to, &next).unwrap();
        std::fs::rename(&next, &link).unwrap();
    };
    let both = |engine| [(engine, true), (engine, false)];
    for (engine, follow) in ENGINES.into_iter().flat_map(both) {
        switch("one");
        let rule = format!("root-follow = {follow}\nopen-files-valid = \"0\"\n");
        let server = serve(&scratch, &["--engine", engine], &rule);
        assert_eq!(ask(&server, "GET", "/", "").text(), "one");
        switch("two");
        let expected = if follow { "two" } else { "one" };
        assert_eq!(ask(&server, "GET", "/", "").text(), expected, "{engine}, follow = {follow}");
        // A path that leads nowhere for a while changes nothing.
        std::fs::remove_file(&link).unwrap();
        assert_eq!(ask(&server, "GET", "/", "").text(), expected);
        std::os::unix::fs::symlink("one", &link).unwrap();
        assert_eq!(ask(&server, "GET", "/", "").text(), "one");
    }
}

#[test]
fn rules_that_do_not_go_together_are_named_with_their_places() {
    let scratch = site();
    let config = scratch.write(
        "config.toml",
        r#"root = "site"
fallback = "none.html"
[errors]
404 = "lost.html"
[[redirects]]
from = "/old/**"
to = "/new/"
[[redirects]]
from = "/old/page"
to = "/other"
[[redirects]]
from = "/telemetry"
to = "/x"
[[redirects]]
from = "/m/**"
to = "/y"
[[mounts]]
path = "/m/"
root = "media"
[[fields]]
match = "/.git/**"
set = { A = "b" }
[[cors]]
match = "/**"
origins = ["*"]
[[cors]]
match = "/data/*"
origins = ["*"]
"#,
    );
    let path = config.to_str().unwrap();
    let check = |path: &str| {
        let program = env!("CARGO_BIN_EXE_pitcrew");
        let output =
            std::process::Command::new(program).args(["check", "--config", path]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = check(path);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "config.toml:2:12: the fallback 'none.html' is not a file",
        "config.toml:4:7: the page 'lost.html' is not a file",
        "config.toml:8:1: the redirect from '/old/page' never applies: that from '/old/**'",
        "config.toml:11:1: the redirect from '/telemetry' does not apply",
        "config.toml:17:1: nothing of the mount '/m/' is served: the redirect from '/m/**'",
        "config.toml:20:1: '/.git/**' never matches",
        "config.toml:26:1: this cors rule never applies",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let long = "a".repeat(8200);
    let long_field = format!("[[fields]]\nmatch = \"/**\"\nset = {{ X-Long = \"{long}\" }}\n");
    let long_cors =
        format!("[[cors]]\nmatch = \"/**\"\norigins = [\"*\"]\nexpose = [\"{long}\"]\n");
    for (rules, part) in [
        (
            "[[redirects]]\nfrom = \"/a/**\"\nto = \"/a/b\"\n",
            "2:1: the redirect from '/a/**' leads to itself by '/a/b'",
        ),
        (
            "[[redirects]]\nfrom = \"/a\"\nto = \"/b\"\n\
             [[redirects]]\nfrom = \"/b\"\nto = \"/a\"\n",
            "2:1: the redirect from '/a' leads to itself by '/a' over that from '/b' at",
        ),
        ("[[mounts]]\npath = \"/m\"\nroot = \"media\"\n", "3:8: path: '/m' is not the path of a"),
        ("[[mounts]]\npath = \"/m/\"\nroot = \"no\"\n", "is not a directory; create it"),
        (
            "[[mounts]]\npath = \"/m/\"\nroot = \"media\"\n\
             [[mounts]]\npath = \"/m/\"\nroot = \"site\"\n",
            "5:1: '/m/' is mounted already, at",
        ),
        ("[[fields]]\nmatch = \"/**\"\n", "2:1: fields changes nothing"),
        ("[[fields]]\nmatch = \"*.js\"\nremove = [\"A\"]\n", "3:9: match: '*.js': a glob begins"),
        (
            "[[fields]]\nmatch = \"/**\"\nset = { Date = \"x\" }\n",
            "4:9: 'Date': the server computes this field",
        ),
        ("[[fields]]\nmach = \"/**\"\nremove = [\"A\"]\n", "3:1: unknown key 'mach' of fields"),
        ("[[redirects]]\nfrom = \"/a\"\n", "2:1: redirects needs the key 'to'"),
        ("[[redirects]]\nfrom = \"/a\"\nto = \"//b\"\n", "4:6: to: '//b': write a path"),
        ("[[redirects]]\nfrom = \"/a\"\nto = \"/b\"\nstatus = 200\n", "5:10: status: a redirect"),
        ("[[redirects]]\nfrom = \"/a\"\nto = \"/b/**\"\n", "needs a 'from' that is a directory"),
        ("[errors]\n416 = \"x.html\"\n", "3:1: '416' has no page"),
        ("[errors]\n404 = \"/x.html\"\n", "3:7: 404: '/x.html' begins with a slash"),
        (
            "[[cors]]\nmatch = \"/**\"\norigins = [\"*\"]\ncredentials = true\n",
            "2:1: cors: browsers take no \"*\" with credentials",
        ),
        ("[media]\na = \"b\"\n", "3:5: a: 'b': a media type is type/subtype"),
        ("[[hosts]]\nnames = [\"a:80\"]\n", "3:10: names: a name of a host has no port"),
        ("[[hosts]]\nroot = \"site\"\n", "2:1: hosts needs the key 'names'"),
        ("[[hosts]]\nnames = [\"a\", \"A\"]\n", "3:15: the name 'a' belongs to a host already"),
        ("[[redirect]]\nfrom = \"/a\"\n", "unknown table 'redirect'; did you mean 'redirects'?"),
        (&long_field, "2:1: the fields of this host add 8210 bytes; at most 8192"),
        (&long_cors, "2:1: this rule adds"),
        ("forbidden = 403\n", "2:13: forbidden: expected one of 404, 403"),
    ] {
        scratch.write("config.toml", format!("root = \"site\"\n{rules}"));
        let (code, said) = check(path);
        assert_eq!(code, Some(3), "{rules}{said}");
        assert!(said.contains(part), "{part}\n{said}");
    }
}

/// RFC 9112 section 9.3.2.
#[test]
fn rules_are_kept_on_a_pipelined_connection() {
    let scratch = site();
    let server = serve(
        &scratch,
        &[],
        "[errors]\n404 = \"404.html\"\n[[redirects]]\nfrom = \"/a\"\nto = \"/b\"\n",
    );
    let all = ["/none", "/a", "/", "/assets/app.js", "/none.js"];
    let bytes: Vec<u8> = all.iter().flat_map(|path| get(path, "")).collect();
    let mut wire = server.connect();
    wire.send(&bytes);
    let seen: Vec<_> = all.iter().map(|_| wire.response().unwrap()).collect();
    let statuses: Vec<_> = seen.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [404, 301, 200, 200, 404]);
    assert_eq!(seen[4].text(), "<h1>lost</h1>");
}

/// RFC 9110 section 10.2.2: the longest Location with the longest fields still leaves in one
/// answer.
#[test]
fn the_longest_redirect_fits() {
    let scratch = site();
    let long = "b".repeat(8000);
    let server = serve(
        &scratch,
        &[],
        &format!(
            "[[fields]]\nmatch = \"/**\"\nset = {{ X-Long = \"{long}\" }}\nalways = true\n\
             [[redirects]]\nfrom = \"/o/**\"\nto = \"/{}/**\"\n",
            "n".repeat(7990)
        ),
    );
    let path = format!("/o/{}", "'".repeat(8000));
    let answer = ask(&server, "GET", &path, "");
    assert_eq!((answer.status, answer.field("x-long").map(str::len)), (301, Some(8000)));
    assert_eq!(answer.field("location").unwrap().len(), 1 + 7990 + 1 + 3 * 8000);
}
