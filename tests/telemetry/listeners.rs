//! Where telemetry is answered, to whom, and for how long.

use rustix::process::Signal;

use crate::common::{Launch, Response, Scratch, Server, Wire, eventually, get};

fn status(mut wire: Wire, path: &str, fields: &str) -> u16 {
    wire.send(&get(path, fields));
    wire.response().unwrap().status
}

fn at_telemetry(server: &Server, path: &str) -> Response {
    let mut wire = server.for_telemetry()[0].connect();
    wire.send(&get(path, "Connection: close\r\n"));
    wire.response().unwrap()
}

#[test]
fn who_may_not_read_the_figures_is_not_told_that_there_are_any() {
    let scratch = Scratch::new();
    let server = Server::engine("sendfile", scratch.path());
    let missing = |path: &str, fields: &str| {
        let mut wire = server.connect();
        wire.send(&get(path, fields));
        let answer = wire.response().unwrap();
        assert_eq!(answer.status, 404, "{path} {fields}");
        answer.body
    };
    let plain = missing("/nothing", "");
    for field in ["Forwarded: for=127.0.0.1", "X-Forwarded-For: 127.0.0.1", "Via: 1.1 proxy"] {
        for query in ["", "?format=prometheus", "?format=xml"] {
            let body = missing(&format!("/telemetry{query}"), &format!("{field}\r\n"));
            assert_eq!(body, plain, "{field}");
        }
    }
    let allow = ["--telemetry-allow", "192.0.2.0/24", "--workers", "1"];
    let server = Server::start(&allow, scratch.path());
    assert_eq!(status(server.connect(), "/telemetry", ""), 404);
    let server = Server::start(&["--telemetry-allow", "127.0.0.0/8"], scratch.path());
    assert_eq!(status(server.connect(), "/telemetry", ""), 200);
    let server = Server::start(&["--telemetry=false"], scratch.path());
    assert_eq!(status(server.connect(), "/telemetry", ""), 404);
}

#[test]
fn health_is_told_where_the_site_is_only_when_asked_for() {
    let scratch = Scratch::new();
    let server = Server::engine("sendfile", scratch.path());
    assert_eq!(status(server.connect(), "/health", ""), 404);
    assert_eq!(status(server.connect(), "/ready", ""), 404);
    let server = Server::start(&["--health", "--ready-path", "/up"], scratch.path());
    // A balancer asks by way of others.
    assert_eq!(status(server.connect(), "/health", "Via: 1.1 balancer\r\n"), 200);
    assert_eq!(status(server.connect(), "/up", ""), 200);
    assert_eq!(status(server.connect(), "/ready", ""), 404);
}

#[test]
fn a_listener_of_its_own_has_the_figures_and_nothing_of_the_site() {
    let scratch = Scratch::new();
    scratch.write("a.txt", "here");
    scratch.write("404.html", "lost");
    let socket = Scratch::new().join("t.sock");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let by_unix = format!("unix:{}", socket.display());
    for listen in ["127.0.0.1:0", &by_unix] {
        let server = Server::start(&["--telemetry-listen", listen], scratch.path());
        assert_eq!(server.for_telemetry().len(), 1);
        assert_eq!(status(server.connect(), "/a.txt", ""), 200);
        for path in ["/telemetry", "/health", "/ready"] {
            assert_eq!(status(server.connect(), path, ""), 404, "{path}");
            assert_eq!(at_telemetry(&server, path).status, 200, "{path}");
        }
        for path in ["/a.txt", "/", "/404.html"] {
            assert_eq!(at_telemetry(&server, path).status, 404, "{path}");
        }
        assert_eq!(at_telemetry(&server, "/ready").body, b"ready\n");
    }
}

#[test]
fn a_full_server_still_shows_its_figures_there() {
    let scratch = Scratch::new();
    let limits = ["--workers", "1", "--connections", "1", "--telemetry-listen", "127.0.0.1:0"];
    let server = Server::start(&limits, scratch.path());
    let mut only = server.connect();
    only.send(&get("/nothing", ""));
    assert_eq!(only.response().unwrap().status, 404);
    // Were it idle it would make room.
    only.send(b"GET /half");
    assert_eq!(status(server.connect(), "/nothing", ""), 503);
    let told: serde_json::Value =
        serde_json::from_slice(&at_telemetry(&server, "/telemetry").body).unwrap();
    assert_eq!(told["connections"]["budget"], 1);
}

#[test]
fn a_draining_server_lives_and_is_not_ready_until_its_end() {
    let scratch = Scratch::new();
    scratch.pattern("large.bin", 7, 64 << 20);
    let listen = ["--workers", "1", "--telemetry-listen", "127.0.0.1:0"];
    let mut server = Launch::new(&listen).root(scratch.path()).start();
    let mut download = Wire::narrow(server.address());
    download.send(&get("/large.bin", ""));
    assert_eq!(download.head().unwrap().status, 200);
    server.signal(Signal::TERM);
    eventually("not ready", || (at_telemetry(&server, "/ready").status == 503).then_some(()));
    assert_eq!(at_telemetry(&server, "/health").status, 200);
    assert_eq!(at_telemetry(&server, "/telemetry").status, 200);
    // An idle connection for telemetry does not keep the server.
    let idle = server.for_telemetry()[0].connect();
    drop(download);
    assert!(server.wait().success());
    drop(idle);
}

#[test]
fn files_and_addresses_in_the_way_are_named_by_check() {
    let scratch = Scratch::new();
    scratch.write("telemetry", "a file");
    scratch.write("ready", "another");
    let root = scratch.path().to_str().unwrap();
    let check = |flags: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_pitcrew"))
            .arg("check")
            .args(flags)
            .arg(root)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = check(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("'/telemetry' of") && said.contains("set telemetry-path"), "{said}");
    assert!(!said.contains("ready"), "{said}");
    let (_, said) = check(&["--health"]);
    assert!(said.contains("set ready-path to another path"), "{said}");
    let (_, said) = check(&["--telemetry-listen", "127.0.0.1:9"]);
    assert!(!said.contains("hidden"), "{said}");
    let (code, said) = check(&["--telemetry-path", "/health"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("'/health' is both telemetry-path and health-path"), "{said}");
    let (code, said) = check(&["--listen", "127.0.0.1:81", "--telemetry-listen", "127.0.0.1:81"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is where the site listens"), "{said}");
}
