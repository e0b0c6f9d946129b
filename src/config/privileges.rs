//! What the server gives up once it listens.

use toml::Value;

use super::key::{Key, Section};
use crate::server::options::Sandbox;

/// The key that names the user.
pub(super) const USER: Key = Key::one(
    Section::Serving,
    "user",
    "USER",
    "User that the server becomes once it listens, for a server that root starts: a name, or \
     UID:GID; off, as no name is right everywhere, stays who starts it [default: off]",
    |all, written, _| {
        let text = written.text("a name in quotes, or \"UID:GID\"")?;
        if text.is_empty() {
            return Err("an empty name names nobody; write 'off' to stay who starts it".to_owned());
        }
        all.server.user = Some(text.to_owned()).filter(|text| text != "off");
        Ok(())
    },
    |all| Value::from(all.server.user.as_deref().unwrap_or("off")),
);

/// The key that says how much is given up.
pub(super) const SANDBOX: Key = Key::one(
    Section::Serving,
    "sandbox",
    "HOW",
    "Give up, once it listens, what the server does not need: no-new-privileges, Landlock, \
     seccomp; auto (what the kernel allows), on (all of it, with restricted rings and the \
     broker, or it does not start) or off. A small broker does what is needed later [default: \
     auto]",
    |all, written, _| {
        all.server.sandbox = written.choice("sandbox", &Sandbox::ALL, Sandbox::name)?;
        Ok(())
    },
    |all| Value::from(all.server.sandbox.name()),
);
