//! The view where there is no terminal: the same lines, plain, once in each interval.

use std::io::{self, Write};

use super::ask::ask;
use super::draw::Picture;
use super::place::Place;
use super::view::View;
use super::{Fault, Options, Server};

/// Columns of what is printed: nobody says how many there are.
const WIDTH: usize = 120;

/// Prints a table once in each interval, or one alone. A reader that has seen enough ends it.
///
/// # Errors
/// [`Fault`].
pub fn print(
    server: &mut dyn Server,
    place: &Place,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Fault> {
    let mut before = ask(server, place).map_err(Fault::Server)?;
    loop {
        std::thread::sleep(options.interval);
        let now = ask(server, place).map_err(Fault::Server)?;
        let view = View::between(&before, &now);
        match out.write_all(table(view).as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Fault::Output(error)),
            Ok(()) if options.once => return Ok(()),
            Ok(()) => before = now,
        }
    }
}

fn table(view: View) -> String {
    let picture = Picture { view, ..Picture::default() };
    let lines = picture.lines(WIDTH).into_iter();
    let lines = lines.map(|line| line.to_string().trim_end().to_owned() + "\n");
    lines.collect::<String>() + "\n"
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Scripted(Vec<&'static str>);

    impl Server for Scripted {
        fn exchange(&mut self, question: &[u8]) -> io::Result<Vec<u8>> {
            assert!(question.starts_with(b"GET /figures?format=json&buckets=true HTTP/1.1\r\n"));
            match self.0.is_empty() {
                true => Err(io::ErrorKind::ConnectionRefused.into()),
                false => Ok(self.0.remove(0).as_bytes().to_vec()),
            }
        }
    }

    const ONE: &str = "HTTP/1.1 200 OK\r\n\r\n{\"version\": 2, \"server\": {\"name\": \"pitcrew\", \
        \"engine\": \"copy\", \"uptime_seconds\": 1}, \"connections\": {\"requests\": 10}}";
    const OTHER: &str = "HTTP/1.1 200 OK\r\n\r\n{\"version\": 2, \
        \"server\": {\"name\": \"pitcrew\", \"engine\": \"copy\", \"uptime_seconds\": 2}, \
        \"connections\": {\"requests\": 52}}";

    fn printed(answers: &[&'static str], once: bool) -> (Result<(), Fault>, String) {
        let place = Place::parse("9/figures", None);
        let options = Options { interval: Duration::ZERO, colour: true, once };
        let mut out = Vec::new();
        let mut server = Scripted(answers.to_vec());
        let ended = print(&mut server, &place.expect("a place"), &options, &mut out);
        (ended, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn one_table_has_the_rates_between_two_looks_and_no_colour() {
        let (ended, text) = printed(&[ONE, OTHER], true);
        assert!(ended.is_ok() && text.contains("engine copy") && text.contains("42 /s"), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn tables_follow_each_other_until_the_server_is_gone() {
        let (ended, text) = printed(&[ONE, OTHER, OTHER], false);
        assert_eq!(text.matches("engine copy").count(), 2);
        let fault = ended.expect_err("it is gone").to_string();
        assert!(fault.ends_with("does not answer: nobody listens there"), "{fault}");
    }
}
