//! The server whose place this process takes: what it passes on, and how it leaves. What both say
//! is in [`super::succession`].

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::elder::Elder;
use super::fault::Fault;
use super::listening::Listeners;
use super::succession::{ELDER, END, ENDING, HELLO, LEAVING, SERVING, SITE, STAYING, TELEMETRY};
use crate::limits::{HAND_OVER_MESSAGES_MAX, HAND_OVER_PATIENCE};
use crate::sandbox::User;
use crate::sys::exchange::Exchange;
use crate::sys::hand_over::{is_listener, is_trusted};
use crate::sys::notify::ServiceManager;
use crate::sys::{Bound, Listen};

/// What it comes to when the line ends before its time.
const TAKEN: &str = "it ended, or another process takes its place; start this one again";

/// The server whose place this one takes.
pub(super) struct Predecessor {
    exchange: Exchange,
    path: PathBuf,
    elder: Option<Elder>,
    /// Whether its broker started this process.
    own: bool,
}

impl Predecessor {
    /// Asks whoever waits at the path for what it listens on; adds that to what was passed
    /// otherwise.
    pub(super) fn ask(
        path: Option<&Path>,
        user: Option<&str>,
        listeners: Listeners,
    ) -> Result<(Option<Self>, Listeners), Fault> {
        let Some(path) = path else { return Ok((None, listeners)) };
        let failed = |error: std::io::Error| {
            Fault::HandOver(path.to_owned(), format!("the server there does not answer: {error}"))
        };
        let asked = Exchange::ask(path, HAND_OVER_PATIENCE).map_err(failed)?;
        let Some(exchange) = asked else { return Ok((None, listeners)) };
        let becomes = user.and_then(|user| User::look_up(user).ok()).map(|user| user.number());
        let peer = exchange.peer().map_err(failed)?;
        if !is_trusted(peer, becomes) {
            let why = format!(
                "user {peer} waits there, who is neither root, nor the user of this process, nor \
                 the one that it becomes; end that process, or name another path"
            );
            return Err(Fault::HandOver(path.to_owned(), why));
        }
        Self::speak(exchange, path.to_owned(), listeners, false)
    }

    /// Takes the place of the server whose broker started this process.
    pub(super) fn of_broker(
        exchange: Exchange,
        listeners: Listeners,
    ) -> Result<(Option<Self>, Listeners), Fault> {
        Self::speak(
            exchange,
            PathBuf::from("of the server that takes a new configuration"),
            listeners,
            true,
        )
    }

    fn speak(
        exchange: Exchange,
        path: PathBuf,
        mut listeners: Listeners,
        own: bool,
    ) -> Result<(Option<Self>, Listeners), Fault> {
        let failed = |error: &dyn std::fmt::Display| {
            Fault::HandOver(path.clone(), format!("the server there does not answer: {error}"))
        };
        let mut elder = None;
        let hello = exchange.send(HELLO, &[]).and_then(|()| exchange.receive());
        let hello = match hello {
            Ok((hello, _)) if hello.is_empty() || hello == ENDING => return Err(failed(&TAKEN)),
            // It has closed the place with this one in the queue.
            Err(error) if has_gone(&error) => return Err(failed(&TAKEN)),
            told => told.map_err(|error| failed(&error))?.0,
        };
        if hello != HELLO {
            return Err(failed(&"it speaks another language; stop it and start this one"));
        }
        let mut parts: Vec<(Vec<u8>, Vec<OwnedFd>)> = Vec::new();
        for heard in 0.. {
            if heard == HAND_OVER_MESSAGES_MAX {
                return Err(failed(&"it sends without an end"));
            }
            let (message, sockets) = exchange.receive().map_err(|error| failed(&error))?;
            if message.is_empty() {
                return Err(failed(&"it ended"));
            }
            if message == ENDING {
                return Err(Fault::HandOver(path, NOT_LEFT.to_owned()));
            }
            match parts.last_mut() {
                _ if message == END => break,
                _ if message == ELDER => {
                    let line = sockets.into_iter().next().map(Elder::adopt);
                    elder = line.transpose().map_err(|error| failed(&error))?;
                }
                // More sockets of the same address than one message carries.
                Some((last, all)) if *last == message => all.extend(sockets),
                _ => parts.push((message, sockets)),
            }
        }
        for (message, sockets) in parts {
            let bound = received(&message, sockets);
            let (site, bound) = bound.ok_or_else(|| failed(&"it sent something odd"))?;
            // The other one serves there until this one does.
            bound.leave_path();
            let all = if site { &mut listeners.site } else { &mut listeners.telemetry };
            all.push(Arc::new(bound));
        }
        tracing::info!(path = %path.display(), "taking the place of the server there");
        Ok((Some(Self { exchange, path, elder, own }), listeners))
    }

    /// Says that this one serves, and waits until the path is free. The process that stays for
    /// whoever started it, if there is one. `manager` is told who serves once this one may: of one
    /// that is refused it must not hear, since the other one serves on.
    pub(super) fn replace(self, manager: &ServiceManager) -> Result<Option<Elder>, Fault> {
        let elder = self.say_serving(manager.is_there())?;
        manager.replaces();
        Ok(elder)
    }

    fn say_serving(self, managed: bool) -> Result<Option<Elder>, Fault> {
        let own = std::process::id().to_ne_bytes();
        // What it has said before it ended is heard all the same.
        let _ = self.exchange.send(&[SERVING, &own].concat(), &[]);
        let word = match self.exchange.receive() {
            // A process that ends with something unread tells that first, unix(7).
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.exchange.receive(),
            word => word,
        };
        let (word, _) = word.map_err(|error| {
            Fault::HandOver(self.path.clone(), format!("the server there does not answer: {error}"))
        })?;
        match &word[..] {
            LEAVING => Ok(self.elder),
            STAYING => Ok(Some(Elder::new(self.exchange))),
            // Nothing is left of a server when the process that was started is gone: this one would
            // have stayed, and its place is told to nobody else.
            b"" if self.own && self.elder.is_none() && !managed => {
                Err(Fault::HandOver(self.path, "the server there was killed".to_owned()))
            }
            b"" => {
                tracing::warn!(
                    path = %self.path.display(),
                    "the server there has ended without a word; this one serves in its place"
                );
                Ok(self.elder)
            }
            _ => Err(Fault::HandOver(self.path, NOT_LEFT.to_owned())),
        }
    }
}

/// Whether an error says that nobody is at the other end any more.
fn has_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// What becomes of a successor that is not to serve.
const NOT_LEFT: &str = "the server there does not leave: it was told to end, it serves on, or \
                        another one takes its place";

/// One address: the kind of its listeners, the address as it was asked for, and all its sockets.
fn received(message: &[u8], sockets: Vec<OwnedFd>) -> Option<(bool, Bound)> {
    let mut parts = message.splitn(3, |byte| *byte == 0);
    let (kind, family, address) = (parts.next()?, parts.next()?, parts.next()?);
    if sockets.is_empty() || !sockets.iter().all(is_listener) {
        return None;
    }
    let wanted = match family {
        b"" => None,
        family => Some(Listen::from_words(family, address)?),
    };
    let site = match kind {
        SITE => true,
        TELEMETRY => false,
        _ => return None,
    };
    Some((site, Bound::handed_over(wanted, sockets).ok()?))
}
