//! Whether two files of a mount may share blocks.

use rustix::fs::ioctl_ficlone;
use serde_json::json;

use crate::doctor::report::Finding;
use crate::doctor::scene::{Place, Scene};

pub(in crate::doctor) fn look(scene: &Scene<'_>) -> Vec<Finding> {
    scene.places.iter().map(|place| mount(place).at(&place.path)).collect()
}

fn mount(place: &Place) -> Finding {
    let name = &place.file_system;
    let (Some(from), Some(to)) = (place.nameless(), place.nameless()) else {
        return Finding::good(format!("{name}: not tried, as nothing can be written there"))
            .facts(json!({ "reflink": null }));
    };
    // What is good here costs nobody anything: the server writes no file that it serves.
    match ioctl_ficlone(&to, &from) {
        Ok(()) => {
            Finding::good(format!("{name}: files may share blocks, so a copy moves no bytes"))
                .facts(json!({ "reflink": true }))
        }
        Err(_) => {
            Finding::good(format!("{name}: files do not share blocks, a copy moves its bytes"))
                .facts(json!({ "reflink": false }))
        }
    }
}
