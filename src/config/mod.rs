//! From what was written to what is meant.
//!
//! A value comes from a flag, else from the environment (`PITCREW_*`), else from the file, else
//! it is the default. The keys are one table, [`KEYS`], in which each has its name, its place
//! in the help, how it is read and how it is printed; flags, variables, file and the printed
//! configuration all follow that table.
//!
//! Rules are tables of the file and stand nowhere else. Each is checked where it is written, and
//! what is odd between them is said as a warning.
//!
//! A file is read only when it is named, by `--config` or by `PITCREW_CONFIG`: a server must
//! not change with the directory in which it is started. Every problem is one line with its
//! place, and all of them are reported at once. No value is clamped.

mod address;
mod catalogue;
mod conflicts;
mod doctor;
mod effective;
mod file;
mod hand_over;
mod key;
mod lab;
mod lab_results;
mod log;
mod loops;
mod nearest;
mod print;
mod privileges;
mod problem;
mod rules;
mod shapes;
mod show;
mod table;
mod written;

pub use crate::resource::options::Glob;
pub use catalogue::KEYS;
pub use doctor::doctor_options;
pub use effective::{Effective, Given, Settings, resolve, resolve_and_tell};
pub use key::{Arity, Key, Section};
pub use lab::{LAB_KEYS, LabKey, LabOptions, check_lab};
pub use log::{Format, Level, Log};
pub use nearest::nearest;
pub use print::{json, toml};
pub use problem::{Problem, Source};
pub use written::Written;
