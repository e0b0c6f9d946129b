//! Who a client is behind a proxy, for the log and for who may read the figures.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::{Launch, Response, Scratch, Server, Wire, eventually, get};

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
    assert_eq!(ask(&server, b"PROXY UNKNOWN\r\n", "/a.txt?3", "").status, 200);
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
