//! What each mount is, and whether a read of it can be told not to wait.

use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use serde_json::{Value as Json, json};

use crate::doctor::report::Finding;
use crate::doctor::scene::{Place, Scene};

pub(in crate::doctor) fn look(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found: Vec<_> = scene.places.iter().map(|place| mount(place).at(&place.path)).collect();
    if scene.places_left > 0 {
        let left = scene.places_left;
        found.push(
            Finding::note(format!("{left} further mounts beneath the root were not looked at"))
                .remedy("look at them by 'pitcrew doctor DIRECTORY'"),
        );
    }
    found
}

fn mount(place: &Place) -> Finding {
    let name = &place.file_system;
    let facts = |nowait: Option<bool>, may_block: Option<bool>| facts(name, nowait, may_block);
    if place.is_memory() {
        return Finding::good(format!("{name}: all is in memory, and no read waits"))
            .facts(facts(None, Some(false)));
    }
    match does_not_wait(place) {
        None => Finding::note(format!("{name}; there is no file to read"))
            .remedy("put a file there and ask again")
            .facts(facts(None, None)),
        Some(Ok(true)) => Finding::good(format!("{name}: a read can be told not to wait"))
            .facts(facts(Some(true), Some(false))),
        Some(Ok(false)) => Finding::note(format!(
            "{name}: a read cannot be told not to wait (no RWF_NOWAIT), so any may block"
        ))
        .facts(facts(Some(false), Some(true))),
        Some(Err(errno)) => Finding::note(format!("{name}: a file there cannot be read: {errno}"))
            .remedy("let this user read the files, or look at the device")
            .facts(facts(None, None)),
    }
}

fn facts(name: &str, nowait: Option<bool>, may_block: Option<bool>) -> Json {
    json!({ "file_system": name, "nowait": nowait, "may_block": may_block })
}

/// As the server asks it: one byte with RWF_NOWAIT, of the first file.
fn does_not_wait(place: &Place) -> Option<Result<bool, Errno>> {
    let file = match place.file(OFlags::empty())? {
        Ok(file) => file,
        Err(errno) => return Some(Err(errno)),
    };
    let mut byte = [0; 1];
    let mut into = [std::io::IoSliceMut::new(&mut byte)];
    Some(match preadv2(&file, &mut into, 0, ReadWriteFlags::NOWAIT) {
        Ok(_) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno),
    })
}
