//! The header of the PROXY protocol, versions 1 and 2: who the client of a proxy is.
//!
//! It stands before the first byte of the connection (haproxy, `doc/proxy-protocol.txt`). It is
//! read only from proxies that are asked to send it, so nothing is guessed: what is no header of
//! one of the two versions is a fault.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::PROXY_HEADER_BYTES_MAX;

/// Bytes of a header of version 1 at most, its end included (section 2.1).
const LINE_BYTES_MAX: usize = 107;
const FIRST: &[u8] = b"PROXY ";
/// What begins a header of version 2 (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of it before the addresses.
const FIXED_BYTES: usize = 16;
/// The record that holds the checksum of the header (section 2.2.3).
const CHECKSUM: u8 = 3;

/// What stands at the beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header.
    Partial,
    /// A header of so many bytes.
    Header {
        /// Its bytes.
        bytes: usize,
        /// Who it says has connected to the proxy.
        of: Origin,
    },
    /// No header.
    Bad,
}

/// Of whom a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Of this client.
    Client(SocketAddr),
    /// Of the proxy itself, as a probe of its health.
    Proxy,
    /// Of a client of the proxy that it cannot name, or that has no address.
    Unknown,
}

/// Reads the header that `bytes` begin with.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    let first = bytes.len().min(SIGNATURE.len());
    if bytes[..first] == SIGNATURE[..first] {
        // Neither version is a prefix of the other, but for nothing at all.
        return if first < SIGNATURE.len() { Parsed::Partial } else { binary(bytes) };
    }
    let first = bytes.len().min(FIRST.len());
    if bytes[..first] != FIRST[..first] {
        return Parsed::Bad;
    }
    line(bytes)
}

fn line(bytes: &[u8]) -> Parsed {
    let room = bytes.len().min(LINE_BYTES_MAX);
    let Some(feed) = memchr::memchr(b'\n', &bytes[..room]) else {
        return if room == LINE_BYTES_MAX { Parsed::Bad } else { Parsed::Partial };
    };
    let text = bytes[..feed].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let Some(words) = text.and_then(|text| text.strip_prefix("PROXY ")) else {
        return Parsed::Bad;
    };
    let bytes = feed + 1;
    if words == "UNKNOWN" || words.starts_with("UNKNOWN ") {
        return Parsed::Header { bytes, of: Origin::Unknown };
    }
    match written(words) {
        Some(client) => Parsed::Header { bytes, of: Origin::Client(client) },
        None => Parsed::Bad,
    }
}

/// The words behind `PROXY `: family, addresses, ports, each behind one space.
fn written(words: &str) -> Option<SocketAddr> {
    let mut words = words.split(' ');
    let mut next = || words.next();
    let family = next()?;
    let mut ip = || -> Option<IpAddr> {
        let word = next()?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (client, _) = (ip()?, ip()?);
    let (port, _) = (port(next()?)?, port(next()?)?);
    next().is_none().then_some(SocketAddr::new(client.to_canonical(), port))
}

/// A number without a sign and without zeros before it.
fn port(word: &str) -> Option<u16> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (word == "0" || !word.starts_with('0'));
    plain.then(|| word.parse().ok())?
}

fn binary(bytes: &[u8]) -> Parsed {
    let Some(fixed) = bytes.get(..FIXED_BYTES) else { return Parsed::Partial };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let (command, family) = (fixed[12], fixed[13]);
    if !matches!(command, 0x20 | 0x21) || length > PROXY_HEADER_BYTES_MAX {
        return Parsed::Bad;
    }
    let Some(header) = bytes.get(..length) else { return Parsed::Partial };
    let rest = &header[FIXED_BYTES..];
    // The family of a proxy that speaks for itself is not looked at (section 2.2).
    let (client, addresses) = match (command, family) {
        (0x20, _) => return Parsed::Header { bytes: length, of: Origin::Proxy },
        (_, 0x00) => return Parsed::Header { bytes: length, of: Origin::Unknown },
        (_, 0x11) => (rest.first_chunk().map(|ip: &[u8; 4]| IpAddr::from(*ip)), 12),
        (_, 0x21) => (rest.first_chunk().map(|ip: &[u8; 16]| IpAddr::from(*ip)), 36),
        // A unix socket has no address that anything here goes by.
        (_, 0x31) => (None, 216),
        _ => return Parsed::Bad,
    };
    let Some((of_addresses, records)) = rest.split_at_checked(addresses) else {
        return Parsed::Bad;
    };
    if !records_are_sound(header, length - records.len()) {
        return Parsed::Bad;
    }
    let of = client.map_or(Origin::Unknown, |ip| {
        let at = (addresses - 4, addresses - 3);
        let port = u16::from_be_bytes([of_addresses[at.0], of_addresses[at.1]]);
        Origin::Client(SocketAddr::new(ip.to_canonical(), port))
    });
    Parsed::Header { bytes: length, of }
}

/// Whether what stands behind the addresses are whole records, and the checksum, if there is one,
/// is right.
fn records_are_sound(header: &[u8], from: usize) -> bool {
    let mut at = from;
    while at < header.len() {
        let Some([kind, high, low]) = header[at..].first_chunk() else { return false };
        let (value, length) = (at + 3, usize::from(u16::from_be_bytes([*high, *low])));
        at = value + length;
        if at > header.len() {
            return false;
        }
        if *kind == CHECKSUM {
            let Some(said) = header[value..at].first_chunk().filter(|_| length == 4) else {
                return false;
            };
            if crc32c(header, value..at) != u32::from_be_bytes(*said) {
                return false;
            }
        }
    }
    true
}

/// CRC-32C with some bytes taken for zeros (RFC 9260 appendix A). A header is short: no table.
fn crc32c(bytes: &[u8], zeros: std::ops::Range<usize>) -> u32 {
    let mut state = u32::MAX;
    for (at, byte) in bytes.iter().enumerate() {
        state ^= u32::from(if zeros.contains(&at) { 0 } else { *byte });
        for _ in 0..8 {
            state = state >> 1 ^ if state & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !state
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::Random;

    fn client(text: &str) -> Origin {
        Origin::Client(text.parse().unwrap())
    }

    fn header(family: u8, body: &[u8]) -> Vec<u8> {
        let mut all = SIGNATURE.to_vec();
        all.extend([0x21, family]);
        all.extend((body.len() as u16).to_be_bytes());
        all.extend(body);
        all
    }

    fn four(records: &[u8]) -> Vec<u8> {
        let mut body = vec![192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        body.extend(records);
        header(0x11, &body)
    }

    fn six() -> Vec<u8> {
        let mut body = [0; 36];
        body[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        body[15] = 7;
        body[33] = 9;
        header(0x21, &body)
    }

    /// Every sound header of this test, and who it names.
    fn sound() -> Vec<(Vec<u8>, Origin)> {
        let mut local = four(&[]);
        local[12] = 0x20;
        let mut checked = four(&[CHECKSUM, 0, 4, 0, 0, 0, 0]);
        let sum = crc32c(&checked, 0..0);
        let at = checked.len() - 4;
        checked[at..].copy_from_slice(&sum.to_be_bytes());
        vec![
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(), client("192.0.2.1:4711")),
            (b"PROXY TCP6 2001:db8::7 ::1 9 443\r\n".to_vec(), client("[2001:db8::7]:9")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Origin::Unknown),
            (b"PROXY UNKNOWN whatever it says\r\n".to_vec(), Origin::Unknown),
            (four(&[]), client("192.0.2.1:4711")),
            (four(&[4, 0, 2, 1, 2]), client("192.0.2.1:4711")),
            (checked, client("192.0.2.1:4711")),
            (six(), client("[2001:db8::7]:9")),
            (header(0, b"anything"), Origin::Unknown),
            (header(0x31, &[0; 216]), Origin::Unknown),
            (local, Origin::Proxy),
        ]
    }

    #[test]
    fn both_versions_name_the_client() {
        for (header, of) in sound() {
            let bytes = header.len();
            let expected = Parsed::Header { bytes, of };
            assert_eq!(parse(&header), expected, "{}", header.escape_ascii());
            let mut followed = header.clone();
            followed.extend(b"GET / HTTP/1.1\r\n");
            assert_eq!(parse(&followed), expected, "{}", header.escape_ascii());
            for cut in 0..bytes {
                assert_eq!(parse(&header[..cut]), Parsed::Partial, "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let line = |text: &str| text.as_bytes().to_vec();
        let mut datagram = four(&[]);
        datagram[13] = 0x12;
        let mut version = four(&[]);
        version[12] = 0x31;
        let mut long = SIGNATURE.to_vec();
        long.extend([0x21, 0x11, 0xff, 0xff]);
        for bytes in [
            line("GET / HTTP/1.1\r\n"),
            line("PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\n"),
            line("PROXY TCP4 192.0.2.1 10.0.0.1 4711  80\r\n"),
            line("PROXY TCP4 192.0.2.1 10.0.0.1 04711 80\r\n"),
            line("PROXY TCP4 192.0.2.1 10.0.0.1 +4711 80\r\n"),
            line("PROXY TCP4 192.0.2.1 10.0.0.1 4711 65536\r\n"),
            line("PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n"),
            line("PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 more\r\n"),
            line("PROXY TCP4 ::1 10.0.0.1 4711 80\r\n"),
            line("PROXY TCP6 10.0.0.1 ::1 4711 80\r\n"),
            line("PROXY UDP4 192.0.2.1 10.0.0.1 4711 80\r\n"),
            line("PROXY UNKNOWNS\r\n"),
            line("proxy TCP4 192.0.2.1 10.0.0.1 4711 80\r\n"),
            line(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(100))),
            four(&[4, 0, 3, 1, 2]),
            four(&[4, 0]),
            four(&[CHECKSUM, 0, 4, 1, 2, 3, 4]),
            four(&[CHECKSUM, 0, 3, 1, 2, 3]),
            header(0x11, &[0; 11]),
            header(0x21, &[0; 35]),
            header(0x31, &[0; 215]),
            datagram,
            version,
            long,
        ] {
            assert_eq!(parse(&bytes), Parsed::Bad, "{}", bytes.escape_ascii());
        }
    }

    /// More bytes never make of a fault a header, nor of a header another one; and nothing panics.
    #[test]
    fn every_prefix_agrees_with_the_whole() {
        let mut random = Random::new(11);
        let sound = sound();
        for _ in 0..3000 {
            let (mut bytes, _) = random.pick(&sound).clone();
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
            let whole = parse(&bytes);
            for cut in 0..bytes.len() {
                match parse(&bytes[..cut]) {
                    Parsed::Partial => {}
                    early => assert_eq!(early, whole, "{} at {cut}", bytes.escape_ascii()),
                }
            }
            if let Parsed::Header { bytes: length, .. } = whole {
                assert!(length <= bytes.len());
            }
        }
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc32c(b"123456789", 0..0), 0xe306_9283);
    }
}
