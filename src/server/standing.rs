//! What the server keeps for itself when it gives up the rest: the ground that a configuration
//! stands on, and what was applied.

use std::path::PathBuf;

use super::options::Options;
use super::run::Fault;
use crate::access_log::options::Place;
use crate::resource::Site;
use crate::sandbox::{self, Confined, Ground};
use crate::sys::{self, Listen};

/// Confines the process, which has one thread, to what the options need. `files` are read again at
/// a reload.
pub(super) fn confine(options: &Options, files: &[PathBuf]) -> Result<Confined, Fault> {
    sys::mounts::keep();
    let ground = ground(options, files);
    let (mode, user) = (options.sandbox, options.user.as_deref());
    let confined = sandbox::confine(mode, user, &ground, starts_programs(options));
    let confined = confined.map_err(Fault::Sandbox)?;
    for (layer, why) in &confined.missing {
        tracing::warn!(layer = layer.name(), "a layer of the sandbox is not applied: {why}");
    }
    let layers: Vec<_> = confined.applied.iter().map(|layer| layer.name()).collect();
    if !layers.is_empty() {
        tracing::info!(layers = layers.join(", "), "confined");
    }
    Ok(confined)
}

/// Whether a later configuration can be served by a process that was confined for an earlier one;
/// says what keeps it from that.
pub(super) fn check(
    confined: &Confined,
    options: &Options,
    files: &[PathBuf],
) -> Result<(), Fault> {
    if !confined.starts_programs() && starts_programs(options) {
        return Err(Fault::Outside(
            "a confined server starts no programs, and the access log goes to one".to_owned(),
        ));
    }
    confined.covers(&ground(options, files)).map_err(|path| {
        Fault::Outside(format!(
            "'{}' is not among the directories that this process was confined to",
            path.display()
        ))
    })
}

fn starts_programs(options: &Options) -> bool {
    options.access_log.sinks.iter().any(|sink| matches!(sink, Place::Program(_)))
}

fn ground(options: &Options, files: &[PathBuf]) -> Ground {
    let mut ground = Ground::default();
    let sites = options.sites();
    for root in Site::directories(&sites) {
        match options.root_follow {
            true => ground.follow(root),
            false => ground.serve(root),
        }
    }
    for file in files {
        ground.read_again(file);
    }
    for sink in &options.access_log.sinks {
        if let Place::Path(path) = sink {
            ground.log(path);
        }
    }
    if let Some(store) = &options.access_log.mirror.store {
        ground.store(store);
    }
    for listen in options.listen.iter().chain(&options.telemetry.listen) {
        if let Listen::Unix(path) = listen {
            ground.socket(path);
        }
    }
    if let Some(path) = &options.hand_over {
        ground.socket(path);
    }
    sys::pressure::files().for_each(|file| ground.device(file));
    ground
}
