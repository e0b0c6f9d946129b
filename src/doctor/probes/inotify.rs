//! Room for watches, and which mounts tell of their changes.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use serde_json::json;

use crate::doctor::machine;
use crate::doctor::report::Finding;
use crate::doctor::scene::{Place, Scene};
use crate::ring::tells_all_changes;

const SYSCTL: &str = "/proc/sys/fs/inotify/";

pub(in crate::doctor) fn look(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = vec![room(scene)];
    found.extend(scene.places.iter().map(|place| told(place).at(&place.path)));
    found
}

fn room(scene: &Scene<'_>) -> Finding {
    let sysctl = |name: &str| machine::number(&format!("{SYSCTL}{name}"));
    let (watches, instances) = (sysctl("max_user_watches"), sysctl("max_user_instances"));
    let (wanted, directories) = (scene.options.watches as u64, scene.tree.directories);
    let facts = json!({
        "max_user_watches": watches,
        "max_user_instances": instances,
        "max_queued_events": sysctl("max_queued_events"),
        "wanted": wanted,
        "directories": directories,
    });
    let needed = directories.min(wanted);
    let cut = if scene.tree.cut { "more than " } else { "" };
    let asks = format!("{cut}{directories} directories are there, up to {wanted} are watched");
    let finding = match (init(CreateFlags::CLOEXEC), watches) {
        (Err(error), _) => Finding::note(format!(
            "nothing can be watched ({error}): names are looked up again after open-files-valid"
        )),
        (Ok(_), Some(watches)) if watches < needed => {
            Finding::note(format!("this user may have {watches} watches, and {asks}"))
        }
        (Ok(_), Some(watches)) => {
            Finding::good(format!("this user may have {watches} watches; {asks}"))
        }
        (Ok(_), None) => {
            Finding::good(format!("watches can be had, their limit is not told; {asks}"))
        }
    };
    finding.facts(facts)
}

/// Whether changes on a mount are told.
fn told(place: &Place) -> Finding {
    let later = "a name there is looked up again when it is older than open-files-valid";
    let Some(directory) = place.directory() else {
        return Finding::note(format!("the directory cannot be read; {later}"))
            .remedy("let this user read the directory (chmod o+rx)");
    };
    if !tells_all_changes(directory.as_fd()) {
        return Finding::note(format!(
            "{} does not tell all changes, or is not known to; {later}",
            place.file_system
        ))
        .remedy("nothing, or serve from a local file system (ext4, xfs, btrfs, tmpfs)")
        .facts(json!({ "tells": false }));
    }
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let watched = init(CreateFlags::CLOEXEC)
        .and_then(|watcher| add_watch(&watcher, path, WatchFlags::CREATE | WatchFlags::ONLYDIR));
    match watched {
        Ok(_) => Finding::good("a change is seen by the next request"),
        Err(error) => Finding::note(format!("a watch is refused ({error}); {later}")),
    }
    .facts(json!({ "tells": watched.is_ok() }))
}
