//! The room `server`.

pub mod options;

pub use options::Options;
