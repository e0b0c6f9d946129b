//! Where a successor asks for the listeners.

use toml::Value;

use super::address::join;
use super::key::{Key, Section};

/// The key that names the place.
pub(super) const HAND_OVER: Key = Key::one(
    Section::Serving,
    "hand-over",
    "PATH",
    "Unix socket at which a new process of this server takes over the listeners of the one that \
     serves, which then drains; off is none [default: off]",
    |all, written, base| {
        let path = Some(written.path()?).filter(|path| path.as_os_str() != "off");
        all.server.hand_over = path.map(|path| join(base, path));
        Ok(())
    },
    |all| match &all.server.hand_over {
        None => Value::from("off"),
        Some(path) => Value::from(path.to_string_lossy().into_owned()),
    },
);
