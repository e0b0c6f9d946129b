//! The request line, the empty lines before it, and its version and method.

use pitcrew::http::refusal::Refusal;

use crate::case::{Case, clause, raw, request, target};

pub(super) fn cases() -> Vec<Case> {
    let tables =
        [empty_lines(), line_ends(), separators(), versions(), methods(), options(), limits()];
    tables.into_iter().flatten().collect()
}

const GOOD: &str = "GET /plain.txt HTTP/1.1\r\nHost: test\r\n\r\n";

fn ended(name: &str, sent: impl AsRef<[u8]>, refusal: Refusal) -> Case {
    raw(name, sent).ended(400, refusal)
}

fn empty_lines() -> Vec<Case> {
    let after = |count: usize| {
        raw(&format!("{count} empty lines first"), format!("{}{GOOD}", "\r\n".repeat(count)))
    };
    clause(
        "RFC 9112 section 2.2",
        [
            after(1).whole("plain.txt"),
            after(2).whole("plain.txt"),
            after(4).whole("plain.txt"),
            after(5).ended(400, Refusal::EmptyLines),
            after(300).ended(400, Refusal::EmptyLines),
            raw("an empty line between requests", format!("{GOOD}\r\n{GOOD}"))
                .whole("plain.txt")
                .whole("plain.txt"),
            ended("an empty line of LF alone", format!("\n{GOOD}"), Refusal::BareLineFeed),
            ended("CR alone before a line", format!("\r{GOOD}"), Refusal::BareCarriageReturn),
            ended("two CR before LF", format!("\r\r\n{GOOD}"), Refusal::BareCarriageReturn),
            raw("nothing but an empty line", "\r\n").pending(),
            raw("nothing but CR", "\r").pending(),
        ],
    )
}

/// A bare LF is no line end here, and a bare CR stands nowhere.
fn line_ends() -> Vec<Case> {
    use Refusal::{BareCarriageReturn, BareLineFeed, FieldNameByte, TargetMissing, VersionMissing};
    clause(
        "RFC 9112 section 2.2",
        [
            ended("LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", BareLineFeed),
            ended("LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", BareLineFeed),
            ended("LF behind the method", "GET\n/ HTTP/1.1\r\nHost: a\r\n\r\n", BareLineFeed),
            ended("LF behind the target", "GET /\nHTTP/1.1\r\nHost: a\r\n\r\n", BareLineFeed),
            ended("LF behind a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", BareLineFeed),
            ended(
                "LF in a field name",
                "GET / HTTP/1.1\r\nHost: a\r\nX\n: b\r\n\r\n",
                BareLineFeed,
            ),
            ended("LF as the last line", "GET / HTTP/1.1\r\nHost: a\r\n\n", BareLineFeed),
            ended("CR in the method", "G\rET / HTTP/1.1\r\nHost: a\r\n\r\n", TargetMissing),
            ended("CR in the target", "GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n", VersionMissing),
            ended("CR behind the version", "GET / HTTP/1.1\rHost: a\r\n\r\n", BareCarriageReturn),
            ended(
                "two CR behind the version",
                "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
                BareCarriageReturn,
            ),
            ended("CR in a name", "GET / HTTP/1.1\r\nHo\rst: a\r\n\r\n", FieldNameByte),
            ended(
                "CR in a value",
                "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
                BareCarriageReturn,
            ),
            ended("CR behind a value", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", BareCarriageReturn),
            ended("CR in the last line", "GET / HTTP/1.1\r\nHost: a\r\n\rX", BareCarriageReturn),
        ],
    )
}

fn separators() -> Vec<Case> {
    use Refusal::{
        MethodByte, MethodMissing, TargetByte, TargetMissing, VersionMalformed, VersionMissing,
    };
    let line = |line: &str, refusal: Refusal| {
        raw(&format!("{line:?}"), format!("{line}\r\nHost: a\r\n\r\n")).ended(400, refusal)
    };
    let mut cases = clause(
        "RFC 9112 section 3",
        [
            line(" GET / HTTP/1.1", MethodMissing),
            line("\tGET / HTTP/1.1", MethodByte),
            line("GET  / HTTP/1.1", TargetMissing),
            line("GET /  HTTP/1.1", VersionMalformed),
            line("GET\t/ HTTP/1.1", MethodByte),
            line("GET /\tHTTP/1.1", TargetByte),
            line("GET\u{b}/ HTTP/1.1", MethodByte),
            line("GET /\u{c}HTTP/1.1", TargetByte),
            line("GET / HTTP/1.1 ", VersionMalformed),
            line("GET / HTTP/1.1\t", VersionMalformed),
            line("GET / HTTP/1.1 more", VersionMalformed),
            line("GET / x HTTP/1.1", VersionMalformed),
            line("GET", TargetMissing),
            line("GET ", TargetMissing),
            line("GET /", VersionMissing),
            line("GET / ", VersionMissing),
            line("GET HTTP/1.1", VersionMissing),
            line("GET  HTTP/1.1", TargetMissing),
            line("/ HTTP/1.1", MethodByte),
            line("hello there", VersionMissing),
            line("{\"method\":\"GET\"}", MethodByte),
            // An answer where a request should be.
            line("HTTP/1.1 200 OK", MethodByte),
            raw("a hello of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                .ended(400, MethodByte),
            raw("only NULs", [0; 64]).ended(400, MethodByte),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 5.6.2",
        [
            line("G(T / HTTP/1.1", MethodByte),
            line("GET: / HTTP/1.1", MethodByte),
            line("\"GET\" / HTTP/1.1", MethodByte),
            line("G\u{e4}T / HTTP/1.1", MethodByte),
            line("G\0T / HTTP/1.1", MethodByte),
            line("GE\u{7f}T / HTTP/1.1", MethodByte),
        ],
    ));
    cases
}

fn versions() -> Vec<Case> {
    use Refusal::{VersionMalformed, VersionUnsupported};
    let line = |version: &str| {
        let line = format!("GET /plain.txt {version}");
        raw(&line, format!("{line}\r\nHost: test\r\n\r\n"))
    };
    let mut cases = clause(
        "RFC 9112 section 2.3",
        [
            line("HTTP/1.1").whole("plain.txt"),
            line("HTTP/2.0").ended(505, VersionUnsupported),
            line("HTTP/2.9").ended(505, VersionUnsupported),
            line("HTTP/3.0").ended(505, VersionUnsupported),
            line("HTTP/0.9").ended(505, VersionUnsupported),
            line("HTTP/9.9").ended(505, VersionUnsupported),
            line("http/1.1").ended(400, VersionMalformed),
            line("Http/1.1").ended(400, VersionMalformed),
            line("HTTP/1").ended(400, VersionMalformed),
            line("HTTP/1.").ended(400, VersionMalformed),
            line("HTTP/11").ended(400, VersionMalformed),
            line("HTTP/.1").ended(400, VersionMalformed),
            line("HTTP/1.10").ended(400, VersionMalformed),
            line("HTTP/01.1").ended(400, VersionMalformed),
            line("HTTP/1.x").ended(400, VersionMalformed),
            line("HTTP/1,1").ended(400, VersionMalformed),
            line("HTTP/+1.1").ended(400, VersionMalformed),
            line("HTTP /1.1").ended(400, VersionMalformed),
            line("HTTPS/1.1").ended(400, VersionMalformed),
            line("HTTP").ended(400, VersionMalformed),
            line("RTSP/1.0").ended(400, VersionMalformed),
            line("ICY/1.1").ended(400, VersionMalformed),
            line("HTTP/1.\u{b9}").ended(400, VersionMalformed),
            raw("a request of HTTP/0.9", "GET /plain.txt\r\n").ended(400, Refusal::VersionMissing),
            raw("HTTP/1.0 without Host", "GET /plain.txt HTTP/1.0\r\n\r\n")
                .whole("plain.txt")
                .closed(),
        ],
    );
    // A higher minor version is served as the highest that is known, and persists as it does.
    cases.extend(clause(
        "RFC 9110 section 2.5",
        [line("HTTP/1.2").whole("plain.txt"), line("HTTP/1.9").whole("plain.txt")],
    ));
    cases.extend(clause(
        "RFC 9113 section 3.4",
        [
            raw("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                .ended(505, VersionUnsupported),
            raw(
                "the preface and settings",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            )
            .ended(505, VersionUnsupported),
        ],
    ));
    cases
}

fn methods() -> Vec<Case> {
    let headless = |line: &str, fields: &str, status: u16, refusal: Refusal| {
        request(line, fields).ended(status, refusal).head().has("content-length")
    };
    let line = |method: &str| request(&format!("{method} /plain.txt HTTP/1.1"), "");
    let known = |method: &str| {
        line(method).refused(405, Refusal::MethodNotAllowed).field("allow", "GET, HEAD, OPTIONS")
    };
    let unknown = |method: &str| line(method).refused(501, Refusal::MethodUnknown);
    let mut cases = clause(
        "RFC 9110 section 15.5.6",
        [
            known("POST"),
            known("PUT"),
            known("PATCH"),
            known("DELETE"),
            known("TRACE"),
            request("POST /missing HTTP/1.1", "").refused(405, Refusal::MethodNotAllowed),
            request("DELETE / HTTP/1.1", "").refused(405, Refusal::MethodNotAllowed),
            // What follows may be the tunnel's bytes already, so the connection ends.
            request("CONNECT test:443 HTTP/1.1", "")
                .refused(405, Refusal::MethodNotAllowed)
                .field("allow", "GET, HEAD, OPTIONS")
                .closed(),
            request("CONNECT [::1]:443 HTTP/1.1", "")
                .refused(405, Refusal::MethodNotAllowed)
                .closed(),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 9.1",
        [
            unknown("BREW"),
            unknown("get"),
            unknown("Get"),
            unknown("GETS"),
            unknown("GE"),
            unknown("PROPFIND"),
            unknown("G-E!T"),
            unknown(&"M".repeat(32)),
            line(&"M".repeat(33)).ended(501, Refusal::MethodTooLong),
            line(&"M".repeat(9000)).ended(501, Refusal::MethodTooLong),
        ],
    ));
    cases.extend(clause(
        "RFC 9110 section 9.3.2",
        [
            request("HEAD /plain.txt HTTP/1.1", "")
                .answered(200)
                .head()
                .field("content-length", "43"),
            request("HEAD /data.bin HTTP/1.1", "")
                .answered(200)
                .head()
                .field("content-length", "70001"),
            request("HEAD / HTTP/1.1", "").answered(200).head().field("content-length", "35"),
            request("HEAD /empty.bin HTTP/1.1", "")
                .answered(200)
                .head()
                .field("content-length", "0"),
            request("HEAD /missing HTTP/1.1", "").missing().head().has("content-length"),
            request("HEAD /dir HTTP/1.1", "").answered(301).head().field("location", "/dir/"),
            // Nor has a refusal of what cannot be read, once it is known to be of HEAD.
            headless("HEAD /plain.txt HTTP/2.0", "", 505, Refusal::VersionUnsupported),
            headless("HEAD /plain.txt HTTP/1.1", "Bad Name: x", 400, Refusal::FieldNameSpace),
            headless("HEAD /plain.txt HTTP/1.1", "X: a\0", 400, Refusal::FieldValueByte),
            raw("HEAD and no Host", "\r\nHEAD / HTTP/1.1\r\n\r\n")
                .ended(400, Refusal::HostMissing)
                .head()
                .has("content-length"),
            raw(
                "HEAD with a malformed chunk",
                "HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            )
            .ended(400, Refusal::ChunkSize)
            .head()
            .has("content-length"),
            request("HEAD /%zz HTTP/1.1", "")
                .refused(400, Refusal::TargetEscape)
                .head()
                .has("content-length"),
        ],
    ));
    cases
}

fn options() -> Vec<Case> {
    let allowed = |target: &str| {
        request(&format!("OPTIONS {target} HTTP/1.1"), "")
            .answered(204)
            .empty()
            .field("allow", "GET, HEAD, OPTIONS")
            .lacks("content-length")
            .lacks("content-type")
            .has("date")
    };
    clause(
        "RFC 9110 section 9.3.7",
        [
            allowed("*"),
            allowed("/"),
            allowed("/plain.txt"),
            allowed("/missing"),
            allowed("http://test"),
            allowed("http://test/plain.txt"),
            request("OPTIONS /plain.txt HTTP/1.1", "If-Match: \"x\"").answered(204),
            request("OPTIONS /../plain.txt HTTP/1.1", "").refused(400, Refusal::TargetClimbs),
            request("OPTIONS /%zz HTTP/1.1", "").refused(400, Refusal::TargetEscape),
            request("OPTIONS plain.txt HTTP/1.1", "").refused(400, Refusal::TargetForm),
        ],
    )
}

/// Exact at the limit and one above.
fn limits() -> Vec<Case> {
    const TARGET: usize = 8 * 1024;
    let of_length = |bytes: usize| {
        let path = "/plain.txt?";
        target(&format!("{path}{}", "q".repeat(bytes - path.len())))
            .named(&format!("a target of {bytes} bytes"))
    };
    let name_of_length = |bytes: usize| {
        target(&format!("/{}", "n".repeat(bytes - 1))).named(&format!("a name in {bytes} bytes"))
    };
    clause(
        "RFC 9110 section 15.5.15",
        [
            of_length(TARGET - 1).whole("plain.txt"),
            of_length(TARGET).whole("plain.txt"),
            of_length(TARGET + 1).ended(414, Refusal::TargetTooLong),
            of_length(3 * TARGET).ended(414, Refusal::TargetTooLong),
            name_of_length(TARGET + 1).ended(414, Refusal::TargetTooLong),
            name_of_length(TARGET).missing(),
            name_of_length(257).missing(),
            target(&format!("/{}", "deep/".repeat(1000))).missing(),
            target(&format!("/{}", "%61".repeat(300))).missing(),
            raw("a target that never ends", format!("GET /{}", "x".repeat(9000)))
                .ended(414, Refusal::TargetTooLong),
        ],
    )
}
