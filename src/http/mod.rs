//! The room `http`.

pub mod body;
pub mod head;
pub mod refusal;
pub mod status;
mod syntax;
