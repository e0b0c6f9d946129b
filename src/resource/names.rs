//! Which host a request is for (RFC 9110 section 7.2).

use super::options::HostName;

/// Names of hosts and the places of the hosts that have them.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Whole names, sorted.
    exact: Vec<(Box<[u8]>, u16)>,
    /// What names end in, with the dot; sorted.
    suffixes: Vec<(Box<[u8]>, u16)>,
}

impl Names {
    /// Takes in the names of a host. The first host that has a name keeps it.
    pub(super) fn add(&mut self, names: &[HostName], host: u16) {
        for name in names {
            let (table, text) = match name.suffix() {
                Some(suffix) => (&mut self.suffixes, suffix),
                None => (&mut self.exact, name.text()),
            };
            if let Err(at) = table.binary_search_by(|(known, _)| (**known).cmp(text.as_bytes())) {
                table.insert(at, (text.as_bytes().into(), host));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffixes.is_empty()
    }

    /// The host of an authority, which was found to be a host with an optional port. A whole name
    /// counts before a wildcard, a longer wildcard before a shorter one.
    pub(super) fn find(&self, authority: &[u8]) -> Option<u16> {
        let end = match authority.first() {
            Some(b'[') => memchr::memchr(b']', authority).map(|close| close + 1),
            _ => memchr::memchr(b':', authority),
        };
        let name = &authority[..end.unwrap_or(authority.len())];
        // A dot at the end says that the name is full, which it is in a request.
        let name = name.strip_suffix(b".").unwrap_or(name);
        look_up(&self.exact, name).or_else(|| {
            let mut dots = memchr::memchr_iter(b'.', name).filter(|dot| *dot > 0);
            dots.find_map(|dot| look_up(&self.suffixes, &name[dot..]))
        })
    }
}

fn look_up(table: &[(Box<[u8]>, u16)], name: &[u8]) -> Option<u16> {
    let lower = |byte: &u8| byte.to_ascii_lowercase();
    let at = table.binary_search_by(|(known, _)| known.iter().copied().cmp(name.iter().map(lower)));
    at.ok().map(|at| table[at].1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(all: &[&[&str]]) -> Names {
        let mut names = Names::default();
        for (host, some) in all.iter().enumerate() {
            let some: Vec<_> = some.iter().map(|text| HostName::new(text).unwrap()).collect();
            names.add(&some, host as u16);
        }
        names
    }

    /// RFC 9110 section 7.2: the host without its port, in any case (RFC 3986 section 3.2.2).
    #[test]
    fn the_whole_name_then_the_longest_wildcard() {
        let names = names(&[
            &["a.example"],
            &["*.a.example", "[::1]"],
            &["*.b.a.example", "x.a.example", "127.0.0.1"],
        ]);
        for (authority, host) in [
            ("a.example", Some(0)),
            ("A.Example.:8080", Some(0)),
            ("w.a.example", Some(1)),
            ("v.w.a.example", Some(1)),
            ("[::1]:8080", Some(1)),
            ("w.b.a.example", Some(2)),
            ("b.a.example", Some(1)),
            ("x.a.example:", Some(2)),
            ("127.0.0.1:80", Some(2)),
            (".a.example", None),
            ("ba.example", None),
            ("example", None),
            ("", None),
        ] {
            assert_eq!(names.find(authority.as_bytes()), host, "{authority}");
        }
    }
}
