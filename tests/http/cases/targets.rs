//! From the target to a file, a redirect or nothing.

use pitcrew::http::refusal::Refusal;

use crate::case::{Case, Setup, clause, raw, target};

pub(super) fn cases() -> Vec<Case> {
    let tables = [decoded(), dots(), refused(), slashes(), directories(), hidden(), links()];
    tables.into_iter().flatten().collect()
}

fn same(path: &str, file: &'static str) -> Case {
    target(path).whole(file)
}

fn missing(path: &str) -> Case {
    target(path).missing()
}

fn moved(path: &str, to: &str) -> Case {
    target(path).answered(301).field("location", to)
}

/// Decoded exactly once.
fn decoded() -> Vec<Case> {
    let mut cases = clause(
        "RFC 3986 section 2.4",
        [
            same("/plain.txt", "plain.txt"),
            same("/%70lain.txt", "plain.txt"),
            same("/%70%6C%61%69%6e%2E%74%78%74", "plain.txt"),
            same("/plain%2etxt", "plain.txt"),
            same("/with%20space.txt", "with space.txt"),
            same("/100%25.txt", "100%.txt"),
            same("/%2541.txt", "%41.txt"),
            same("/a+b.txt", "a+b.txt"),
            same("/a%2bb.txt", "a+b.txt"),
            same("/a&b=c.txt", "a&b=c.txt"),
            same("/semi;colon.txt", "semi;colon.txt"),
            same("/co:lon.txt", "co:lon.txt"),
            same("/mark%3F.txt", "mark?.txt"),
            same("/hash%23.txt", "hash#.txt"),
            same("/gr%C3%B6%c3%9fe.txt", "größe.txt"),
            same("/line%0afeed.txt", "line\nfeed.txt"),
            same("/back%5Cslash.txt", "back\\slash.txt"),
            same("/quote%22%3C&%3e.txt", "quote\"<&>.txt"),
            same("/quote\"<&>.txt", "quote\"<&>.txt"),
            // Decoded once: what is left is a name with a percent sign.
            missing("/%2570lain.txt"),
            missing("/%252e%252e/plain.txt"),
            missing("/plain.txt%2500"),
            missing("/%41.txt"),
            missing("/PLAIN.TXT"),
            missing("/a%20b.txt"),
            missing("/plain.txt%0a"),
            missing("/plain.txt%20"),
            missing("/plain.txt%5c"),
        ],
    );
    cases.extend(clause(
        "RFC 3986 section 3.4",
        [
            same("/plain.txt?", "plain.txt"),
            same("/plain.txt?query=1&more", "plain.txt"),
            same("/plain.txt?/../..//", "plain.txt"),
            same("/plain.txt?%zz%00", "plain.txt"),
            same("/plain.txt?a?b", "plain.txt"),
            same("/?", "index.html"),
            same("/?plain.txt", "index.html"),
            missing("/plain.txt%3F"),
        ],
    ));
    cases
}

/// Dot segments, raw and encoded alike.
fn dots() -> Vec<Case> {
    let climbs = |path: &str| target(path).refused(400, Refusal::TargetClimbs);
    clause(
        "RFC 3986 section 5.2.4",
        [
            same("/./plain.txt", "plain.txt"),
            same("/././plain.txt", "plain.txt"),
            same("/%2e/plain.txt", "plain.txt"),
            same("/dir/../plain.txt", "plain.txt"),
            same("/dir/./../plain.txt", "plain.txt"),
            same("/dir/sub/../../plain.txt", "plain.txt"),
            same("/dir/%2e%2E/plain.txt", "plain.txt"),
            same("/dir/.%2e/plain.txt", "plain.txt"),
            same("/dir/%2E./plain.txt", "plain.txt"),
            // Resolved before anything is opened: what is passed by need not be there.
            same("/missing/../plain.txt", "plain.txt"),
            same("/plain.txt/../plain.txt", "plain.txt"),
            same("/.hidden-directory/../plain.txt", "plain.txt"),
            same("/dir/sub/..", "dir/index.html"),
            same("/dir/sub/../", "dir/index.html"),
            same("/dir/.", "dir/index.html"),
            same("/dir/%2e", "dir/index.html"),
            same("/dir/..", "index.html"),
            same("/.", "index.html"),
            same("/..two", "..two").setup(Setup::Dotfiles),
            same("/trail..", "trail.."),
            missing("/..."),
            missing("/.%2e."),
            climbs("/.."),
            climbs("/../"),
            climbs("/../plain.txt"),
            climbs("/%2e%2e/plain.txt"),
            climbs("/.%2E/plain.txt"),
            climbs("/dir/../../plain.txt"),
            climbs("/dir/%2e%2e/%2e%2e/plain.txt"),
            climbs("/dir/../../../../../../etc/passwd"),
            climbs("/./.."),
            climbs("//.."),
            climbs("/../site/plain.txt"),
            climbs("/missing/../.."),
            climbs("/..?query"),
        ],
    )
}

fn refused() -> Vec<Case> {
    let bad = |path: &str, refusal| target(path).refused(400, refusal);
    let byte = |byte: u8| {
        let mut sent = b"GET /plain".to_vec();
        sent.push(byte);
        sent.extend(b".txt HTTP/1.1\r\nHost: test\r\n\r\n");
        raw(&format!("the raw byte {byte:#04x}"), sent).ended(400, Refusal::TargetByte)
    };
    let mut cases = clause(
        "RFC 3986 section 2.1",
        [
            bad("/%", Refusal::TargetEscape),
            bad("/%4", Refusal::TargetEscape),
            bad("/%4/1", Refusal::TargetEscape),
            bad("/%zz", Refusal::TargetEscape),
            bad("/%4g", Refusal::TargetEscape),
            bad("/%u0041", Refusal::TargetEscape),
            bad("/%%41", Refusal::TargetEscape),
            bad("/plain.txt%", Refusal::TargetEscape),
            bad("/%-1", Refusal::TargetEscape),
            bad("/plain.txt%2", Refusal::TargetEscape),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 17.3",
        [
            bad("/%00", Refusal::TargetNul),
            bad("/plain.txt%00", Refusal::TargetNul),
            bad("/plain.txt%00.html", Refusal::TargetNul),
            bad("/dir%2findex.html", Refusal::TargetSlash),
            bad("/dir%2F", Refusal::TargetSlash),
            bad("/%2f%2fevil.example", Refusal::TargetSlash),
            bad("/..%2fplain.txt", Refusal::TargetSlash),
            bad("/back\\slash.txt", Refusal::TargetBackslash),
            bad("/\\evil.example/", Refusal::TargetBackslash),
            bad("/dir\\..\\plain.txt", Refusal::TargetBackslash),
            target("/plain.txt#fragment").ended(400, Refusal::TargetByte),
            target("/#").ended(400, Refusal::TargetByte),
        ],
    ));
    cases.extend(clause(
        "RFC 9112 section 3.2",
        [0x00, 0x01, 0x08, 0x0b, 0x1b, 0x1f, 0x7f, 0x80, 0xa0, 0xc3, 0xff].map(byte),
    ));
    cases
}

/// Empty segments collapse, and no Location ever names another host.
fn slashes() -> Vec<Case> {
    clause(
        "RFC 9110 section 10.2.2",
        [
            same("//plain.txt", "plain.txt"),
            same("///plain.txt", "plain.txt"),
            same("/dir//page.html", "dir/page.html"),
            same("//dir/", "dir/index.html"),
            same("//", "index.html"),
            same("/dir//", "dir/index.html"),
            missing("//evil.example/"),
            missing("//evil.example/plain.txt"),
            same("//evil.example/..", "index.html"),
            moved("//dir", "/dir/"),
            moved("///dir", "/dir/"),
            moved("//dir//sub", "/dir/sub/"),
            moved("//evil.example/../dir", "/dir/"),
            moved("//dir?//evil.example", "/dir/?//evil.example"),
            moved("/%64ir", "/dir/"),
            moved("/./dir", "/dir/"),
            moved("/odd\"dir%20<&>", "/odd%22dir%20%3C%26%3E/"),
            moved("/odd%22dir%20%3c%26%3e", "/odd%22dir%20%3C%26%3E/"),
            // No byte of a name ends the field.
            moved("/new%0d%0aline", "/new%0D%0Aline/"),
            moved("/new%0d%0aline?a%0d%0ab", "/new%0D%0Aline/?a%0d%0ab"),
        ],
    )
}

fn directories() -> Vec<Case> {
    let long = |bytes: usize| format!("/dir?{}", "q".repeat(bytes));
    let mut cases = clause(
        "RFC 9110 section 15.4.2",
        [
            moved("/dir", "/dir/"),
            moved("/dir/sub", "/dir/sub/"),
            moved("/dir?", "/dir/?"),
            moved("/dir/sub?a=b&c", "/dir/sub/?a=b&c"),
            moved("/dir?a\"b<c>", "/dir/?a%22b%3Cc%3E"),
            moved("/noindex", "/noindex/"),
            moved("/.well-known", "/.well-known/"),
            moved(&long(3000), &format!("/dir/?{}", "q".repeat(3000))),
            moved(&long(8000), &format!("/dir/?{}", "q".repeat(8000))),
            moved("/dir", "/dir/").named("a redirect has a note").says("301 Moved Permanently"),
            target("/dir")
                .answered(301)
                .lacks("etag")
                .lacks("last-modified")
                .has("content-length")
                .named("a redirect has no validators"),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 15.5.5",
        [
            same("/", "index.html"),
            same("/dir/", "dir/index.html"),
            same("/dir/sub/", "dir/sub/index.html"),
            same("/index.html", "index.html"),
            missing("/missing"),
            missing("/dir/missing.html"),
            missing("/missing/"),
            missing("/missing/plain.txt"),
            // A slash behind a file asks for a directory.
            missing("/plain.txt/"),
            missing("/plain.txt/more"),
            missing("/plain.txt/."),
            missing("/index.html/"),
            missing("/data.bin//"),
            // A directory without an index.
            missing("/noindex/"),
            missing("/indexed/"),
            missing("/.well-known/"),
            // What is no regular file.
            missing("/fifo"),
            missing("/fifo/"),
            same("/noindex/", "noindex/other.html").setup(Setup::TwoIndexes),
            same("/dir/", "dir/index.html").setup(Setup::TwoIndexes),
            missing("/indexed/").setup(Setup::TwoIndexes),
        ],
    ));
    cases
}

fn hidden() -> Vec<Case> {
    let mut cases = clause(
        "RFC 9110 section 17.3",
        [
            missing("/.hidden"),
            missing("/%2ehidden"),
            missing("/%2Ehidden"),
            missing("/.hidden-directory"),
            missing("/.hidden-directory/"),
            missing("/.hidden-directory/file.txt"),
            missing("/dir/.secret"),
            missing("/dir/../.hidden"),
            missing("/.nothing"),
            missing("/..two"),
            same("/.hidden", ".hidden").setup(Setup::Dotfiles),
            same("/.hidden-directory/file.txt", ".hidden-directory/file.txt")
                .setup(Setup::Dotfiles),
            moved("/.hidden-directory", "/.hidden-directory/").setup(Setup::Dotfiles),
        ],
    );
    cases.extend(clause(
        "RFC 8615 section 3",
        [
            same("/.well-known/security.txt", ".well-known/security.txt"),
            same("/%2ewell-known/security.txt", ".well-known/security.txt"),
            missing("/.well-known/.secret"),
            missing("/.Well-Known/security.txt"),
            missing("/.well-known2/security.txt"),
        ],
    ));
    cases
}

fn links() -> Vec<Case> {
    clause(
        "RFC 9110 section 17.3",
        [
            same("/link.txt", "plain.txt"),
            same("/link-dir/", "dir/index.html"),
            same("/link-dir/page.html", "dir/page.html"),
            same("/dir/up.txt", "plain.txt"),
            moved("/link-dir", "/link-dir/"),
            missing("/absolute.txt"),
            missing("/outside.txt"),
            missing("/returning.txt"),
            missing("/dangling.txt"),
            missing("/loop-one"),
            missing("/link.txt").setup(Setup::NoLinks),
            missing("/link-dir").setup(Setup::NoLinks),
            missing("/link-dir/").setup(Setup::NoLinks),
            missing("/dir/up.txt").setup(Setup::NoLinks),
            same("/plain.txt", "plain.txt").setup(Setup::NoLinks),
        ],
    )
}
