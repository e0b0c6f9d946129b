//! Every bound of the server, with its unit and the reason for its value.
//!
//! Relations between bounds are `const` assertions at the end of the file. A bound that an
//! operator may change is the default of an option; the others are fixed.

// http: targets, ranges and answers

/// Ranges in one Range field, counted with the empty and the unsatisfiable ones. More than this
/// is a client that wants many small reads for one request: it gets the whole file (RFC 9110
/// section 17.15 asks for such a bound).
pub const RANGE_COUNT_MAX: usize = 64;

/// Bytes of an entity tag with its quotes: a SHA-256 digest in hex, a coding, two quotes.
pub const TAG_BYTES_MAX: usize = 72;

/// Bytes of one configured or built response head. The connection writes heads into buffers of
/// this size; a longer one is a fault of the configuration and is refused, never cut.
pub const ANSWER_HEAD_BYTES_MAX: usize = 4096;

/// Entries of one directory listing. Some 2 MiB of HTML: a page with more is of no use to a reader,
/// and the memory for it is a client's to spend. The listing says that it was cut.
pub const LISTING_ENTRIES_MAX: usize = 10_000;

/// Bytes of the names of one directory listing together. A name grows up to ninefold in HTML,
/// link and text, so this holds a page of hostile names under some 12 MiB.
pub const LISTING_NAMES_BYTES_MAX: usize = 1 << 20;
