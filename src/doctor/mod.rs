//! The doctor: what this machine allows, said before anything is served.
//!
//! [`examine`] looks at the machine, the file systems beneath a directory and the names in it, and
//! answers with a [`Report`]. [`PROBES`] has one row for each thing that is looked at; each is a
//! file in `probes`. A probe asks the kernel itself wherever that is possible: a limit that is
//! written down and a transfer that is refused may differ.
//!
//! Nothing is left behind: what has to be written to be known (a shared block of two files) goes
//! into files without names. The walk through the directory is bounded. A mount whose server is
//! gone holds the doctor up as it holds up everybody else; the server itself is made not to wait.

mod choice;
mod machine;
mod probes;
mod report;
mod scene;
mod table;
mod text;
mod tree;

use std::path::PathBuf;

pub use report::{EngineRow, Finding, Picked, Report, State, VERSION};
pub use table::{PROBES, Probe};
pub use text::text;

use crate::engines::Thresholds;
use crate::sys::root::{Root, RootError};
use scene::Scene;

/// What is to be served, as far as it asks something of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The directory.
    pub root: PathBuf,
    /// Connections at once.
    pub connections: usize,
    /// Threads that serve.
    pub workers: usize,
    /// Pipes in all workers at most.
    pub pipes: usize,
    /// Files that are kept open.
    pub open_files: usize,
    /// Directories that are watched.
    pub watches: usize,
    /// What all budgets of memory come to, in bytes.
    pub memory_budgets: u64,
    /// Memory for bodies, in bytes, which the engines `uring` and `direct` register.
    pub body_buffers: u64,
    /// Memory for blocks, in bytes, which the engine `direct` registers beside that.
    pub direct_cache: u64,
    /// Whether links are followed.
    pub symlinks: bool,
    /// Whether names that begin with a dot are served.
    pub dotfiles: bool,
    /// How precompressed neighbours are served, by its name in the configuration.
    pub precompressed: &'static str,
    /// The sizes that the engine `auto` goes by.
    pub thresholds: Thresholds,
}

/// Looks at everything.
///
/// # Errors
/// When the root cannot be opened.
///
/// ```
/// use pitcrew::doctor::{Options, PROBES, examine};
///
/// let options = Options { root: "src".into(), workers: 1, ..Options::default() };
/// let report = examine(&options)?;
/// assert!(PROBES.iter().all(|row| report.findings.iter().any(|one| one.probe == row.name)));
/// # Ok::<(), pitcrew::sys::root::RootError>(())
/// ```
pub fn examine(options: &Options) -> Result<Report, RootError> {
    let root = Root::open(&options.root)?;
    let scene = Scene::look(options, &root);
    let mut findings = Vec::new();
    for probe in PROBES {
        let found = (probe.look)(&scene);
        assert!(!found.is_empty(), "the probe {} says something in any case", probe.name);
        findings.extend(found.into_iter().map(|finding| finding.of(probe)));
    }
    let engines = choice::engines(&findings);
    let choices = choice::table(&scene, &findings);
    Ok(Report::new(options, findings, engines, choices))
}
