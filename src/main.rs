//! The program `pitcrew`.

fn main() {}
