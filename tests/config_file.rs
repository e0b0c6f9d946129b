//! The `config.toml` of the repository is the documentation of every key: it has each of them
//! once, with its default, and says what it is for.
#![allow(clippy::unwrap_used)]

mod quarantine;

use std::path::{Path, PathBuf};

use pitcrew::config::{KEYS, Settings, resolve};

const TEXT: &str = include_str!("../config.toml");

#[test]
fn every_key_is_there_with_its_default_and_in_the_order_of_the_help() {
    let names: Vec<_> = TEXT
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .collect();
    let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(names, known);
}

#[test]
fn every_value_is_the_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    let mut all = resolve(&[], [], Some(&path)).unwrap().settings;
    assert_eq!(all.server.site.root, Path::new(env!("CARGO_MANIFEST_DIR")).join("www"));
    // The default of the root depends on the directory in which the server is started.
    all.server.site.root = PathBuf::from(".");
    assert_eq!(all, Settings::default());
}

#[test]
fn every_key_is_explained_in_the_line_above_it() {
    let lines: Vec<_> = TEXT.lines().collect();
    for key in &KEYS {
        let at = lines.iter().position(|line| line.starts_with(&format!("{} = ", key.name)));
        let above = lines[at.unwrap() - 1];
        assert!(above.starts_with("# ") && above.ends_with('.'), "{}: {above}", key.name);
    }
}

#[test]
fn every_heading_is_that_of_the_help() {
    for key in &KEYS {
        let title = format!("\n# {}\n", key.section.title());
        let (_, below) = TEXT.split_once(&title).expect(key.name);
        assert!(below.contains(&format!("\n{} = ", key.name)), "{} is above {title}", key.name);
    }
}
