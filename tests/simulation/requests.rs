//! The files of the simulated site, and requests with what may answer them.

use std::sync::LazyLock;

use pitcrew::ring::simulated::{Random, World};

/// A file that may have had several versions.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) path: &'static str,
    pub(crate) versions: Vec<Vec<u8>>,
}

/// Regular files and their sizes.
const FILES: [(&str, usize); 10] = [
    ("index.html", 1234),
    ("a.txt", 10),
    ("empty.txt", 0),
    ("page.html", 5000),
    ("page.html.gz", 2000),
    ("block.bin", 65_536),
    ("big.bin", 150_001),
    ("long.bin", 700_001),
    ("dir/index.html", 300),
    ("dir/deep.txt", 4097),
];

/// Bytes that depend on the file, its version and the place.
pub(crate) fn content(file: usize, version: usize, bytes: usize) -> Vec<u8> {
    let mut random = Random::new((file as u64) << 32 | version as u64);
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        content.extend(random.next().to_le_bytes());
    }
    content.truncate(bytes);
    content
}

/// The first versions, made once.
static FIRST: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    FILES.iter().enumerate().map(|(number, (_, size))| content(number, 0, *size)).collect()
});

/// Fills a world, and says what is in it.
pub(crate) fn site(world: &World) -> Vec<Content> {
    world.link("in.txt", "a.txt");
    world.link("dir/up.txt", "../a.txt");
    world.link("out.txt", "../a.txt");
    world.link("absolute.txt", "/a.txt");
    world.fifo("fifo");
    world.file(".hidden", "nobody shall see this");
    world.file("forbidden.txt", "nobody may read this");
    world.forbid("forbidden.txt");
    world.file("list/two", "22");
    world.file("list/one", "1");
    world.link("list/up", "../a.txt");
    world.link("list/out", "../../a.txt");
    world.file("list/.hidden", "nobody shall see this");
    world.fifo("list/fifo");
    world.directory("list/below");
    let files = FILES.iter().zip(&*FIRST).map(|((path, _), bytes)| {
        world.file(path, bytes.clone());
        Content { path, versions: vec![bytes.clone()] }
    });
    files.collect()
}

/// Puts a new file in the place of one of them.
pub(crate) fn replace(world: &World, site: &mut [Content], random: &mut Random) {
    let number = random.below(site.len() as u64) as usize;
    let file = &mut site[number];
    let size = 1 + random.below(20_000) as usize;
    let bytes = content(number, file.versions.len(), size);
    world.file(file.path, bytes.clone());
    file.versions.push(bytes);
}

/// What a request is to be answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// A file, whole, in a coding or a part of it.
    File { path: &'static str, body: bool, gzip: bool, ranges: bool },
    /// The listing of the one directory without an index.
    Listing,
    /// One of these.
    Status(&'static [u16]),
}

/// What that listing names, in this order.
pub(crate) const LISTED: [&str; 4] = ["below", "one", "two", "up"];

/// A request.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    pub(crate) expect: Expect,
    /// Whether the answer to it has no body whatever its fields say.
    pub(crate) head: bool,
    /// Whether the connection ends with it.
    pub(crate) last: bool,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let head = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(120)]);
        write!(formatter, "{head:?} ({:?})", self.expect)
    }
}

/// Targets that lead to files.
const TARGETS: [(&str, &str); 14] = [
    ("/", "index.html"),
    ("/index.html", "index.html"),
    ("/a.txt", "a.txt"),
    ("/a.txt?query", "a.txt"),
    ("/%61.txt", "a.txt"),
    ("/in.txt", "a.txt"),
    ("/dir/up.txt", "a.txt"),
    ("/empty.txt", "empty.txt"),
    ("/page.html", "page.html"),
    ("/block.bin", "block.bin"),
    ("/big.bin", "big.bin"),
    ("/long.bin", "long.bin"),
    ("/dir/", "dir/index.html"),
    ("/dir/deep.txt", "dir/deep.txt"),
];

/// Targets that lead nowhere.
const NOWHERE: [&str; 7] =
    ["/nothing", "/out.txt", "/absolute.txt", "/fifo", "/.hidden", "/forbidden.txt", "/a.txt/b"];

const RANGES: [&str; 10] = [
    "bytes=0-0",
    "bytes=5-",
    "bytes=-7",
    "bytes=1000-66000",
    "bytes=650000-650099",
    "bytes=0-250000",
    "bytes=999999-",
    "bytes=0-3,6-8",
    "bytes=0-99,200-70000,-1",
    "lines=1-2",
];

/// Any request.
pub(crate) fn request(random: &mut Random) -> Request {
    match random.below(22) {
        0 => plain(format!("GET {} HTTP/1.1\r\nHost: s\r\n\r\n", random.pick(&NOWHERE)), &[404]),
        1 => plain("GET /dir HTTP/1.1\r\nHost: s\r\n\r\n".into(), &[301]),
        2 => plain("OPTIONS * HTTP/1.1\r\nHost: s\r\n\r\n".into(), &[204]),
        3 => with_body(random),
        4 => Request {
            last: true,
            ..plain(
                "GET /../../a.txt HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n".into(),
                &[400, 404],
            )
        },
        5 => Request { last: true, ..plain("NOT HTTP\r\n\r\n".into(), &[400]) },
        6 => plain("GET /made HTTP/1.1\r\nHost: s\r\n\r\n".into(), &[200]),
        7 => {
            let text = "GET /a.txt HTTP/1.1\r\nHost: s\r\nIf-None-Match: *\r\n\r\n";
            plain(text.into(), &[304])
        }
        8 => Request {
            expect: Expect::Listing,
            ..plain("GET /list/?format=json HTTP/1.1\r\nHost: s\r\n\r\n".into(), &[])
        },
        _ => for_file(random),
    }
}

/// Any request to a listener for telemetry, where nothing of the site is.
pub(crate) fn for_figures(random: &mut Random) -> Request {
    match random.below(4) {
        0 => plain("GET /a.txt HTTP/1.1\r\nHost: s\r\n\r\n".into(), &[404]),
        1 => Request {
            last: true,
            ..plain("GET /made HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n".into(), &[200])
        },
        _ => plain("GET /made HTTP/1.1\r\nHost: s\r\n\r\n".into(), &[200]),
    }
}

fn plain(text: String, status: &'static [u16]) -> Request {
    Request { bytes: text.into_bytes(), expect: Expect::Status(status), head: false, last: false }
}

/// Content that nobody wants: read away, whatever its framing, before the answer.
fn with_body(random: &mut Random) -> Request {
    let mut text = "GET /a.txt HTTP/1.1\r\nHost: s\r\n".to_owned();
    let body = "b".repeat(random.below(6000) as usize);
    if random.chance(300) {
        text += "Expect: 100-continue\r\n";
    }
    if random.chance(500) {
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    } else {
        text += "Transfer-Encoding: chunked\r\n\r\n";
        for chunk in body.as_bytes().chunks(1 + random.below(3000) as usize) {
            text += &format!("{:x}\r\n{}\r\n", chunk.len(), "c".repeat(chunk.len()));
        }
        text += "0\r\n\r\n";
    }
    let expect = Expect::File { path: "a.txt", body: true, gzip: false, ranges: false };
    Request { bytes: text.into_bytes(), expect, head: false, last: false }
}

fn for_file(random: &mut Random) -> Request {
    let (target, path) = *random.pick(&TARGETS);
    let head = random.chance(100);
    let old = random.chance(100);
    let gzip = random.chance(300);
    let ranges = random.chance(250);
    let close = random.chance(100);
    let mut text = format!(
        "{} {target} HTTP/1.{}\r\nHost: s\r\n",
        if head { "HEAD" } else { "GET" },
        if old { 0 } else { 1 }
    );
    if gzip {
        text += "Accept-Encoding: gzip\r\n";
    }
    if ranges {
        text += &format!("Range: {}\r\n", random.pick(&RANGES));
    }
    if close {
        text += "Connection: close\r\n";
    } else if old {
        text += "Connection: keep-alive\r\n";
    }
    if random.chance(50) {
        text += &format!("X-Filler: {}\r\n", "f".repeat(random.below(12_000) as usize));
    }
    text += "\r\n";
    let expect = Expect::File { path, body: !head, gzip, ranges: ranges && !head };
    Request { bytes: text.into_bytes(), expect, head, last: close }
}
