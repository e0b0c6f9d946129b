//! The room `techniques`.
