//! The room `engines`.

pub mod kind;

pub use kind::Kind;
