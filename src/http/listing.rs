//! Directory listings, as HTML or JSON.
//!
//! Entries are added one by one, as a helper thread reads them, up to a bound; the page is then
//! written in the wanted order. Nothing in it needs a script: columns sort by links.
//!
//! The JSON form is one object:
//!
//! ```json
//! {"path":"/a/","truncated":false,"entries":[
//!   {"name":"b.txt","href":"b.txt","kind":"file","size":12,"modified":"1994-11-06T08:49:37Z"},
//!   {"name":"c","href":"c/","kind":"directory","modified":"1994-11-06T08:49:37Z"}]}
//! ```
//!
//! `modified` is left out where it is not known, as for a directory that is mounted there.
//!
//! `name` and `path` are for reading: bytes that are not UTF-8 are replaced in them. `href` is
//! exact, whatever the bytes of the name: it is percent-encoded and relative to the directory.

use std::cmp::Ordering;

use super::date;
use super::markup;
use super::negotiate::Form;
use super::sink::Sink;
use super::target;
use crate::limits::LISTING_NAMES_BYTES_MAX;

/// The forms of a listing, for [`super::negotiate::form`].
pub const FORMS: [Form; 2] = [Form::Html, Form::Json];

const STYLE: &str = include_str!("listing.css");

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A directory, listed first.
    Directory,
    /// A regular file.
    File,
}

/// What the entries are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Their names, without regard to case in ASCII.
    #[default]
    Name,
    /// Their sizes.
    Size,
    /// Their modification times.
    Time,
}

/// How a listing is asked for in the query of its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// `sort=name`, `sort=size` or `sort=time`.
    pub sort: Sort,
    /// `order=desc`, not `order=asc`.
    pub descending: bool,
    /// `format=html` or `format=json`, which wins over Accept.
    pub form: Option<Form>,
}

impl View {
    /// Reads a query; what is not known in it is read over, and the last of a name counts.
    pub fn parse(query: Option<&[u8]>) -> View {
        let mut view = View::default();
        for pair in query.unwrap_or_default().split(|byte| *byte == b'&') {
            match pair {
                b"sort=name" => view.sort = Sort::Name,
                b"sort=size" => view.sort = Sort::Size,
                b"sort=time" => view.sort = Sort::Time,
                b"order=asc" => view.descending = false,
                b"order=desc" => view.descending = true,
                b"format=html" => view.form = Some(Form::Html),
                b"format=json" => view.form = Some(Form::Json),
                _ => {}
            }
        }
        view
    }
}

/// The entries of a directory, up to a bound.
#[derive(Debug)]
pub struct Listing {
    /// The names of all entries, one behind the other.
    names: Vec<u8>,
    entries: Vec<Entry>,
    entries_max: usize,
    truncated: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: (usize, usize),
    kind: Kind,
    size: u64,
    modified: Option<i64>,
}

impl Listing {
    /// A listing that takes so many entries, see [`crate::limits::LISTING_ENTRIES_MAX`].
    pub fn new(entries_max: usize) -> Listing {
        Listing { names: Vec::new(), entries: Vec::new(), entries_max, truncated: false }
    }

    /// Adds an entry; `modified` is in seconds since 1970, if it is known. Names that no entry can
    /// have are passed over. `false` when the listing is full: the entry is left out, the page
    /// says so, and reading on is of no use.
    #[must_use]
    pub fn push(&mut self, name: &[u8], kind: Kind, size: u64, modified: Option<i64>) -> bool {
        if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return true;
        }
        let fits = self.names.len() + name.len() <= LISTING_NAMES_BYTES_MAX;
        if self.entries.len() >= self.entries_max || !fits {
            self.truncated = true;
            return false;
        }
        let start = self.names.len();
        self.names.extend_from_slice(name);
        self.entries.push(Entry { name: (start, self.names.len()), kind, size, modified });
        true
    }

    /// Writes the listing of the directory with this path, decoded and as
    /// [`target::resolve`] gives it; any form but JSON is HTML.
    pub fn write(&mut self, out: &mut Vec<u8>, path: &[u8], view: View, form: Form) {
        self.sort(view);
        match form {
            Form::Json => self.write_json(out, path),
            _ => self.write_html(out, path, view),
        }
    }

    fn sort(&mut self, view: View) {
        let names = &self.names;
        self.entries.sort_by(|one, two| {
            let (first, second) = (&names[one.name.0..one.name.1], &names[two.name.0..two.name.1]);
            let by_name = compare_names(first, second);
            let wanted = match view.sort {
                Sort::Name => by_name,
                // A directory has no size of interest.
                Sort::Size if one.kind == Kind::Directory => Ordering::Equal,
                Sort::Size => one.size.cmp(&two.size),
                Sort::Time => one.modified.cmp(&two.modified),
            };
            let wanted = if view.descending { wanted.reverse() } else { wanted };
            one.kind.cmp(&two.kind).then(wanted).then(by_name)
        });
    }

    fn name(&self, entry: &Entry) -> &[u8] {
        &self.names[entry.name.0..entry.name.1]
    }

    fn write_json(&self, out: &mut Vec<u8>, path: &[u8]) {
        out.put(b"{\"path\":");
        markup::json(out, &directory_path(path));
        out.put(if self.truncated { b",\"truncated\":true" } else { b",\"truncated\":false" });
        out.put(b",\"entries\":[");
        for (at, entry) in self.entries.iter().enumerate() {
            out.put(if at == 0 { b"\n{\"name\":" } else { b",\n{\"name\":" });
            markup::json(out, self.name(entry));
            out.put(b",\"href\":\"");
            // What is left unencoded in a path needs no escape in JSON.
            self.write_href(out, entry);
            match entry.kind {
                Kind::Directory => out.put(b"\",\"kind\":\"directory\""),
                Kind::File => {
                    out.put(b"\",\"kind\":\"file\",\"size\":");
                    out.put_decimal(entry.size);
                }
            }
            match entry.modified {
                Some(modified) => {
                    out.put(b",\"modified\":\"");
                    out.put(&date::format_rfc3339(modified));
                    out.put(b"\"}");
                }
                None => out.put(b"}"),
            }
        }
        out.put(b"]}\n");
    }

    fn write_href(&self, out: &mut Vec<u8>, entry: &Entry) {
        target::encode(self.name(entry), out);
        if entry.kind == Kind::Directory {
            out.put(b"/");
        }
    }

    fn write_html(&self, out: &mut Vec<u8>, path: &[u8], view: View) {
        out.put(
            b"<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
              <meta name=\"viewport\" content=\"width=device-width\">\n<title>",
        );
        markup::html(out, &directory_path(path));
        out.put(b"</title>\n<style>\n");
        out.put(STYLE.as_bytes());
        out.put(b"</style>\n<main>\n<h1>");
        write_trail(out, path);
        out.put(b"</h1>\n<table>\n<thead><tr>");
        for (sort, token, label) in [
            (Sort::Name, "name", "Name"),
            (Sort::Size, "size", "Size"),
            (Sort::Time, "time", "Modified"),
        ] {
            write_column(out, view, sort, token, label);
        }
        out.put(b"</tr></thead>\n<tbody>\n");
        if !path.is_empty() {
            out.put(b"<tr class=d><td><a href=\"../\" rel=\"up\">../</a><td><td>\n");
        }
        for entry in &self.entries {
            self.write_row(out, entry);
        }
        out.put(b"</tbody>\n</table>\n<p>");
        self.write_sum(out);
        out.put(b"</p>\n</main>\n</html>\n");
    }

    /// One row. Its end tags are left out, as HTML allows (section 13.1.2.4 of the standard): they
    /// are a third of what a row has beside its name.
    fn write_row(&self, out: &mut Vec<u8>, entry: &Entry) {
        let directory = entry.kind == Kind::Directory;
        out.put(if directory { b"<tr class=d>" } else { b"<tr>" });
        out.put(b"<td><a href=\"");
        self.write_href(out, entry);
        // bdi: a name in a right-to-left script, or one that pretends, ends where it ends.
        out.put(b"\"><bdi>");
        markup::html(out, self.name(entry));
        out.put(if directory { b"</bdi>/</a><td>" } else { b"</bdi></a><td>" });
        if !directory {
            out.put(b"<data value=");
            out.put_decimal(entry.size);
            out.put(b">");
            write_size(out, entry.size);
            out.put(b"</data>");
        }
        let Some(modified) = entry.modified else { return out.put(b"<td>\n") };
        let time = date::format_rfc3339(modified);
        out.put(b"<td><time datetime=");
        out.put(&time);
        out.put(b">");
        out.put(&time[..10]);
        out.put(b" ");
        out.put(&time[11..16]);
        out.put(b"</time>\n");
    }

    /// How much there is.
    fn write_sum(&self, out: &mut Vec<u8>) {
        if self.entries.is_empty() {
            return out.put(b"This directory is empty.");
        }
        let files = self.entries.iter().filter(|entry| entry.kind == Kind::File);
        let count = files.clone().count();
        let directories = self.entries.len() - count;
        write_count(out, directories, "directory", "directories");
        out.put(if directories > 0 && count > 0 { b", " } else { b"" });
        write_count(out, count, "file", "files");
        if count > 0 {
            out.put(b", ");
            write_size(out, files.fold(0, |sum, entry| sum.saturating_add(entry.size)));
        }
        if self.truncated {
            out.put(b". There are more entries than the ");
            out.put_decimal(self.entries.len() as u64);
            out.put(b" shown");
        }
        out.put(b". Times are UTC.");
    }
}

fn write_count(out: &mut Vec<u8>, count: usize, one: &str, many: &str) {
    if count > 0 {
        out.put_decimal(count as u64);
        out.put(b" ");
        out.put(if count == 1 { one } else { many }.as_bytes());
    }
}

/// The head of a column: a link that sorts by it, or turns the order when it is sorted already.
fn write_column(out: &mut Vec<u8>, view: View, sort: Sort, token: &str, label: &str) {
    let current = view.sort == sort;
    out.put(b"<th scope=\"col\"");
    if current {
        out.put(b" aria-sort=");
        out.put(if view.descending { b"descending" } else { b"ascending" });
    }
    out.put(b"><a href=\"?sort=");
    out.put(token.as_bytes());
    out.put(if current && !view.descending { b"&amp;order=desc\">" } else { b"&amp;order=asc\">" });
    out.put(label.as_bytes());
    if current {
        let arrow = if view.descending { " \u{2193}" } else { " \u{2191}" };
        out.put(arrow.as_bytes());
    }
    out.put(b"</a></th>");
}

/// The path, each directory in it a link; links are relative, so they hold behind a proxy that
/// cuts a prefix.
fn write_trail(out: &mut Vec<u8>, path: &[u8]) {
    let segments: Vec<&[u8]> =
        if path.is_empty() { Vec::new() } else { path.split(|byte| *byte == b'/').collect() };
    for at in 0..=segments.len() {
        let up = segments.len() - at;
        if at > 0 {
            out.put(b" ");
        }
        out.put(b"<a href=\"");
        if up == 0 {
            out.put(b"./\" aria-current=\"page\">");
        } else {
            (0..up).for_each(|_| out.put(b"../"));
            out.put(b"\">");
        }
        if let Some(segment) = at.checked_sub(1).map(|at| segments[at]) {
            out.put(b"<bdi>");
            markup::html(out, segment);
            out.put(b"</bdi>");
        }
        out.put(b"/</a>");
    }
}

/// A size for reading, with one decimal below ten of a unit.
fn write_size(out: &mut Vec<u8>, size: u64) {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if size < 1024 {
        out.put_decimal(size);
        out.put(b" B");
        return;
    }
    // The unit in which it has one to four digits; a size rounds down, never up to the next unit.
    let unit = size.ilog2() / 10;
    let (whole, rest) = (size >> (10 * unit), size >> (10 * (unit - 1)) & 1023);
    out.put_decimal(whole);
    if whole < 10 {
        out.put(b".");
        out.put_decimal(rest * 10 / 1024);
    }
    out.put(b" ");
    out.put(UNITS[unit as usize - 1].as_bytes());
}

fn compare_names(one: &[u8], two: &[u8]) -> Ordering {
    let folded = one.iter().map(u8::to_ascii_lowercase).cmp(two.iter().map(u8::to_ascii_lowercase));
    folded.then_with(|| one.cmp(two))
}

/// A path for reading, with a slash before and behind.
fn directory_path(path: &[u8]) -> Vec<u8> {
    let mut text = b"/".to_vec();
    text.put(path);
    if !path.is_empty() {
        text.put(b"/");
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listing() -> Listing {
        let mut listing = Listing::new(10);
        assert!(listing.push(b"b.txt", Kind::File, 2000, Some(100)));
        assert!(listing.push(b"A.txt", Kind::File, 3_000_000, Some(50)));
        assert!(listing.push(b"dir", Kind::Directory, 4096, Some(75)));
        assert!(listing.push(b"c.txt", Kind::File, 5, Some(75)));
        listing
    }

    fn order(query: &str) -> Vec<String> {
        let mut out = Vec::new();
        let view = View::parse(Some(query.as_bytes()));
        listing().write(&mut out, b"", view, Form::Json);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let names = value["entries"].as_array().unwrap().iter();
        names.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_order_asked_for() {
        assert_eq!(order(""), ["dir", "A.txt", "b.txt", "c.txt"]);
        assert_eq!(order("order=desc"), ["dir", "c.txt", "b.txt", "A.txt"]);
        assert_eq!(order("sort=size"), ["dir", "c.txt", "b.txt", "A.txt"]);
        assert_eq!(order("x=y&sort=time&order=asc"), ["dir", "A.txt", "c.txt", "b.txt"]);
        assert_eq!(order("sort=time&order=desc&sort=nonsense"), ["dir", "b.txt", "c.txt", "A.txt"]);
        assert_eq!(View::parse(None), View::default());
        assert_eq!(View::parse(Some(b"format=json")).form, Some(Form::Json));
    }

    #[test]
    fn the_documented_json() {
        let mut listing = Listing::new(3);
        assert!(listing.push(b"b.txt", Kind::File, 12, Some(784_111_777)));
        assert!(listing.push(b"mounted", Kind::Directory, 0, None));
        assert!(listing.push(b"c", Kind::Directory, 0, Some(784_111_777)));
        let mut out = Vec::new();
        listing.write(&mut out, b"a", View::default(), Form::Json);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"path\":\"/a/\",\"truncated\":false,\"entries\":[\n\
             {\"name\":\"c\",\"href\":\"c/\",\"kind\":\"directory\",\
             \"modified\":\"1994-11-06T08:49:37Z\"},\n\
             {\"name\":\"mounted\",\"href\":\"mounted/\",\"kind\":\"directory\"},\n\
             {\"name\":\"b.txt\",\"href\":\"b.txt\",\"kind\":\"file\",\"size\":12,\
             \"modified\":\"1994-11-06T08:49:37Z\"}]}\n"
        );
    }

    /// RFC 3986 section 3.3, and the escapes of HTML.
    #[test]
    fn names_cannot_leave_their_place() {
        let mut listing = Listing::new(10);
        for name in [&b"<script>alert('1')"[..], b"a:b?c#d&\"e", b"\xff\n"] {
            assert!(listing.push(name, Kind::File, 1, Some(1)));
        }
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
            assert!(listing.push(name, Kind::File, 1, Some(1)));
        }
        let mut out = Vec::new();
        listing.write(&mut out, b"x<y", View::default(), Form::Html);
        let html = String::from_utf8(out).unwrap();
        assert!(!html.contains("<script") && !html.contains("x<y"));
        assert!(html.contains("href=\"a%3Ab%3Fc%23d%26%22e\""));
        assert!(html.contains("href=\"%FF%0A\"><bdi>\u{FFFD}\u{FFFD}</bdi>"));
        assert_eq!(html.matches("<tr").count(), 1 + 1 + 3);
    }

    /// Links and headings that a keyboard reaches, in the colours that are preferred.
    #[test]
    fn the_page_helps_to_find_the_way() {
        let mut out = Vec::new();
        listing().write(&mut out, b"a/b", View::parse(Some(b"sort=size")), Form::Html);
        let html = String::from_utf8(out).unwrap();
        assert!(html.contains("<a href=\"../\" rel=\"up\">../</a>"));
        assert!(html.contains("color-scheme:light dark") && html.contains("a:focus-visible{"));
        assert!(html.contains("@media(prefers-color-scheme:dark)") && !html.contains("<script"));
        assert!(html.contains("<a href=\"../../\">/</a> <a href=\"../\"><bdi>a</bdi>/</a>"));
        assert!(html.contains("aria-sort=ascending><a href=\"?sort=size&amp;order=desc\">"));
        assert!(html.contains("<a href=\"dir/\"><bdi>dir</bdi>/</a>"));
        assert!(html.contains("<data value=3000000>2.8 MiB</data>"));
        assert!(html.contains("<time datetime=1970-01-01T00:01:40Z>1970-01-01 00:01</time>"));
        assert!(html.contains("<p>1 directory, 3 files, 2.8 MiB. Times are UTC.</p>"));
        let mut out = Vec::new();
        Listing::new(1).write(&mut out, b"", View::default(), Form::Html);
        let html = String::from_utf8(out).unwrap();
        assert!(html.contains("This directory is empty.") && !html.contains("rel=\"up\""));
    }

    #[test]
    fn a_full_listing_says_so() {
        let mut listing = Listing::new(1);
        assert!(listing.push(b"a", Kind::File, 1, Some(1)));
        assert!(!listing.push(b"b", Kind::File, 1, Some(1)));
        let mut out = Vec::new();
        listing.write(&mut out, b"", View::default(), Form::Json);
        assert!(out.windows(16).any(|at| at == b"\"truncated\":true"));
        out.clear();
        listing.write(&mut out, b"", View::default(), Form::Html);
        assert!(String::from_utf8(out).unwrap().contains("more entries than the 1 shown"));
    }

    #[test]
    fn the_names_together_are_bounded() {
        let mut listing = Listing::new(usize::MAX);
        let name = [b'x'; 255];
        let mut count = 0;
        while listing.push(&name, Kind::File, 1, Some(1)) {
            count += 1;
        }
        assert_eq!(count, LISTING_NAMES_BYTES_MAX / name.len());
    }

    #[test]
    fn sizes_for_reading() {
        for (size, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10_239, "9.9 KiB"),
            (10_240, "10 KiB"),
            (1_048_575, "1023 KiB"),
            (u64::MAX, "15 EiB"),
        ] {
            let mut out = Vec::new();
            write_size(&mut out, size);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    proptest! {
        /// A link leads to the entry, whatever the bytes of its name.
        #[test]
        fn links_are_lossless(
            name in prop::collection::vec(1..=255u8, 1..20), query in "\\PC{0,20}",
        ) {
            prop_assume!(!name.contains(&b'/') && name != b"." && name != b"..");
            let mut listing = Listing::new(1);
            prop_assert!(listing.push(&name, Kind::File, 1, Some(i64::MAX)));
            let view = View::parse(Some(query.as_bytes()));
            let mut out = Vec::new();
            listing.write(&mut out, b"d", view, Form::Json);
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let href = value["entries"][0]["href"].as_str().unwrap();
            let mut read = Vec::new();
            target::resolve(format!("/{href}").as_bytes(), &mut read).unwrap();
            prop_assert_eq!(&read, &name);
            out.clear();
            listing.write(&mut out, b"d", view, Form::Html);
            let link = format!("<a href=\"{href}\">");
            prop_assert!(String::from_utf8(out).unwrap().contains(&link));
        }
    }
}
