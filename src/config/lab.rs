//! The options of the lab: as they are written, to what they mean.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Written;
pub use crate::lab::options::Options as LabOptions;
use crate::lab::options::{Cache, Rw, Verify};
use crate::limits;

/// One option of the lab.
#[derive(Debug)]
pub struct LabKey {
    /// The name, in kebab case.
    pub name: &'static str,
    /// What a value is called in the help.
    pub value: &'static str,
    /// One line of help, without a full stop.
    pub help: &'static str,
    /// Whether the bare flag means `true`.
    pub switch: bool,
    set: fn(&mut LabOptions, &Written) -> Result<(), String>,
}

impl LabKey {
    /// Reads a value.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn set(&self, options: &mut LabOptions, written: &Written) -> Result<(), String> {
        (self.set)(options, written)
    }
}

const fn key(
    name: &'static str,
    value: &'static str,
    help: &'static str,
    set: fn(&mut LabOptions, &Written) -> Result<(), String>,
) -> LabKey {
    LabKey { name, value, help, switch: false, set }
}

const SIZES: RangeInclusive<u64> = 512..=1 << 40;

/// Every option of a race, in the order of the help.
pub static LAB_KEYS: [LabKey; 11] = [
    key(
        "size",
        "SIZE",
        "Bytes of the file [default: 256MiB, or FILE up to 1GiB]",
        |all, written| written.size(SIZES).map(|size| all.size = Some(size)),
    ),
    key("block-size", "SIZE", "Bytes of one operation [default: 4KiB]", |all, written| {
        let most = limits::LAB_BLOCK_BYTES_MAX as u64;
        let size = written.size(512..=most)?;
        if !size.is_multiple_of(512) {
            return Err(format!("{size} is no multiple of 512 bytes, the least that disks have"));
        }
        all.block_size = size as usize;
        Ok(())
    }),
    key(
        "iodepth",
        "COUNT",
        "Operations in flight of laps with a queue, 1 to 256 [default: 32, and a sweep]",
        |all, written| {
            let depth = written.count(1..=u64::from(limits::LAB_DEPTH_MAX))?;
            all.iodepth = u32::try_from(depth).ok();
            Ok(())
        },
    ),
    key("rw", "WHICH", "read, write or randread [default: read and write]", |all, written| {
        all.rw = Some(written.choice("direction", Rw::ALL, Rw::name)?);
        Ok(())
    }),
    LabKey {
        switch: true,
        ..key("direct", "BOOL", "O_DIRECT for the laps that know it [default: false]", |all, on| {
            on.boolean().map(|on| all.direct = on)
        })
    },
    key(
        "cache",
        "STATE",
        "The file is in memory or not: warm or cold [default: warm]",
        |all, it| {
            all.cache = it.choice("state", Cache::ALL, Cache::name)?;
            Ok(())
        },
    ),
    key("runtime", "TIME", "Time of each lap in each round [default: 100ms]", |all, written| {
        let range = Duration::from_millis(1)..=Duration::from_secs(3600);
        written.time(range).map(|time| all.runtime = time)
    }),
    key("rounds", "COUNT", "Rounds, 1 to 1000; 7 or more tell [default: 7]", |all, written| {
        let rounds = written.count(1..=u64::from(limits::LAB_ROUNDS_MAX))?;
        all.rounds = u32::try_from(rounds).unwrap_or(limits::LAB_ROUNDS_MAX);
        Ok(())
    }),
    key(
        "techniques",
        "NAMES",
        "Laps or techniques, with commas, of those that --list names [default: all]",
        |all, written| {
            all.techniques = written.list("names")?;
            Ok(())
        },
    ),
    key(
        "verify",
        "WHEN",
        "Compare checksums in a pass beside the timed one, in it, or not: pass, timed or off \
         [default: pass]",
        |all, written| {
            all.verify = written.choice("time", Verify::ALL, Verify::name)?;
            Ok(())
        },
    ),
    key(
        "seed",
        "NUMBER",
        "What the order of laps depends on; the report names it [default: the clock]",
        |all, written| {
            all.seed = Some(written.count(0..=i64::MAX.unsigned_abs())?);
            Ok(())
        },
    ),
];

/// What holds between options, each of which is right by itself.
///
/// # Errors
/// A sentence with the remedy.
pub fn check_lab(options: &LabOptions) -> Result<(), String> {
    let block = options.block_size as u64;
    let size = options.size.unwrap_or(limits::LAB_SIZE);
    if size < block {
        return Err(format!("--size of {size} is less than one block of {block}; give more"));
    }
    if size / block > limits::LAB_BLOCKS_MAX {
        return Err(format!(
            "--size of {size} has more than {} blocks of {block}; give a larger --block-size",
            limits::LAB_BLOCKS_MAX
        ));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_help_tells_the_default() {
        for key in &LAB_KEYS {
            assert!(!key.help.ends_with('.') && key.help.ends_with(']'), "{}", key.name);
            let told = key.help.split("[default: ").nth(1).unwrap().strip_suffix(']').unwrap();
            let mut options = LabOptions::default();
            if key.set(&mut options, &Written::Loose(told.into())).is_ok()
                && key.name != "techniques"
            {
                assert_eq!(options, LabOptions::default(), "{}", key.name);
            }
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_the_remedy() {
        let options = LabOptions { size: Some(512), ..LabOptions::default() };
        assert!(check_lab(&options).unwrap_err().contains("less than one block"));
        let options = LabOptions { size: Some(1 << 40), ..LabOptions::default() };
        assert!(check_lab(&options).unwrap_err().contains("larger --block-size"));
        assert_eq!(check_lab(&LabOptions::default()), Ok(()));
    }
}
