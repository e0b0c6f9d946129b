//! Where a figure means less than it seems.

use super::report::{LapReport, Machine, Race, Verdict};
use crate::limits;

/// Sentences for the report, one for each doubt.
pub(super) fn find(machine: &Machine, race: &Race, laps: &[LapReport]) -> Vec<String> {
    let raced = |wanted: &dyn Fn(&LapReport) -> bool| {
        laps.iter().any(|lap| lap.verdict == Verdict::Raced && wanted(lap))
    };
    let cold = race.cache == "cold";
    let mut found = Vec::new();
    let mut warn = |holds: bool, text: String| found.extend(holds.then_some(text));
    warn(
        raced(&|lap| lap.group == "socket"),
        "sockets over loopback copy anyway: the receiver's copy is in every lap to a socket, and \
         what sendfile and splice spare counts for more on a network"
            .to_owned(),
    );
    warn(
        machine.virtual_device
            && raced(&|lap| matches!(lap.technique.as_str(), "o-sync" | "o-dsync")),
        "the disk is a virtual one: its host may keep what O_SYNC and O_DSYNC call durable in a \
         cache, which makes both cheap"
            .to_owned(),
    );
    warn(
        race.size < limits::LAB_DEVICE_CACHE_BYTES
            && raced(&|lap| lap.technique == "direct" || (cold && lap.group != "write")),
        format!(
            "the file is smaller than the caches of devices and hosts ({} GiB is assumed): what \
             passes by or is not in the page cache may come from there; set --size",
            limits::LAB_DEVICE_CACHE_BYTES >> 30
        ),
    );
    warn(
        raced(&|lap| {
            lap.group == "copy"
                || (lap.group == "write" && lap.help.starts_with("pwrite(2)"))
                || lap.technique == "write"
        }),
        "writes without O_SYNC end in the page cache: their figures are those of memory".to_owned(),
    );
    warn(
        matches!(machine.file_system.as_str(), "btrfs" | "xfs" | "bcachefs" | "zfs")
            && raced(&|lap| lap.technique == "copy-file-range"),
        format!("{} may share the blocks of a copy: no bytes move then", machine.file_system),
    );
    warn(
        matches!(machine.file_system.as_str(), "tmpfs" | "ramfs"),
        format!("{} is memory: no figure here is one of a disk", machine.file_system),
    );
    warn(
        race.rounds < 6,
        format!("{} rounds are too few for an interval of 95 %; take 7 or more", race.rounds),
    );
    warn(race.verify == "off", "nothing was verified: --verify off".to_owned());
    found
}

#[cfg(test)]
mod tests {
    use super::super::report::Figures;
    use super::super::statistics::Spread;
    use super::*;

    fn lap(group: &str, technique: &str) -> LapReport {
        let spread = Spread::default();
        LapReport {
            lap: technique.to_owned(),
            technique: technique.to_owned(),
            group: group.to_owned(),
            help: String::new(),
            depth: 1,
            verdict: Verdict::Raced,
            reason: None,
            figures: Some(Figures {
                bytes_per_second: spread,
                operations_per_second: spread,
                processor_ns_per_operation: spread,
                calls_per_operation: 1.0,
                entries_per_operation: 0.0,
                verified_blocks: 1,
                factor: None,
            }),
            runs: Vec::new(),
        }
    }

    fn race(size: u64, cache: &str) -> Race {
        Race {
            file: String::new(),
            made: true,
            size,
            block_size: 4096,
            rw: "all".to_owned(),
            direct: false,
            cache: cache.to_owned(),
            runtime_ms: 1,
            rounds: 7,
            verify: "pass".to_owned(),
        }
    }

    #[test]
    fn each_doubt_is_said_where_it_holds_and_nowhere_else() {
        let real = Machine::default();
        let mut virtual_one = Machine { virtual_device: true, ..Machine::default() };
        let (small, large) = (race(1 << 20, "warm"), race(8 << 30, "warm"));
        assert_eq!(find(&real, &small, &[lap("read", "read")]), [""; 0]);
        let said = |machine: &Machine, race: &Race, lap: LapReport, word: &str| {
            let all = find(machine, race, &[lap]);
            assert_eq!(all.len(), 1, "{all:?}");
            assert!(all[0].contains(word), "{all:?}");
        };
        said(&real, &small, lap("socket", "sendfile"), "loopback copy anyway");
        said(&virtual_one, &small, lap("write", "o-sync"), "virtual");
        assert_eq!(find(&real, &small, &[lap("write", "o-sync")]), [""; 0]);
        said(&real, &small, lap("read", "direct"), "smaller than the caches");
        assert_eq!(find(&real, &large, &[lap("read", "direct")]), [""; 0]);
        said(&real, &race(1 << 20, "cold"), lap("read", "read"), "smaller than the caches");
        virtual_one.file_system = "tmpfs".to_owned();
        said(&virtual_one, &small, lap("read", "read"), "is memory");
        let few = Race { rounds: 3, verify: "off".to_owned(), ..small };
        assert_eq!(find(&real, &few, &[lap("read", "read")]).len(), 2);
    }
}
