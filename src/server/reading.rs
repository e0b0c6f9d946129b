//! A new configuration, read on a thread of its own.
//!
//! All of it may wait for a disk: the file, the directories that it names, and where they lie. The
//! main thread must not, since signals come to it alone: it looks now and then what has come of it,
//! and gives it up when it stays at one place for too long. A thread that the kernel holds cannot
//! be ended. It is left to its disk, and until it is back no other one is started, so that those
//! who ask again and again have one that hangs and not many.

use std::path::Path;
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::directories::{self, Opened};
use super::fault::Fault;
use super::options::Options;
use super::run::Reload;
use super::standing;
use crate::broker::{Broker, Denied};
use crate::limits::RELOAD_PATIENCE;
use crate::sandbox::Confined;

/// What came of it.
pub(super) enum Read {
    /// This process can serve by it.
    Right(Box<Prepared>),
    /// It takes another process, for this reason.
    Outside(String),
    /// It cannot be served by, for these reasons.
    Wrong(Vec<String>),
}

/// A configuration with all that may wait for a disk done.
pub(super) struct Prepared {
    pub(super) options: Options,
    pub(super) directories: Vec<Opened>,
}

/// Reads one after the other.
pub(super) struct Reader {
    desk: Arc<Mutex<Desk>>,
    under_way: Option<UnderWay>,
}

/// What it takes to read; the thread has it alone.
struct Desk {
    reload: Box<dyn Reload>,
    confined: Confined,
    broker: Option<Arc<Broker>>,
    /// Whether the broker reads no other configuration than the first.
    exposed: bool,
}

struct UnderWay {
    place: Arc<Place>,
    heard: mpsc::Receiver<Read>,
    /// Whether it was refused already.
    given_up: bool,
}

impl Reader {
    pub(super) fn new(
        reload: Box<dyn Reload>,
        confined: Confined,
        broker: Option<Arc<Broker>>,
        exposed: bool,
    ) -> Self {
        let desk = Desk { reload, confined, broker, exposed };
        Self { desk: Arc::new(Mutex::new(desk)), under_way: None }
    }

    /// Has the configuration read.
    ///
    /// # Errors
    /// When an earlier thread hangs, at what, or when none can be had.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        if let Some(one) = &self.under_way {
            return Err(format!("{}, which an earlier reload waits for", one.place.silent()));
        }
        let (tell, heard) = mpsc::channel();
        let place = Arc::new(Place::default());
        let (desk, at) = (Arc::clone(&self.desk), Arc::clone(&place));
        let thread = std::thread::Builder::new().name("reload".to_owned());
        let started = thread.spawn(move || {
            let read = lock(&desk).read(&at);
            // Nobody listens any more when the server ends.
            let _ = tell.send(read);
        });
        started.map_err(|error| format!("a thread cannot be started: {error}"))?;
        self.under_way = Some(UnderWay { place, heard, given_up: false });
        Ok(())
    }

    /// Whether somebody waits for what comes of it.
    pub(super) fn is_awaited(&self) -> bool {
        self.under_way.as_ref().is_some_and(|one| !one.given_up)
    }

    /// What has come of it, once something has.
    pub(super) fn look(&mut self) -> Option<Read> {
        let one = self.under_way.as_mut()?;
        let read = match one.heard.try_recv() {
            Ok(read) => read,
            Err(TryRecvError::Empty) if one.given_up || !one.place.is_overdue(RELOAD_PATIENCE) => {
                return None;
            }
            Err(TryRecvError::Empty) => {
                one.given_up = true;
                return Some(Read::Wrong(vec![one.place.silent()]));
            }
            // The panic's message and place are on standard error already.
            Err(TryRecvError::Disconnected) => {
                Read::Wrong(vec!["the thread that reads the configuration panicked".to_owned()])
            }
        };
        if self.under_way.take().is_some_and(|one| one.given_up) {
            tracing::info!("the disk that a reload waited for has answered; it may be asked again");
            return None;
        }
        Some(read)
    }
}

impl Desk {
    fn read(&mut self, place: &Place) -> Read {
        let options = match self.load(place) {
            Ok(options) => options,
            Err(read) => return read,
        };
        place.is("a directory that the configuration names, or one above it");
        let (files, broker) = (self.reload.files(), self.broker.as_deref());
        match standing::check(&self.confined, &options, &files, broker) {
            Ok(()) => {}
            Err(Fault::Outside(why)) => return Read::Outside(why),
            Err(fault) => return Read::Wrong(vec![fault.to_string()]),
        }
        match directories::open(&options, &|path| place.is_at(path)) {
            Ok(directories) => Read::Right(Box::new(Prepared { options, directories })),
            Err(fault) => Read::Wrong(vec![fault.to_string()]),
        }
    }

    /// Reads it, and has the broker read it: behind this process, so that a disk which hangs does
    /// not hold up both.
    fn load(&mut self, place: &Place) -> Result<Options, Read> {
        let loaded = self.reload.load(&|path| place.is_at(path));
        place.is("the broker");
        let known = if self.exposed { None } else { ask(self.broker.as_deref(), Broker::reload) };
        match (loaded, known) {
            (Ok(_), Some(Err(Denied::Refused(why)))) => {
                let why = format!("the broker cannot read the same configuration: {why}");
                Err(Read::Wrong(vec![why]))
            }
            (Ok(options), _) => Ok(options),
            // What it takes to read it, another process would take, too, and hand-overs besides.
            (Err(problems), Some(Ok(()))) if problems.iter().any(|one| lacks_descriptors(one)) => {
                Err(Read::Wrong(problems))
            }
            // It is right, and something of it cannot be read from here.
            (Err(problems), Some(Ok(()))) => Err(Read::Outside(problems.join("; "))),
            (Err(mut problems), known) => {
                // What lies outside of the ground the broker alone can read.
                if let Some(Err(Denied::Refused(why))) = known
                    && !problems.contains(&why)
                {
                    problems.insert(0, why);
                }
                Err(Read::Wrong(problems))
            }
        }
    }
}

/// Whether a problem is that no file can be opened at all, for now.
fn lacks_descriptors(problem: &str) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| problem.contains(&errno.to_string()))
}

/// Asks the broker, if there is one. That it has gone is said elsewhere, once.
pub(super) fn ask<T>(
    broker: Option<&Broker>,
    ask: impl Fn(&Broker) -> Result<T, Denied>,
) -> Option<Result<T, Denied>> {
    let answer = ask(broker?);
    if let Err(denied @ Denied::Failed(_)) = &answer {
        tracing::error!("{denied}");
    }
    Some(answer)
}

/// Where the thread is, for who has to say what it waits for.
struct Place(Mutex<(String, Instant)>);

impl Default for Place {
    fn default() -> Self {
        Self(Mutex::new(("the configuration".to_owned(), Instant::now())))
    }
}

impl Place {
    fn is(&self, what: &str) {
        *lock(&self.0) = (what.to_owned(), Instant::now());
    }

    fn is_at(&self, path: &Path) {
        self.is(&format!("the disk of '{}'", path.display()));
    }

    fn is_overdue(&self, patience: Duration) -> bool {
        lock(&self.0).1.elapsed() >= patience
    }

    fn silent(&self) -> String {
        let place = lock(&self.0);
        format!("{} has not answered for {} seconds", place.0, place.1.elapsed().as_secs())
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Who panicked with it is told of; what it leaves is read anew each time.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;
    use std::sync::mpsc::Receiver;

    use super::*;

    /// A configuration whose disk answers when it is told to.
    struct Planted(Receiver<Result<Options, Vec<String>>>);

    impl Reload for Planted {
        fn load(&mut self, looks: &dyn Fn(&Path)) -> Result<Options, Vec<String>> {
            looks(Path::new("/planted"));
            self.0.recv().expect("the test says what")
        }

        fn files(&self) -> Vec<PathBuf> {
            Vec::new()
        }
    }

    fn reader() -> (Reader, mpsc::Sender<Result<Options, Vec<String>>>) {
        let (answer, answers) = mpsc::channel();
        (Reader::new(Box::new(Planted(answers)), Confined::default(), None, false), answer)
    }

    fn until(reader: &mut Reader, done: impl Fn(&Reader) -> bool) -> Option<Read> {
        loop {
            let read = reader.look();
            if read.is_some() || done(reader) {
                return read;
            }
            std::thread::yield_now();
        }
    }

    /// Makes the time that it has waited for as long as it is waited for.
    fn wait_in_vain(reader: &Reader) {
        let place = &reader.under_way.as_ref().unwrap().place;
        while !place.silent().contains("/planted") {
            std::thread::yield_now();
        }
        lock(&place.0).1 = Instant::now().checked_sub(RELOAD_PATIENCE).unwrap();
    }

    #[test]
    fn a_configuration_is_read_beside_who_waits_for_it() {
        let (mut reader, answer) = reader();
        for root in ["/", "/no/such/directory"] {
            reader.begin().unwrap();
            assert!(reader.is_awaited() && reader.look().is_none());
            let mut options = Options::default();
            options.site.root = PathBuf::from(root);
            answer.send(Ok(options)).unwrap();
            match until(&mut reader, |_| false) {
                Some(Read::Right(prepared)) => {
                    assert_eq!((root, prepared.directories.len()), ("/", 1));
                }
                Some(Read::Wrong(why)) => {
                    assert!(root != "/" && why[0].contains(root), "{why:?}");
                }
                _ => panic!("nothing is confined"),
            }
            assert!(!reader.is_awaited());
        }
    }

    #[test]
    fn a_disk_that_hangs_is_named_once_and_asked_again_when_it_answers() {
        let (mut reader, answer) = reader();
        reader.begin().unwrap();
        wait_in_vain(&reader);
        let Some(Read::Wrong(why)) = reader.look() else { panic!("it is waited for on and on") };
        assert!(why[0].starts_with("the disk of '/planted' has not answered for"), "{why:?}");
        assert!(!reader.is_awaited() && reader.look().is_none(), "it is said once");
        assert!(reader.begin().unwrap_err().contains("'/planted'"), "no other one hangs, too");
        // What comes late is refused already.
        answer.send(Ok(Options::default())).unwrap();
        assert!(until(&mut reader, |reader| reader.under_way.is_none()).is_none());
        reader.begin().unwrap();
        answer.send(Err(vec!["wrong".to_owned()])).unwrap();
        let read = until(&mut reader, |_| false);
        assert!(matches!(read, Some(Read::Wrong(why)) if why == ["wrong"]));
    }

    #[test]
    fn a_thread_that_panics_is_a_refusal() {
        let (mut reader, answer) = reader();
        drop(answer);
        reader.begin().unwrap();
        assert!(matches!(until(&mut reader, |_| false), Some(Read::Wrong(_))));
        reader.begin().unwrap();
        assert!(reader.is_awaited(), "and the next one is read");
    }
}
