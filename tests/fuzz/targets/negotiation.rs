//! What is chosen is there and wanted.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pitcrew::http::negotiate::{Available, Coding, Codings, Form, form};

fuzz_target!(|input: &[u8]| {
    let Some((first, value)) = input.split_first() else { return };
    let codings = Codings::parse(value.split(|byte| *byte == b'\n'));
    let available = Available {
        br: first & 1 != 0,
        zstd: first & 2 != 0,
        gzip: first & 4 != 0,
    };
    let chosen = codings.choose(available);
    assert!(match chosen {
        Coding::Br => available.br,
        Coding::Zstd => available.zstd,
        Coding::Gzip => available.gzip,
        Coding::Identity => true,
    });
    let ranked: Vec<_> = codings.ranked().collect();
    assert_eq!(ranked.last(), Some(&Coding::Identity));
    assert!(ranked.contains(&chosen));
    let forms = [Form::Json, Form::Html, Form::Plain];
    assert!(forms.contains(&form(value.split(|byte| *byte == b'\n'), &forms)));
});
