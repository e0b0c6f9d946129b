//! Whether every answer has the bytes of its file, on each way that a server may take to it.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::http::{Answer, Client};
use crate::scenario::Scenario;
use crate::site::{Dice, Site};

/// How often each file is asked for before the rounds: what a server keeps when it is asked a
/// second time, and sends from there the third time, is another way than the first.
pub(crate) const TIMES: u32 = 3;
/// Parts of a file that are compared where the scenario asks for parts.
const PARTS: usize = 64;
/// Connections that compare at once where files are cold: reads that are under way together are
/// another way than one at a time.
const TOGETHER: u32 = 8;

/// Asks for every file so many times and compares every byte; where the scenario asks for parts,
/// for several at once, for a connection each or for cold files, so does this. Returns the length
/// of the heads.
pub(crate) fn compare(
    address: SocketAddr,
    site: &Site,
    scenario: &Scenario,
    times: u32,
    interrupted: &AtomicBool,
) -> Result<usize> {
    if !scenario.cold {
        let every = 0..site.files();
        return compare_some(address, site, scenario, times, interrupted, every);
    }
    site.drop_pages()?;
    std::thread::scope(|scope| {
        let compare_from = |first: u32| {
            let some = (first..site.files()).step_by(TOGETHER as usize);
            scope.spawn(move || compare_some(address, site, scenario, times, interrupted, some))
        };
        let threads: Vec<_> = (0..TOGETHER).map(compare_from).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        let told = joined.map(|told| told.expect("comparing does not panic"));
        told.reduce(|one, other| Ok(one?.max(other?))).unwrap_or(Ok(0))
    })
}

fn compare_some(
    address: SocketAddr,
    site: &Site,
    scenario: &Scenario,
    times: u32,
    interrupted: &AtomicBool,
    some: impl Iterator<Item = u32>,
) -> Result<usize> {
    let mut client = Client::connect(address)?;
    let mut head_bytes = 0;
    for index in some {
        let content = site.content(index);
        let target = Site::target(index);
        for _ in 0..times {
            if interrupted.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
            }
            head_bytes = one(&mut client, &target, None, &content)?;
        }
        if scenario.pipeline > 1 {
            let depth = scenario.pipeline as usize;
            client.ask(&target, None, depth)?;
            for _ in 0..depth {
                expect(&mut client, &target, 200, &content)?;
            }
        }
        if scenario.close {
            let mut once = Client::connect(address)?.closing();
            head_bytes = one(&mut once, &target, None, &content)?;
        }
        let Some(bytes) = scenario.range_bytes else { continue };
        let mut dice = Dice::new(u64::from(index) + 11);
        let last = content.len() as u64 - bytes;
        let anywhere = (0..PARTS).map(|_| dice.roll() % (last + 1));
        for from in [0, last].into_iter().chain(anywhere) {
            for _ in 0..times {
                head_bytes = one(&mut client, &target, Some((from, from + bytes - 1)), &content)?;
            }
        }
    }
    Ok(head_bytes)
}

fn one(
    client: &mut Client,
    target: &str,
    part: Option<(u64, u64)>,
    content: &[u8],
) -> Result<usize> {
    client.ask(target, part, 1)?;
    match part {
        None => expect(client, target, 200, content),
        Some((from, to)) => {
            let name = format!("{target} from {from} to {to}");
            expect(client, &name, 206, &content[from as usize..=to as usize])
        }
    }
}

/// Reads an answer that is to have a status and these bytes.
fn expect(client: &mut Client, name: &str, status: u16, content: &[u8]) -> Result<usize> {
    let (mut seen, mut equal) = (0, true);
    let Answer { status: told, head_bytes, body_bytes } = client.answer(|part| {
        equal &= content.get(seen..seen + part.len()) == Some(part);
        seen += part.len();
    })?;
    let wrong = if told != status {
        format!("is answered with {told}, not {status}")
    } else if body_bytes != content.len() as u64 {
        format!("has {body_bytes} bytes, not {}", content.len())
    } else if !equal {
        "has other bytes".to_owned()
    } else {
        return Ok(head_bytes);
    };
    Err(Error::new(ErrorKind::InvalidData, format!("{name} {wrong}")))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::scenario::Sizes;
    use crate::site::Scratch;

    /// What comparing says of a server that gives these answers, one for each request.
    fn compared(change: fn(&mut Scenario), answers: Vec<Vec<u8>>) -> (Result<usize>, usize) {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let mut scenario = Scenario::find("small").unwrap();
        scenario.file_bytes = Sizes::All(9);
        change(&mut scenario);
        let site = Site::new(&scratch, &scenario).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut block, mut asked, mut given) = ([0; 4096], Vec::new(), 0);
            while given < answers.len() {
                let count = stream.read(&mut block).unwrap_or(0);
                if count == 0 {
                    break;
                }
                asked.extend_from_slice(&block[..count]);
                let ends = asked.windows(4).filter(|four| *four == b"\r\n\r\n").count();
                for answer in &answers[given..ends.min(answers.len())] {
                    // Who has found a wrong byte does not wait for the rest.
                    let _ = stream.write_all(answer);
                }
                given = ends;
            }
            given
        });
        let told = compare(address, &site, &scenario, TIMES, &AtomicBool::new(false));
        (told, server.join().unwrap())
    }

    fn answer(body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    fn content() -> Vec<u8> {
        let mut dice = Dice::new(0);
        let long: Vec<u8> = (0..2).flat_map(|_| dice.roll().to_le_bytes()).collect();
        long[..9].to_vec()
    }

    #[test]
    fn a_server_that_is_wrong_the_second_time_is_found_out() {
        let right = answer(&content());
        let (told, asked) = compared(|_| {}, vec![right.clone(); 3]);
        assert_eq!((told.unwrap(), asked), (right.len() - 9, 3));
        for wrong in [&b"123456789"[..], b"12345678"] {
            let (told, _) = compared(|_| {}, vec![right.clone(), answer(wrong), right.clone()]);
            assert!(told.unwrap_err().to_string().starts_with("/0.bin has "));
        }
    }

    #[test]
    fn answers_of_a_pipeline_are_compared_each() {
        let right = answer(&content());
        let deep = |scenario: &mut Scenario| scenario.pipeline = 4;
        let (told, asked) = compared(deep, vec![right.clone(); 7]);
        assert_eq!((told.is_ok(), asked), (true, 7));
        let mut answers = vec![right; 7];
        answers[5] = answer(b"123456789");
        assert!(compared(deep, answers).0.is_err());
    }

    #[test]
    fn a_part_that_is_answered_whole_is_wrong() {
        let parts = |scenario: &mut Scenario| scenario.range_bytes = Some(4);
        let (told, _) = compared(parts, vec![answer(&content()); 4]);
        let told = told.unwrap_err().to_string();
        assert_eq!(told, "/0.bin from 0 to 3 is answered with 200, not 206");
    }
}
