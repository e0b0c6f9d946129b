//! The tests' own tools can fail: the reader of answers refuses what RFC 9112 refuses, and the
//! pattern tells one offset from another.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;

use common::{
    End, Fault, Pattern, Scratch, Wire, digest_of_bytes, digest_of_file, head_methods, multipart,
};

/// A connection whose peer sends these bytes and closes.
fn told(answer: &'static [u8]) -> Wire {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let wire = Wire::tcp(listener.local_addr().unwrap());
    let (mut peer, _) = listener.accept().unwrap();
    std::thread::spawn(move || {
        peer.write_all(answer).unwrap();
        // Wait for the reader's end, so that the close is never a reset.
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = peer.read(&mut [0; 16]);
    });
    wire
}

#[test]
fn whole_answers_are_read_one_after_the_other() {
    let mut wire = told(
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nhello\
          HTTP/1.1 200 OK\r\nDate: x\r\ncontent-length:  9\t\r\nConnection: Close\r\n\r\n\
          HTTP/1.1 304 Not Modified\r\nDate: x\r\n\r\n",
    );
    assert_eq!(wire.answer("GET").unwrap().body, b"hello");
    let head = wire.answer("HEAD").unwrap();
    assert_eq!((head.field("content-length"), head.says_close()), (Some("9"), true));
    assert_eq!(wire.answer("GET").unwrap().status, 304);
    assert_eq!(wire.end(), End::Closed);
}

#[test]
fn malformed_answers_are_refused() {
    for answer in [
        &b"HTTP/1.0 200 OK\r\nDate: x\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 200\r\nDate: x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 20 OK\r\nDate: x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: +0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nX: a\nb\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nDate: x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nDate: x\r\nContent-Length: 7\r\n\r\n",
    ] {
        let text = String::from_utf8_lossy(answer);
        assert!(matches!(told(answer).response(), Err(Fault::Malformed(_))), "taken: {text}");
    }
}

#[test]
fn cut_answers_are_told_from_whole_ones() {
    assert_eq!(told(b"").response(), Err(Fault::Closed));
    assert_eq!(told(b"HTTP/1.1 2").response(), Err(Fault::Cut(10)));
    let short = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nhel";
    assert_eq!(told(short).response(), Err(Fault::Cut(3)));
    let (_, digest, fault) = told(short).hashed().unwrap();
    assert_eq!((digest, fault), (digest_of_bytes(b"hel"), Some(Fault::Cut(3))));
    let long = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nhello";
    let mut wire = told(long);
    assert_eq!(wire.response().unwrap().body, b"he");
    assert_eq!(wire.end(), End::Surplus);
}

#[test]
fn the_pattern_is_the_same_from_any_offset_and_different_anywhere_else() {
    let whole = Pattern::new(7).bytes(0, 100_003);
    for (offset, len) in [(0, 1), (1, 9), (7, 1), (8, 8), (63, 77), (99_000, 1_003)] {
        assert_eq!(Pattern::new(7).bytes(offset as u64, len), whole[offset..offset + len]);
    }
    assert_eq!(Pattern::new(7).digest(3, 100_000), digest_of_bytes(&whole[3..]));
    assert_ne!(Pattern::new(8).digest(0, 64), Pattern::new(7).digest(0, 64));
    assert_ne!(Pattern::new(7).digest(0, 64), Pattern::new(7).digest(1, 64));
}

#[test]
fn scratch_files_hold_what_was_asked_for() {
    let scratch = Scratch::new();
    let path = scratch.pattern("deep/down/file.bin", 3, 1_234_567);
    assert_eq!(digest_of_file(&path, 11, 1_000_000), Pattern::new(3).digest(11, 1_000_000));
    let sparse = scratch.sparse("sparse.bin", 4, 5 << 30, &[((4 << 30) + 3, 100)]);
    assert_eq!(
        digest_of_file(&sparse, (4 << 30) + 3, 100),
        Pattern::new(4).digest((4 << 30) + 3, 100)
    );
    assert_eq!(digest_of_file(&sparse, 0, 10), digest_of_bytes(&[0; 10]));
}

#[test]
fn methods_are_read_from_pipelined_requests() {
    let requests = b"GET / HTTP/1.1\r\n\r\nHEAD /a HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP";
    assert_eq!(head_methods(requests), ["GET", "HEAD"]);
}

/// RFC 2046 section 5.1: nothing is forgiven.
#[test]
fn a_body_that_is_not_exact_is_seen() {
    let answer = |body: &str| common::Response {
        status: 206,
        reason: String::new(),
        fields: vec![("content-type".into(), "multipart/byteranges; boundary=x".into())],
        body: body.replace('\n', "\r\n").into_bytes(),
    };
    let right = "--x\nContent-Type: a/b\nContent-Range: bytes 0-1/9\n\nab\n--x--\n";
    let found = multipart::parts(&answer(right)).unwrap();
    assert_eq!((found.len(), found[0].range, &found[0].bytes[..]), (1, (0, 1, 9), &b"ab"[..]));
    for wrong in [
        "",
        "--x--\n",
        "\n--x\nContent-Range: bytes 0-1/9\n\nab\n--x--\n",
        "--x\nContent-Range: bytes 0-1/9\n\nab\n--x--",
        "--x\nContent-Range: bytes 0-1/9\n\nab\n--x--\n\n",
        "--x\nContent-Range: bytes 0-2/9\n\nab\n--x--\n",
        "--x\nContent-Range: bytes 0-0/9\n\nab\n--x--\n",
        "--x\nContent-Range: bytes 1-0/9\n\nab\n--x--\n",
        "--x\nContent-Range: bytes 0-1/1\n\nab\n--x--\n",
        "--x\nContent-Type: a/b\n\nab\n--x--\n",
        "--y\nContent-Range: bytes 0-1/9\n\nab\n--y--\n",
    ] {
        assert!(multipart::parts(&answer(wrong)).is_err(), "{wrong:?}");
    }
}
