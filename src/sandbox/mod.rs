//! Least privilege: what a server that runs may do no more.
//!
//! [`confine`] runs once, while the process has one thread, so that every thread that follows is
//! under it: another user, no new privileges, Landlock, and a seccomp filter. What could not be
//! applied is told with its reason; whoever asked for all of it is refused instead. What is left to
//! do that a confined process cannot, a broker does.
//!
//! Needs Linux 5.13 for Landlock, which names what may be opened by directories. A layer that is
//! applied stays until the process ends, so a later configuration has to stand on the same
//! [`Ground`]; [`Confined::covers`] says whether it does. seccomp sees no operation of an io_uring:
//! `ring` has its rings restricted by themselves, and what a ring could do that somebody else made
//! is told as what seccomp leaves free.

mod ground;
mod landlock;
pub mod options;
mod seccomp;
mod user;

use std::fmt;
use std::path::PathBuf;

pub use ground::Ground;
pub use landlock::abi as landlock_abi;
pub use options::Mode;
pub use seccomp::{CALLS, is_there as has_seccomp};
pub use user::{User, UserError, is_root};

use ground::Place;

/// What keeps the process from something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// It runs as another user than root.
    User,
    /// Nothing that it starts gains privileges.
    NoNewPrivileges,
    /// Files are opened beneath some directories only.
    Landlock,
    /// Only some calls of the kernel work.
    Seccomp,
    /// A ring does nothing but what the server asks of it; `ring` sees to that.
    Rings,
}

impl Layer {
    /// The name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::NoNewPrivileges => "no-new-privileges",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Rings => "rings",
        }
    }
}

/// What was applied, and what was not and why.
#[derive(Debug, Default)]
pub struct Confined {
    /// The layers that hold.
    pub applied: Vec<Layer>,
    /// Those that were wanted and do not.
    pub missing: Vec<(Layer, String)>,
    /// Those that hold, and leave something free that an operator would not expect: what, and why.
    pub partial: Vec<(Layer, String)>,
    /// What Landlock lets the process reach; none if it lets it reach everything.
    places: Option<Vec<Place>>,
}

impl Confined {
    /// Whether files are opened beneath some directories only.
    pub fn is_confined(&self) -> bool {
        self.places.is_some()
    }

    /// Whether programs may still be started.
    pub fn starts_programs(&self) -> bool {
        !self.applied.iter().any(|one| matches!(one, Layer::Landlock | Layer::Seccomp))
    }

    /// Whether a later configuration can be served from where this process is.
    ///
    /// # Errors
    /// The first path that it would need and cannot reach.
    pub fn covers(&self, ground: &Ground) -> Result<(), PathBuf> {
        match &self.places {
            None => Ok(()),
            Some(places) => ground.is_within(places),
        }
    }
}

/// A layer that was demanded and cannot be applied.
#[derive(Debug)]
pub struct Refused {
    /// Which.
    pub layer: Layer,
    /// Why not.
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layer, why) = (self.layer.name(), &self.why);
        match self.layer {
            Layer::User => write!(out, "user: {why}"),
            _ => write!(
                out,
                "sandbox: {layer} cannot be applied: {why}; with sandbox = \"auto\" the server \
                 starts without it"
            ),
        }
    }
}

impl std::error::Error for Refused {}

/// What is to be given up.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// How much.
    pub mode: Mode,
    /// Who the process becomes.
    pub user: Option<&'a str>,
    /// What it has to reach.
    pub ground: &'a Ground,
    /// Whether it has to start programs itself, which a confined process cannot: they would be
    /// under the same filter.
    pub programs: bool,
    /// Whether it has to make sockets that listen itself.
    pub binds: bool,
}

/// Confines the calling thread and all that it starts: becomes the user, and applies what the mode
/// asks for.
///
/// # Errors
/// When the user cannot be taken, in every mode; when a layer cannot be applied, with [`Mode::On`].
pub fn confine(plan: &Plan<'_>) -> Result<Confined, Refused> {
    let Plan { mode, ground, programs, binds, .. } = *plan;
    let mut confined = Confined::default();
    let user = plan.user.map(User::look_up).transpose();
    let user = user.map_err(|error| Refused { layer: Layer::User, why: error.to_string() })?;
    // The directories are opened before the user changes, who need not be able to.
    let rules = (mode != Mode::Off && !programs).then(|| landlock::prepare(ground, binds));
    if let Some(user) = user {
        user.become_it().map_err(|why| Refused { layer: Layer::User, why })?;
        confined.applied.push(Layer::User);
    }
    if mode == Mode::Off {
        return Ok(confined);
    }
    let mut note = |layer, result: Result<(), String>| match result {
        Ok(()) => {
            confined.applied.push(layer);
            Ok(())
        }
        Err(why) if mode == Mode::On => Err(Refused { layer, why }),
        Err(why) => {
            confined.missing.push((layer, why));
            Ok(())
        }
    };
    let privileges = rustix::thread::set_no_new_privs(true).map_err(|errno| errno.to_string());
    note(Layer::NoNewPrivileges, privileges)?;
    let mut held = None;
    let landlocked = match rules {
        None => Err(PROGRAMS.to_owned()),
        Some(rules) => rules.and_then(landlock::Rules::apply).map(|rules| held = Some(rules)),
    };
    note(Layer::Landlock, landlocked)?;
    let filtered = if programs { Err(PROGRAMS.to_owned()) } else { seccomp::apply(binds) };
    note(Layer::Seccomp, filtered)?;
    if let Some(held) = held {
        confined.partial = held.free.into_iter().map(|what| (Layer::Landlock, what)).collect();
        confined.places = Some(held.places);
    }
    if confined.applied.contains(&Layer::Seccomp) {
        confined.partial.push((Layer::Seccomp, RINGS.to_owned()));
    }
    Ok(confined)
}

const RINGS: &str = "it sees no operation of an io_uring, and a reload has to make rings: who took \
                     the process over could make one and by it sockets for UDP and to unix \
                     sockets; what a ring opens, and TCP, Landlock judges";

const PROGRAMS: &str = "the access log goes to a program, which would be under it, too, as there \
                        is no broker to start it; let it read a FIFO or a file instead";
