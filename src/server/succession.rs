//! How one process takes the place of another without a connection refused or reset: the
//! listening sockets themselves are passed, with whoever waits in their queues.
//!
//! The one that serves waits at `hand-over`, a unix socket. The next one asks there when it is
//! started, is sent every listener, starts its workers on them, and says that it serves. Only then
//! does the first one leave the path and drain. Whatever goes wrong before that leaves it serving.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::listening::Listeners;
use super::run::Fault;
use crate::limits::HAND_OVER_PATIENCE;
use crate::sys::hand_over::{DESCRIPTORS_MAX, Exchange, Place, Waiting, is_listener};
use crate::sys::notify::ServiceManager;
use crate::sys::{Bound, Listen};

/// What each says first, with the version of what follows.
const HELLO: &[u8] = b"pitcrew hand-over 1";
const SITE: &[u8] = b"site";
const TELEMETRY: &[u8] = b"telemetry";
const END: &[u8] = b"that is all";
const SERVING: &[u8] = b"serving";
const LEAVING: &[u8] = b"leaving";

/// The server whose place this one takes.
pub(super) struct Predecessor {
    exchange: Exchange,
    path: PathBuf,
}

impl Predecessor {
    /// Asks whoever waits at the path for what it listens on; adds that to what was passed
    /// otherwise.
    pub(super) fn ask(
        path: Option<&Path>,
        mut listeners: Listeners,
    ) -> Result<(Option<Self>, Listeners), Fault> {
        let Some(path) = path else { return Ok((None, listeners)) };
        let failed = |error: &dyn std::fmt::Display| {
            Fault::HandOver(path.to_owned(), format!("the server there does not answer: {error}"))
        };
        let asked = Exchange::ask(path, HAND_OVER_PATIENCE).map_err(|error| failed(&error))?;
        let Some(exchange) = asked else { return Ok((None, listeners)) };
        exchange.send(HELLO, &[]).map_err(|error| failed(&error))?;
        let (hello, _) = exchange.receive().map_err(|error| failed(&error))?;
        if hello != HELLO {
            return Err(failed(&"it speaks another language; stop it and start this one"));
        }
        let mut parts: Vec<(Vec<u8>, Vec<OwnedFd>)> = Vec::new();
        loop {
            let (message, sockets) = exchange.receive().map_err(|error| failed(&error))?;
            if message.is_empty() {
                return Err(failed(&"it ended"));
            }
            match parts.last_mut() {
                _ if message == END => break,
                // More sockets of the same address than one message carries.
                Some((last, all)) if *last == message => all.extend(sockets),
                _ => parts.push((message, sockets)),
            }
        }
        for (message, sockets) in parts {
            let bound = received(&message, sockets);
            let (site, bound) = bound.ok_or_else(|| failed(&"it sent something odd"))?;
            let all = if site { &mut listeners.site } else { &mut listeners.telemetry };
            all.push(Arc::new(bound));
        }
        tracing::info!(path = %path.display(), "taking the place of the server there");
        Ok((Some(Self { exchange, path: path.to_owned() }), listeners))
    }

    /// Says that this one serves, and waits until the path is free.
    pub(super) fn replace(self, manager: &ServiceManager) -> Result<(), Fault> {
        manager.replaced_by(std::process::id());
        let own = std::process::id().to_ne_bytes();
        let told = self.exchange.send(&[SERVING, &own].concat(), &[]);
        let left = told.and_then(|()| self.exchange.receive());
        match left {
            Ok((message, _)) if message == LEAVING => Ok(()),
            Ok(_) => Err(Fault::HandOver(self.path, "the server there does not leave".to_owned())),
            Err(error) => Err(Fault::HandOver(self.path, error.to_string())),
        }
    }
}

/// One address: the kind of its listeners, the address as it was asked for, and all its sockets.
fn received(message: &[u8], sockets: Vec<OwnedFd>) -> Option<(bool, Bound)> {
    let mut parts = message.splitn(3, |byte| *byte == 0);
    let (kind, family, address) = (parts.next()?, parts.next()?, parts.next()?);
    if sockets.is_empty() || !sockets.iter().all(is_listener) {
        return None;
    }
    let wanted = match family {
        b"" => None,
        b"tcp" => Some(Listen::Tcp(std::str::from_utf8(address).ok()?.parse().ok()?)),
        b"unix" => {
            let path = std::ffi::OsString::from_vec(address.to_vec());
            Some(Listen::Unix(path.into()))
        }
        _ => return None,
    };
    let site = match kind {
        SITE => true,
        TELEMETRY => false,
        _ => return None,
    };
    Some((site, Bound::handed_over(wanted, sockets).ok()?))
}

fn sent(exchange: &Exchange, kind: &[u8], bound: &Bound) -> std::io::Result<()> {
    let text;
    let (family, address): (&[u8], &[u8]) = match bound.wanted() {
        None => (b"", b""),
        Some(Listen::Tcp(address)) => {
            text = address.to_string();
            (b"tcp", text.as_bytes())
        }
        Some(Listen::Unix(path)) => (b"unix", path.as_os_str().as_bytes()),
    };
    let message = [kind, family, address].join(&0);
    let sockets: Vec<_> = bound.all().iter().map(AsFd::as_fd).collect();
    sockets.chunks(DESCRIPTORS_MAX).try_for_each(|part| exchange.send(&message, part))
}

/// Where this server waits for its successor, and what it will pass on.
pub(super) struct Succession {
    listeners: Arc<Mutex<Listeners>>,
    /// The process that took over, once one has.
    successor: Arc<AtomicU32>,
    /// The path, until it is left to a successor or the server ends.
    place: Arc<Mutex<Option<Place>>>,
}

impl Succession {
    /// Of a server that listens on these, and that nobody can take the place of.
    pub(super) fn new(listeners: Listeners) -> Self {
        let listeners = Arc::new(Mutex::new(listeners));
        Self { listeners, successor: Arc::default(), place: Arc::default() }
    }

    /// Waits at the path, if there is one, on a thread of its own.
    pub(super) fn open(&mut self, path: Option<&Path>) -> Result<(), Fault> {
        let Some(path) = path else { return Ok(()) };
        let (waiting, place) = Waiting::open(path).map_err(|error| {
            Fault::HandOver(path.to_owned(), format!("it cannot be waited there: {error}"))
        })?;
        *lock(&self.place) = Some(place);
        let (listeners, successor) = (Arc::clone(&self.listeners), Arc::clone(&self.successor));
        let place = Arc::clone(&self.place);
        std::thread::Builder::new()
            .name("hand-over".to_owned())
            .spawn(move || wait(&waiting, &place, &listeners, &successor))
            .map_err(|e| Fault::System("a thread cannot be started", e))?;
        Ok(())
    }

    /// What is listened on now.
    pub(super) fn listeners(&self) -> MutexGuard<'_, Listeners> {
        lock(&self.listeners)
    }

    /// Listens on these instead.
    pub(super) fn replace(&self, listeners: Listeners) {
        *self.listeners() = listeners;
    }

    /// The process that took this one's place, once one has.
    pub(super) fn was_taken(&self) -> Option<u32> {
        match self.successor.load(Ordering::Acquire) {
            0 => None,
            process => Some(process),
        }
    }

    /// Gives the listeners up; the paths of unix sockets, too, unless a successor has them.
    pub(super) fn end(&self, replaced: bool) {
        let mut listeners = std::mem::take(&mut *self.listeners());
        if replaced {
            listeners.leave_paths();
        }
    }
}

impl Drop for Succession {
    fn drop(&mut self) {
        lock(&self.place).take();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked with it had only read it.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears one successor after the other, until one has taken over.
fn wait(
    waiting: &Waiting,
    place: &Mutex<Option<Place>>,
    listeners: &Mutex<Listeners>,
    successor: &AtomicU32,
) {
    loop {
        let served = waiting.accept(HAND_OVER_PATIENCE).and_then(|exchange| {
            let process = hand_over(&exchange, listeners)?;
            Ok((exchange, process))
        });
        match served {
            Ok((exchange, Some(process))) => {
                successor.store(process, Ordering::Release);
                // The path is free before the successor hears that it is.
                lock(place).take();
                let _ = exchange.send(LEAVING, &[]);
                return;
            }
            Ok((_, None)) => tracing::warn!("who asked for the listeners did not come to serve"),
            Err(error) => tracing::warn!(%error, "the listeners could not be handed over"),
        }
    }
}

/// Sends everything that listens, and waits for the word that another process serves: its number.
fn hand_over(exchange: &Exchange, listeners: &Mutex<Listeners>) -> std::io::Result<Option<u32>> {
    let (hello, _) = exchange.receive()?;
    exchange.send(HELLO, &[])?;
    if hello != HELLO {
        return Ok(None);
    }
    // Not kept: a server that ends meanwhile closes its listeners at once.
    let (site, telemetry) = {
        let listeners = lock(listeners);
        (listeners.site.clone(), listeners.telemetry.clone())
    };
    for bound in &site {
        sent(exchange, SITE, bound)?;
    }
    for bound in &telemetry {
        sent(exchange, TELEMETRY, bound)?;
    }
    drop((site, telemetry));
    exchange.send(END, &[])?;
    let (word, _) = exchange.receive()?;
    let number = word.strip_prefix(SERVING).and_then(|rest| rest.try_into().ok());
    Ok(number.map(u32::from_ne_bytes).filter(|process| *process != 0))
}
