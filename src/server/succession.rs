//! How one process takes the place of another without a connection refused or reset: the
//! listening sockets themselves are passed, with whoever waits in their queues.
//!
//! The one that serves waits at `hand-over`, a unix socket. The next one asks there when it is
//! started, is sent every listener, starts its workers on them, and says that it serves. Only then
//! does the first one leave the path and drain. Whatever goes wrong before that leaves it serving.
//!
//! A process that lives says how it goes on: that it leaves, or that the other one is not to serve.
//! So one that ends without a word was killed, and its successor, which has all that it listened
//! on, serves: else nobody would.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::elder::{Elder, Last, Word, Younger};
use super::fault::Fault;
use super::listening::Listeners;
use crate::broker::Broker;
use crate::limits::{ACCEPT_RETRY, HAND_OVER_PATIENCE};
use crate::sys::exchange::{DESCRIPTORS_MAX, Exchange};
use crate::sys::hand_over::{Place, Waiting};
use crate::sys::notify::ServiceManager;
use crate::sys::{Bound, Listen, Signal};

/// What each says first, with the version of what follows.
pub(super) const HELLO: &[u8] = b"pitcrew hand-over 1";
pub(super) const SITE: &[u8] = b"site";
pub(super) const TELEMETRY: &[u8] = b"telemetry";
pub(super) const END: &[u8] = b"that is all";
pub(super) const SERVING: &[u8] = b"serving";
pub(super) const LEAVING: &[u8] = b"leaving";
/// The other one is not to serve: this server was told to end, or another one takes its place, or
/// it serves on itself.
pub(super) const ENDING: &[u8] = b"ending";
/// The same as leaving, and it stays for whoever started it: the line is kept.
pub(super) const STAYING: &[u8] = b"leaving and staying";
/// The line to the process that was started, kept by an earlier successor.
pub(super) const ELDER: &[u8] = b"elder";

fn sent(exchange: &Exchange, kind: &[u8], bound: &Bound) -> std::io::Result<()> {
    let (family, address) = bound.wanted().map(Listen::words).unwrap_or_default();
    let message = [kind, family, &address].join(&0);
    let sockets: Vec<_> = bound.all().iter().map(AsFd::as_fd).collect();
    sockets.chunks(DESCRIPTORS_MAX).try_for_each(|part| exchange.send(&message, part))
}

/// Where this server waits for its successor, and what it will pass on. Its threads have copies.
#[derive(Clone)]
pub(super) struct Succession {
    listeners: Arc<Mutex<Listeners>>,
    /// The process that took over, once one has.
    successor: Arc<AtomicU32>,
    /// The path, until it is left to a successor or the server ends.
    place: Arc<Mutex<Option<Place>>>,
    /// The process that was started, if it is another one.
    elder: Option<Arc<Elder>>,
    /// Whether this process stays when a successor was started by its broker.
    stays: bool,
    /// The successor that it stays for.
    younger: Arc<Mutex<Option<Younger>>>,
    /// Whether a successor that was started did not come up.
    failed: Arc<AtomicBool>,
    /// Whether nothing is handed over any more.
    ended: Arc<AtomicBool>,
    /// Whether the line to the process that was started is the successor's.
    passed_on: Arc<AtomicBool>,
    /// The lines to those that come up, and may come to serve.
    coming: Arc<Mutex<Vec<Weak<Exchange>>>>,
}

impl Succession {
    /// Of a server that listens on these, and that nobody can take the place of.
    pub(super) fn new(listeners: Listeners) -> Self {
        Self {
            listeners: Arc::new(Mutex::new(listeners)),
            successor: Arc::default(),
            place: Arc::default(),
            elder: None,
            stays: false,
            younger: Arc::default(),
            failed: Arc::default(),
            ended: Arc::default(),
            passed_on: Arc::default(),
            coming: Arc::default(),
        }
    }

    /// Serves for the process that was started, if that is another one. `manager` is told which
    /// process serves.
    pub(super) fn serve_for(&mut self, elder: Option<Elder>, manager: &ServiceManager) {
        // The first process of a container ends all others when it ends.
        self.stays = elder.is_none() && (!manager.is_there() || std::process::id() == 1);
        self.elder = elder.map(Arc::new);
    }

    /// Waits at the path, if there is one, on a thread of its own. A broker opens it for a process
    /// that may not.
    pub(super) fn open(
        &mut self,
        path: Option<&Path>,
        broker: Option<&Broker>,
    ) -> Result<(), Fault> {
        let Some(path) = path else { return Ok(()) };
        let failed = |error: &dyn std::fmt::Display| {
            Fault::HandOver(path.to_owned(), format!("it cannot be waited there: {error}"))
        };
        let (waiting, place) = match broker {
            Some(broker) => {
                let socket = broker.place(path).map_err(|denied| failed(&denied))?;
                Waiting::adopt(socket, path)
            }
            None => Waiting::open(path).map_err(|error| failed(&error))?,
        };
        *lock(&self.place) = Some(place);
        let threads = self.clone();
        self.spawn(move || wait(&waiting, &threads))
    }

    /// Hands over to a process that the broker started, on a thread of its own.
    pub(super) fn hand_to(&self, exchange: Exchange) -> Result<(), Fault> {
        self.failed.store(false, Ordering::Release);
        let threads = self.clone();
        // Only who is started by a reload serves for the process that was started first.
        let elder = self.elder.clone();
        self.spawn(move || match threads.hand_over(exchange, elder.as_deref()) {
            Ok((process, exchange)) => threads.leave_to(process, exchange, true),
            Err(error) => {
                if let Some(error) = error {
                    tracing::error!(%error, "the listeners could not be handed over");
                }
                threads.failed.store(true, Ordering::Release);
            }
        })
    }

    /// Hands over, until the other one serves: its number, and the line to it. One that does not is
    /// told that it is not to, so that it takes the end of the line for no other.
    fn hand_over(
        &self,
        exchange: Exchange,
        elder: Option<&Elder>,
    ) -> Result<(u32, Exchange), Option<std::io::Error>> {
        let line = Arc::new(exchange);
        lock(&self.coming).push(Arc::downgrade(&line));
        let handed = match self.ended.load(Ordering::Acquire) {
            true => Ok(None),
            false => pass_on(&line, self, elder),
        };
        lock(&self.coming).retain(|one| one.as_ptr() != Arc::as_ptr(&line));
        let line = Arc::into_inner(line).expect("others have it while they hold the list alone");
        match handed {
            Ok(Some(process)) => Ok((process, line)),
            other => {
                let _ = line.send(ENDING, &[]);
                Err(other.err())
            }
        }
    }

    fn spawn(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
        let thread = std::thread::Builder::new().name("hand-over".to_owned()).spawn(work);
        thread.map(drop).map_err(|e| Fault::System("a thread cannot be started", e))
    }

    /// Another process serves: it has the path, and if this one stays, the line between them.
    /// `own` says that it was started by this one's broker.
    fn leave_to(&self, process: u32, exchange: Exchange, own: bool) {
        let stays = own && self.stays;
        // Held until it is known whom signals are for.
        let mut younger = lock(&self.younger);
        if self.ended.load(Ordering::Acquire) || self.was_taken().is_some() {
            // This server was told to end meanwhile, or another one was faster: this one ends, too.
            self.failed.fetch_or(own, Ordering::Release);
            let _ = exchange.send(ENDING, &[]);
            return;
        }
        self.passed_on.store(own && self.elder.is_some(), Ordering::Release);
        self.successor.store(process, Ordering::Release);
        // The path is free before the successor hears that it is.
        lock(&self.place).take();
        let _ = exchange.send(if stays { STAYING } else { LEAVING }, &[]);
        if stays {
            *younger = Some(Younger::new(exchange));
        }
    }

    /// Whether a successor did not come up, once.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.swap(false, Ordering::AcqRel)
    }

    /// What the process that was started says.
    pub(super) fn elder(&self) -> Option<Word> {
        self.elder.as_ref().and_then(|elder| elder.heard())
    }

    /// Passes a signal on to the successor that this process stays for; says whether one serves.
    pub(super) fn pass(&self, signal: Signal) -> bool {
        lock(&self.younger).as_mut().is_some_and(|younger| younger.pass(signal))
    }

    /// Whether there is a successor that this process stays for, and that serves.
    ///
    /// # Errors
    /// When there was one, and it ended without a word.
    pub(super) fn stays(&self) -> Result<bool, Fault> {
        let mut younger = lock(&self.younger);
        let Some(younger) = younger.as_mut() else { return Ok(false) };
        match younger.ended() {
            None => Ok(true),
            Some(Last::InOrder) => Ok(false),
            Some(Last::Lost) => Err(Fault::Lost),
        }
    }

    /// Tells the process that was started, if it is another one, that this one ends in order,
    /// unless somebody else speaks with it by now.
    pub(super) fn leave(&self) {
        if let Some(elder) = &self.elder
            && !self.passed_on.load(Ordering::Acquire)
        {
            elder.leave();
        }
    }

    /// What is listened on now.
    pub(super) fn listeners(&self) -> MutexGuard<'_, Listeners> {
        lock(&self.listeners)
    }

    /// Listens on these instead.
    pub(super) fn replace(&self, listeners: Listeners, broker: Option<&Broker>) {
        let earlier = std::mem::replace(&mut *self.listeners(), listeners);
        earlier.give_up(broker);
    }

    /// The process that took this one's place, once one has.
    pub(super) fn was_taken(&self) -> Option<u32> {
        match self.successor.load(Ordering::Acquire) {
            0 => None,
            process => Some(process),
        }
    }

    /// Gives the path up, if it is still this one's.
    pub(super) fn close(&self) {
        lock(&self.place).take();
    }

    /// Gives the listeners up; the paths of unix sockets, too, unless a successor has them.
    pub(super) fn end(&self, replaced: bool, broker: Option<&Broker>) {
        let mut younger = lock(&self.younger);
        self.ended.store(true, Ordering::Release);
        if let (Some(younger), false) = (&mut *younger, replaced) {
            // It came to serve in the moment in which this server was told to end.
            younger.pass(Signal::Terminate);
        }
        drop(younger);
        // This process may have ended before they come to serve.
        for line in lock(&self.coming).iter() {
            let _ = line.upgrade().map(|line| line.send(ENDING, &[]));
        }
        let listeners = std::mem::take(&mut *self.listeners());
        if replaced {
            listeners.leave_paths();
        }
        listeners.give_up(broker);
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked with it had only read it.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears one successor after the other, until one has taken over.
fn wait(waiting: &Waiting, succession: &Succession) {
    loop {
        let exchange = next(|| waiting.accept(HAND_OVER_PATIENCE), std::thread::sleep);
        match succession.hand_over(exchange, None) {
            Ok((process, exchange)) => return succession.leave_to(process, exchange, false),
            Err(None) => tracing::warn!("who asked for the listeners did not come to serve"),
            Err(Some(error)) => tracing::warn!(%error, "the listeners could not be handed over"),
        }
    }
}

/// Who asks next. What keeps it from being heard is said once and tried by the clock: accept(2)
/// takes a descriptor before it waits, and fails at once while there is none.
fn next<T>(accept: impl Fn() -> std::io::Result<T>, rest: impl Fn(Duration)) -> T {
    let mut said = false;
    loop {
        match accept() {
            Ok(asked) => return asked,
            Err(error) if !std::mem::replace(&mut said, true) => {
                tracing::warn!(%error, "who asks for the listeners cannot be heard; trying again");
            }
            Err(_) => {}
        }
        rest(ACCEPT_RETRY);
    }
}

/// Sends everything that listens, and the line to the process that was started, and waits for the
/// word that another process serves: its number.
fn pass_on(
    exchange: &Exchange,
    succession: &Succession,
    elder: Option<&Elder>,
) -> std::io::Result<Option<u32>> {
    let (hello, _) = exchange.receive()?;
    exchange.send(HELLO, &[])?;
    if hello != HELLO {
        return Ok(None);
    }
    // Not kept: a server that ends meanwhile closes its listeners at once.
    let (site, telemetry) = {
        let listeners = succession.listeners();
        (listeners.site.clone(), listeners.telemetry.clone())
    };
    for bound in &site {
        sent(exchange, SITE, bound)?;
    }
    for bound in &telemetry {
        sent(exchange, TELEMETRY, bound)?;
    }
    if let Some(elder) = elder {
        exchange.send(ELDER, &[elder.as_fd()])?;
    }
    drop((site, telemetry));
    exchange.send(END, &[])?;
    let (word, _) = exchange.receive()?;
    let number = word.strip_prefix(SERVING).and_then(|rest| rest.try_into().ok());
    Ok(number.map(u32::from_ne_bytes).filter(|process| *process != 0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn succession() -> Succession {
        let mut succession = Succession::new(Listeners::default());
        succession.serve_for(None, &ServiceManager::default());
        succession
    }

    /// A successor that was started, and has heard everything but the last word.
    fn started(succession: &Succession) -> Exchange {
        let (line, other) = Exchange::pair(PATIENCE).unwrap();
        succession.hand_to(Exchange::adopt(other, PATIENCE).unwrap()).unwrap();
        line.send(HELLO, &[]).unwrap();
        assert_eq!(line.receive().unwrap().0, HELLO);
        assert_eq!(line.receive().unwrap().0, END);
        line
    }

    fn serves(line: &Exchange, process: u32) -> Vec<u8> {
        line.send(&[SERVING, &process.to_ne_bytes()].concat(), &[]).unwrap();
        line.receive().unwrap().0
    }

    fn fails(succession: &Succession) {
        while !succession.has_failed() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_successor_that_ends_before_it_serves_is_no_success() {
        let succession = succession();
        drop(started(&succession));
        fails(&succession);
        assert_eq!(succession.was_taken(), None);
        assert!(!succession.stays().unwrap());
        // One that ends in the middle of a word, or says another one, neither.
        for word in [SERVING, &b"serving\0\0\0\0"[..], b"leaving"] {
            let line = started(&succession);
            line.send(word, &[]).unwrap();
            fails(&succession);
            assert_eq!(succession.was_taken(), None, "{word:?}");
        }
        // The next one may take over.
        let line = started(&succession);
        assert_eq!(serves(&line, 7), STAYING);
        assert_eq!(succession.was_taken(), Some(7));
        assert!(succession.stays().unwrap() && !succession.has_failed());
    }

    #[test]
    fn who_cannot_be_heard_is_tried_by_the_clock() {
        let (tries, rests) = (Cell::new(0), Cell::new(0));
        let accept = || {
            tries.set(tries.get() + 1);
            let none_left = || rustix::io::Errno::MFILE.into();
            (tries.get() > 4).then_some("somebody").ok_or_else(none_left)
        };
        let asked = next(accept, |span| {
            assert_eq!(span, ACCEPT_RETRY);
            rests.set(rests.get() + 1);
        });
        assert_eq!((asked, tries.get(), rests.get()), ("somebody", 5, 4));
    }

    #[test]
    fn of_two_successors_at_once_one_takes_over_and_the_other_is_let_go() {
        let succession = succession();
        let (slow, fast) = (started(&succession), started(&succession));
        assert_eq!(serves(&fast, 7), STAYING);
        assert_eq!(serves(&slow, 8), ENDING, "it is told so");
        fails(&succession);
        assert_eq!(succession.was_taken(), Some(7));
        assert!(succession.stays().unwrap());
    }
}
