//! Addresses that share a prefix.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that share their first `bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// The network of `first` with a prefix of `bits`, unless `bits` is more than the
    /// address has, or `first` has a bit set beyond the prefix.
    pub fn new(first: IpAddr, bits: u8) -> Option<Self> {
        let width = if first.is_ipv4() { 32 } else { 128 };
        let network = Self { first, bits };
        (bits <= width && network.mask(first) == first).then_some(network)
    }

    /// Whether the address, with IPv4 in IPv6 unwrapped, is of this network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.first.is_ipv4() && self.mask(ip) == self.first
    }

    /// The network that has `ip` and a prefix of `bits`, which must fit the address.
    pub fn around(ip: IpAddr, bits: u8) -> Option<Self> {
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let network = Self { first: ip, bits };
        (bits <= width).then(|| Self { first: network.mask(ip), bits })
    }

    fn mask(&self, ip: IpAddr) -> IpAddr {
        // A shift by the whole width is an overflow; it stands for the empty prefix.
        match ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.first, self.bits)
    }
}

/// An address as tests write it.
#[cfg(test)]
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let network = Network::new(ip("10.1.0.0"), 16).unwrap();
        assert!(network.contains(ip("10.1.255.3")));
        assert!(network.contains(ip("::ffff:10.1.0.1")));
        assert!(!network.contains(ip("10.2.0.1")));
        assert!(!network.contains(ip("::1")));
        assert!(Network::new(ip("0.0.0.0"), 0).unwrap().contains(ip("9.9.9.9")));
        assert!(Network::new(ip("::"), 0).unwrap().contains(ip("2001:db8::1")));
        assert!(Network::new(ip("2001:db8::1"), 128).unwrap().contains(ip("2001:db8::1")));
    }

    #[test]
    fn a_network_with_host_bits_or_too_long_a_prefix_is_none() {
        assert_eq!(Network::new(ip("10.1.2.3"), 16), None);
        assert_eq!(Network::new(ip("10.0.0.0"), 33), None);
        assert_eq!(Network::around(ip("10.1.2.3"), 16).unwrap().to_string(), "10.1.0.0/16");
        assert_eq!(Network::around(ip("::1"), 129), None);
    }
}
