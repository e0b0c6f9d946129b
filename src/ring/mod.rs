//! The room `ring`.
