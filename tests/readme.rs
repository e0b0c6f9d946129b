//! What the README shows is what the program does.
#![allow(clippy::unwrap_used)]

mod quarantine;

use pitcrew::config::{Key, resolve};
use pitcrew::engines::Kind;

const TEXT: &str = include_str!("../README.md");

#[test]
fn there_is_an_example_for_each_engine() {
    for kind in Kind::ALL {
        assert!(TEXT.contains(&format!("pitcrew --engine {kind}")), "{kind}");
    }
}

#[test]
fn the_example_of_a_configuration_is_right() {
    let (_, rest) = TEXT.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, example).unwrap();
    let problems = resolve(&[], [], Some(&path)).err();
    assert_eq!(problems, None);
}

#[test]
fn every_key_it_names_exists() {
    for name in ["connections", "head-buffers", "body-buffers", "open-files", "telemetry-allow"] {
        assert!(TEXT.contains(&format!("`{name}`")) && Key::find(name).is_some(), "{name}");
    }
}
