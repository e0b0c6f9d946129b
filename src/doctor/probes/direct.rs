//! O_DIRECT on each mount: what statx says, and what a read is taken with.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};
use rustix::io::Errno;
use serde_json::{Value as Json, json};

use crate::doctor::report::Finding;
use crate::doctor::scene::{Place, Scene};
use crate::engines::Kind;
use crate::techniques::direct::{self, Alignment, AlignmentSource, DirectError};

pub(in crate::doctor) fn look(scene: &Scene<'_>) -> Vec<Finding> {
    scene.places.iter().map(|place| mount(place).at(&place.path)).collect()
}

fn mount(place: &Place) -> Finding {
    let file = match place.file(OFlags::DIRECT) {
        None => {
            return Finding::note("there is no file to read, and none can be made")
                .remedy("put a file there and ask again")
                .facts(json!({ "statx": null, "read": null }));
        }
        Some(Ok(file)) => file,
        Some(Err(Errno::INVAL)) => return refused(place, "open(2) refuses O_DIRECT", &Json::Null),
        Some(Err(errno)) => {
            return Finding::note(format!("a file there cannot be opened: {errno}"))
                .remedy("let this user read the files")
                .facts(json!({ "statx": null, "read": null }));
        }
    };
    let said = said_by_statx(&file);
    match direct::discover(&file) {
        Ok(alignment) => taken(place, &said, alignment),
        Err(DirectError::NotSupported) => refused(place, "no read with O_DIRECT is taken", &said),
        Err(error) => refused(place, &error.to_string(), &said),
    }
}

fn refused(place: &Place, why: &str, said: &Json) -> Finding {
    Finding::blocking([Kind::Direct], format!("{}: {why}", place.file_system))
        .facts(json!({ "statx": said, "read": null }))
}

fn taken(place: &Place, said: &Json, alignment: Alignment) -> Finding {
    let Alignment { memory_bytes: memory, offset_bytes: offset, source } = alignment;
    let how = match source {
        AlignmentSource::Statx => "statx says so, and a read was taken",
        AlignmentSource::TestRead if said.is_null() => "statx does not say, a read was taken",
        AlignmentSource::TestRead => "a read was taken; what statx says is not",
        AlignmentSource::Assumed => "assumed, there was nothing to read",
    };
    let says = format!("offsets by {offset} bytes, memory by {memory}: {how}");
    let facts = json!({
        "statx": said,
        "read": { "memory_bytes": memory, "offset_bytes": offset },
    });
    if place.is_memory() {
        let says = format!("{says}; {} has no device, so it gains nothing", place.file_system);
        return Finding::note(says).facts(facts);
    }
    Finding::good(says).facts(facts)
}

/// Linux 6.1 and later say it, on most local file systems.
fn said_by_statx(file: &OwnedFd) -> Json {
    let Ok(told) = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) else {
        return Json::Null;
    };
    if told.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
        return Json::Null;
    }
    json!({ "memory_bytes": told.stx_dio_mem_align, "offset_bytes": told.stx_dio_offset_align })
}
