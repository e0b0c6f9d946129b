//! The room `http`: the rules of HTTP/1.1 as pure functions, bytes in and values out.
//!
//! Nothing here holds a descriptor, reads a clock or knows the configuration; the time is an
//! argument, in seconds since 1970. Answers are written into a [`sink::Sink`].

pub mod body;
pub mod conditions;
pub mod cors;
pub mod date;
pub mod forwarded;
pub mod glob;
pub mod head;
pub mod listing;
mod markup;
pub mod media;
pub mod multipart;
pub mod negotiate;
pub mod notice;
pub mod place;
pub mod proxy_header;
pub mod range;
pub mod refusal;
pub mod response;
pub mod sink;
pub mod status;
mod syntax;
pub mod tag;
pub mod target;
