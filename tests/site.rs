//! The site that comes with the program: small, whole, and its compressed neighbours right.

#![allow(clippy::unwrap_used)]

mod quarantine;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// All of it together, in bytes.
const SITE_BYTES_MAX: u64 = 200 * 1024;

fn site() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("www")
}

fn files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
}

fn all() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&site(), &mut found);
    found
}

fn unpack(path: &Path, coding: &str) -> Vec<u8> {
    let packed = fs::read(path).unwrap();
    let mut plain = Vec::new();
    match coding {
        "gz" => flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap(),
        "br" => brotli_decompressor::Decompressor::new(&packed[..], 4096)
            .read_to_end(&mut plain)
            .unwrap(),
        "zst" => ruzstd::decoding::StreamingDecoder::new(&packed[..])
            .unwrap()
            .read_to_end(&mut plain)
            .unwrap(),
        other => panic!("no such coding: {other}"),
    };
    plain
}

#[test]
fn compressed_neighbours_hold_the_original() {
    let mut seen = BTreeSet::new();
    for path in all() {
        let coding = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if !["gz", "br", "zst"].contains(&coding.as_str()) {
            continue;
        }
        let original = path.with_extension("");
        let plain = fs::read(&original)
            .unwrap_or_else(|error| panic!("{} has no original: {error}", path.display()));
        assert!(unpack(&path, &coding) == plain, "{} is stale: pack it again", path.display());
        let name = original.strip_prefix(site()).unwrap().to_string_lossy().into_owned();
        seen.insert((name, coding));
    }
    for name in ["index.html", "style.css", "engines/index.html"] {
        for coding in ["gz", "br", "zst"] {
            assert!(seen.contains(&(name.to_owned(), coding.to_owned())), "no {name}.{coding}");
        }
    }
}

#[test]
fn the_site_is_small() {
    let bytes: u64 = all().iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes < SITE_BYTES_MAX, "{bytes} bytes");
}

/// Every link and source inside of the site leads to a file of it, or to a page the server makes.
#[test]
fn links_lead_somewhere() {
    for path in all() {
        if path.extension().is_none_or(|ending| ending != "html") {
            continue;
        }
        let page = fs::read_to_string(&path).unwrap();
        for attribute in ["href=\"", "src=\""] {
            for part in page.split(attribute).skip(1) {
                let link = part.split('"').next().unwrap();
                assert!(leads(&path, &page, link), "{}: {link} leads nowhere", path.display());
            }
        }
        assert!(!page.contains("<script") && !page.contains(" style="), "{}", path.display());
    }
}

fn leads(path: &Path, page: &str, link: &str) -> bool {
    if link == "/telemetry" {
        return true;
    }
    if let Some(id) = link.strip_prefix('#') {
        return page.contains(&format!("id=\"{id}\""));
    }
    let target = path.parent().unwrap().join(link);
    if link.ends_with('/') { target.join("index.html").is_file() } else { target.is_file() }
}
