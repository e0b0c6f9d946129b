//! Compares engines and servers over HTTP.

fn main() {}
