//! JSON, text for scrapers and HTML, by Accept and by query.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::{Response, Scratch, Server, Wire, eventually, get, skipped};

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn ask(server: &Server, query: &str, fields: &str) -> Response {
    let mut wire = server.connect();
    wire.send(&get(&format!("/telemetry{query}"), fields));
    wire.response().unwrap()
}

#[test]
fn the_form_is_that_of_the_query_else_that_of_accept() {
    let server = Server::engine("sendfile", Scratch::new().path());
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
        application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
        text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (query, accept, media) in [
        ("", "*/*", JSON),
        ("", JSON, JSON),
        ("", browser, HTML),
        ("", prometheus, OPEN_METRICS),
        ("", "text/plain", PROMETHEUS),
        ("?format=json", browser, JSON),
        ("?format=prometheus", browser, PROMETHEUS),
        ("?format=openmetrics", "*/*", OPEN_METRICS),
        ("?format=html", "*/*", HTML),
        ("?other=1&format=json&format=prometheus", "*/*", PROMETHEUS),
    ] {
        let answer = ask(&server, query, &format!("Accept: {accept}\r\n"));
        let told = (answer.status, answer.field("content-type"), answer.field("vary"));
        assert_eq!(told, (200, Some(media), Some("Accept")), "{query} {accept}");
        let cached = if media == HTML { "no-cache" } else { "no-store" };
        assert_eq!(answer.field("cache-control"), Some(cached), "{query} {accept}");
        assert_eq!(answer.field("etag").is_some(), media == HTML, "{query} {accept}");
    }
}

#[test]
fn a_form_that_there_is_not_is_refused_by_name_of_those_there_are() {
    let server = Server::engine("sendfile", Scratch::new().path());
    let answer = ask(&server, "?format=xml", "");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("json, html, prometheus and openmetrics"), "{answer:?}");
}

#[test]
fn the_page_is_asked_for_again_by_its_tag_and_may_load_nothing_from_elsewhere() {
    let server = Server::engine("sendfile", Scratch::new().path());
    let page = ask(&server, "?format=html", "");
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let tag = page.field("etag").unwrap();
    let again = ask(&server, "?format=html", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((again.status, again.body.len(), again.field("etag")), (304, 0, Some(tag)));
    let other = ask(&server, "?format=html", "If-None-Match: \"other\"\r\n");
    assert_eq!(other.status, 200);
}

#[test]
fn head_has_the_head_alone_and_buckets_come_when_asked_for() {
    let server = Server::engine("sendfile", Scratch::new().path());
    let mut wire = server.connect();
    wire.send(b"HEAD /telemetry HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = wire.answer("HEAD").unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let told = |query: &str| -> serde_json::Value {
        serde_json::from_slice(&ask(&server, query, "").body).unwrap()
    };
    assert_eq!(told("")["ring"]["batch"].get("buckets"), None);
    let batch = &told("?buckets=true")["ring"]["batch"];
    let sum: u64 = batch["buckets"].as_object().unwrap().values().filter_map(|n| n.as_u64()).sum();
    assert_eq!(batch["count"], sum);
}

/// A scrape by the parsers of the Python client, which are not ours.
#[test]
fn the_texts_are_what_another_parser_reads_and_agree_with_the_json() {
    const READS: &str = "\
import json, sys
from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_parser
text = sys.stdin.read()
kind = open_parser if sys.argv[1] == 'openmetrics' else parser
told = {}
for family in kind.text_string_to_metric_families(text):
    assert family.documentation, family.name
    assert family.type in ('counter', 'gauge', 'histogram', 'info'), family
    for sample in family.samples:
        key = sample.name + json.dumps(sample.labels, sort_keys=True)
        assert key not in told, key
        told[key] = sample.value
json.dump(told, sys.stdout)
";
    let python = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        let knows = Command::new(python).args(["-c", "import prometheus_client"]).output();
        knows.is_ok_and(|output| output.status.success())
    });
    let Some(python) = python else {
        return skipped("the parser of Prometheus", "no python3-prometheus-client");
    };
    let scratch = Scratch::new();
    scratch.pattern("a.bin", 1, 300_000);
    let server = Server::engine("sendfile", scratch.path());
    let mut wire = server.connect();
    for _ in 0..3 {
        wire.send(&get("/a.bin", ""));
        assert_eq!(wire.response().unwrap().status, 200);
    }
    server.figure_until(&["engines", "sendfile", "responses"], |count| count == 3);
    for form in ["prometheus", "openmetrics"] {
        let text = ask(&server, &format!("?format={form}"), "").body;
        let mut child = Command::new(python)
            .args(["-c", READS, form])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&text).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{form}: {said}");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let json = server.telemetry();
        let technique = "{\"technique\": \"sendfile\"}";
        let name = format!("pitcrew_techniques_bytes_total{technique}");
        assert_eq!(told[&name], 900_000.0, "{form}");
        assert_eq!(json["techniques"]["sendfile"]["bytes"], 900_000);
        let count = told[&format!("pitcrew_techniques_latency_seconds_count{technique}")].as_f64();
        let counted = &json["techniques"]["sendfile"]["latency_ns"]["count"];
        assert_eq!(count, counted.as_f64(), "{form}");
        let bucket = "pitcrew_techniques_latency_seconds_bucket";
        let all = &told[format!("{bucket}{{\"le\": \"+Inf\", \"technique\": \"sendfile\"}}")];
        assert_eq!(all.as_f64(), count, "{form}");
        let version = env!("CARGO_PKG_VERSION");
        let known = told.as_object().unwrap().keys();
        let build = known.filter(|key| key.starts_with("pitcrew_build_info"));
        let build: Vec<_> = build.collect();
        assert!(build.len() == 1 && build[0].contains(version), "{form}: {build:?}");
    }
}

#[test]
fn a_scraper_that_takes_nothing_holds_nobody_up() {
    let scratch = Scratch::new();
    scratch.write("a.txt", "here");
    let server = Server::engine("sendfile", scratch.path());
    // Each asks for a report and reads none of it.
    let hung: Vec<Wire> = (0..200)
        .map(|_| {
            let mut wire = Wire::narrow(server.address());
            wire.send(&get("/telemetry?format=prometheus", ""));
            wire
        })
        .collect();
    let mut wire = server.connect();
    for _ in 0..20 {
        wire.send(&get("/a.txt", ""));
        assert_eq!(wire.response().unwrap().body, b"here");
    }
    drop(hung);
    // And when they are gone the figures are there, for everybody.
    server.figure_until(&["connections", "open"], |open| open <= 2);
}

/// Each of many connections asks again and again. Every scrape is answered, and so is everybody
/// else meanwhile: who waits for a report holds no turn.
#[test]
fn a_thousand_scrapes_are_all_answered_and_clients_are_served_between_them() {
    const EACH: usize = 25;
    let scratch = Scratch::new();
    scratch.write("a.txt", "here");
    let server = Server::engine("sendfile", scratch.path());
    let mut scrapers: Vec<Wire> = (0..40).map(|_| server.connect()).collect();
    let scrapes = get("/telemetry", "").repeat(EACH);
    scrapers.iter_mut().for_each(|wire| wire.send(&scrapes));
    let mut wire = server.connect();
    for _ in 0..50 {
        wire.send(&get("/a.txt", ""));
        assert_eq!(wire.response().unwrap().body, b"here");
    }
    for wire in &mut scrapers {
        for _ in 0..EACH {
            let answer = wire.response().unwrap();
            // Beyond the reports that may be on their way at once a scrape is refused.
            assert!(matches!(answer.status, 200 | 503), "{}", answer.status);
        }
    }
    drop(scrapers);
    let requests = server.figure(&["connections", "requests"]);
    assert!(requests >= 40 * EACH as u64 + 50, "{requests}");
}

#[test]
fn the_longest_turn_of_each_worker_is_told() {
    let scratch = Scratch::new();
    let server = Server::start(&["--workers", "2"], scratch.path());
    let (turns, worst) = eventually("each has had a turn", || {
        let told = server.telemetry();
        let turns = told["server"]["longest_turn_ns"].as_array().unwrap().iter();
        let turns: Vec<_> = turns.map(|turn| turn.as_u64().unwrap()).collect();
        (turns.len() == 2).then(|| (turns, told["ring"]["turn_ns"]["worst"].as_u64().unwrap()))
    });
    assert!(turns.iter().all(|turn| (1..=worst).contains(turn)), "{turns:?} {worst}");
}
