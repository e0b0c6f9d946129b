//! The laps, and whether this machine can run them.

use super::fault::Fault;
use super::laps::{Group, ROWS};
use super::options::Options;
use super::track::Track;
use crate::limits;

/// One line for each lap: its name, how it moves the bytes, and why it cannot be run here, if so.
///
/// It looks at the FILE, or makes a small one where the race would make its own.
///
/// # Errors
/// A [`Fault`] when there is no such file and none can be made.
pub fn list(options: &Options) -> Result<String, Fault> {
    let size = options.size.or(options.file.is_none().then_some(options.block_size as u64));
    let options = Options { size, ..options.clone() };
    let track = Track::open(&options, 0, true, true)?;
    let mut text = String::new();
    for group in Group::ALL {
        text.push_str(&format!("{}\n", group.title()));
        for row in ROWS.iter().filter(|row| row.group == group) {
            let state = match row.hindrance(&track, &options) {
                None => "yes".to_owned(),
                Some(reason) => format!("no: {reason}"),
            };
            text.push_str(&format!("  {:<20}{}\n", row.name, row.help));
            text.push_str(&format!("  {:<20}  can run here: {state}\n", ""));
        }
    }
    text.push_str(&format!(
        "--techniques takes these names, and those of techniques: {}\n",
        techniques().join(", ")
    ));
    text.push_str(&format!("laps with a queue: --iodepth 1 to {}\n", limits::LAB_DEPTH_MAX));
    Ok(text)
}

fn techniques() -> Vec<&'static str> {
    let mut names: Vec<_> = ROWS.iter().map(|row| row.technique).collect();
    names.sort_unstable();
    names.dedup();
    names
}
