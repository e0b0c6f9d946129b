//! The files that are served: made in a scratch directory, known byte by byte.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Advice, fadvise, syncfs};

use crate::scenario::{Law, Scenario, Sizes};

/// A directory that goes away with this value.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a new directory below another one.
    pub(crate) fn new(below: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        fs::create_dir_all(below)?;
        let path = below.join(format!("loadtest-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path.canonicalize()?))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("loadtest: {} is left over: {error}", self.0.display());
        }
    }
}

/// The files of a scenario, which go away with this value: the same scenario may run again, and
/// all of them together need no more room than the largest.
#[derive(Debug)]
pub(crate) struct Site {
    root: PathBuf,
    /// Of each file, in bytes.
    sizes: Vec<u64>,
}

impl Site {
    /// Writes the files of a scenario into a directory of their own.
    pub(crate) fn new(scratch: &Scratch, scenario: &Scenario) -> io::Result<Self> {
        let root = scratch.path().join(&scenario.name);
        fs::create_dir(&root)?;
        let sizes = sizes(scenario.file_bytes, scenario.files);
        let site = Self { root, sizes };
        for index in 0..site.files() {
            fs::write(site.root.join(Self::name(index)), site.content(index))?;
        }
        if let Some(background) = &scenario.background {
            background.make(&site.root)?;
        }
        // Pages that are not yet on the device cannot be dropped.
        if scenario.cold {
            syncfs(File::open(&site.root)?)?;
        }
        Ok(site)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn files(&self) -> u32 {
        self.sizes.len() as u32
    }

    /// Bytes of a file.
    pub(crate) fn size(&self, index: u32) -> u64 {
        self.sizes[index as usize]
    }

    /// The target of a file.
    pub(crate) fn target(index: u32) -> String {
        format!("/{}", Self::name(index))
    }

    fn name(index: u32) -> String {
        format!("{index}.bin")
    }

    /// The bytes of a file: different for each, and without a period.
    pub(crate) fn content(&self, index: u32) -> Vec<u8> {
        let mut dice = Dice::new(u64::from(index));
        let size = self.size(index) as usize;
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            bytes.extend_from_slice(&dice.roll().to_le_bytes());
        }
        bytes.truncate(size);
        bytes
    }

    /// Asks the kernel to drop the pages of all files from the page cache. Whether it did shows
    /// in what a server then reads from storage.
    pub(crate) fn drop_pages(&self) -> io::Result<()> {
        for index in 0..self.files() {
            let file = File::open(self.root.join(Self::name(index)))?;
            fadvise(file, 0, None, Advice::DontNeed)?;
        }
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What is left over goes away with the scratch directory, which says so if it cannot.
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn sizes(sizes: Sizes, files: u32) -> Vec<u64> {
    match sizes {
        Sizes::All(bytes) => vec![bytes; files as usize],
        Sizes::By(Law::Surge) => {
            let mut dice = Dice::new(u64::from(files));
            (0..files).map(|_| surge(&mut dice)).collect()
        }
    }
}

/// A size by SURGE's law; its parameters are those of the paper.
fn surge(dice: &mut Dice) -> u64 {
    const TAIL_SHARE: f64 = 0.07;
    const TAIL_BYTES: f64 = 133_000.0;
    let bytes = match dice.share() < TAIL_SHARE {
        true => TAIL_BYTES / (1.0 - dice.share()).powf(1.0 / 1.1),
        false => {
            // Box and Muller.
            let radius = (-2.0 * (1.0 - dice.share()).ln()).sqrt();
            let normal = radius * (std::f64::consts::TAU * dice.share()).cos();
            (9.357 + 1.318 * normal).exp().min(TAIL_BYTES)
        }
    };
    (bytes as u64).clamp(1, 10 << 20)
}

/// A small generator of numbers (splitmix64), so that every run has the same files and orders.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from zero to below one.
    pub(crate) fn share(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Numbers below `count`, the first the most popular, by Zipf's law.
    pub(crate) fn popular(&mut self, count: u32, wanted: usize) -> Vec<u32> {
        let mut sums = Vec::with_capacity(count as usize);
        let mut sum = 0.0;
        for rank in 1..=count {
            sum += 1.0 / f64::from(rank);
            sums.push(sum);
        }
        let mut one = || {
            let at = self.share() * sum;
            (sums.partition_point(|below| *below < at) as u32).min(count - 1)
        };
        (0..wanted).map(|_| one()).collect()
    }

    /// The numbers below `count` in random order.
    pub(crate) fn shuffled(&mut self, count: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, (self.roll() % (last as u64 + 1)) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_as_told_and_go_away() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let mut scenario = Scenario::find("cold_random").unwrap();
        (scenario.files, scenario.file_bytes) = (3, Sizes::All(1001));
        let site = Site::new(&scratch, &scenario).unwrap();
        site.drop_pages().unwrap();
        let contents: Vec<_> = (0..3).map(|index| site.content(index)).collect();
        assert_ne!(contents[0], contents[1]);
        for (index, content) in contents.iter().enumerate() {
            let target = Site::target(index as u32);
            assert_eq!(&fs::read(site.root().join(&target[1..])).unwrap(), content);
            assert_eq!(content.len(), 1001);
        }
        drop(site);
        // Under another congestion control the same scenario runs once more.
        let root = Site::new(&scratch, &scenario).unwrap().root().to_owned();
        assert!(!root.exists());
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn an_order_has_every_number_once() {
        let mut order = Dice::new(7).shuffled(1000);
        assert!(!order.is_sorted());
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1000));
    }

    #[test]
    fn sizes_follow_the_law() {
        let mut sizes = sizes(Sizes::By(Law::Surge), 2000);
        sizes.sort_unstable();
        // The median of the lognormal body is e^9.357; a few are much larger.
        assert!((9_000..16_000).contains(&sizes[1000]), "{}", sizes[1000]);
        let tail = sizes.iter().filter(|size| **size > 133_000).count();
        assert!((80..220).contains(&tail), "{tail}");
    }

    #[test]
    fn the_first_are_asked_for_most() {
        let asked = Dice::new(1).popular(100, 10_000);
        let of = |which: u32| asked.iter().filter(|one| **one == which).count();
        assert!(of(0) > 1500 && of(0) > of(1) && of(1) > of(20), "{} {} {}", of(0), of(1), of(20));
        assert!(asked.iter().all(|one| *one < 100));
    }
}
