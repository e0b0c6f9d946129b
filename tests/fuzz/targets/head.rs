//! A request head is read the same in one piece and byte by byte, and what is complete is bounded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pitcrew::http::body::{Discard, Progress};
use pitcrew::http::head::{HeadLimits, Parsed, parse};

fuzz_target!(|input: &[u8]| {
    let limits = HeadLimits::default();
    let whole = parse(input, &limits);
    // The first piece that says something says what the whole does.
    let told = (0..=input.len().min(2048)).find_map(|end| match parse(&input[..end], &limits) {
        Parsed::Partial => None,
        Parsed::Complete(head) => Some(Ok(head.bytes)),
        Parsed::Refused(refusal) => Some(Err(refusal)),
    });
    match (&whole, told) {
        (Parsed::Complete(head), Some(Ok(len))) => assert_eq!(head.bytes, len),
        (Parsed::Refused(one), Some(Err(other))) => assert_eq!(*one, other),
        (_, None) => assert!(input.len() > 2048 || matches!(whole, Parsed::Partial)),
        (_, Some(told)) => panic!("in pieces {told:?}, whole {whole:?}"),
    }
    if let Parsed::Complete(head) = whole {
        assert!(head.bytes <= input.len());
        assert!(head.bytes <= limits.head_bytes_max + 1024, "{} bytes", head.bytes);
        let body = &input[head.bytes..];
        let mut discard = Discard::new(head.framing);
        let fed = discard.feed(body);
        assert!(fed.consumed <= body.len());
        // Byte by byte it ends at the same place.
        let mut again = Discard::new(head.framing);
        let mut consumed = 0;
        let mut state = again.feed(&[]).state;
        while consumed < body.len() && matches!(state, Progress::More) {
            let next = again.feed(&body[consumed..consumed + 1]);
            consumed += next.consumed;
            state = next.state;
        }
        assert_eq!((consumed, state), (fed.consumed, fed.state));
    }
});
