//! The header of the PROXY protocol is read the same in one piece and byte by byte, is bounded, and
//! does not depend on what follows it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pitcrew::http::proxy_header::{Parsed, parse};
use pitcrew::limits::PROXY_HEADER_BYTES_MAX;

fuzz_target!(|input: &[u8]| {
    let whole = parse(input);
    // The first piece that says something says what the whole does.
    let told = (0..=input.len())
        .map(|end| (end, parse(&input[..end])))
        .find(|(_, parsed)| *parsed != Parsed::Partial);
    let Some((end, told)) = told else {
        assert_eq!(whole, Parsed::Partial);
        // Nobody gathers without end for it.
        assert!(input.len() < PROXY_HEADER_BYTES_MAX, "{} bytes", input.len());
        return;
    };
    assert_eq!(told, whole);
    assert!(end <= PROXY_HEADER_BYTES_MAX, "{end} bytes");
    if let Parsed::Header { bytes, .. } = told {
        assert_eq!(bytes, end);
        assert_eq!(parse(&input[..bytes]), told);
    }
});
