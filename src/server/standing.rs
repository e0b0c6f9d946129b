//! What the server keeps for itself when it gives up the rest: the ground that a configuration
//! stands on, and what was applied.

use std::path::PathBuf;
use std::sync::Arc;

use super::fault::Fault;
use super::options::{Options, Sandbox};
use crate::access_log::options::{Durability, Place};
use crate::broker::{self, Broker, Stats};
use crate::resource::Site;
use crate::ring::Uring;
use crate::sandbox::{self, Confined, Ground, Layer, Plan, Refused, is_root};
use crate::sys::{self, Listen};
use crate::techniques::synchronous::Durability as Waits;
use crate::telemetry::Held;

impl Options {
    /// What may be asked of the broker of a server with these, which were read from `files`.
    pub fn brokered(&self, files: &[PathBuf]) -> broker::Options {
        let exposed = exposed(self, files);
        let sinks = &self.access_log.sinks;
        let durability = match self.access_log.durability {
            Durability::None => None,
            Durability::Data => Some(Waits::Data),
            Durability::Full => Some(Waits::DataAndMetadata),
        };
        let files = sinks.iter().filter_map(|sink| match sink {
            Place::Path(path) => Some(broker::File { path: path.clone(), durability }),
            Place::Stdout | Place::Program(_) => None,
        });
        let programs = sinks.iter().filter_map(|sink| match sink {
            Place::Program(command) => Some(command.clone()),
            Place::Stdout | Place::Path(_) => None,
        });
        broker::Options {
            listen: self.listen.iter().chain(&self.telemetry.listen).cloned().collect(),
            workers: self.workers,
            files: files.collect(),
            programs: programs.collect(),
            hand_over: self.hand_over.clone(),
            user: self.user.clone(),
            exposed,
        }
    }
}

/// Why who took the server over could write the configuration, if that is so.
fn exposed(options: &Options, files: &[PathBuf]) -> Option<String> {
    let ground = ground(options, files);
    let (file, written) = ground.exposes(files.iter().map(PathBuf::as_path))?;
    Some(format!(
        "'{}' can be replaced by whoever may write in '{}', and the server may, for its log or \
         for mirrored bodies; keep the configuration out of there",
        file.display(),
        written.display()
    ))
}

/// Starts the broker, where something is going to be given up. The process has one thread.
pub(super) fn broker(options: &Options, stats: &Arc<Stats>) -> Result<Option<Arc<Broker>>, Fault> {
    if options.sandbox == Sandbox::Off && options.user.is_none() {
        return Ok(None);
    }
    match Broker::start(Arc::clone(stats)) {
        Ok(broker) => Ok(Some(Arc::new(broker))),
        Err(error) => without_broker(options, &error).map(|()| None),
    }
}

/// Less is given up without a broker: that is told, or refused.
fn without_broker(options: &Options, why: &dyn std::fmt::Display) -> Result<(), Fault> {
    if options.sandbox == Sandbox::On {
        return Err(Fault::NoBroker(why.to_string()));
    }
    tracing::warn!(
        "there is no broker: {why}; the server cannot open log files in a directory that is made \
         again, bind privileged ports later, or serve other directories after a reload"
    );
    Ok(())
}

/// Why rings do more than what the server asks of them; none if they do not. A worker that is
/// refused the restrictions of its own ring says so itself.
fn unrestricted(options: &Options) -> Result<Option<String>, Fault> {
    // Where there is no ring at all, a worker says why.
    let Ok(ring) = Uring::new() else { return Ok(None) };
    let Some(error) = ring.unrestricted() else { return Ok(None) };
    let why = format!("this kernel takes no restrictions of a ring: {error}");
    match options.sandbox {
        Sandbox::On => Err(Fault::Sandbox(Refused { layer: Layer::Rings, why })),
        Sandbox::Auto | Sandbox::Off => Ok(Some(why)),
    }
}

/// Waits for the broker, and confines the process, which has one thread, to what the options need.
/// `files` are read again at a reload.
pub(super) fn confine(
    options: &Options,
    files: &[PathBuf],
    broker: Option<Arc<Broker>>,
) -> Result<Standing, Fault> {
    sys::mounts::keep();
    let ground = ground(options, files);
    let brokered = options.brokered(files);
    let greeted = broker.map(|one| one.greet(&brokered).map(|()| one)).transpose();
    let broker = greeted.or_else(|denied| without_broker(options, &denied).map(|()| None))?;
    let confined = sandbox::confine(&Plan {
        mode: options.sandbox,
        user: options.user.as_deref(),
        ground: &ground,
        programs: broker.is_none() && starts_programs(options),
        binds: broker.is_none(),
    });
    let confined = confined.map_err(Fault::Sandbox)?;
    let unrestricted = unrestricted(options)?;
    let exposed = brokered.exposed.filter(|_| broker.is_some());
    if let Some(why) = &exposed {
        if options.sandbox == Sandbox::On {
            return Err(Fault::Exposed(why.clone()));
        }
        tracing::warn!("the broker reads the configuration once only: {why}");
    }
    // One line for each, however much there is to say. What seccomp does not see is so everywhere.
    if confined.partial.iter().any(|(layer, _)| *layer != Layer::Seccomp) {
        tracing::warn!("what the sandbox leaves free: {}", listed(&confined.partial));
    } else if !confined.partial.is_empty() {
        tracing::info!("what the sandbox leaves free: {}", listed(&confined.partial));
    }
    if !confined.missing.is_empty() {
        tracing::warn!("layers of the sandbox that are not applied: {}", listed(&confined.missing));
    }
    if options.user.is_none() && options.sandbox != Sandbox::Off && is_root() {
        tracing::warn!(
            "the server stays root (uid 0) with the capabilities that it was started with; name \
             who it becomes by --user, such as www-data"
        );
    }
    let layers: Vec<_> = confined.applied.iter().map(|layer| layer.name()).collect();
    if !layers.is_empty() {
        let broker = broker.as_ref().map(|one| one.process());
        tracing::info!(layers = layers.join(", "), broker, "confined");
    }
    if options.user.is_some() {
        // What root may do, its user need not (kernel.io_uring_disabled=1).
        sys::probe::io_uring().map_err(Fault::Ring)?;
    }
    Ok(Standing { confined, broker, exposed, unrestricted })
}

fn listed(told: &[(Layer, String)]) -> String {
    let one = |(layer, what): &(Layer, String)| format!("{}: {what}", layer.name());
    told.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// What a server gave up, and who does what it cannot do any more.
pub(super) struct Standing {
    pub(super) confined: Confined,
    pub(super) broker: Option<Arc<Broker>>,
    /// Why the broker reads no other configuration than the first.
    pub(super) exposed: Option<String>,
    /// Why its rings do whatever they are asked for, if they do.
    unrestricted: Option<String>,
}

/// What the telemetry tells of it.
pub(super) fn told(standing: &Standing) -> Arc<[Held]> {
    let confined = &standing.confined;
    let one = |layer: Layer, missing: Option<String>| {
        let free = confined.partial.iter().filter(|(of, _)| *of == layer);
        let free = free.map(|(_, what)| what.clone()).collect();
        Held { layer: layer.name(), missing, free }
    };
    let applied = confined.applied.iter().map(|layer| one(*layer, None));
    let missing = confined.missing.iter().map(|(layer, why)| one(*layer, Some(why.clone())));
    let mut all: Vec<_> = applied.chain(missing).collect();
    if !all.is_empty() {
        let missing = standing.broker.is_none();
        let missing = missing.then(|| "it could not be started, see the log".to_owned());
        all.push(Held {
            layer: "broker",
            missing,
            free: standing.exposed.iter().cloned().collect(),
        });
    }
    let (layer, missing) = (Layer::Rings.name(), standing.unrestricted.clone());
    all.push(Held { layer, missing, free: Vec::new() });
    all.into()
}

/// Whether a later configuration can be served by a process that was confined for an earlier one;
/// says what keeps it from that.
pub(super) fn check(
    confined: &Confined,
    options: &Options,
    files: &[PathBuf],
    broker: Option<&Broker>,
) -> Result<(), Fault> {
    if broker.is_none() && !confined.starts_programs() && starts_programs(options) {
        return Err(Fault::Outside(
            "a confined server starts no programs without a broker, and the access log goes to one"
                .to_owned(),
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
    if let Some(place) = sys::read_ahead::place() {
        ground.serve(place);
    }
    ground
}
