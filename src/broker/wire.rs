//! What the server and its broker say to each other: requests, each with a number, and answers
//! that bear the number of their request, so that one which comes too late is not taken for the
//! next. Pure: bytes in, bytes out. Whatever is not written here is no message.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::sys::Listen;
use crate::sys::exchange::MESSAGE_BYTES_MAX;
use crate::sys::socket::BindCause;

/// What a server asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Start a log program.
    Program(String),
    /// Open a log file.
    File(PathBuf),
    /// Wait for a successor at this path.
    Place(PathBuf),
    /// Listen on an address.
    Listener(Listen),
    /// Remove the path of a unix socket on which the server listened.
    Remove(PathBuf),
    /// Read the configuration again; it may be asked for from now on.
    Reload,
    /// The one that was read last serves, and the one before finishes.
    Taken,
    /// Start a process that takes this one's place.
    Successor,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has read the configuration: a digest of that.
    Greeting(u64),
    /// It was done. Descriptors may come along.
    Granted,
    /// It was done, and another message has more of its descriptors.
    More,
    /// The configuration does not name it.
    Refused(String),
    /// It could not be done.
    Failed(String),
    /// The address cannot be listened on.
    NotBound(BindCause),
}

const NUMBER_BYTES: usize = 4;

impl Request {
    pub(super) fn to_message(&self, number: u32) -> Vec<u8> {
        let mut message = number.to_ne_bytes().to_vec();
        let (kind, operand): (u8, Vec<u8>) = match self {
            Self::Program(command) => (b'p', command.clone().into_bytes()),
            Self::File(path) => (b'f', path.as_os_str().as_bytes().to_vec()),
            Self::Place(path) => (b'w', path.as_os_str().as_bytes().to_vec()),
            Self::Listener(listen) => {
                let (family, address) = listen.words();
                (b'l', [family, &address].join(&0))
            }
            Self::Remove(path) => (b'd', path.as_os_str().as_bytes().to_vec()),
            Self::Reload => (b'r', Vec::new()),
            Self::Taken => (b't', Vec::new()),
            Self::Successor => (b's', Vec::new()),
        };
        message.push(kind);
        message.extend(operand);
        message
    }

    /// The number of a message, and the request unless it is none.
    pub(super) fn of_message(message: &[u8]) -> (u32, Option<Self>) {
        read(message, Self::of)
    }

    fn of(kind: u8, operand: &[u8]) -> Option<Self> {
        let path = || {
            let is_path = !operand.is_empty() && !operand.contains(&0);
            is_path.then(|| PathBuf::from(OsStr::from_bytes(operand)))
        };
        let alone = |request| operand.is_empty().then_some(request);
        match kind {
            b'p' => Some(Self::Program(String::from_utf8(operand.to_vec()).ok()?)),
            b'f' => path().map(Self::File),
            b'w' => path().map(Self::Place),
            b'l' => {
                let at = operand.iter().position(|byte| *byte == 0)?;
                Listen::from_words(&operand[..at], &operand[at + 1..]).map(Self::Listener)
            }
            b'd' => path().map(Self::Remove),
            b'r' => alone(Self::Reload),
            b't' => alone(Self::Taken),
            b's' => alone(Self::Successor),
            _ => None,
        }
    }
}

impl Answer {
    pub(super) fn to_message(&self, number: u32) -> Vec<u8> {
        let mut message = number.to_ne_bytes().to_vec();
        match self {
            Self::Greeting(digest) => {
                message.push(b'h');
                message.extend(digest.to_ne_bytes());
            }
            Self::Granted => message.push(b'g'),
            Self::More => message.push(b'm'),
            Self::Refused(why) => {
                message.push(b'r');
                message.extend(cut(why));
            }
            Self::Failed(why) => {
                message.push(b'f');
                message.extend(cut(why));
            }
            Self::NotBound(cause) => {
                message.push(b'b');
                let (kind, value) = numbers(*cause);
                message.push(kind);
                message.extend(value.to_ne_bytes());
            }
        }
        message
    }

    /// The number of a message, and the answer unless it is none.
    pub(super) fn of_message(message: &[u8]) -> (u32, Option<Self>) {
        read(message, Self::of)
    }

    fn of(kind: u8, operand: &[u8]) -> Option<Self> {
        let text = || String::from_utf8_lossy(operand).into_owned();
        match kind {
            b'h' => Some(Self::Greeting(u64::from_ne_bytes(operand.try_into().ok()?))),
            b'g' if operand.is_empty() => Some(Self::Granted),
            b'm' if operand.is_empty() => Some(Self::More),
            b'r' => Some(Self::Refused(text())),
            b'f' => Some(Self::Failed(text())),
            b'b' => {
                let (kind, value) = operand.split_first()?;
                let value = u32::from_ne_bytes(value.try_into().ok()?);
                cause(*kind, value).map(Self::NotBound)
            }
            _ => None,
        }
    }
}

/// The number of a message, and what its kind and its operand are.
fn read<T>(message: &[u8], of: impl FnOnce(u8, &[u8]) -> Option<T>) -> (u32, Option<T>) {
    let Some((number, rest)) = message.split_first_chunk::<NUMBER_BYTES>() else {
        return (0, None);
    };
    let one = rest.split_first().and_then(|(kind, operand)| of(*kind, operand));
    (u32::from_ne_bytes(*number), one)
}

/// As much of a sentence as one message holds behind its number and its kind.
fn cut(why: &str) -> &[u8] {
    &why.as_bytes()[..why.floor_char_boundary(MESSAGE_BYTES_MAX - NUMBER_BYTES - 1)]
}

fn numbers(cause: BindCause) -> (u8, u32) {
    match cause {
        BindCause::InUse => (0, 0),
        // Port 0 is free for everybody and never the first.
        BindCause::Privileged { first_free } => (1, first_free.unwrap_or(0).into()),
        BindCause::NotHere => (2, 0),
        BindCause::NoFamily => (3, 0),
        BindCause::NoDirectory => (4, 0),
        BindCause::Denied => (5, 0),
        BindCause::PathTooLong { bytes } => (6, u32::try_from(bytes).unwrap_or(u32::MAX)),
        BindCause::NotASocket => (7, 0),
        BindCause::Descriptors => (8, 0),
        BindCause::Other(errno) => (9, errno.raw_os_error().unsigned_abs()),
    }
}

fn cause(kind: u8, value: u32) -> Option<BindCause> {
    Some(match kind {
        0 => BindCause::InUse,
        1 => {
            let port = u16::try_from(value).ok()?;
            BindCause::Privileged { first_free: Some(port).filter(|port| *port != 0) }
        }
        2 => BindCause::NotHere,
        3 => BindCause::NoFamily,
        4 => BindCause::NoDirectory,
        5 => BindCause::Denied,
        6 => BindCause::PathTooLong { bytes: value as usize },
        7 => BindCause::NotASocket,
        8 => BindCause::Descriptors,
        // The kernel has no number beyond these (errno-base.h).
        9 if (1..4096).contains(&value) => BindCause::Other(Errno::from_raw_os_error(value as i32)),
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_request_reads_back() {
        for request in [
            Request::Program("cat > 'a b'".to_owned()),
            Request::File("/var/log/a.log".into()),
            Request::Place("run/place".into()),
            Request::Listener(Listen::Tcp("[::1]:80".parse().unwrap())),
            Request::Listener(Listen::Unix("/run/a b".into())),
            Request::Remove("/run/x".into()),
            Request::Reload,
            Request::Taken,
            Request::Successor,
        ] {
            let message = request.to_message(7);
            assert_eq!(Request::of_message(&message), (7, Some(request)));
        }
    }

    #[test]
    fn every_answer_reads_back() {
        let causes = [
            BindCause::InUse,
            BindCause::Privileged { first_free: Some(1024) },
            BindCause::Privileged { first_free: None },
            BindCause::NotHere,
            BindCause::NoFamily,
            BindCause::NoDirectory,
            BindCause::Denied,
            BindCause::PathTooLong { bytes: 200 },
            BindCause::NotASocket,
            BindCause::Descriptors,
            BindCause::Other(Errno::NOBUFS),
        ];
        let others = [
            Answer::Greeting(u64::MAX - 1),
            Answer::Granted,
            Answer::More,
            Answer::Refused("no".to_owned()),
            Answer::Failed(String::new()),
        ];
        for answer in causes.into_iter().map(Answer::NotBound).chain(others) {
            let message = answer.to_message(u32::MAX);
            assert_eq!(Answer::of_message(&message), (u32::MAX, Some(answer)));
        }
    }

    #[test]
    fn a_long_sentence_is_cut_to_one_message() {
        let long = "ä".repeat(MESSAGE_BYTES_MAX);
        for answer in [Answer::Refused(long.clone()), Answer::Failed(long.clone())] {
            let message = answer.to_message(1);
            assert!((MESSAGE_BYTES_MAX - 1..=MESSAGE_BYTES_MAX).contains(&message.len()));
            let (_, back) = Answer::of_message(&message);
            let (Some(Answer::Refused(why)) | Some(Answer::Failed(why))) = back else { panic!() };
            assert!(long.starts_with(&why));
        }
    }

    #[test]
    fn what_nobody_wrote_is_no_message() {
        for bytes in [&b""[..], b"\x01", b"1234", b"1234?", b"1234rx", b"1234f", b"1234fa\0b"] {
            assert_eq!(Request::of_message(bytes).1, None, "{bytes:?}");
        }
        for bytes in [&b"1234l"[..], b"1234ltcp", b"1234ltcp\0x", b"1234lnone\x001.2.3.4:5"] {
            assert_eq!(Request::of_message(bytes).1, None, "{bytes:?}");
        }
        for bytes in [&b""[..], b"1234", b"1234?", b"1234gx", b"1234b", b"1234b\x63\0\0\0\0"] {
            assert_eq!(Answer::of_message(bytes).1, None, "{bytes:?}");
        }
    }
}
