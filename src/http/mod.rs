//! The room `http`.

pub mod status;
