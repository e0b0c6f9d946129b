//! What may be asked: what a configuration names that the broker read itself. Pure; this is the
//! boundary that a server which was taken over stands before.

use std::path::Path;

use super::options::{File, Options};
use super::wire::Request;
use crate::limits::GENERATIONS_MAX;
use crate::sys::Listen;

/// The configurations that count: the one in force, the one before, which may have answers to
/// finish, and one that was read and not taken yet.
#[derive(Debug)]
pub(super) struct Permits {
    earlier: Option<Options>,
    current: Options,
    candidate: Option<Options>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Permit<'a> {
    Program(&'a str),
    File(&'a File),
    Place(&'a Path),
    Listener(&'a Listen, usize),
    Remove(&'a Path),
}

impl Permits {
    pub(super) fn new(current: Options) -> Self {
        Self { earlier: None, current, candidate: None }
    }

    /// One that was read in place of the one in force.
    pub(super) fn read(&mut self, candidate: Options) {
        self.candidate = Some(candidate);
    }

    /// The one that was read last is in force.
    pub(super) fn taken(&mut self) {
        if let Some(next) = self.candidate.take() {
            self.earlier = Some(std::mem::replace(&mut self.current, next));
        }
    }

    /// The newest first.
    fn all(&self) -> impl Iterator<Item = &Options> {
        self.candidate.iter().chain([&self.current]).chain(&self.earlier)
    }

    /// Programs of one command that may run at once: one for each configuration that is served.
    pub(super) fn programs_max(&self, command: &str) -> usize {
        let most = |one: &Options| one.programs.iter().filter(|name| *name == command).count();
        self.all().map(most).max().unwrap_or(0) * GENERATIONS_MAX
    }

    /// What is done for a request, as the configuration has it; nothing of the request is used.
    pub(super) fn permit(&self, request: &Request) -> Result<Permit<'_>, String> {
        let mut all = self.all();
        match request {
            Request::Program(command) => {
                let named = all.find_map(|one| one.programs.iter().find(|name| *name == command));
                let refusal = || format!("no access log goes to the program '{command}'");
                named.map(|name| Permit::Program(name)).ok_or_else(refusal)
            }
            Request::File(path) => {
                let named = all.find_map(|one| one.files.iter().find(|file| is(&file.path, path)));
                let refusal = || format!("'{}' is no file of the access log", path.display());
                named.map(Permit::File).ok_or_else(refusal)
            }
            Request::Place(path) => {
                let named =
                    all.find_map(|one| one.hand_over.as_ref().filter(|name| is(name, path)));
                let refusal = || format!("'{}' is not the place of hand-over", path.display());
                named.map(|name| Permit::Place(name)).ok_or_else(refusal)
            }
            Request::Listener(listen) => {
                let named = all.find_map(|one| {
                    let address = one.listen.iter().find(|address| *address == listen)?;
                    Some(Permit::Listener(address, one.workers))
                });
                named.ok_or_else(|| format!("{listen} is no address of this server"))
            }
            Request::Remove(path) => {
                let named = all.find_map(|one| {
                    one.listen.iter().find_map(|address| match address {
                        Listen::Unix(name) if is(name, path) => Some(Permit::Remove(name)),
                        _ => None,
                    })
                });
                let refusal = || format!("'{}' is no unix socket of this server", path.display());
                named.ok_or_else(refusal)
            }
            Request::Reload | Request::Taken | Request::Successor => {
                Err("it names nothing that is done for a configuration".to_owned())
            }
        }
    }
}

/// Whether two paths are the same, byte for byte: `a/../b` is another one than `b`.
fn is(one: &Path, other: &Path) -> bool {
    one.as_os_str() == other.as_os_str()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            listen: vec![
                Listen::Tcp("127.0.0.1:80".parse().unwrap()),
                Listen::Unix("/run/a.socket".into()),
            ],
            workers: 3,
            files: vec![File { path: "/var/log/a.log".into(), durability: None }],
            programs: vec!["logger -t a".to_owned()],
            hand_over: Some("/run/a.place".into()),
            user: None,
            exposed: None,
        }
    }

    fn asked(text: &str) -> [Request; 5] {
        let listen = match text.parse() {
            Ok(address) => Listen::Tcp(address),
            Err(_) => Listen::Unix(text.into()),
        };
        [
            Request::Program(text.to_owned()),
            Request::File(text.into()),
            Request::Place(text.into()),
            Request::Listener(listen),
            Request::Remove(text.into()),
        ]
    }

    #[test]
    fn what_the_configuration_names_is_done_for_that_alone() {
        let permits = Permits::new(options());
        // Each name is right for one kind of request, or for none; a unix socket for two.
        for (text, kinds) in [
            ("logger -t a", 1),
            ("/var/log/a.log", 1),
            ("/run/a.place", 1),
            ("127.0.0.1:80", 1),
            ("/run/a.socket", 2),
            ("logger -t a; id", 0),
            ("logger -t ", 0),
            ("/var/log/a.log.1", 0),
            ("/var/log/../log/a.log", 0),
            ("/var/log//a.log", 0),
            ("/var/log/./a.log", 0),
            ("/var/log/a.log/", 0),
            ("/etc/shadow", 0),
            ("127.0.0.1:81", 0),
            ("0.0.0.0:80", 0),
            ("/run", 0),
            ("", 0),
        ] {
            let asked = asked(text);
            let granted = asked.iter().filter(|request| permits.permit(request).is_ok()).count();
            assert_eq!(granted, kinds, "{text}");
        }
        let [_, file, ..] = asked("/var/log/a.log");
        assert_eq!(permits.permit(&file), Ok(Permit::File(&options().files[0])));
        let [.., listener, _] = asked("127.0.0.1:80");
        assert_eq!(permits.permit(&listener), Ok(Permit::Listener(&options().listen[0], 3)));
        assert_eq!(permits.programs_max("logger -t a"), GENERATIONS_MAX);
        assert_eq!(permits.programs_max("id"), 0);
    }

    #[test]
    fn a_configuration_counts_from_when_it_is_read_until_two_later_are_in_force() {
        let named = |name: &str| Options { programs: vec![name.to_owned()], ..Options::default() };
        let mut permits = Permits::new(named("one"));
        let allowed = |permits: &Permits| {
            let is_allowed = |name: &&str| {
                let request = Request::Program((*name).to_owned());
                permits.permit(&request).is_ok()
            };
            ["one", "two", "three", "four"].into_iter().filter(is_allowed).collect::<Vec<_>>()
        };
        permits.taken();
        assert_eq!(allowed(&permits), ["one"], "nothing was read");
        permits.read(named("two"));
        assert_eq!(allowed(&permits), ["one", "two"]);
        // The server refused it and reads another.
        permits.read(named("three"));
        assert_eq!(allowed(&permits), ["one", "three"]);
        permits.taken();
        permits.read(named("four"));
        permits.taken();
        assert_eq!(allowed(&permits), ["three", "four"]);
    }
}
