//! Every figure, once.
//!
//! A row names the field it is read from, and the type of the field has to be the kind of the
//! figure. A field of a `Stats` structure that has no row here fails a test.

use std::borrow::Cow;

use super::figure::{Figure, Kind, Source, Unit};

/// A row without a label: `group.name = room.field: kind unit help`.
macro_rules! one {
    ($group:ident . $name:ident = $room:ident . $field:ident:
        $kind:ident $unit:ident $help:literal) => {
        Figure {
            group: stringify!($group),
            label: None,
            name: stringify!($name),
            kind: Kind::$kind,
            unit: Unit::$unit,
            help: $help,
            #[cfg(test)]
            field: stringify!($room.Stats.$field),
            read: |shard, visit| visit(Cow::Borrowed(""), Source::$kind(&shard.$room.$field)),
        }
    };
}

/// A row with a label, of a structure of which there is one for each label:
/// `group{label}.name = room.all() Structure.field: kind unit help`.
macro_rules! each {
    ($group:ident { $label:ident } . $name:ident =
        $room:ident . $all:ident() $part:ident . $field:ident:
        $kind:ident $unit:ident $help:literal) => {
        Figure {
            group: stringify!($group),
            label: Some(stringify!($label)),
            name: stringify!($name),
            kind: Kind::$kind,
            unit: Unit::$unit,
            help: $help,
            #[cfg(test)]
            field: stringify!($room.$part.$field),
            read: |shard, visit| {
                for (label, part) in shard.$room.$all() {
                    visit(Cow::Borrowed(label.name()), Source::$kind(&part.$field));
                }
            },
        }
    };
}

/// A row that is nothing but labels, each with a counter or a gauge.
macro_rules! labels {
    ($group:ident { $label:ident } = $room:ident . $all:ident() $field:ident,
        $each:ident => $text:expr; $help:literal, $kind:ident) => {
        Figure {
            group: stringify!($group),
            label: Some(stringify!($label)),
            name: "",
            kind: Kind::$kind,
            unit: Unit::Count,
            help: $help,
            #[cfg(test)]
            field: stringify!($room.Stats.$field),
            read: |shard, visit| {
                for ($each, one) in shard.$room.$all() {
                    visit($text, Source::$kind(one));
                }
            },
        }
    };
}

/// A row that is made of other figures.
macro_rules! derived {
    ($group:ident . $name:ident = $room:ident . $sum:ident(): $unit:ident $help:literal) => {
        Figure {
            group: stringify!($group),
            label: None,
            name: stringify!($name),
            kind: Kind::Counter,
            unit: Unit::$unit,
            help: $help,
            #[cfg(test)]
            field: "",
            read: |shard, visit| visit(Cow::Borrowed(""), Source::Sum(shard.$room.$sum())),
        }
    };
}

/// A row that is the share of one figure in others, in percent.
macro_rules! share {
    ($group:ident . $name:ident = $room:ident . $parts:ident(): $help:literal) => {
        Figure {
            group: stringify!($group),
            label: None,
            name: stringify!($name),
            kind: Kind::Gauge,
            unit: Unit::Count,
            help: $help,
            #[cfg(test)]
            field: "",
            read: |shard, visit| {
                let (part, whole) = shard.$room.$parts();
                visit(Cow::Borrowed(""), Source::Share(part, whole));
            },
        }
    };
}

/// Every figure of the server, groups together.
#[rustfmt::skip]
pub const CATALOGUE: &[Figure] = &[
    each!(techniques{technique}.operations = ring.techniques() TechniqueStats.operations:
        Counter Count "Operations that came to an end"),
    each!(techniques{technique}.bytes = ring.techniques() TechniqueStats.bytes:
        Counter Bytes "Bytes that the kernel moved"),
    each!(techniques{technique}.short = ring.techniques() TechniqueStats.short:
        Counter Count "Transfers of fewer bytes than asked, but more than none"),
    each!(techniques{technique}.would_block = ring.techniques() TechniqueStats.would_block:
        Counter Count "Operations that met a full socket or pipe, or a cold page (EAGAIN)"),
    each!(techniques{technique}.errors = ring.techniques() TechniqueStats.errors:
        Counter Count "Operations that failed otherwise"),
    each!(techniques{technique}.latency_ns = ring.techniques() TechniqueStats.latency:
        Histogram Nanoseconds
        "Time of an operation: whole turns for the ring's and for jobs, one in sixteen inline"),

    derived!(bytes.copied = ring.bytes_copied(): Bytes
        "Bytes that the processor copied to answer, each copy counted: file to memory, memory to \
        socket"),
    derived!(bytes.not_copied = ring.bytes_not_copied(): Bytes
        "Bytes given to sockets by reference; over loopback the kernel may copy them at the \
        receiver"),

    each!(engines{engine}.responses = engines.engines() EngineStats.responses:
        Counter Count "Bodies that it completed"),
    each!(engines{engine}.bytes = engines.engines() EngineStats.bytes:
        Counter Bytes "Bytes of files that the kernel took from it"),
    each!(engines{engine}.copied_bytes = engines.engines() EngineStats.copied_bytes:
        Counter Bytes
        "Copies that the processor made of these bytes: out of files, and into sockets"),
    each!(engines{engine}.not_copied_bytes = engines.engines() EngineStats.not_copied_bytes:
        Counter Bytes "Bytes of files given to sockets by reference"),
    each!(engines{engine}.declined = engines.engines() EngineStats.declined:
        Counter Count "Bodies that it declined before the first byte"),
    each!(engines{engine}.failed = engines.engines() EngineStats.failed:
        Counter Count "Bodies that it began and could not complete"),
    labels!(choices{reason} = engines.by_reason() choices,
        reason => Cow::Borrowed(reason.name());
        "Bodies, by the reason for which their engine was chosen", Counter),

    one!(configuration.reloads = configuration.reloads:
        Counter Count "Configurations taken in place of an earlier one"),
    one!(configuration.refused = configuration.refused:
        Counter Count "Configurations refused, so that the earlier one stayed"),
    one!(configuration.hand_overs = configuration.hand_overs:
        Counter Count "Successors that asked for the listeners"),

    one!(broker.granted = broker.granted:
        Counter Count "Requests of the confined server that its broker granted"),
    one!(broker.refused = broker.refused:
        Counter Count "Requests to the broker that its configuration does not name"),
    one!(broker.failed = broker.failed:
        Counter Count "Requests to the broker that could not be done, or found it gone"),

    labels!(declines{reason} = engines.by_decline() declines,
        reason => Cow::Borrowed(reason);
        "Bodies that an engine declined, by reason", Counter),

    one!(ring.enters = ring.enters:
        Counter Count "Entries into the kernel by the ring"),
    one!(ring.submissions = ring.submissions:
        Counter Count "Entries of submission queues that the kernel took"),
    one!(ring.completions = ring.completions:
        Counter Count "Entries of completion queues that were taken out"),
    one!(ring.overflow = ring.overflow:
        Counter Count "Entries into the kernel that found the completion queue full"),
    one!(ring.busy = ring.busy:
        Counter Count "Operations that found the table of operations full"),
    one!(ring.stalls = ring.stalls:
        Counter Count "Turns of 10 ms and more, in which nobody else was served"),
    one!(ring.stalls_sending = ring.stalls_sending:
        Counter Count "Of these, turns that sent parts of files inline: pages may have been \
        evicted after they were looked at"),
    one!(ring.write_rests = ring.write_rests:
        Counter Count "Waits, by the clock and not by a poll, for room in the sockets of clients \
        that had ended their side"),
    one!(ring.pressed = ring.pressed:
        Counter Count "Times that memory was short, so that what was seen of the page cache was \
        forgotten"),
    one!(ring.in_flight = ring.in_flight:
        Gauge Count "Operations in flight"),
    one!(ring.registered = ring.registered:
        Gauge Count "Workers whose pools for bodies and blocks are registered with their ring"),
    one!(ring.batch = ring.batch:
        Histogram Count "Submissions for each entry into the kernel"),
    one!(ring.turn_ns = ring.turn:
        Histogram Nanoseconds
        "Time of a turn, from the end of a wait to the next; its worst is the longest stall"),

    each!(pools{pool}.budget_bytes = ring.pools() PoolStats.budget_bytes:
        Gauge Bytes "Memory that the pool may lease"),
    each!(pools{pool}.leased_bytes = ring.pools() PoolStats.leased_bytes:
        Gauge Bytes "Memory that is leased"),
    each!(pools{pool}.leased_bytes_max = ring.pools() PoolStats.leased_bytes_max:
        Gauge Bytes "Memory that was leased at once at most"),
    each!(pools{pool}.waits = ring.pools() PoolStats.waits:
        Counter Count "Leases that had to wait"),
    each!(pools{pool}.registered_bytes = ring.pools() PoolStats.registered_bytes:
        Gauge Bytes "Memory that is registered with the ring"),
    each!(pools{pool}.huge_bytes = ring.pools() PoolStats.huge_bytes:
        Gauge Bytes "Memory in huge pages that the operator has set aside"),
    each!(pools{pool}.huge_advised_bytes = ring.pools() PoolStats.huge_advised_bytes:
        Gauge Bytes "Memory in huge pages as far as the kernel finds them"),

    one!(jobs.in_flight = ring.jobs_in_flight:
        Gauge Count "Jobs that helper threads have, running or queued"),
    one!(jobs.refused = ring.jobs_refused:
        Counter Count "Jobs that found no room in the queue of the helper threads"),

    one!(mounts.known = ring.mounts:
        Gauge Count "Mounts that files were found on, in each worker"),
    one!(mounts.blocking = ring.mounts_blocking:
        Gauge Count "Of these, mounts whose operations are left to threads of the kernel: they \
        may block"),
    one!(mounts.waits = ring.mount_waits:
        Counter Count "Operations that found their mount's share used up and waited"),

    one!(pipes.open = ring.pipes_open: Gauge Count "Pipes that are open"),
    one!(pipes.max = ring.pipes_max: Gauge Count "Pipes that may be open"),

    one!(page_cache.kept = cache.page_cache_kept:
        Counter Count "Bodies read into the page cache that were looked for later, and were there"),
    one!(page_cache.lost = cache.page_cache_lost:
        Counter Count "Those that were gone: what is asked for as rarely is read past the page \
        cache by auto"),
    one!(page_cache.brought_bytes = cache.page_cache_brought:
        Counter Bytes "Bytes of files that are asked for often, read there although the direct \
        cache had them"),
    one!(recall.files = cache.recalled:
        Gauge Count "Files of which it is remembered when they were asked for, open or not"),
    one!(recall.files_max = cache.recalled_max:
        Gauge Count "The most that are remembered, of eight bytes each"),

    one!(direct_cache.hits = cache.block_hits:
        Counter Count "Blocks of files that were in memory when they were asked for"),
    one!(direct_cache.misses = cache.block_misses:
        Counter Count "Blocks that had to be read when they were asked for"),
    one!(direct_cache.shared = cache.block_shared:
        Counter Count "Requests for a block that somebody else was waiting for already"),
    one!(direct_cache.ahead = cache.block_ahead:
        Counter Count "Blocks read ahead for a body under way"),
    one!(direct_cache.ahead_wasted = cache.block_ahead_wasted:
        Counter Count "Those of them that went without having been asked for"),
    one!(direct_cache.failures = cache.block_failures:
        Counter Count "Reads of blocks that failed, or whose file had changed"),
    one!(direct_cache.evicted = cache.block_evicted:
        Counter Count "Blocks put out to make room"),
    one!(direct_cache.exhausted = cache.block_exhausted:
        Counter Count "Bodies that went on without blocks, as no buffer came free for a while"),
    one!(direct_cache.bytes = cache.block_bytes:
        Gauge Bytes "Memory that holds blocks or is being filled"),
    one!(direct_cache.bytes_max = cache.block_bytes_max:
        Gauge Bytes "Memory that blocks may take"),
    share!(direct_cache.hit_percent = cache.block_hit_share():
        "Blocks that were in memory, of a hundred that were asked for"),

    one!(predictor.predicted = cache.foreseen:
        Counter Count "Blocks read because a pattern between requests said so"),
    one!(predictor.used = cache.foreseen_used:
        Counter Count "Predicted blocks that were there when they were asked for"),
    one!(predictor.late = cache.foreseen_late:
        Counter Count "Predicted blocks that were asked for while they were being read"),
    one!(predictor.wasted = cache.foreseen_wasted:
        Counter Count "Predicted blocks that went without having been asked for"),
    share!(predictor.hit_percent = cache.foreseen_share():
        "Predicted blocks that were asked for, of a hundred whose fate is known"),

    one!(cache.hits = cache.hits: Counter Count "Lookups answered from memory at once"),
    one!(cache.misses = cache.misses: Counter Count "Lookups of names that were not known"),
    one!(cache.revalidations = cache.revalidations:
        Counter Count "Lookups of names whose entry was too old"),
    one!(cache.served_unproven = cache.served_unproven:
        Counter Count "Lookups answered with what was open, as the disk did not say whether it \
        still is that"),
    one!(cache.replaced = cache.replaced:
        Counter Count "Revalidations that found another file than before"),
    one!(cache.evicted = cache.evicted: Counter Count "Entries put out to make room"),
    one!(cache.refused = cache.refused:
        Counter Count "Lookups refused because every entry was being loaded"),
    one!(cache.starved = cache.starved:
        Counter Count "Opens that found no descriptor, so that files kept open gave way"),
    one!(cache.watches = cache.watches: Gauge Count "Directories that are watched for changes"),
    one!(cache.watches_max = cache.watches_max: Gauge Count "Directories that may be watched"),
    one!(cache.watches_refused = cache.watches_refused:
        Counter Count "Directories and links that could not be watched"),
    one!(cache.notices = cache.notices:
        Counter Count "Changes that watched directories have told"),
    one!(cache.notices_lost = cache.notices_lost:
        Counter Count "Times that changes were lost, so that every name was looked up again"),
    one!(cache.unwatched = cache.unwatched:
        Gauge Count "Open files in directories that are not watched, or not yet"),
    one!(cache.entries = cache.entries: Gauge Count "Open files that are kept"),
    one!(cache.entries_max = cache.entries_max: Gauge Count "Open files that may be kept"),

    one!(hot_cache.hits = cache.hot_hits:
        Counter Count "Answers whose body was in memory, and went with the head"),
    one!(hot_cache.kept = cache.hot_kept: Counter Count "Bodies of small files put into memory"),
    one!(hot_cache.evicted = cache.hot_evicted: Counter Count "Bodies that gave way to others"),
    one!(hot_cache.bytes = cache.hot_bytes: Gauge Bytes "Memory of bodies that are kept"),
    one!(hot_cache.bytes_max = cache.hot_bytes_max: Gauge Bytes "Memory that bodies may take"),

    one!(listings.made = resource.listings_made: Counter Count "Listings that were made"),
    one!(listings.shared = resource.listings_shared:
        Counter Count "Requests for a listing that was already being made"),
    one!(listings.refused = resource.listings_refused:
        Counter Count "Listings refused for want of memory or of room at the helpers"),
    one!(listings.budget_bytes = resource.budget_bytes:
        Gauge Bytes "Memory that listings may take"),
    one!(listings.page_bytes = resource.page_bytes:
        Gauge Bytes "Memory of listings that are kept or on their way"),

    one!(connections.accepted = connections.accepted: Counter Count "Connections accepted"),
    one!(connections.open = connections.open: Gauge Count "Connections that are open"),
    one!(connections.budget = connections.budget: Gauge Count "Connections that may be open"),
    one!(connections.open_max = connections.open_max:
        Gauge Count "Connections that were open at once at most"),
    one!(connections.requests = connections.requests:
        Counter Count "Requests whose head was whole and well-formed"),
    one!(connections.pipelined = connections.pipelined:
        Counter Count "Requests that lay in the buffer behind another one"),
    one!(connections.bytes = connections.bytes:
        Counter Bytes "Bytes that the kernel took, heads and bodies"),
    one!(connections.latency_ns = connections.latency:
        Histogram Nanoseconds "Time from the end of a request's head to the end of its answer"),
    one!(connections.accepts_starved = connections.accepts_starved:
        Counter Count "Accepts that failed because descriptors were used up"),
    one!(connections.accepts_held = connections.accepts_held:
        Counter Count "Times that a listener waited for a connection to end"),
    one!(connections.pauses = connections.pauses:
        Counter Count "Parts of answers that waited for a limit of bandwidth"),
    one!(connections.given_way = connections.given_way:
        Counter Count "Bodies whose buffers or pipes were given to others, as their clients took \
        nothing; they go on when the clients do"),

    one!(aside.heads = connections.aside_heads:
        Counter Count "Heads of requests and answers that were moved out of their buffers, as a \
        disk was waited for and more than half of the buffers were in use"),
    one!(aside.refused = connections.aside_refused:
        Counter Count "Heads for which there was no memory then: the request was refused"),
    one!(aside.bytes = connections.aside_bytes: Gauge Bytes "Memory of heads that were moved"),
    one!(aside.budget_bytes = connections.aside_budget_bytes:
        Gauge Bytes "Memory that such heads may take"),

    one!(access_log.records = access_log.records:
        Counter Count "Records that were written into a worker's buffer"),
    one!(access_log.dropped = access_log.dropped:
        Counter Count "Records that found no room in it and are missing in every sink"),
    one!(access_log.waits = access_log.waits:
        Counter Count "Requests that waited for room for their record"),
    one!(access_log.full = access_log.full:
        Counter Count "Hand-overs that found a log pipe full"),
    one!(access_log.mirrored = access_log.mirrored: Counter Count "Bodies mirrored whole"),
    one!(access_log.mirrored_partly = access_log.mirrored_partly:
        Counter Count "Bodies of which a part was mirrored"),
    one!(access_log.mirror_dropped = access_log.mirror_dropped:
        Counter Count "Bodies that were to be mirrored and were not"),
    one!(access_log.mirror_unstored = access_log.mirror_unstored:
        Counter Count "Mirrored bodies that could not be stored"),
    one!(access_log.mirrored_bytes = access_log.mirrored_bytes:
        Counter Bytes "Bytes of bodies that went into a log pipe"),
    each!(log_sinks{sink}.records = access_log.sinks() SinkStats.records:
        Counter Count "Records that the sink took"),
    each!(log_sinks{sink}.bytes = access_log.sinks() SinkStats.bytes:
        Counter Bytes "Bytes that the sink took"),
    each!(log_sinks{sink}.missing = access_log.sinks() SinkStats.missing:
        Counter Count "Records that found no room on the way to this sink, or its reader left"),
    each!(log_sinks{sink}.failures = access_log.sinks() SinkStats.failures:
        Counter Count "Openings and writes that failed"),
    each!(log_sinks{sink}.reopened = access_log.sinks() SinkStats.reopened:
        Counter Count "Files that were archived or opened again"),
    each!(log_sinks{sink}.synchronous = access_log.sinks() SinkStats.synchronous:
        Counter Count "Batches whose synchronous writes have returned"),
    each!(log_sinks{sink}.durable = access_log.sinks() SinkStats.durable:
        Counter Count "The number of the last record that is on the device"),

    labels!(phases{phase} = connections.by_stage() stages,
        stage => Cow::Borrowed(stage.name());
        "Connections that are open, by what they wait for", Gauge),
    labels!(responses{status} = connections.by_status() responses,
        status => Cow::Owned(status.code().to_string());
        "Answers that the kernel took whole, or that were cut, by status", Counter),
    labels!(refusals{cause} = connections.by_refusal() refusals,
        refusal => Cow::Borrowed(refusal.name());
        "Requests refused, by cause", Counter),
    labels!(farewells{cause} = connections.by_farewell() farewells,
        farewell => Cow::Borrowed(farewell.name());
        "Connections ended, by cause", Counter),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn no_name_is_declared_twice_and_none_begins_where_another_one_ends() {
        let paths: Vec<String> = CATALOGUE.iter().map(Figure::path).collect();
        for (index, path) in paths.iter().enumerate() {
            assert!(!paths[..index].contains(path), "{path} is in the catalogue twice");
            let below = format!("{path}.");
            assert!(!paths.iter().any(|other| other.starts_with(&below)), "{path} is a group too");
        }
        // Groups mean one thing: with one label, or without.
        for figure in CATALOGUE {
            let same = CATALOGUE.iter().filter(|other| other.group == figure.group);
            assert!(same.clone().all(|other| other.label == figure.label), "{}", figure.path());
            assert!(!["version", "server"].contains(&figure.group), "{} is taken", figure.group);
        }
    }

    #[test]
    fn names_say_their_unit_and_help_is_one_sentence_without_its_stop() {
        for figure in CATALOGUE {
            let path = figure.path();
            let last = figure.name.trim_end_matches("_max");
            match figure.unit {
                Unit::Nanoseconds => assert!(last.ends_with("_ns"), "{path}"),
                Unit::Bytes => {
                    let told = last.ends_with("bytes") || figure.group == "bytes";
                    assert!(told, "{path} does not say bytes");
                }
                Unit::Count => {
                    assert!(!last.ends_with("_ns") && !last.ends_with("bytes"), "{path}")
                }
            }
            assert!(figure.help.starts_with(char::is_uppercase), "{path}: {}", figure.help);
            assert!(!figure.help.ends_with('.') && !figure.help.contains('\n'), "{path}");
        }
    }

    /// The files `stats.rs` of the rooms below this one, with the name of the room.
    fn stats_files(below: &Path) -> Vec<(String, PathBuf)> {
        let mut found = Vec::new();
        let mut directories = vec![below.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.ends_with("stats.rs") {
                    let room = path.strip_prefix(below).unwrap().iter().next().unwrap();
                    found.push((room.to_str().unwrap().to_owned(), path));
                }
            }
        }
        found
    }

    /// The figures that a source file declares, as `Structure.field`.
    fn declared(source: &str) -> Vec<String> {
        let code = source.split("#[cfg(test)]").next().unwrap();
        let mut found = Vec::new();
        let mut structure = None;
        for line in code.lines().map(str::trim) {
            let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
            if let Some(rest) = line.strip_prefix("struct ") {
                let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap();
                structure = name.ends_with("Stats").then(|| name.to_owned());
            } else if line.starts_with('}') {
                structure = None;
            } else if let (Some(structure), Some((name, kind))) =
                (&structure, line.split_once(": "))
                && ["Counter", "Gauge", "Histogram"].iter().any(|figure| kind.contains(figure))
            {
                found.push(format!("{structure}.{name}"));
            }
        }
        found
    }

    #[test]
    fn every_field_of_the_stats_below_is_in_the_catalogue_once() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let files = stats_files(&source);
        assert!(files.len() >= 4, "{files:?}");
        let mut fields = BTreeSet::new();
        for (room, path) in files {
            // Members of a shard are named for what they count, not for the room.
            let member = match &room[..] {
                "connection" => "connections",
                "telemetry" => "configuration",
                room => room,
            };
            let found = declared(&fs::read_to_string(&path).unwrap());
            assert!(!found.is_empty(), "{} declares no figure", path.display());
            for field in found {
                assert!(
                    fields.insert(format!("{member}.{field}")),
                    "{room}.{field} is there twice"
                );
            }
        }
        let rows: Vec<&str> = CATALOGUE.iter().map(|row| row.field).collect();
        for field in &fields {
            let count = rows.iter().filter(|row| *row == field).count();
            assert_eq!(count, 1, "{field} has to be in the catalogue once");
        }
        for row in rows.iter().filter(|row| !row.is_empty()) {
            assert!(fields.contains(*row), "{row} is in the catalogue, but no stats.rs has it");
        }
    }

    #[test]
    fn fields_of_a_source_file_are_found() {
        let source = "
            /// Said.
            #[derive(Debug)]
            pub struct Stats {
                /// Turns: many.
                pub turns: Counter,
                parts: Vec<PartStats>,
                causes: Vec<Counter>,
            }
            pub(crate) struct PartStats {
                pub(crate) best: Histogram,
            }
            struct Other { pub laps: Counter }
            #[cfg(test)]
            struct MoreStats { pub laps: Counter }";
        assert_eq!(declared(source), ["Stats.turns", "Stats.causes", "PartStats.best"]);
    }
}
