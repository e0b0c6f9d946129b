//! Addresses as people write them.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::server::options::{Allow, Listen, Network, PORT, Trusted, clash};

/// Reads a list of addresses: `127.0.0.1:80`, `[::1]:80`, `80` for both loopback addresses,
/// `:80` for every interface, and `unix:/path`. Relative paths begin at `base`.
///
/// The second value says whether an IPv6 address was written out.
pub(super) fn listen_all(texts: &[String], base: &Path) -> Result<(Vec<Listen>, bool), String> {
    if texts.is_empty() {
        return Err("no address; write at least one, as 127.0.0.1:8080".to_owned());
    }
    let mut all: Vec<Listen> = Vec::new();
    let mut ipv6_written = false;
    for text in texts {
        let addresses = listen_one(text, base)?;
        // What was written out as one address is meant; a pair stands for both families.
        ipv6_written |= matches!(&addresses[..], [only] if only.is_ipv6());
        for address in addresses {
            match all.iter().find(|other| clash(other, &address)) {
                Some(other) if *other == address => {
                    return Err(format!("{address} is there twice"));
                }
                Some(other) => return Err(format!("{address} is already part of {other}")),
                None => all.push(address),
            }
        }
    }
    // The default list, written out, is still the default.
    let required = ipv6_written && all != Listen::loopback(PORT);
    Ok((all, required))
}

fn listen_one(text: &str, base: &Path) -> Result<Vec<Listen>, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() || path.contains('\0') {
            Err(format!("'{text}' names no path; write unix:/run/pitcrew.sock"))
        } else {
            Ok(vec![Listen::Unix(join(base, PathBuf::from(path)))])
        };
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(vec![Listen::Tcp(address)]);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("localhost", text));
    let everywhere = matches!(host, "" | "*");
    if (everywhere || host == "localhost") && !port.is_empty() {
        let port = parse_port(port).ok_or_else(|| not_an_address(text))?;
        let pair = if everywhere { Listen::everywhere(port) } else { Listen::loopback(port) };
        return Ok(pair.to_vec());
    }
    Err(not_an_address(text))
}

fn parse_port(text: &str) -> Option<u16> {
    // `parse` would take a plus sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn not_an_address(text: &str) -> String {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => format!("'{text}' has no port; write {ip}:8080"),
        // An address whose last group may have been meant as the port.
        Ok(IpAddr::V6(ip)) => match text.rsplit_once(':') {
            Some((host, port)) if !text.starts_with('[') && host.parse::<IpAddr>().is_ok() => {
                format!("'{text}' needs brackets; write [{host}]:{port}")
            }
            _ => format!("'{text}' has no port; write [{ip}]:8080"),
        },
        Err(_) => match text.rsplit_once(':').map_or(text, |(_, port)| port).parse::<u64>() {
            Ok(port) if port > u64::from(u16::MAX) => {
                format!("port {port} is out of range; from 0 to 65535 is allowed")
            }
            _ => format!(
                "'{text}' is not an address; write 127.0.0.1:8080, [::1]:8080, 8080, :8080 or \
                 unix:/path"
            ),
        },
    }
}

/// A path of the file is relative to the directory of the file.
pub(super) fn join(base: &Path, path: PathBuf) -> PathBuf {
    if base.as_os_str().is_empty() { path } else { base.join(path) }
}

/// Reads who may see the figures: `loopback`, addresses and networks.
pub(super) fn allow(texts: &[String]) -> Result<Allow, String> {
    let mut allow = Allow { loopback: false, networks: Vec::new() };
    for text in texts {
        if text == "loopback" {
            allow.loopback = true;
        } else {
            allow.networks.push(network(text, "loopback")?);
        }
    }
    Ok(allow)
}

/// Reads which proxies are trusted: `unix`, addresses and networks; `off` alone is nobody.
pub(super) fn trusted(texts: &[String]) -> Result<Trusted, String> {
    let mut trusted = Trusted::default();
    if let [text] = texts
        && text == "off"
    {
        return Ok(trusted);
    }
    for text in texts {
        if text == "unix" {
            trusted.unix = true;
        } else {
            trusted.networks.push(network(text, "unix")?);
        }
    }
    Ok(trusted)
}

fn network(text: &str, word: &str) -> Result<Network, String> {
    let wrong = || {
        format!("'{text}' is not a network; write {word}, 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")
    };
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let ip: IpAddr = address.parse().map_err(|_| wrong())?;
    let width = if ip.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => width,
        Some(bits) => {
            parse_port(bits).and_then(|bits| u8::try_from(bits).ok()).ok_or_else(wrong)?
        }
    };
    let around = Network::around(ip, bits).ok_or_else(|| {
        format!("'{text}' has a prefix that is longer than the address; at most {width}")
    })?;
    Network::new(ip, bits)
        .ok_or_else(|| format!("'{text}' has bits beyond its prefix; write {around}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(texts: &[&str]) -> Vec<String> {
        let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
        let (all, _) = listen_all(&texts, Path::new("/etc")).unwrap();
        all.iter().map(ToString::to_string).collect()
    }

    fn fault(text: &str) -> String {
        listen_all(&[text.to_owned()], Path::new("")).unwrap_err()
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(shown(&["127.0.0.1:80"]), ["127.0.0.1:80"]);
        assert_eq!(shown(&["[::1]:80"]), ["[::1]:80"]);
        assert_eq!(shown(&["80"]), ["127.0.0.1:80", "[::1]:80"]);
        assert_eq!(shown(&["localhost:80"]), ["127.0.0.1:80", "[::1]:80"]);
        assert_eq!(shown(&[":80"]), ["0.0.0.0:80", "[::]:80"]);
        assert_eq!(shown(&["*:80"]), ["0.0.0.0:80", "[::]:80"]);
        assert_eq!(shown(&["unix:/a", "unix:b"]), ["unix:/a", "unix:/etc/b"]);
    }

    #[test]
    fn each_mistake_has_its_remedy() {
        assert!(fault("127.0.0.1").contains("write 127.0.0.1:8080"));
        assert!(fault("::1").contains("write [::1]:8080"));
        assert!(fault("[::1]").contains("write [::1]:8080"));
        assert!(fault("2001:db8::1:8080").contains("write [2001:db8::1]:8080"));
        assert!(fault("70000").contains("port 70000 is out of range"));
        assert!(fault(":70000").contains("port 70000 is out of range"));
        assert!(fault("example.org:80").contains("is not an address"));
        assert!(fault("unix:").contains("names no path"));
        assert!(fault("").contains("is not an address"));
        assert!(fault(":").contains("is not an address"));
        assert!(fault("+80").contains("is not an address"));
    }

    #[test]
    fn an_address_is_there_once() {
        let both = |one: &str, other: &str| listen_all(&[one.into(), other.into()], Path::new(""));
        assert!(both("8080", "127.0.0.1:8080").unwrap_err().contains("is there twice"));
        assert!(both(":80", "127.0.0.1:80").unwrap_err().contains("already part of 0.0.0.0:80"));
        assert!(both("127.0.0.1:0", "127.0.0.1:0").is_ok());
    }

    #[test]
    fn ipv6_is_required_when_it_was_asked_for() {
        let required = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
            listen_all(&texts, Path::new("")).unwrap().1
        };
        assert!(required(&["[::1]:80"]));
        assert!(required(&["9000", "[::]:80"]));
        assert!(!required(&["9000"]));
        assert!(!required(&[":9000"]));
        assert!(!required(&["127.0.0.1:8080", "[::1]:8080"]));
    }

    #[test]
    fn trusted_proxies_are_networks_or_unix() {
        let read =
            |texts: &[&str]| trusted(&texts.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(read(&["off"]).unwrap().is_nobody() && read(&[]).unwrap().is_nobody());
        let both = read(&["unix", "10.0.0.0/8"]).unwrap();
        assert!(both.unix && both.networks.len() == 1);
        assert!(read(&["loopback"]).unwrap_err().contains("write unix, 192.0.2.7"));
        assert!(read(&["off", "unix"]).unwrap_err().contains("'off' is not a network"));
    }

    #[test]
    fn networks_are_exact() {
        let one = |text: &str| allow(&[text.to_owned()]);
        assert!(one("loopback").unwrap().loopback);
        assert_eq!(one("10.0.0.0/8").unwrap().networks[0].to_string(), "10.0.0.0/8");
        assert_eq!(one("192.0.2.7").unwrap().networks[0].to_string(), "192.0.2.7/32");
        assert!(one("10.1.2.3/8").unwrap_err().contains("write 10.0.0.0/8"));
        assert!(one("10.0.0.0/40").unwrap_err().contains("at most 32"));
        assert!(one("everyone").unwrap_err().contains("is not a network"));
        assert_eq!(allow(&[]).unwrap(), Allow { loopback: false, networks: vec![] });
    }
}
