//! One file for each row of the table.

pub(super) mod congestion;
pub(super) mod cores;
pub(super) mod descriptors;
pub(super) mod direct;
pub(super) mod file_system;
pub(super) mod huge_pages;
pub(super) mod inotify;
pub(super) mod io_uring;
pub(super) mod kernel;
pub(super) mod links;
pub(super) mod memlock;
pub(super) mod memory;
pub(super) mod permissions;
pub(super) mod pipes;
pub(super) mod pressure;
pub(super) mod reflink;
pub(super) mod sandbox;
pub(super) mod variants;
