//! The question for the figures, and what came back.

use std::fmt;
use std::io;

use serde_json::Value as Json;

use super::Server;
use super::place::Place;
use crate::telemetry::schema;

/// Figures of a server at one moment, as its JSON tells them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told(Json);

/// Why there are no figures.
#[derive(Debug)]
pub enum Trouble {
    /// Nobody answers.
    Gone(Place, io::Error),
    /// Somebody answers with something else.
    Odd(Place, String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(place, error) => {
                let why = match error.kind() {
                    io::ErrorKind::TimedOut => "it takes too long".to_owned(),
                    io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
                    io::ErrorKind::NotFound => "it is not there".to_owned(),
                    _ => error.to_string(),
                };
                write!(out, "{place} does not answer: {why}")
            }
            Self::Odd(place, why) => write!(out, "{place}: {why}"),
        }
    }
}

/// Asks once.
pub(super) fn ask(server: &mut dyn Server, place: &Place) -> Result<Told, Trouble> {
    let question = format!(
        "GET {}?format=json&buckets=true HTTP/1.1\r\nHost: {}\r\nAccept: {}\r\n\
         Connection: close\r\n\r\n",
        place.path,
        place.host(),
        schema::MEDIA_TYPE
    );
    let answer = server.exchange(question.as_bytes());
    let answer = answer.map_err(|error| Trouble::Gone(place.clone(), error))?;
    read(&answer).map_err(|why| Trouble::Odd(place.clone(), why))
}

fn read(answer: &[u8]) -> Result<Told, String> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let begin = match head.parse(answer) {
        Ok(httparse::Status::Complete(begin)) => begin,
        Ok(httparse::Status::Partial) => return Err("its answer is cut".to_owned()),
        Err(error) => return Err(format!("its answer is no HTTP: {error}")),
    };
    match head.code {
        Some(200) => {}
        Some(404) => {
            return Err("it answers 404: there are no figures, or telemetry-allow does not name \
                        this client; --path names another path"
                .to_owned());
        }
        other => return Err(format!("it answers {}", other.unwrap_or_default())),
    }
    let body = &answer[begin..];
    let length = head.headers.iter().find(|one| one.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|one| std::str::from_utf8(one.value).ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length != body.len()) {
        return Err("its answer is cut".to_owned());
    }
    let told: Json = serde_json::from_slice(body)
        .map_err(|_| "it answers with something else than figures".to_owned())?;
    match (told["server"]["name"].as_str(), told["version"].as_u64()) {
        (Some("pitcrew"), Some(version)) if version == u64::from(schema::VERSION) => Ok(Told(told)),
        (Some("pitcrew"), Some(version)) => Err(format!(
            "its figures have version {version}, and this program knows {}",
            schema::VERSION
        )),
        _ => Err("it answers with something else than figures".to_owned()),
    }
}

impl Told {
    #[cfg(test)]
    pub(super) fn of(json: Json) -> Self {
        Self(json)
    }

    /// What stands at a path of names; null if nothing does.
    pub(super) fn at(&self, path: &str) -> &Json {
        path.split('.').filter(|name| !name.is_empty()).fold(&self.0, |below, name| &below[name])
    }

    /// A whole number; 0 if there is none, as of a server that is older than a figure.
    pub(super) fn number(&self, path: &str) -> u64 {
        self.at(path).as_u64().unwrap_or(0)
    }

    /// A text; empty if there is none.
    pub(super) fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    /// Seconds since the server's start.
    pub(super) fn uptime(&self) -> f64 {
        self.at("server.uptime_seconds").as_f64().unwrap_or(0.0)
    }

    /// The labels of a group.
    pub(super) fn labels(&self, group: &str) -> Vec<&str> {
        let members = self.at(group).as_object();
        members.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn figures_are_read_and_anything_else_is_named() {
        let body = r#"{"version": 2, "server": {"name": "pitcrew"}, "cache": {"hits": 3}}"#;
        let told = read(answer("200 OK", body).as_bytes()).expect("figures");
        assert_eq!((told.number("cache.hits"), told.number("cache.none.x")), (3, 0));
        assert_eq!(told.labels("cache"), ["hits"]);
        let cut = &answer("200 OK", body).into_bytes()[..40];
        for (answer, words) in [
            (answer("404 Not Found", ""), "telemetry-allow"),
            (answer("503 Service Unavailable", ""), "answers 503"),
            (answer("200 OK", "{}"), "something else"),
            (answer("200 OK", "<html>"), "something else"),
            (answer("200 OK", &body.replace("2,", "9,")), "version 9"),
            ("SSH-2.0-x\r\n".to_owned(), "no HTTP"),
            (String::from_utf8_lossy(cut).into_owned(), "is cut"),
            (answer("200 OK", body) + "more", "is cut"),
        ] {
            let error = read(answer.as_bytes()).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }
}
