//! Sockets that listen.
//!
//! A TCP address gets one listener for each worker, all with SO_REUSEPORT, so the kernel
//! spreads connections and no worker waits for another. SO_REUSEPORT would also let a second
//! server of the same user take half of the connections without a word, so a first socket
//! without it asks whether the port is free, and which number port 0 became. It is closed
//! before the others are bound: Linux lets a socket join a group only if all members set the
//! option before they were bound. What slips in between is a bind that fails and is tried
//! again when the port was ours to choose.
//!
//! A unix socket is one descriptor that all workers accept on; Linux has no SO_REUSEPORT
//! there. Its path is removed at the end by who bound it, and a path that an ended server
//! left behind is replaced, which is known by a connection that is refused.
//!
//! All sockets are non-blocking and close-on-exec, and TCP_NODELAY is inherited from them.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::owned_path::{OwnedPath, Trace};

/// Connections that the kernel completes and keeps for us; it takes net.core.somaxconn when
/// that is less.
const BACKLOG: i32 = 4096;

/// How often a port of the kernel's choice is asked for when another process takes it between
/// the probe and the listeners.
const ATTEMPTS_MAX: usize = 8;

/// How long an address that is in use is tried again. The sockets of a killed process that had a
/// ring outlive it for as long as the kernel takes to tear the ring down, which it does after
/// the process is gone; a supervisor starts the next one sooner than that.
const LINGER: Duration = Duration::from_secs(1);
/// How long to wait between two tries; each asks a unix socket for one connection.
const LINGER_STEP: Duration = Duration::from_millis(100);

/// sun_path has 108 bytes, and the last one is the NUL (unix(7)).
const UNIX_PATH_BYTES_MAX: usize = 107;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// An address of IPv4 or IPv6 and a port; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// The two loopback addresses.
    pub fn loopback(port: u16) -> [Self; 2] {
        [
            Self::Tcp((Ipv4Addr::LOCALHOST, port).into()),
            Self::Tcp((Ipv6Addr::LOCALHOST, port).into()),
        ]
    }

    /// Every interface, in both families.
    pub fn everywhere(port: u16) -> [Self; 2] {
        [
            Self::Tcp((Ipv4Addr::UNSPECIFIED, port).into()),
            Self::Tcp((Ipv6Addr::UNSPECIFIED, port).into()),
        ]
    }

    /// Two words for another process: the family, and the address.
    pub fn words(&self) -> (&'static [u8], Cow<'_, [u8]>) {
        match self {
            Self::Tcp(address) => (b"tcp", Cow::Owned(address.to_string().into_bytes())),
            Self::Unix(path) => (b"unix", Cow::Borrowed(path.as_os_str().as_bytes())),
        }
    }

    /// The address of two words; none for what this process would not have written.
    pub fn from_words(family: &[u8], address: &[u8]) -> Option<Self> {
        match family {
            b"tcp" => Some(Self::Tcp(std::str::from_utf8(address).ok()?.parse().ok()?)),
            b"unix" => Some(Self::Unix(PathBuf::from(OsStr::from_bytes(address)))),
            _ => None,
        }
    }

    /// Whether it is an address of IPv6.
    pub fn is_ipv6(&self) -> bool {
        matches!(self, Self::Tcp(SocketAddr::V6(_)))
    }
}

/// As it is written in options: `127.0.0.1:80`, `[::1]:80`, `unix:/path`.
impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// An address that listens.
#[derive(Debug)]
pub struct Bound {
    /// As it was asked for; none for a socket that was passed and had no such name.
    wanted: Option<Listen>,
    address: Listen,
    sockets: Vec<OwnedFd>,
    // Held for its Drop.
    path: Option<OwnedPath>,
}

impl Bound {
    /// A socket that listens already and that all workers accept on.
    ///
    /// # Errors
    /// When its address cannot be asked.
    pub fn inherited(socket: OwnedFd) -> io::Result<Self> {
        let name = SockRef::from(&socket).local_addr()?;
        let unix = || Listen::Unix(name.as_pathname().unwrap_or(Path::new("")).to_owned());
        let address = name.as_socket().map_or_else(unix, Listen::Tcp);
        Ok(Self { wanted: None, address, sockets: vec![socket], path: None })
    }

    /// Sockets that another process of this server listened on, as it knew them. The path of a
    /// unix socket is owned from now on, if the first of them is bound to it.
    ///
    /// # Errors
    /// When their address cannot be asked.
    pub fn handed_over(wanted: Option<Listen>, sockets: Vec<OwnedFd>) -> io::Result<Self> {
        let mut sockets = sockets.into_iter();
        let first = sockets.next().ok_or(io::ErrorKind::InvalidInput)?;
        let mut bound = Self::inherited(first)?;
        bound.sockets.extend(sockets);
        bound.path = match &wanted {
            Some(Listen::Unix(path)) => OwnedPath::of(&bound.sockets[0], path),
            _ => None,
        };
        bound.wanted = wanted;
        Ok(bound)
    }

    /// The address as it was asked for, with the port 0 if that was asked for.
    pub fn wanted(&self) -> Option<&Listen> {
        self.wanted.as_ref()
    }

    /// Leaves the path of a unix socket to who listens there next, or had it before.
    pub fn leave_path(&self) {
        self.path.iter().for_each(|path| path.set_owned(false));
    }

    /// Has the path of a unix socket from now on, which was left to who had it before.
    pub fn take_path(&self) {
        self.path.iter().for_each(|path| path.set_owned(true));
    }

    /// The address with the port that the kernel chose.
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// The sockets on which this one of so many workers accepts: its own for TCP, the common one
    /// for a unix socket. Where there are more workers than sockets some share one, and where
    /// there are fewer they have several: no socket is left without a worker.
    pub fn sockets(&self, worker: usize, workers: usize) -> impl Iterator<Item = BorrowedFd<'_>> {
        let count = self.sockets.len();
        let first = if workers > count { worker % count } else { worker };
        self.sockets.iter().skip(first).step_by(workers).map(AsFd::as_fd)
    }

    /// All of its sockets.
    pub fn all(&self) -> &[OwnedFd] {
        &self.sockets
    }

    /// What will show whether its path was left behind, where this one removes it at the end.
    pub fn trace(&self) -> Option<Trace> {
        self.path.as_ref().and_then(OwnedPath::trace)
    }

    /// Its sockets, for another process; it listens here no more.
    pub fn into_sockets(self) -> Vec<OwnedFd> {
        self.sockets
    }

    /// How many sockets there are: one for each worker, or one for all.
    pub fn count(&self) -> usize {
        self.sockets.len()
    }
}

/// Listens on an address, for a number of workers, which is not 0.
///
/// An address in use is waited for, up to one second: its last user may just have ended.
///
/// # Errors
/// With the cause and its remedy. Nothing stays bound.
pub fn bind(address: &Listen, workers: usize) -> Result<Bound, BindError> {
    assert!(workers > 0, "a server has at least one worker");
    let mut waited = Duration::ZERO;
    loop {
        let bound = match address {
            Listen::Tcp(wanted) => bind_tcp(*wanted, workers),
            Listen::Unix(path) => bind_unix(path),
        };
        match bound {
            Ok(bound) => return Ok(bound),
            Err(BindCause::InUse) if waited < LINGER => {
                std::thread::sleep(LINGER_STEP);
                waited += LINGER_STEP;
            }
            Err(cause) => return Err(BindError { address: address.clone(), cause }),
        }
    }
}

fn bind_tcp(wanted: SocketAddr, workers: usize) -> Result<Bound, BindCause> {
    let tcp = |error: io::Error| BindCause::of_tcp(&error, wanted);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let address = {
            let probe = tcp_socket(wanted).map_err(tcp)?;
            probe.bind(&wanted.into()).map_err(tcp)?;
            let bound = probe.local_addr().map_err(tcp)?.as_socket();
            bound.expect("an internet socket has an internet address")
        };
        match group(address, workers) {
            Ok(sockets) => {
                let address = Listen::Tcp(address);
                return Ok(Bound {
                    wanted: Some(Listen::Tcp(wanted)),
                    address,
                    sockets,
                    path: None,
                });
            }
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && wanted.port() == 0
                    && attempt < ATTEMPTS_MAX => {}
            Err(error) => return Err(tcp(error)),
        }
    }
}

fn group(address: SocketAddr, workers: usize) -> io::Result<Vec<OwnedFd>> {
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = tcp_socket(address)?;
        socket.set_reuse_port(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        sockets.push(socket);
    }
    // None listens before all are bound, so a failure resets no client.
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok(sockets.into_iter().map(OwnedFd::from).collect())
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    // For the connections of an ended server that are in TIME_WAIT; a socket that listens
    // still makes the bind fail.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Each family has its own listener, so `[::]` does not take the port of 0.0.0.0.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn bind_unix(path: &Path) -> Result<Bound, BindCause> {
    let bytes = path.as_os_str().as_bytes().len();
    if bytes > UNIX_PATH_BYTES_MAX {
        return Err(BindCause::PathTooLong { bytes });
    }
    let unix = |error: io::Error| BindCause::of_unix(&error);
    let name = SockAddr::unix(path).map_err(unix)?;
    let new = || Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None);
    let socket = new().map_err(unix)?;
    if let Err(error) = socket.bind(&name) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(unix(error));
        }
        remove_stale(path, &new().map_err(unix)?, &name)?;
        socket.bind(&name).map_err(unix)?;
    }
    let owned = OwnedPath::of(&socket, path);
    socket.listen(BACKLOG).map_err(unix)?;
    let address = Listen::Unix(path.to_owned());
    Ok(Bound { wanted: Some(address.clone()), address, sockets: vec![socket.into()], path: owned })
}

/// Removes the path of a socket on which nobody listens.
fn remove_stale(path: &Path, asker: &Socket, name: &SockAddr) -> Result<(), BindCause> {
    let unix = |error: io::Error| BindCause::of_unix(&error);
    // connect() is refused by a plain file, too: the type has to be looked at first.
    let kind = fs::symlink_metadata(path).map_err(unix)?.file_type();
    if !kind.is_socket() {
        return Err(BindCause::NotASocket);
    }
    match asker.connect(name) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(unix)
        }
        // Connected, or its queue is full (EAGAIN), or it may not be asked: somebody is there.
        _ => Err(BindCause::InUse),
    }
}

/// An address that cannot be listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindError {
    /// The address as it was asked for.
    pub address: Listen,
    /// Why not.
    pub cause: BindCause,
}

impl BindError {
    /// Whether somebody listens there.
    pub fn is_in_use(&self) -> bool {
        self.cause == BindCause::InUse
    }

    /// Whether this machine has no such IPv6 address, or no IPv6 at all.
    pub fn is_missing_ipv6(&self) -> bool {
        self.address.is_ipv6() && matches!(self.cause, BindCause::NotHere | BindCause::NoFamily)
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindCause {
    /// Somebody listens there.
    InUse,
    /// The port is for privileged processes.
    Privileged {
        /// The first port that is not, when the kernel says it.
        first_free: Option<u16>,
    },
    /// No interface of this machine has the address.
    NotHere,
    /// The kernel has no such address family.
    NoFamily,
    /// The directory of the unix socket is not there.
    NoDirectory,
    /// The directory of the unix socket may not be written.
    Denied,
    /// The path of the unix socket is longer than the kernel allows.
    PathTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Something else than a socket has this path.
    NotASocket,
    /// No descriptor is left.
    Descriptors,
    /// Another answer of the kernel.
    Other(Errno),
}

impl BindCause {
    fn of_tcp(error: &io::Error, address: SocketAddr) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::ACCESS) if address.port() != 0 => {
                let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
                Self::Privileged { first_free: text.ok().and_then(|text| text.trim().parse().ok()) }
            }
            _ => Self::of_unix(error),
        }
    }

    fn of_unix(error: &io::Error) -> Self {
        match Errno::from_io_error(error).unwrap_or(Errno::INVAL) {
            Errno::ADDRINUSE => Self::InUse,
            Errno::ADDRNOTAVAIL => Self::NotHere,
            Errno::AFNOSUPPORT => Self::NoFamily,
            Errno::NOENT | Errno::NOTDIR => Self::NoDirectory,
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Self::Denied,
            Errno::MFILE | Errno::NFILE => Self::Descriptors,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot listen on {}: ", self.address)?;
        match self.cause {
            BindCause::InUse => out.write_str(
                "the address is in use; end the process that listens there, or choose another by \
                 --listen",
            ),
            BindCause::Privileged { first_free } => write!(
                out,
                "the port needs privilege; choose one from {} on, or give the process \
                 CAP_NET_BIND_SERVICE",
                first_free.unwrap_or(1024)
            ),
            BindCause::NotHere => out.write_str(
                "no interface of this machine has the address; 'ip address' shows those it has",
            ),
            BindCause::NoFamily => out.write_str("the kernel has no IPv6; leave the address out"),
            BindCause::NoDirectory => out.write_str("its directory does not exist; create it"),
            BindCause::Denied => {
                out.write_str("its directory may not be written by this user; choose another")
            }
            BindCause::PathTooLong { bytes } => {
                write!(out, "the path has {bytes} bytes; at most {UNIX_PATH_BYTES_MAX} are allowed")
            }
            BindCause::NotASocket => {
                out.write_str("something that is not a socket has this path; remove it")
            }
            BindCause::Descriptors => out
                .write_str("no file descriptor is left; raise the limit (ulimit -n, LimitNOFILE=)"),
            BindCause::Other(errno) => write!(out, "{errno}"),
        }
    }
}

impl std::error::Error for BindError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    fn tcp(text: &str) -> Listen {
        Listen::Tcp(text.parse().unwrap())
    }

    fn cause(address: &Listen) -> BindCause {
        bind(address, 2).unwrap_err().cause
    }

    #[test]
    fn all_workers_share_one_port_of_the_kernels_choice() {
        let bound = bind(&tcp("127.0.0.1:0"), 3).unwrap();
        assert_eq!(bound.count(), 3);
        let Listen::Tcp(address) = bound.address() else { panic!("not tcp") };
        assert_ne!(address.port(), 0);
        for worker in 0..3 {
            let own: Vec<_> = bound.sockets(worker, 3).collect();
            assert_eq!(own.len(), 1);
            let name = rustix::net::getsockname(own[0]).unwrap();
            assert_eq!(SocketAddr::try_from(name).unwrap(), *address);
            assert!(rustix::net::sockopt::tcp_nodelay(own[0]).unwrap());
        }
        TcpStream::connect(address).unwrap();
    }

    #[test]
    fn a_port_that_is_taken_is_in_use_with_and_without_reuse_port() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(cause(&Listen::Tcp(other.local_addr().unwrap())), BindCause::InUse);
        let ours = bind(&tcp("127.0.0.1:0"), 2).unwrap();
        let error = bind(ours.address(), 2).unwrap_err();
        assert_eq!(error.cause, BindCause::InUse);
        assert!(error.to_string().starts_with("cannot listen on 127.0.0.1:"));
    }

    #[test]
    fn an_address_that_becomes_free_soon_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let unix = UnixListener::bind(&path).unwrap();
        let addresses = [Listen::Tcp(tcp.local_addr().unwrap()), Listen::Unix(path)];
        let ending = std::thread::spawn(move || {
            std::thread::sleep(LINGER / 4);
            drop((tcp, unix));
        });
        for address in &addresses {
            assert_eq!(bind(address, 2).unwrap().address(), address);
        }
        ending.join().unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_not_here() {
        assert_eq!(cause(&tcp("192.0.2.1:0")), BindCause::NotHere);
        let error = BindError { address: tcp("[::1]:80"), cause: BindCause::NotHere };
        assert!(error.is_missing_ipv6());
        assert!(!BindError { address: tcp("192.0.2.1:80"), ..error }.is_missing_ipv6());
    }

    #[test]
    fn every_socket_has_a_worker_and_every_worker_a_socket() {
        let bound = bind(&tcp("127.0.0.1:0"), 3).unwrap();
        let of = |worker, workers| -> Vec<_> {
            bound.sockets(worker, workers).map(|socket| socket.as_raw_fd()).collect()
        };
        let all: Vec<_> = bound.all().iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(of(0, 1), all);
        assert_eq!([of(0, 2), of(1, 2)], [vec![all[0], all[2]], vec![all[1]]]);
        for worker in 0..7 {
            assert_eq!(of(worker, 7), [all[worker % 3]]);
        }
    }

    #[test]
    fn a_unix_socket_is_one_and_its_path_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let bound = bind(&Listen::Unix(path.clone()), 4).unwrap();
        assert_eq!(bound.count(), 1);
        UnixStream::connect(&path).unwrap();
        assert_eq!(cause(&Listen::Unix(path.clone())), BindCause::InUse);
        assert!(path.exists());
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_path_is_replaced_and_another_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(bind(&Listen::Unix(path.clone()), 1).unwrap());
        fs::write(&path, "precious").unwrap();
        assert_eq!(cause(&Listen::Unix(path.clone())), BindCause::NotASocket);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_path_that_was_taken_over_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let bound = bind(&Listen::Unix(path.clone()), 1).unwrap();
        let successor = dir.path().join("successor");
        let _held = UnixListener::bind(&successor).unwrap();
        fs::rename(&successor, &path).unwrap();
        drop(bound);
        assert!(path.exists());
    }

    #[test]
    fn bad_paths_have_their_causes() {
        let dir = tempfile::tempdir().unwrap();
        let unix = |name: &str| Listen::Unix(dir.path().join(name));
        assert_eq!(cause(&unix("none/socket")), BindCause::NoDirectory);
        assert!(matches!(cause(&unix(&"x".repeat(120))), BindCause::PathTooLong { .. }));
    }
}
