//! Bodies: how long they are, how they are read away, and what is expected before them.

use pitcrew::http::refusal::Refusal;

use crate::case::{Case, Setup, clause, raw};

pub(super) fn cases() -> Vec<Case> {
    let tables =
        [lengths(), codings(), both(), chunks(), discarded(), smuggled(), expectations(), late()];
    tables.into_iter().flatten().collect()
}

/// The bound of what is read away.
const BOUND: usize = 64 * 1024;

/// A request with these field lines and this body.
fn sent(line: &str, fields: &str, body: &str) -> String {
    format!("{line}\r\nHost: test\r\n{fields}\r\n\r\n{body}")
}

fn post(fields: &str, body: &str) -> Case {
    raw(&format!("POST with {fields:?}"), sent("POST /plain.txt HTTP/1.1", fields, body))
}

fn get(fields: &str, body: &str) -> Case {
    raw(&format!("GET with {fields:?}"), sent("GET /plain.txt HTTP/1.1", fields, body))
}

fn chunked(body: &str) -> Case {
    post("Transfer-Encoding: chunked", body).named(&format!("chunks {body:?}"))
}

impl Case {
    fn not_allowed(self) -> Self {
        self.refused(405, Refusal::MethodNotAllowed)
    }
}

fn lengths() -> Vec<Case> {
    let bad = |fields: &str| post(fields, "").ended(400, Refusal::LengthMalformed);
    let twice = |fields: &str| post(fields, "hello").ended(400, Refusal::LengthRepeated);
    let mut cases = clause(
        "RFC 9112 section 6.3",
        [
            post("Content-Length: 5", "hello").not_allowed(),
            post("Content-Length: 0005", "hello").not_allowed(),
            post("content-length:5", "hello").not_allowed(),
            post("Content-Length: 0", "").not_allowed(),
            get("Content-Length: 0", "").whole("plain.txt"),
            get("Content-Length: 5", "hello").whole("plain.txt"),
            get("Content-Length: 5", "GET /").whole("plain.txt").named("GET with the start of one"),
            raw("HEAD with a body", sent("HEAD /plain.txt HTTP/1.1", "Content-Length: 5", "hello"))
                .answered(200)
                .head(),
            raw("OPTIONS with a body", sent("OPTIONS * HTTP/1.1", "Content-Length: 5", "hello"))
                .answered(204),
            raw("a body for nothing", sent("GET /missing HTTP/1.1", "Content-Length: 5", "hello"))
                .missing(),
            raw(
                "an unknown method with a body",
                sent("BREW / HTTP/1.1", "Content-Length: 5", "hello"),
            )
            .refused(501, Refusal::MethodUnknown),
            raw(
                "a bad target with a body",
                sent("GET /%zz HTTP/1.1", "Content-Length: 5", "hello"),
            )
            .refused(400, Refusal::TargetEscape),
            raw(
                "a body of HTTP/1.0",
                sent(
                    "GET /plain.txt HTTP/1.0",
                    "Connection: keep-alive\r\nContent-Length: 5",
                    "hello",
                ),
            )
            .whole("plain.txt")
            .field("connection", "keep-alive"),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 8.6",
        [
            bad("Content-Length:"),
            bad("Content-Length: five"),
            bad("Content-Length: +5"),
            bad("Content-Length: -5"),
            bad("Content-Length: -0"),
            bad("Content-Length: 0x5"),
            bad("Content-Length: 5 5"),
            bad("Content-Length: 5."),
            bad("Content-Length: 5.0"),
            bad("Content-Length: 5e1"),
            bad("Content-Length: 5;"),
            bad("Content-Length: \"5\""),
            bad("Content-Length: 5, 6"),
            bad("Content-Length: 5, 5"),
            bad("Content-Length: ,5"),
            bad("Content-Length: 5,"),
            bad("Content-Length: \u{665}"),
            bad("Content-Length: 18446744073709551616"),
            bad("Content-Length: 99999999999999999999999999"),
            twice("Content-Length: 5\r\nContent-Length: 6"),
            twice("Content-Length: 5\r\nContent-Length: 5"),
            twice("Content-Length: 0\r\nContent-Length: 0"),
            twice("Content-Length: 5\r\nX: y\r\ncontent-length: 5"),
            get("Content-Length: 5\r\nContent-Length: 6", "hello")
                .ended(400, Refusal::LengthRepeated),
            get("Content-Length: x", "").ended(400, Refusal::LengthMalformed),
        ],
    ));
    cases
}

fn codings() -> Vec<Case> {
    const BODY: &str = "5\r\nhello\r\n0\r\n\r\n";
    let good = |fields: &str| post(fields, BODY).not_allowed();
    let bad = |fields: &str| post(fields, BODY).ended(400, Refusal::CodingMalformed);
    let unknown = |fields: &str| post(fields, BODY).ended(501, Refusal::CodingUnknown);
    let mut cases = clause(
        "RFC 9112 section 6.1",
        [
            good("Transfer-Encoding: chunked"),
            good("Transfer-Encoding: CHUNKED"),
            good("transfer-encoding:\tchunked\t"),
            get("Transfer-Encoding: chunked", BODY).whole("plain.txt"),
            unknown("Transfer-Encoding: gzip, chunked"),
            unknown("Transfer-Encoding: x, y ,chunked"),
            bad("Transfer-Encoding:"),
            bad("Transfer-Encoding: xchunked"),
            bad("Transfer-Encoding: chunke"),
            bad("Transfer-Encoding: chunked, gzip"),
            bad("Transfer-Encoding: chunked, identity"),
            bad("Transfer-Encoding: chunked, chunked"),
            bad("Transfer-Encoding: identity"),
            bad("Transfer-Encoding: gzip"),
            bad("Transfer-Encoding: ,chunked"),
            bad("Transfer-Encoding: chunked,"),
            bad("Transfer-Encoding: chunked;q=1"),
            bad("Transfer-Encoding: \"chunked\""),
            bad("Transfer-Encoding: 'chunked'"),
            bad("Transfer-Encoding: chunked chunked"),
            bad("Transfer-Encoding: chun ked"),
            bad("Transfer-Encoding: gzip x, chunked"),
            bad("Transfer-Encoding: \u{a0}chunked"),
            bad("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            bad("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
            bad("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
            post("Transfer-Encoding: \u{b}chunked", BODY).ended(400, Refusal::FieldValueByte),
            post("Transfer-Encoding : chunked", BODY).ended(400, Refusal::FieldNameSpace),
            post("Transfer-Encoding:\r\n chunked", BODY).ended(400, Refusal::FieldFolded),
        ],
    );
    let old = |name: &str, line: &str, fields: &str| {
        raw(name, sent(line, fields, BODY)).ended(400, Refusal::CodingInHttp10)
    };
    cases.extend(clause(
        "RFC 9112 section 6.1",
        [
            old("chunked in HTTP/1.0", "POST / HTTP/1.0", "Transfer-Encoding: chunked"),
            old("GET with chunked in HTTP/1.0", "GET / HTTP/1.0", "Transfer-Encoding: chunked"),
            old("gzip in HTTP/1.0", "POST / HTTP/1.0", "Transfer-Encoding: gzip"),
            old(
                "chunked in HTTP/1.0 kept alive",
                "GET / HTTP/1.0",
                "Connection: keep-alive\r\nTransfer-Encoding: chunked",
            ),
        ],
    ));
    cases
}

/// A message with both fields is an attempt to have two readings.
fn both() -> Vec<Case> {
    let both = |fields: &str| post(fields, "0\r\n\r\n").ended(400, Refusal::LengthAndCoding);
    clause(
        "RFC 9112 section 11.2",
        [
            both("Content-Length: 5\r\nTransfer-Encoding: chunked"),
            both("Transfer-Encoding: chunked\r\nContent-Length: 5"),
            both("Transfer-Encoding: chunked\r\nContent-Length: 0"),
            both("Transfer-Encoding: identity\r\nContent-Length: 5"),
            both("Content-Length: 5\r\nTransfer-Encoding: xchunked"),
            both("Content-Length: 5\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"),
            both("Content-Length: x\r\nTransfer-Encoding: chunked"),
            both("Content-Length: 5\r\nTransfer-Encoding:"),
            raw(
                "both in HTTP/1.0",
                sent(
                    "POST / HTTP/1.0",
                    "Content-Length: 5\r\nTransfer-Encoding: chunked",
                    "0\r\n\r\n",
                ),
            )
            .ended(400, Refusal::LengthAndCoding),
        ],
    )
}

fn chunks() -> Vec<Case> {
    use Refusal::{
        BodyTooLong, ChunkEnd, ChunkExtension, ChunkSize, TrailerMalformed, TrailerTooLong,
    };
    let good = |body: &str| chunked(body).not_allowed();
    let bad = |body: &str, refusal| chunked(body).ended(400, refusal);
    let mut cases = clause(
        "RFC 9112 section 7.1",
        [
            good("0\r\n\r\n"),
            good("5\r\nhello\r\n0\r\n\r\n"),
            good("5\r\nhello\r\n1\r\n!\r\n000\r\n\r\n"),
            good("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
            good("000000000000000a\r\n0123456789\r\n0\r\n\r\n"),
            good("4\r\n\r\n\r\n\r\n0\r\n\r\n"),
            bad("\r\n", ChunkSize),
            bad("x\r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("+5\r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("-5\r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("0x5\r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad(" 5\r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("5 \r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("5\t\r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("5 5\r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("5_\r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("5.\r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("5\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("g\r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("00000000000000005\r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("10000000000000005\r\nhello\r\n0\r\n\r\n", ChunkSize),
            bad("4\r\nhello\r\n0\r\n\r\n", ChunkEnd),
            bad("6\r\nhello\r\n0\r\n\r\n", ChunkEnd),
            bad("5\rhello\r\n0\r\n\r\n", ChunkEnd),
            bad("5\r\nhello\n0\r\n\r\n", ChunkEnd),
            bad("5\r\nhello\r0\r\n\r\n", ChunkEnd),
            bad("5\r\nhello0\r\n\r\n", ChunkEnd),
            bad("0\n\n", ChunkSize),
            bad("0\r\n\rX", ChunkEnd),
            chunked("ffffffffffffffff\r\n").ended(413, BodyTooLong),
            chunked("7fffffffffffffff\r\nhello").ended(413, BodyTooLong),
            chunked("1\r\na\r\nffffffffffffffff\r\n").ended(413, BodyTooLong),
        ],
    );
    let extension = |bytes: usize| {
        chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(bytes - 1)))
            .named(&format!("an extension of {bytes} bytes"))
    };
    let many = |count: usize| {
        chunked(&format!("{}0\r\n\r\n", "1;ext\r\na\r\n".repeat(count)))
            .named(&format!("{count} extensions"))
    };
    cases.extend(clause(
        "RFC 9112 section 7.1.1",
        [
            good("5;name\r\nhello\r\n0\r\n\r\n"),
            good("5;name=value;other=\"quoted\"\r\nhello\r\n0;last\r\n\r\n"),
            good("5 ;name\r\nhello\r\n0\r\n\r\n"),
            bad("5;\r\nhello\r\n0\r\n\r\n", ChunkExtension),
            bad("5;=value\r\nhello\r\n0\r\n\r\n", ChunkExtension),
            bad("5;na\0me\r\nhello\r\n0\r\n\r\n", ChunkExtension),
            bad("5;name\nhello\r\n0\r\n\r\n", ChunkExtension),
            bad("5;name=\"a\nb\"\r\nhello\r\n0\r\n\r\n", ChunkExtension),
            // A quote that is open at the end of its line might be read on by another server.
            good("5;name=\"a\\\"b\" ;c\r\nhello\r\n0\r\n\r\n"),
            bad("5;name=\"a\r\nhello\r\n0\r\n\r\n", ChunkExtension),
            bad("5;name=\"a\\\"\r\nhello\r\n0\r\n\r\n", ChunkExtension),
            bad("5;name\rX\r\nhello\r\n0\r\n\r\n", ChunkEnd),
            extension(1024).not_allowed(),
            extension(1025).ended(400, ChunkExtension),
            many(256).not_allowed(),
            many(257).ended(400, ChunkExtension),
        ],
    ));
    let trailer = |bytes: usize| {
        let fixed = "A: \r\n\r\n".len();
        chunked(&format!("0\r\nA: {}\r\n\r\n", "t".repeat(bytes - fixed)))
            .named(&format!("a trailer of {bytes} bytes"))
    };
    cases.extend(clause(
        "RFC 9112 section 7.1.2",
        [
            good("0\r\nA: b\r\n\r\n"),
            good("0\r\nA:\r\nB: c\r\n\r\n"),
            // Trailers are dropped: none of them frames or names anything.
            good("0\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n"),
            bad("0\r\nA\r\n\r\n", TrailerMalformed),
            bad("0\r\n: b\r\n\r\n", TrailerMalformed),
            bad("0\r\nA : b\r\n\r\n", TrailerMalformed),
            bad("0\r\nA: b\r\n c\r\n\r\n", TrailerMalformed),
            bad("0\r\nA: b\0\r\n\r\n", TrailerMalformed),
            bad("0\r\nA: b\n\r\n", TrailerMalformed),
            bad("0\r\nA: b\rc\r\n\r\n", TrailerMalformed),
            bad("0\r\n\n", TrailerMalformed),
            bad("0\r\nGET / HTTP/1.1\r\n\r\n", TrailerMalformed),
            trailer(4096).not_allowed(),
            trailer(4097).ended(431, TrailerTooLong),
        ],
    ));
    cases
}

/// Read away up to a bound, so that the next request is read right.
fn discarded() -> Vec<Case> {
    let length = |bytes: usize| {
        get(&format!("Content-Length: {bytes}"), &"b".repeat(bytes))
            .named(&format!("a body of {bytes} bytes"))
    };
    let announced = |name: &str, case: Case| case.named(name).alone();
    let chunk = |bytes: usize| format!("{bytes:x}\r\n{}\r\n", "b".repeat(bytes));
    let halves =
        |more: usize| chunked(&(chunk(BOUND / 2) + &chunk(BOUND / 2 + more) + "0\r\n\r\n"));
    clause(
        "RFC 9110 section 15.5.14",
        [
            length(1).whole("plain.txt"),
            length(5000).whole("plain.txt"),
            length(BOUND).whole("plain.txt"),
            // The answer does not wait for a body that nobody reads.
            length(BOUND + 1).whole("plain.txt").closed(),
            announced(
                "a long body that never comes",
                get(&format!("Content-Length: {}", BOUND + 1), "").whole("plain.txt").closed(),
            ),
            announced(
                "a body of 64 bits",
                post("Content-Length: 18446744073709551615", "").not_allowed().closed(),
            ),
            announced(
                "a long body for nothing",
                raw("", sent("GET /missing HTTP/1.1", "Content-Length: 1000000", "begin"))
                    .missing()
                    .closed(),
            ),
            announced(
                "a long body for OPTIONS",
                raw("", sent("OPTIONS * HTTP/1.1", "Content-Length: 1000000", "begin"))
                    .answered(204)
                    .closed(),
            ),
            chunked(&(chunk(BOUND) + "0\r\n\r\n")).named("a chunk at the bound").not_allowed(),
            chunked(&(chunk(BOUND + 1) + "0\r\n\r\n"))
                .named("a chunk above the bound")
                .ended(413, Refusal::BodyTooLong),
            halves(0).named("chunks at the bound").not_allowed(),
            halves(1).named("chunks above the bound").ended(413, Refusal::BodyTooLong),
        ],
    )
}

/// What looks like a request in a body is none, and what follows a body is one.
fn smuggled() -> Vec<Case> {
    let inner = "GET /missing HTTP/1.1\r\nHost: inner\r\n\r\n";
    let carried = |fields: &str, body: &str| get(fields, body);
    let counted = format!("Content-Length: {}", inner.len());
    let as_chunk = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    clause(
        "RFC 9112 section 11.2",
        [
            carried(&counted, inner).whole("plain.txt").named("a request as a body"),
            carried("Transfer-Encoding: chunked", &as_chunk)
                .whole("plain.txt")
                .named("a request as a chunk"),
            post(&counted, inner).not_allowed().named("a request as a refused body"),
            carried("Content-Length: 0", inner)
                .whole("plain.txt")
                .missing()
                .named("a request behind no body"),
            carried("Transfer-Encoding: chunked", &format!("0\r\n\r\n{inner}"))
                .whole("plain.txt")
                .missing()
                .named("a request behind the last chunk"),
            // CL.TE and TE.CL, as they are written against two servers in a row.
            post("Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\nG")
                .ended(400, Refusal::LengthAndCoding)
                .named("CL.TE"),
            post("Transfer-Encoding: chunked\r\nContent-Length: 4", "5c\r\nGPOST / HTTP/1.1\r\n")
                .ended(400, Refusal::LengthAndCoding)
                .named("TE.CL"),
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "0\r\n\r\n")
                .ended(400, Refusal::CodingMalformed)
                .named("TE.TE"),
            post("Transfer-Encoding: chunked", &format!("0\r\nX: y\r\n\r\n{inner}"))
                .not_allowed()
                .missing()
                .named("a request behind a trailer"),
            // A chunk whose terminator is skipped by readers that trust its size.
            post("Transfer-Encoding: chunked", &format!("1\r\nZZ\r\n0\r\n\r\n{inner}"))
                .ended(400, Refusal::ChunkEnd)
                .named("a chunk with a byte too many"),
            post("Transfer-Encoding: chunked", &format!("0;\nx\r\n\r\n{inner}"))
                .ended(400, Refusal::ChunkExtension)
                .named("an extension with LF alone"),
            get("X: y\r\n\r\nGET /missing HTTP/1.1\r\nHost: a", "")
                .whole("plain.txt")
                .missing()
                .named("two requests in what might have been one field"),
        ],
    )
}

fn expectations() -> Vec<Case> {
    const WAITS: &str = "Expect: 100-continue\r\nContent-Length: 5";
    let line = |line: &str, fields: &str, body: &str| {
        raw(&format!("{line} with {fields:?}"), sent(line, fields, body))
    };
    let goes_on = |case: Case| case.answered(100).empty().lacks("date");
    clause(
        "RFC 9110 section 10.1.1",
        [
            goes_on(get(WAITS, "hello")).whole("plain.txt"),
            goes_on(get("Expect: 100-CONTINUE\r\nContent-Length: 5", "hello")).whole("plain.txt"),
            goes_on(get(
                "Expect: 100-continue\r\nTransfer-Encoding: chunked",
                "5\r\nhello\r\n0\r\n\r\n",
            ))
            .whole("plain.txt"),
            goes_on(get("Expect: 100-continue\r\nTransfer-Encoding: chunked", "x"))
                .ended(400, Refusal::ChunkSize)
                .named("100, and then no chunks"),
            goes_on(line("HEAD /plain.txt HTTP/1.1", WAITS, "hello")).answered(200).head(),
            goes_on(line("OPTIONS * HTTP/1.1", WAITS, "hello")).answered(204),
            goes_on(line("GET /dir HTTP/1.1", WAITS, "hello")).answered(301),
            // Without a body nobody waits.
            get("Expect: 100-continue", "").whole("plain.txt"),
            get("Expect: 100-continue\r\nContent-Length: 0", "").whole("plain.txt"),
            // HTTP/1.0 has no interim answers.
            line("GET /plain.txt HTTP/1.0", WAITS, "hello").whole("plain.txt").closed(),
            line("GET /plain.txt HTTP/1.0", "Expect: wonders", "").whole("plain.txt").closed(),
            // The final answer at once, and then nobody knows whether the body still comes.
            line("POST /plain.txt HTTP/1.1", WAITS, "").not_allowed().closed().alone(),
            line("BREW / HTTP/1.1", WAITS, "").ended(501, Refusal::MethodUnknown).alone(),
            line("GET /missing HTTP/1.1", WAITS, "").missing().closed().alone(),
            line("GET /%zz HTTP/1.1", WAITS, "").ended(400, Refusal::TargetEscape).alone(),
            line("GET /../x HTTP/1.1", WAITS, "").ended(400, Refusal::TargetClimbs).alone(),
            line("GET x HTTP/1.1", WAITS, "").ended(400, Refusal::TargetForm).alone(),
            line("POST /plain.txt HTTP/1.1", WAITS, "hello")
                .not_allowed()
                .closed()
                .named("refused, and the body comes all the same"),
            get("Expect: 100-continue\r\nContent-Length: 1000000", "")
                .whole("plain.txt")
                .closed()
                .alone(),
            // Other expectations.
            get("Expect: wonders", "").refused(417, Refusal::ExpectationUnknown),
            get("Expect: 100-continue, wonders", "").refused(417, Refusal::ExpectationUnknown),
            get("Expect: 100-continue\r\nExpect: wonders", "")
                .refused(417, Refusal::ExpectationUnknown),
            get("Expect: 100-continue;q=1", "").refused(417, Refusal::ExpectationUnknown),
            get("Expect: 100", "").refused(417, Refusal::ExpectationUnknown),
            get("Expect:", "").whole("plain.txt"),
            get("Expect: wonders\r\nContent-Length: 5", "hello")
                .refused(417, Refusal::ExpectationUnknown),
            line("POST / HTTP/1.1", "Expect: wonders", "").not_allowed(),
        ],
    )
}

/// What does not come in time.
fn late() -> Vec<Case> {
    let head = |name: &str, part: &str| {
        raw(name, part).ended(408, Refusal::HeadTimeout).setup(Setup::Hasty).alone()
    };
    let body = |name: &str, case: Case| {
        case.named(name).ended(408, Refusal::BodyTimeout).setup(Setup::Hasty).alone()
    };
    clause(
        "RFC 9110 section 15.5.9",
        [
            head("one byte of a head", "G"),
            head("half a request line", "GET /plain.txt HT"),
            head("half a field", "GET /plain.txt HTTP/1.1\r\nHo"),
            head("a head without its last byte", "GET /plain.txt HTTP/1.1\r\nHost: a\r\n\r"),
            body("no byte of a body", get("Content-Length: 5", "")),
            body("half a body", get("Content-Length: 5", "hel")),
            body("no chunk", get("Transfer-Encoding: chunked", "")),
            body("half a chunk", get("Transfer-Encoding: chunked", "5\r\nhel")),
            body("no last chunk", get("Transfer-Encoding: chunked", "5\r\nhello\r\n")),
            body("no end of the trailer", get("Transfer-Encoding: chunked", "0\r\nA: b\r\n")),
            body(
                "a body that was waited for",
                get("Expect: 100-continue\r\nContent-Length: 5", "").answered(100),
            ),
        ],
    )
}
