//! Which coding and which form of an answer a client prefers (RFC 9110 section 12.5).

/// How the bytes of a file are coded when they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Brotli, from `name.br`.
    Br,
    /// Zstandard, from `name.zst`.
    Zstd,
    /// Gzip, from `name.gz`.
    Gzip,
    /// As they are.
    Identity,
}

impl Coding {
    /// Every coding, the most preferred first at equal weight.
    pub const ALL: [Coding; 4] = [Coding::Br, Coding::Zstd, Coding::Gzip, Coding::Identity];

    /// The value of Content-Encoding, which identity does not have.
    pub fn token(self) -> Option<&'static str> {
        match self {
            Coding::Br => Some("br"),
            Coding::Zstd => Some("zstd"),
            Coding::Gzip => Some("gzip"),
            Coding::Identity => None,
        }
    }

    /// What the name of a precompressed neighbour ends in, with its dot; empty for identity.
    pub fn suffix(self) -> &'static str {
        match self {
            Coding::Br => ".br",
            Coding::Zstd => ".zst",
            Coding::Gzip => ".gz",
            Coding::Identity => "",
        }
    }
}
