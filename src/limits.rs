//! Every bound of the server, with its unit and the reason for its value.
//!
//! Relations between bounds are `const` assertions at the end of the file. A bound that an
//! operator may change is the default of an option; the others are fixed.

use std::time::Duration;

mod blocks;
mod broker;
mod clients;
mod commands;
mod disks;
mod files;
mod generations;
mod lab;
mod memory;
mod turns;

pub use blocks::*;
pub use broker::*;
pub use clients::*;
pub use commands::*;
pub use disks::*;
pub use files::*;
pub use generations::*;
pub use lab::*;
pub use memory::*;
pub use turns::*;

// ring

/// Turns that a reactor waits at its end for the kernel to let go of what is in flight. A disk that
/// hangs never lets go.
pub const DROP_TURNS_MAX: usize = 20;
/// How long each of these turns waits at most.
pub const DROP_TURN: Duration = Duration::from_millis(100);

/// Helper threads of the process. More would compete with the workers for the processors.
pub const HELPERS: usize = 2;

/// The same while others are held up: each mount that hangs takes one.
pub const HELPERS_MAX: usize = 16;

/// How long a helper beyond the usual ones waits for a job before it ends.
pub const HELPER_SPARE: Duration = Duration::from_secs(10);

/// How much later than a worker a helper gets its turn on the processor (nice(1)).
pub const HELPER_NICE: i32 = 5;

/// Jobs that one worker has at the helpers, running or queued: some seconds of work for them. Who
/// asks beyond that waits or is refused.
pub const JOBS_MAX: usize = 64;

/// Jobs of one worker for one mount while others have none: half of what those leave, so that
/// mounts that hang leave some to the next one.
pub const JOBS_PER_MOUNT_MAX: usize = JOBS_MAX / 2;

/// Bytes that a helper reads at once to hash a file: enough that the system calls weigh little,
/// and little enough to stay in the processor's cache.
pub const DIGEST_READ_BYTES: usize = 256 * 1024;

/// Parts of one gather send: two answers from memory, each a head and a body, or a head and
/// blocks of a file. The kernel allows 1024; each costs room in every entry of the queue.
pub const GATHER_PARTS_MAX: usize = 4;

// http: request heads and bodies

/// Bytes of a request target: 8 KiB, what RFC 9112 section 3 asks for at least, and more than any
/// file name beneath a root can need (PATH_MAX is 4 KiB, percent-encoding triples the worst of it).
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a request head, its request line and final empty line included: 16 KiB, so that a
/// head with a target of the greatest length still has room for as much in fields.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Fields of a request head: browsers behind two proxies send about 40.
pub const FIELDS_MAX: usize = 100;

/// The most fields an operator may ask for: the parser keeps room for them on its stack (8 KiB).
pub const FIELDS_CEILING: usize = 256;

/// Fields of a head for which the parser prepares a small room only: a load generator sends 2,
/// command-line clients 4, and preparing more room than is used costs as much as parsing.
pub const FIELDS_FEW: usize = 24;

/// Bytes of a method token: the longest registered one (UPDATEREDIRECTREF) has 17.
pub const METHOD_BYTES_MAX: usize = 32;

/// Empty lines skipped before a request line: RFC 9112 section 2.2 asks for at least one, and old
/// clients send one after a body.
pub const EMPTY_LINES_MAX: usize = 4;

/// Bytes of a request body that are read away to keep a connection: 64 KiB, a few packets, which
/// cost less than a new connection.
pub const DISCARD_BYTES_MAX: u64 = 64 * 1024;

/// Hex digits of one chunk size: 16 hold every 64-bit size, so only padding is longer.
pub const CHUNK_SIZE_DIGITS_MAX: usize = 16;

/// Bytes of chunk extensions in one body: no client of a static file server has use for any.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 1024;

/// Bytes of a trailer section, which is validated and dropped.
pub const TRAILER_BYTES_MAX: usize = 4 * 1024;

/// Seconds in the Retry-After of a refusal for want of resources: long enough to thin out a herd
/// of clients, short enough that a passing shortage is not made longer.
pub const RETRY_AFTER_SECONDS: u32 = 2;

const _: () =
    assert!(HEAD_BYTES_MAX >= 2 * TARGET_BYTES_MAX, "a long target leaves room to fields");
const _: () = assert!(FIELDS_FEW <= FIELDS_MAX && FIELDS_MAX <= FIELDS_CEILING);
const _: () = assert!(METHOD_BYTES_MAX < TARGET_BYTES_MAX);
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

/// Bytes of the fields that the rules of one host may add to an answer: twice the 4 KiB that some
/// clients take for a whole head. Two such parts may meet in one answer, the fields and the rule
/// for other origins.
pub const CONFIGURED_FIELDS_BYTES_MAX: usize = 8 * 1024;

/// Redirects that a client follows in a row: browsers give up after 20, others later.
pub const REDIRECTS_IN_A_ROW_MAX: usize = 20;

/// Bytes of the place that a redirect leads to: what browsers take at least (RFC 9110 section 4.1).
pub const PLACE_BYTES_MAX: usize = 8000;

// predict

/// Reads of one stream that its predictor remembers: a pattern is seen in three of them and
/// outvotes seven strays, and one that ended is forgotten soon.
pub const PREDICT_HISTORY: usize = 16;

/// Reads after which offsets that come again are still seen to: two rounds fit the history.
pub const PREDICT_PERIOD_MAX: usize = PREDICT_HISTORY / 2;

/// Predictions of one stream that nobody has asked for yet: what keeps a disk with a queue busy,
/// and little enough to lose when the stream ends.
pub const PREDICTED_MAX: usize = 16;

/// Reads in a row that do not fit a pattern before it is given up.
pub const PREDICT_STRAYS_MAX: u32 = 3;

/// Reads at random that pay for one prediction: it is why they cost less than two in a hundred
/// more.
pub const PREDICT_READS_PER_CREDIT: u32 = 64;

// batch

/// Entries that the kernel takes for one queue (IORING_MAX_ENTRIES).
pub const BATCH_DEPTH_MAX: u32 = 32 * 1024;

/// Transfers of one queue that are queued and in flight: the most places that the kernel takes
/// for completions (IORING_MAX_CQ_ENTRIES).
pub const BATCH_IN_FLIGHT_MAX: u32 = 2 * BATCH_DEPTH_MAX;

/// Registered files of one queue: they are searched in order for each transfer.
pub const BATCH_FILES_MAX: usize = 64;

const _: () = assert!(2 * PREDICT_PERIOD_MAX <= PREDICT_HISTORY);
const _: () = assert!(PREDICT_READS_PER_CREDIT > 50, "less than two in a hundred");

// engines

/// Bytes of a file that pass through memory at once: more gains nothing over the socket's own
/// buffer, less costs a system call's share more often.
pub const BODY_BLOCK_BYTES: usize = 64 * 1024;

/// Room for a response head before a block, so that both leave in one send. A page, so that the
/// block stays aligned for O_DIRECT.
pub const BODY_HEAD_ROOM: usize = 4096;

// http: listings

/// Entries of one directory listing: as many as a browser still shows, in some 20 MiB of HTML.
/// A listing that was cut says so.
pub const LISTING_ENTRIES_MAX: usize = 100_000;

/// Bytes of the names of one directory listing together: 80 for each entry. A name grows up to
/// ninefold in HTML, link and text, and a row has 140 bytes beside it: a page of hostile names
/// stays below 90 MiB, one of common names below 20.
pub const LISTING_NAMES_BYTES_MAX: usize = 8 << 20;

// resource

/// Listings of one worker that are being made or wait to be sent: more than a helper makes in
/// the time a client waits.
pub const LISTINGS_MAX: usize = 64;

/// How long a listing is kept for those who asked for it while it was made.
pub const LISTING_KEPT: Duration = Duration::from_secs(1);

// connection

/// Bytes of answers that gather before they are sent: one large send buffer's worth.
pub const GATHERED_BYTES_MAX: usize = 64 * 1024;

/// Answers that gather before they are sent, so that the first of them is not late.
pub const GATHERED_ANSWERS_MAX: usize = 64;

/// Bytes of input that are read away after an answer that ends a connection, so that the client
/// gets the answer and not a reset.
pub const LINGER_BYTES_MAX: u64 = 256 * 1024;

/// How long that may take.
pub const LINGER: Duration = Duration::from_secs(2);

/// How long a connection that waits for a request is kept when the server drains: a request that
/// was sent before the client could know is there within a round trip, and the next one of a client
/// that asks again and again is, too. Its answer says that the connection closes. And how long what
/// comes after the end of the sending side is read away, for the same reason.
pub const DRAIN_NEXT_REQUEST: Duration = Duration::from_secs(1);

/// Time that a client must have been waited for, in nanoseconds, before its pace is one: in less
/// it is the clock's turns and the timers of TCP that are measured.
pub const UPTAKE_NANOS_MIN: u128 = 10_000_000;

/// Times that one request may wait for what its target stands for. Each wait makes one more name
/// known, so more means that the cache is too small for what is asked at once.
pub const RESOLVE_WAITS_MAX: u32 = 16;

/// Bytes of a buffer for a request head: most heads of browsers are below 2 KiB, and a page is
/// the least that a pool cuts.
pub const HEAD_BUFFER_BYTES: usize = 4096;

/// Bytes of a buffer for large or pipelined heads: the small part's bytes, the largest head, and
/// the empty lines before it.
pub const LARGE_HEAD_BUFFER_BYTES: usize = 24 * 1024;

/// Bytes that one send takes of an answer in memory, so that its copy does not hold up the turn.
pub const SEND_BYTES_MAX: usize = 512 * 1024;

/// Bytes of room below which a read is given a larger buffer, if there is one: a body of
/// [`DISCARD_BYTES_MAX`] is then read in 64 pieces at most, however long its head is.
pub const READ_BYTES_MIN: usize = 1024;

/// Bytes of a buffer for a small answer.
pub const ANSWER_BUFFER_BYTES: usize = 4096;

/// Bytes of an answer that is made without a buffer, to whoever is told that it waits in vain: such
/// a refusal has half of it.
pub const SHORT_ANSWER_BYTES_MAX: usize = 1024;

/// Bytes of a buffer for a body on its way: room for a head, and a block.
pub const BODY_BUFFER_BYTES: usize = BODY_HEAD_ROOM + BODY_BLOCK_BYTES;

const _: () = assert!(PROXY_HEADER_BYTES_MAX < LARGE_HEAD_BUFFER_BYTES);
const _: () = assert!(LARGE_HEAD_BUFFER_BYTES >= HEAD_BUFFER_BYTES + HEAD_BYTES_MAX + 64);
const _: () = assert!(LARGE_HEAD_BUFFER_BYTES - HEAD_BYTES_MAX - 64 >= READ_BYTES_MIN);
const _: () = assert!(BODY_BUFFER_BYTES >= GATHERED_BYTES_MAX);
const _: () = assert!(HOT_COPIED_BYTES_MAX + ANSWER_HEAD_BYTES_MAX <= GATHERED_BYTES_MAX);
const _: () = assert!(
    BODY_BUFFER_BYTES
        >= 2 * CONFIGURED_FIELDS_BYTES_MAX
            + PLACE_BYTES_MAX
            + 3 * TARGET_BYTES_MAX
            + ANSWER_HEAD_BYTES_MAX,
    "a redirect with every configured field fits the largest buffer"
);
const _: () = assert!(ANSWER_HEAD_BYTES_MAX <= ANSWER_BUFFER_BYTES);

// server

/// Names in the cache of open files of one worker: as many can be found out at once.
pub const OPEN_FILES_MIN: usize = 64;

/// How long a listener that found no free descriptor waits before it tries again by itself, and the
/// socket at which a successor asks.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// Connections beyond the limit that are told so at once; those beyond are closed without a word.
pub const TURNED_AWAY_MAX: usize = 64;

/// Operations in flight for each connection: a poll, a send and a read, and a cancelled one.
pub const OPERATIONS_PER_CONNECTION: usize = 4;

/// Operations in flight for what belongs to no connection: listeners, opens, closes.
pub const OWN_OPERATIONS: usize = 1024;

/// What a piece of a report on the figures costs at most, in counts that are read: some tens of
/// microseconds, no more than an answer.
pub const REPORT_PIECE_COST: usize = 8192;

/// How long a worker waits between two reports of one form: whoever asks meanwhile shares the
/// next one, so that any number of scrapers costs a few hundredths of its time.
pub const REPORT_EVERY: Duration = Duration::from_millis(10);

/// Scrapers that are told in one turn that their report is made: what they send together, some
/// fifty KiB each, is no more than other clients may send in a turn.
pub const REPORT_WAKES: usize = 16;

/// Reports of one worker that clients have not taken whole: a scraper that hangs holds one, some
/// fifty KiB, until it is given up. Beyond them a scrape is 503.
pub const REPORTS_MAX: usize = 64;

/// Connections of one worker to the listeners for telemetry, which do not count against those of
/// the clients: a few scrapers, people and probes. Beyond them one is closed without a word.
pub const TELEMETRY_CONNECTIONS_MAX: usize = 64;

const _: () = assert!(TELEMETRY_CONNECTIONS_MAX <= OWN_OPERATIONS / 4);

/// Pipes of all workers: as many bodies as travel by splice at once; the next ones wait. Whole they
/// take 128 MiB.
pub const PIPES_MAX: usize = 512;

/// Bytes asked for a pipe. Each splice then moves enough that its system calls weigh little.
pub const PIPE_BYTES: u32 = 256 * 1024;

// access log

/// Sinks of the access log: a file, a program, the standard output and one more.
pub const LOG_SINKS_MAX: usize = 4;

/// One of so many answers is recorded by default: each, as a log is counted on to be whole.
pub const LOG_SAMPLE: u64 = 1;

/// One of so many bodies that match is mirrored by default: each, as paths narrow them down.
pub const MIRROR_SAMPLE: u64 = 1;

/// How long a request waits for room in the log by default: as long as its pipe takes at full speed
/// to fill, so a sink that stands still for a moment loses nothing.
pub const LOG_WAIT: Duration = Duration::from_secs(1);

/// Bytes of records that a worker keeps by default: some 300, of which half go in one write.
pub const LOG_BUFFER: usize = 64 << 10;

/// How long a record stays there by default: whoever reads along sees it at once, and a write for
/// each ten times in a second costs nothing.
pub const LOG_FLUSH: Duration = Duration::from_millis(100);

/// Buffers of a worker that fill with records while requests wait for room: answers that have
/// begun still end.
pub const LOG_WAITING_BUFFERS: usize = 4;

/// Bytes asked for a log pipe: a second of records at full speed, for a sink that is slow for a
/// moment. It is what a user without privileges may have (pipe-max-size).
pub const LOG_PIPE_BYTES: usize = 1024 * 1024;

/// Entries of a ledger: as many as a log pipe has pages, four times over.
pub const LOG_LEDGER_ENTRIES: usize = 1024;

/// Bytes of one field of a request in a record: the longest target, and a cookie is cut.
pub const LOG_FIELD_BYTES_MAX: usize = TARGET_BYTES_MAX;

/// How long a worker leaves a full log pipe alone.
pub const LOG_RETRY: Duration = Duration::from_millis(20);

/// How often a worker that ends tries to hand on its last records, once in each
/// [`LOG_RETRY`]: a second in all.
pub const LOG_LAST_TRIES: u32 = 50;

/// Names that are tried for a mirrored body: each process has its own, so all but the first are
/// for what somebody has put there by hand.
pub const MIRROR_NAMES_MAX: u32 = 16;

/// Lines in the pipe of a reader that are known one by one: as many as the usual 64 KiB of the
/// shortest are, or 1 MiB of lines of 16 bytes. Of more, the oldest are known together.
pub const LOG_UNREAD_LINES: usize = 64 * 1024;

/// How long a sink that failed is left alone.
pub const LOG_SINK_RETRY: Duration = Duration::from_secs(1);

/// How long the log thread waits for the lock of a file at once: another server holds it for one
/// batch.
pub const LOG_LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The longest that a program which ends at once is left alone.
pub const LOG_PROGRAM_RETRY_MAX: Duration = Duration::from_secs(30);

/// How long the end of the server waits for the threads of the log: a disk writes a full pipe in
/// that time, and who asked for the end does not wait for ever for a reader that reads nothing.
pub const LOG_END: Duration = Duration::from_secs(5);
