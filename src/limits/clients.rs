//! Bounds of what clients may take, and for how long.

use std::time::Duration;

/// Connections that may be open by default: those of 2,700 browsers with the six that each opens,
/// and little of the 524,288 descriptors that systemd lets a service have.
pub const CONNECTIONS: usize = 16_384;

/// Requests of one connection by default: 0 is no limit, as each one more costs less than another
/// connection would.
pub const REQUESTS_PER_CONNECTION: u64 = 0;

/// How long a head may take by default, and the first request to begin: a packet that is lost is
/// sent again after one, two and four seconds (RFC 6298), three times within this.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the body of a request may take by default: [`super::DISCARD_BYTES_MAX`] of it are read
/// away, for which 52 kbit/s are enough.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection stays without a further request by default: longer than the minute for
/// which proxies and balancers usually keep theirs, so that they close first and no request of
/// theirs meets a close.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// How long an answer may stay without progress by default: a mobile client that passes through a
/// tunnel is back.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes a second that a connection is sent by default: 0 is no limit, as the network is one.
pub const RATE_LIMIT: u64 = 0;

/// How long connections get to finish at the end by default: a third of the time after which
/// systemd kills what it has asked to end.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a header of the PROXY protocol: the addresses of a unix socket, and records of a few
/// kilobytes, as those with a certificate.
pub const PROXY_HEADER_BYTES_MAX: usize = 4096;

/// How long a head may take before its rate counts: a segment that is lost is sent again within
/// three seconds (RFC 6298 section 2), once more within this.
pub const HEAD_RATE_GRACE: Duration = Duration::from_secs(5);

/// Bytes a second at which a head must come by default: one of 2 KiB, as browsers send, gets 4
/// seconds more, and one that comes a byte at a time gets nothing.
pub const HEAD_RATE: u64 = 500;

/// How long what a client takes is added up before its rate counts: a mobile client that passes
/// through a tunnel is back.
pub const SEND_RATE_WINDOW: Duration = Duration::from_secs(30);

/// Bytes a second at which a client must take an answer by default: the slowest modems had ten
/// times as much.
pub const SEND_RATE: u64 = 240;

/// Connections of one address by default: 0 is no limit, as a proxy that nobody has named, or
/// everybody behind one address of a provider, would be cut off by any.
pub const CONNECTIONS_PER_ADDRESS: u32 = 0;

/// How long a client has done nothing before what is held for it goes to somebody who waits for
/// it: longer than the parts of a request lie apart that come one behind the other.
pub const GIVE_WAY_AFTER: Duration = Duration::from_millis(100);

/// The same where the connection is lost with it: some round trips around the world.
pub const GIVE_WAY_FOR_GOOD_AFTER: Duration = Duration::from_secs(1);

/// The same for a request that has begun and does not go on as it should: its client asks again,
/// and a packet that follows another is there within a round trip around the world.
pub const GIVE_WAY_HALF_AFTER: Duration = Duration::from_millis(300);

/// How often a worker looks for what is held so, at most: a look passes over all connections.
pub const GIVE_WAY_LOOK: Duration = Duration::from_millis(10);

const _: () = assert!(
    GIVE_WAY_AFTER.as_millis() < GIVE_WAY_HALF_AFTER.as_millis()
        && GIVE_WAY_HALF_AFTER.as_millis() < GIVE_WAY_FOR_GOOD_AFTER.as_millis()
);

/// Parts of a second's bytes that a limited body is sent in: more often than clocks are told apart
/// would gain nothing, and clients see it flow.
pub const RATE_PARTS_PER_SECOND: u64 = 8;

/// Bytes of such a part at least: a slower body is sent in longer pauses.
pub const RATE_PART_BYTES_MIN: u64 = 1024;

/// How much time a limited connection may catch up: some ticks of the clock for deadlines.
pub const RATE_CREDIT: Duration = Duration::from_millis(250);

/// How long a limited connection pauses in one step: what it waits for may have changed.
pub const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long an owner rests whose socket is full and whose peer has ended its side, at first: what
/// a fast client takes meanwhile is less than a send buffer.
pub const WRITE_REST_MIN: Duration = Duration::from_millis(1);
/// And at most, when it takes nothing: sixteen tries a second cost nothing.
pub const WRITE_REST_MAX: Duration = Duration::from_millis(64);
