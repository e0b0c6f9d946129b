//! Who a client is behind proxies that are trusted to say so.
//!
//! Each proxy appends the address that it was asked from to X-Forwarded-For. What a proxy that is
//! not trusted wrote, or the client itself, may be invented: so the client is the last address
//! that was not itself a trusted proxy, read from the right.

use std::net::{IpAddr, SocketAddr};

use super::syntax::members;
use crate::base::Network;

/// Whose word is taken for who the client is. By default nobody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Whoever connects by a unix socket.
    pub unix: bool,
    /// Whoever connects from these networks.
    pub networks: Vec<Network>,
}

impl Trusted {
    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        !self.unix && self.networks.is_empty()
    }

    /// Whether a peer is trusted; none stands for a unix socket.
    #[must_use]
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            None => self.unix,
            Some(ip) => self.networks.iter().any(|network| network.contains(ip)),
        }
    }
}

/// The client that the lines of X-Forwarded-For name, in their order; the port is 0 where none is
/// said. None if they name nobody. Only to be asked when the peer is trusted.
///
/// A member that is no address ends the chain of trust: what is left of it is not looked at.
#[must_use]
pub fn client<'a>(lines: impl Iterator<Item = &'a [u8]>, trusted: &Trusted) -> Option<SocketAddr> {
    // From the left, so that nothing is kept: a client that is not trusted takes the place of
    // what stood before it, and trusted proxies behind it leave it there.
    let mut found = None;
    for member in lines.flat_map(members) {
        let named = address(member);
        let is_proxy = named.is_some_and(|address| trusted.trusts(Some(address.ip())));
        if !is_proxy || found.is_none() {
            found = named;
        }
    }
    found
}

/// An address with or without a port, an IPv6 one with or without brackets.
fn address(member: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(member).ok()?;
    let bare = |text: &str| text.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 0));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']').filter(|ip| ip.contains(':'));
    let address: SocketAddr =
        bare(text).or_else(|| text.parse().ok()).or_else(|| bare(bracketed()?))?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::Random;

    fn trusted() -> Trusted {
        let network = |text: &str, bits| Network::new(text.parse().unwrap(), bits).unwrap();
        Trusted { unix: false, networks: vec![network("10.0.0.0", 8), network("2001:db8::", 32)] }
    }

    fn named(lines: &[&str]) -> String {
        let lines = lines.iter().map(|line| line.as_bytes());
        client(lines, &trusted()).map_or("nobody".to_owned(), |client| client.to_string())
    }

    #[test]
    fn the_last_address_that_is_not_trusted_is_the_client() {
        for (lines, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1:0"),
            (&["192.0.2.1, 10.0.0.1"], "192.0.2.1:0"),
            (&["198.51.100.9, 192.0.2.1, 10.0.0.1, 10.0.0.2"], "192.0.2.1:0"),
            (&["198.51.100.9", "192.0.2.1", "10.0.0.1"], "192.0.2.1:0"),
            (&["10.0.0.3, 10.0.0.1"], "10.0.0.3:0"),
            (&["10.0.0.3, 192.0.2.1:4711"], "192.0.2.1:4711"),
            (&["[2001:db9::1]:443, 2001:db8::7"], "[2001:db9::1]:443"),
            (&["[2001:db9::1]"], "[2001:db9::1]:0"),
            (&["::ffff:192.0.2.1"], "192.0.2.1:0"),
            (&["192.0.2.1, unknown, 10.0.0.1"], "10.0.0.1:0"),
            (&["192.0.2.1, unknown"], "nobody"),
            (&["[192.0.2.1]"], "nobody"),
            (&["", " , "], "nobody"),
            (&[], "nobody"),
        ] {
            assert_eq!(named(lines), expected, "{lines:?}");
        }
    }

    /// Against the rule as it is told: from the right, as long as the proxies are trusted.
    #[test]
    fn whatever_was_invented_on_the_left_changes_nothing() {
        let mut random = Random::new(7);
        let words = ["192.0.2.1", "198.51.100.2", "10.0.0.1", "10.9.9.9", "2001:db8::1", "x", "_a"];
        for _ in 0..2000 {
            let count = random.below(7) as usize;
            let chain: Vec<&str> = (0..count).map(|_| *random.pick(&words)).collect();
            let mut expected = "nobody".to_owned();
            for word in chain.iter().rev() {
                let Ok(ip) = word.parse::<IpAddr>() else { break };
                expected = SocketAddr::new(ip, 0).to_string();
                if !trusted().trusts(Some(ip)) {
                    break;
                }
            }
            assert_eq!(named(&[&chain.join(",")]), expected, "{chain:?}");
            if expected != "nobody" && !chain.iter().all(|word| trusted_word(word)) {
                let longer = format!("203.0.113.5, {}", chain.join(", "));
                assert_eq!(named(&[&longer]), expected, "{longer}");
            }
        }
    }

    fn trusted_word(word: &str) -> bool {
        word.parse().is_ok_and(|ip| trusted().trusts(Some(ip)))
    }

    #[test]
    fn nobody_is_trusted_by_default() {
        assert!(Trusted::default().is_nobody());
        assert!(!Trusted::default().trusts(None));
        assert!(Trusted { unix: true, ..Trusted::default() }.trusts(None));
    }
}
