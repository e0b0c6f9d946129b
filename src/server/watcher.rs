//! Who watches the directories of a worker.

use std::os::fd::OwnedFd;

use super::options::Options;
use crate::sys;

/// Whether directories are watched.
pub(super) fn is_wanted(options: &Options) -> bool {
    options.watches > 0 && !options.open_files_valid.is_zero()
}

/// The watcher of a worker. Without one names are looked up by time.
pub(super) fn open(options: &Options, number: usize) -> Option<OwnedFd> {
    if !is_wanted(options) {
        return None;
    }
    let opened = sys::watcher::open();
    opened
        .inspect_err(|error| {
            tracing::warn!(
                worker = number,
                %error,
                "directories are not watched, so a replaced file is seen after open-files-valid; \
                 raise fs.inotify.max_user_instances"
            );
        })
        .ok()
}
