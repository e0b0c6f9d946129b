//! The room `engines`.
