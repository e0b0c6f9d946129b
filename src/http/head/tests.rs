use super::*;

fn head(input: &str) -> Head<'_> {
    match parse(input.as_bytes(), &HeadLimits::default()) {
        Parsed::Complete(head) => head,
        other => panic!("{input:?} gives {other:?}"),
    }
}

#[test]
fn a_plain_request_is_taken_apart_rfc9112_section_2() {
    let text = "GET /a/b?c=d HTTP/1.1\r\nHost: x:80\r\nAccept:  a\r\nACCEPT: b \r\n\r\nrest";
    let head = head(text);
    assert_eq!(head.bytes, text.len() - 4);
    assert_eq!((head.method, head.method_token), (Method::Get, b"GET".as_slice()));
    assert_eq!((head.path, head.query), (b"/a/b".as_slice(), Some(b"c=d".as_slice())));
    assert_eq!(head.authority, Some(b"x:80".as_slice()));
    assert!(head.keep_alive && head.refusal.is_none() && head.framing == Framing::None);
    let accept: Vec<_> = head.fields.accept.values().collect();
    assert_eq!(accept, [b"a", b"b"]);
}
