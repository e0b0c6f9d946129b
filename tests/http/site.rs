//! What the cases ask for: one tree, made on a disk or in the simulated kernel.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use pitcrew::ring::simulated::World;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::common::{Pattern, Scratch};

/// The request behind a case: whether it is answered says how the case was framed.
pub(crate) const MARKER: &[u8] = b"GET /marker.txt HTTP/1.1\r\nHost: marker\r\n\r\n";
/// The file of the marker.
pub(crate) const MARKER_FILE: &str = "marker.txt";

/// Files, with their content.
const FILES: &[(&str, &str)] = &[
    (MARKER_FILE, "what the marker asks for"),
    ("index.html", "<!doctype html><title>start</title>"),
    ("plain.txt", "a plain file of some forty-odd bytes or so\n"),
    ("empty.bin", ""),
    ("one.bin", "1"),
    ("style.css", "body { margin: 0 }\n"),
    ("app.js", "export const answer = 42;\n"),
    ("data.json", "{\"a\":1}\n"),
    ("mark.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n"),
    ("picture.png", "\u{1}no real picture"),
    ("no-ending", "what is this"),
    ("thing.strange-ending", "what is that"),
    ("SHOUT.TXT", "an ending in capitals"),
    ("with space.txt", "a space in a name"),
    ("100%.txt", "a percent sign in a name"),
    ("a+b.txt", "a plus is a plus in a path"),
    ("a&b=c.txt", "delimiters mean nothing in a path"),
    ("semi;colon.txt", "nor does a semicolon"),
    ("mark?.txt", "a question mark in a name"),
    ("hash#.txt", "a hash in a name"),
    ("co:lon.txt", "a colon in a name"),
    ("größe.txt", "a name beyond ASCII"),
    ("line\nfeed.txt", "a line feed in a name"),
    ("back\\slash.txt", "a backslash is a byte of a name"),
    ("quote\"<&>.txt", "a name that needs care"),
    ("%41.txt", "a name that looks encoded"),
    ("..two", "dots at the start are no dot segment"),
    ("trail..", "nor at the end"),
    (".hidden", "not served"),
    (".hidden-directory/file.txt", "not served"),
    ("dir/.secret", "not served"),
    (".well-known/security.txt", "served"),
    (".well-known/.secret", "not served"),
    ("dir/index.html", "<!doctype html><title>dir</title>"),
    ("dir/page.html", "<!doctype html><title>page</title>"),
    ("dir/sub/index.html", "<!doctype html><title>sub</title>"),
    ("noindex/file.txt", "no index beside me"),
    ("noindex/other.html", "the second index"),
    ("odd\"dir <&>/index.html", "a directory that needs care"),
    ("new\r\nline/index.html", "a directory with a line end"),
    ("indexed/index.html/file", "an index that is a directory"),
    ("odd names/quote\"<&>.txt", "a name that needs care in a listing"),
    ("odd names/line\r\nfeed.txt", "a line end in a listed name"),
    // Precompressed neighbours. The server never looks into them, so any bytes will do.
    ("page.html", "<!doctype html><title>a page with all its variants</title>"),
    ("page.html.br", "the page as brotli"),
    ("page.html.zst", "the page as zstandard."),
    ("page.html.gz", "the page as gzip......."),
    ("only.css", "a { color: red } /* with a gzip neighbour only */"),
    ("only.css.gz", "the style as gzip"),
    ("void.txt", "its neighbour is empty"),
    ("void.txt.gz", ""),
    ("none.txt", "its neighbour is a directory"),
    ("none.txt.gz/file", "inside"),
    ("alone.txt.gz", "a packed file without an original"),
    ("docs/index.html", "an index with a variant"),
    ("docs/index.html.br", "the index as brotli"),
    ("fresh.txt", "older than its neighbour"),
    ("same.txt", "as old as its neighbour"),
    ("same.txt.gz", "its neighbour"),
    ("stale.txt.gz", "older than its original"),
    ("linked.txt", "its neighbour is a link to a file"),
    ("leaving.txt", "its neighbour is a link that leaves"),
];

/// Files that were written ten seconds after the others.
const LATER: &[(&str, &str)] =
    &[("stale.txt", "younger than its neighbour"), ("fresh.txt.gz", "younger than its original")];

/// Links, with what they say.
const LINKS: &[(&str, &str)] = &[
    ("link.txt", "plain.txt"),
    ("link-dir", "dir"),
    ("dir/up.txt", "../plain.txt"),
    ("linked.txt.gz", "marker.txt"),
    ("leaving.txt.gz", "../../outside"),
    ("absolute.txt", "/etc/hostname"),
    ("outside.txt", "../../etc/hostname"),
    ("returning.txt", "../site/plain.txt"),
    ("dangling.txt", "nowhere"),
    ("loop-one", "loop-two"),
    ("loop-two", "loop-one"),
];

/// A file of 70001 bytes: more than one block, and not a round number.
pub(crate) const DATA_SEED: u64 = 5;
pub(crate) const DATA_BYTES: usize = 70_001;
/// A file that the sockets' buffers do not hold, on the disk only.
pub(crate) const BIG_SEED: u64 = 6;
pub(crate) const BIG_BYTES: u64 = 6 << 20;

/// When the files were written: in the past, so that a date is a strong validator (RFC 9110
/// section 8.8.2.2), and not at a whole second.
const WRITTEN: Duration = Duration::from_millis(1_706_933_106_789);
pub(crate) const LATER_BY: Duration = Duration::from_secs(10);

/// The content of a file of the tree.
pub(crate) fn content(name: &str) -> Vec<u8> {
    match name {
        "data.bin" => Pattern::new(DATA_SEED).bytes(0, DATA_BYTES),
        "big.bin" => Pattern::new(BIG_SEED).bytes(0, BIG_BYTES as usize),
        _ => {
            let found = FILES.iter().chain(LATER).find(|(one, _)| *one == name);
            found.unwrap_or_else(|| panic!("there is no {name}")).1.as_bytes().to_vec()
        }
    }
}

/// The rules of [`crate::case::Setup::Rules`], in a file beside the site.
pub(crate) const RULES: &str = r#"
root = "site"
precompressed = "on"
fallback = "index.html"

[errors]
404 = "dir/page.html"
405 = "app.js"
410 = "none.txt"

[media]
"strange-ending" = "text/x-strange"

[[fields]]
match = "/**"
set = { X-All = "1" }

[[fields]]
match = ["/*.txt", "/page.html"]
set = { Cache-Control = "max-age=60", X-All = "2" }
remove = ["Server"]

[[fields]]
match = "/dir/**"
set = { X-Always = "yes" }
always = true

[[cors]]
match = "/data.json"
origins = ["*"]

[[cors]]
match = ["/dir/**", "/page.html"]
origins = ["https://a.example", "https://b.example"]
headers = ["Range"]
expose = ["ETag"]
max-age = "10m"
credentials = true

[[rates]]
match = "/slow.bin"
rate-limit = "20KiB"

[[redirects]]
from = "/old/keep.txt"
to = "/plain.txt#here"
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
from = "/dead/**"
status = 410

[[mounts]]
path = "/elsewhere/"
root = "site/dir"

[[mounts]]
path = "/elsewhere/deep/"
root = "site/docs"

[[hosts]]
names = ["b.example", "*.c.example"]
root = "site/dir"
index = ["page.html"]
redirects = []
mounts = []
errors = {}
"#;

/// The tree on a disk, in a directory of its own so that there is something above the root.
pub(crate) struct Site {
    scratch: Scratch,
}

impl Site {
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new();
        let place = |name: &str| format!("site/{name}");
        for (name, text) in FILES.iter().chain(LATER) {
            scratch.write(&place(name), text);
        }
        scratch.pattern(&place("data.bin"), DATA_SEED, DATA_BYTES as u64);
        scratch.pattern(&place("big.bin"), BIG_SEED, BIG_BYTES);
        scratch.write("outside", "outside of the root");
        for (name, target) in LINKS {
            symlink(target, scratch.join(&place(name))).unwrap();
        }
        mknodat(CWD, scratch.join(&place("fifo")), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let site = Self { scratch };
        for (name, _) in FILES.iter().chain([("data.bin", ""), ("big.bin", "")].iter()) {
            site.touch(name, SystemTime::UNIX_EPOCH + WRITTEN);
        }
        for (name, _) in LATER {
            site.touch(name, SystemTime::UNIX_EPOCH + WRITTEN + LATER_BY);
        }
        site
    }

    pub(crate) fn touch(&self, name: &str, time: SystemTime) {
        let file = File::options().append(true).open(self.root().join(name)).unwrap();
        file.set_modified(time).unwrap();
    }

    /// The file with the rules.
    pub(crate) fn rules(&self) -> std::path::PathBuf {
        self.scratch.write("rules.toml", RULES)
    }

    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.scratch.join("site")
    }
}

/// The tree in the simulated kernel, whose files are as old as they are there: a day, when this
/// returns.
pub(crate) fn plant(world: &World) {
    for (name, text) in FILES {
        world.file(name, *text);
    }
    world.file("data.bin", content("data.bin"));
    for (name, target) in LINKS {
        world.link(name, target);
    }
    world.fifo("fifo");
    world.pass(LATER_BY);
    for (name, text) in LATER {
        world.file(name, *text);
    }
    world.pass(Duration::from_secs(24 * 60 * 60));
}
