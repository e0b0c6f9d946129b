//! Who a client is behind a proxy, for the log and for who may read the figures.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::{Launch, Response, Scratch, Server, Wire, eventually, get};
use rustix::process::Signal;

/// A server of one small file, with a log of addresses.
fn server(scratch: &Scratch, arguments: &[&str]) -> Server {
    scratch.write("root/a.txt", "hello\n");
    let log = scratch.join("log");
    let log = log.to_str().unwrap();
    let format = "$remote_addr $remote_port $request_uri";
    let own = ["--workers", "1", "--access-log-flush", "0", "--access-log", log];
    let own = [&own[..], &["--access-log-format", format], arguments].concat();
    Launch::new(&own).root(&scratch.join("root")).start()
}

fn ask(server: &Server, first: &[u8], path: &str, fields: &str) -> Response {
    let mut wire = server.connect();
    let request = get(path, &format!("Connection: close\r\n{fields}"));
    wire.send(&[first, &request].concat());
    wire.response().unwrap()
}

/// What the log says of the request for a path.
fn logged(log: &Path, path: &str) -> (String, String) {
    eventually(&format!("{path} is in the log"), || {
        let text = fs::read_to_string(log).unwrap_or_default();
        let line = text.lines().find(|line| line.ends_with(&format!(" {path}")))?.to_owned();
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?))
    })
}

#[test]
fn the_log_names_the_client_that_a_trusted_proxy_names() {
    let scratch = Scratch::new();
    let server = server(&scratch, &["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"]);
    let log = scratch.join("log");
    let cases = [
        ("/a.txt?1", "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1", "-"),
        ("/a.txt?2", "X-Forwarded-For: 203.0.113.5, 192.0.2.1:99, 10.1.1.1\r\n", "192.0.2.1", "99"),
        ("/a.txt?3", "X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-For: ::1\r\n", "::1", "-"),
    ];
    for (path, fields, address, port) in cases {
        assert_eq!(ask(&server, b"", path, fields).status, 200);
        assert_eq!(logged(&log, path), (address.to_owned(), port.to_owned()), "{path}");
    }
    for (path, fields) in [("/a.txt?4", ""), ("/a.txt?5", "X-Forwarded-For: unknown\r\n")] {
        assert_eq!(ask(&server, b"", path, fields).status, 200);
        assert_eq!(logged(&log, path).0, "127.0.0.1", "{path}");
    }
}

#[test]
fn nobody_is_believed_unless_it_is_asked_for() {
    let scratch = Scratch::new();
    let server = server(&scratch, &[]);
    ask(&server, b"", "/a.txt?1", "X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(logged(&scratch.join("log"), "/a.txt?1").0, "127.0.0.1");
    let told = ask(&server, b"", "/telemetry", "X-Forwarded-For: 127.0.0.1\r\n");
    assert_eq!(told.status, 404);
    // Nor is a header of the PROXY protocol anything but a malformed request.
    let header = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n";
    assert_eq!(ask(&server, header, "/a.txt?2", "").status, 400);
}

/// A named client is of the networks that it is of, and never of this machine.
#[test]
fn a_named_client_may_read_the_figures_by_its_network_only() {
    let scratch = Scratch::new();
    let arguments =
        ["--trusted-proxies", "127.0.0.1", "--telemetry-allow", "loopback,192.0.2.0/24"];
    let server = server(&scratch, &arguments);
    let may = |fields: &str| ask(&server, b"", "/telemetry", fields).status == 200;
    assert!(may(""));
    assert!(may("X-Forwarded-For: 192.0.2.9\r\n"));
    assert!(may("X-Forwarded-For: 192.0.2.9\r\nVia: 1.1 proxy\r\n"));
    assert!(!may("X-Forwarded-For: 198.51.100.1\r\n"));
    assert!(!may("X-Forwarded-For: 192.0.2.9, 198.51.100.1\r\n"));
    assert!(!may("X-Forwarded-For: ::ffff:127.0.0.2\r\n"));
    assert!(!may("Via: 1.1 proxy\r\n"), "nobody says for whom");
    assert!(!may("Forwarded: for=192.0.2.9\r\n"), "this field is not read");
}

/// Version 2 of the protocol, with which a proxy speaks for itself (section 2.2).
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A client that its proxy cannot name is served as one that nobody knows: it does not read the
/// figures as the proxy might, and is not believed for whom it asks.
#[test]
fn a_client_that_its_proxy_cannot_name_is_not_the_proxy() {
    let scratch = Scratch::new();
    let server = server(&scratch, &["--trusted-proxies", "127.0.0.0/8", "--proxy-protocol"]);
    let log = scratch.join("log");
    let named = "X-Forwarded-For: 192.0.2.1\r\n";
    assert_eq!(ask(&server, LOCAL, "/telemetry", "").status, 200, "the proxy itself may");
    assert_eq!(ask(&server, LOCAL, "/a.txt?own", named).status, 200);
    assert_eq!(logged(&log, "/a.txt?own").0, "192.0.2.1");
    let of_version_2 = |family: u8, body: &[u8]| {
        let head = [b"\r\n\r\n\0\r\nQUIT\n\x21", &[family][..], &(body.len() as u16).to_be_bytes()];
        [&head.concat(), body].concat()
    };
    let unknown =
        [b"PROXY UNKNOWN\r\n".to_vec(), of_version_2(0, b""), of_version_2(0x31, &[0; 216])];
    for (number, header) in unknown.iter().enumerate() {
        let what = header.escape_ascii();
        assert_eq!(ask(&server, header, "/telemetry", "").status, 404, "{what}");
        let path = format!("/a.txt?{number}");
        assert_eq!(ask(&server, header, &path, named).status, 200, "{what}");
        assert_eq!(logged(&log, &path).0, "127.0.0.1", "{what}");
    }
}

/// Such clients count together, as one at the address of their proxy.
#[test]
fn clients_that_their_proxy_cannot_name_count_together() {
    let scratch = Scratch::new();
    let limited = ["--connections-per-address", "2", "--trusted-proxies", "127.0.0.0/8"];
    let server = server(&scratch, &[&limited[..], &["--proxy-protocol"]].concat());
    let open = |header: &[u8]| {
        let mut wire = server.connect();
        wire.send(&[header, &get("/a.txt", "")].concat());
        let served = wire.response().is_ok();
        (served, wire)
    };
    let held: Vec<_> = (0..3).map(|_| open(b"PROXY UNKNOWN\r\n")).collect();
    assert_eq!(held.iter().map(|(served, _)| *served).collect::<Vec<_>>(), [true, true, false]);
    assert!(open(LOCAL).0, "the proxy itself needs no seat");
    assert!(open(b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n").0, "nor do they count for others");
}

/// A client that resets its connection was asked who it is while it was there.
#[test]
fn the_log_names_a_client_that_resets() {
    let scratch = Scratch::new();
    scratch.pattern("root/big.bin", 3, 8 << 20);
    let server = server(&scratch, &[]);
    let mut wire = Wire::narrow(server.address());
    wire.send(&get("/big.bin", ""));
    assert_eq!(wire.head().unwrap().status, 200);
    wire.reset();
    assert_eq!(logged(&scratch.join("log"), "/big.bin").0, "127.0.0.1");
}

/// A client by TCP that is gone when it is asked who it is has no address either, and is no proxy
/// by a unix socket for that.
#[test]
fn a_client_that_is_gone_is_no_proxy_by_a_unix_socket() {
    let scratch = Scratch::new();
    let place = format!("unix:{}", scratch.join("socket").display());
    let listen = ["--listen", "127.0.0.1:0", "--listen", &place, "--trusted-proxies", "unix"];
    let server = server(&scratch, &listen);
    // Whatever the order of the listeners, this one is by TCP.
    let address = server.address();
    server.signal(Signal::STOP);
    let mut wire = Wire::tcp(address);
    wire.send(&get("/a.txt?1", "X-Forwarded-For: 192.0.2.1\r\n"));
    wire.reset();
    server.signal(Signal::CONT);
    let mut wire = Wire::tcp(address);
    wire.send(&get("/a.txt?2", "X-Forwarded-For: 192.0.2.1\r\n"));
    assert_eq!(wire.response().unwrap().status, 200);
    let log = scratch.join("log");
    // The answer to the first may fail behind that to the second.
    logged(&log, "/a.txt?1");
    assert_eq!(logged(&log, "/a.txt?2").0, "127.0.0.1");
    let text = fs::read_to_string(log).unwrap();
    assert!(!text.contains("192.0.2.1"), "{text}");
}

#[test]
fn a_header_of_the_proxy_protocol_names_the_client() {
    let scratch = Scratch::new();
    let arguments = [
        "--trusted-proxies",
        "127.0.0.0/8",
        "--proxy-protocol",
        "--telemetry-listen",
        "127.0.0.1:0",
    ];
    let server = server(&scratch, &arguments);
    let log = scratch.join("log");
    let line = b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n";
    assert_eq!(ask(&server, line, "/a.txt?1", "").status, 200);
    assert_eq!(logged(&log, "/a.txt?1"), ("2001:db8::7".to_owned(), "4711".to_owned()));
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    binary.extend([192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80]);
    assert_eq!(ask(&server, &binary, "/a.txt?2", "").status, 200);
    assert_eq!(logged(&log, "/a.txt?2"), ("192.0.2.1".to_owned(), "4711".to_owned()));
    // The proxy's own question, as a probe of its health.
    assert_eq!(ask(&server, LOCAL, "/a.txt?3", "").status, 200);
    assert_eq!(logged(&log, "/a.txt?3").0, "127.0.0.1");
    let mut wire = server.connect();
    wire.send(&get("/a.txt?4", ""));
    assert!(wire.response().is_err(), "without the header it is closed");
    let told = |wire: &mut Wire| {
        wire.send(&get("/telemetry", "Accept: application/json\r\n"));
        serde_json::from_slice::<serde_json::Value>(&wire.response().unwrap().body).unwrap()
    };
    let mut wire = server.for_telemetry()[0].connect();
    assert_eq!(told(&mut wire)["farewells"]["proxy_header"], 1);
}

/// Whoever connects by a unix socket has no address, and may be a proxy.
#[test]
fn a_proxy_by_a_unix_socket_is_trusted_by_its_own_word() {
    let scratch = Scratch::new();
    let place = format!("unix:{}", scratch.join("socket").display());
    let server = server(&scratch, &["--listen", &place, "--trusted-proxies", "unix"]);
    ask(&server, b"", "/a.txt?1", "X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(logged(&scratch.join("log"), "/a.txt?1").0, "192.0.2.1");
    assert_eq!(ask(&server, b"", "/telemetry", "X-Forwarded-For: 127.0.0.1\r\n").status, 404);
}

#[test]
fn a_protocol_that_nobody_may_speak_is_a_fault() {
    let (status, said) = Launch::new(&["--proxy-protocol"]).refused();
    assert!(!status.success());
    assert!(said.contains("trusted-proxies"), "{said}");
}
