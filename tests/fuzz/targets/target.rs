//! A target is a clean path beneath the root or is refused, and its location leads to itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pitcrew::http::target;

fuzz_target!(|input: &[u8]| {
    let mut path = Vec::new();
    if target::resolve(input, &mut path).is_err() {
        return;
    }
    // Openat2 gets it as it is: relative, without a step up, without NUL.
    assert!(!path.starts_with(b"/") && !path.contains(&0), "{path:?}");
    let mut parts = path.split(|byte| *byte == b'/');
    assert!(parts.all(|part| part != b".." && part != b"."), "{path:?}");
    let mut location = Vec::new();
    target::location(&path, None, &mut location);
    assert!(location.starts_with(b"/") && !location.starts_with(b"//"), "{location:?}");
    assert!(location.iter().all(|byte| (0x21..0x7f).contains(byte)), "{location:?}");
    let mut again = Vec::new();
    assert!(target::resolve(&location, &mut again).is_ok(), "{location:?}");
    assert_eq!(path, again);
});
