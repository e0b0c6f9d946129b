//! The view in a terminal: asks once in each interval, draws, and listens to keys.

use std::io;
use std::time::Instant;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::ask::{Told, ask};
use super::draw::{Picture, State, draw, last_scroll};
use super::place::Place;
use super::view::View;
use super::{Fault, Options, Server};

/// Points of a trace that are kept: the widest terminals, and minutes.
const KEPT: usize = 600;

/// Draws until somebody presses q. The terminal is as it was before, however this ends.
///
/// # Errors
/// [`Fault`]: the first look fails, or the terminal does. A server that goes away later is said on
/// the screen and asked again.
pub fn screen(server: &mut dyn Server, place: &Place, options: &Options) -> Result<(), Fault> {
    let first = ask(server, place).map_err(Fault::Server)?;
    let mut terminal = ratatui::try_init().map_err(Fault::Output)?;
    let mut live = Live::new(first, options.colour);
    let ended = live.run(&mut terminal, server, place, options);
    ratatui::restore();
    ended.map_err(Fault::Output)
}

struct Live {
    last: Told,
    picture: Picture,
    paused: bool,
    gone_since: Option<Instant>,
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Quit,
    Pause,
    Scroll(i32),
    Nothing,
}

impl Live {
    fn new(first: Told, colour: bool) -> Self {
        let view = View::between(&first, &first);
        let picture = Picture { view, colour, ..Picture::default() };
        Self { last: first, picture, paused: false, gone_since: None }
    }

    fn run(
        &mut self,
        terminal: &mut DefaultTerminal,
        server: &mut dyn Server,
        place: &Place,
        options: &Options,
    ) -> io::Result<()> {
        let mut next = Instant::now() + options.interval;
        loop {
            terminal.draw(|frame| draw(frame, &self.picture))?;
            if event::poll(next.saturating_duration_since(Instant::now()))? {
                if let Event::Key(key) = event::read()? {
                    let size = terminal.size()?;
                    if !self.obey(wish(&key), (size.width, size.height)) {
                        return Ok(());
                    }
                }
                // A new size is drawn at once.
                continue;
            }
            if !self.paused {
                match ask(server, place) {
                    Ok(told) => self.take(told),
                    Err(trouble) => self.miss(trouble.to_string()),
                }
            }
            next = Instant::now() + options.interval;
        }
    }

    fn take(&mut self, told: Told) {
        let view = View::between(&self.last, &told);
        let restarted = told.uptime() < self.last.uptime();
        for (points, value) in
            [(&mut self.picture.requests, view.requests), (&mut self.picture.bytes, view.bytes)]
        {
            if restarted {
                points.clear();
            }
            points.push(value);
            let surplus = points.len().saturating_sub(KEPT);
            points.drain(..surplus);
        }
        self.picture.view = view;
        self.picture.state = State::Live;
        self.gone_since = None;
        self.last = told;
    }

    fn miss(&mut self, why: String) {
        let since = *self.gone_since.get_or_insert_with(Instant::now);
        self.picture.state = State::Gone(why, since.elapsed().as_secs());
    }

    /// Whether it goes on.
    fn obey(&mut self, wish: Wish, (width, height): (u16, u16)) -> bool {
        match wish {
            Wish::Quit => return false,
            Wish::Pause => {
                self.paused = !self.paused;
                self.picture.state = if self.paused { State::Paused } else { State::Live };
            }
            Wish::Scroll(by) => {
                let last = last_scroll(self.picture.lines(width as usize).len(), height);
                let now = i32::from(self.picture.scrolled.min(last)).saturating_add(by);
                self.picture.scrolled = now.clamp(0, i32::from(last)) as u16;
            }
            Wish::Nothing => {}
        }
        true
    }
}

fn wish(key: &KeyEvent) -> Wish {
    if key.kind == KeyEventKind::Release {
        return Wish::Nothing;
    }
    match key.code {
        // The terminal is raw: what else would be a signal is a key.
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Wish::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Wish::Quit,
        KeyCode::Char('p' | ' ') => Wish::Pause,
        KeyCode::Down | KeyCode::Char('j') => Wish::Scroll(1),
        KeyCode::Up | KeyCode::Char('k') => Wish::Scroll(-1),
        KeyCode::PageDown => Wish::Scroll(10),
        KeyCode::PageUp => Wish::Scroll(-10),
        KeyCode::Home => Wish::Scroll(i32::MIN),
        KeyCode::End => Wish::Scroll(i32::MAX),
        _ => Wish::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::told;
    use super::*;
    use crate::telemetry::Shard;

    #[test]
    fn keys_are_understood() {
        let plain = |code| wish(&KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(plain(KeyCode::Char('q')), Wish::Quit);
        assert_eq!(plain(KeyCode::Char('c')), Wish::Nothing);
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(wish(&control), Wish::Quit);
        assert_eq!(plain(KeyCode::Char('p')), Wish::Pause);
        let mut live = Live::new(told(&Shard::default(), 1), false);
        let size = (80, 10);
        assert!(live.obey(Wish::Scroll(i32::MAX), size) && live.picture.scrolled > 0);
        let last = live.picture.scrolled;
        assert!(live.obey(Wish::Scroll(1), size) && live.picture.scrolled == last);
        assert!(live.obey(Wish::Scroll(i32::MIN), size) && live.picture.scrolled == 0);
        assert!(live.obey(Wish::Pause, size) && live.picture.state == State::Paused);
        assert!(!live.obey(Wish::Quit, size));
    }

    #[test]
    fn a_server_goes_and_comes_again() {
        let shard = Shard::default();
        let mut live = Live::new(told(&shard, 100), false);
        shard.connections.requests.add(7);
        live.take(told(&shard, 101));
        assert_eq!(live.picture.requests, [7.0]);
        live.miss("nobody".to_owned());
        assert_eq!(live.picture.state, State::Gone("nobody".to_owned(), 0));
        assert_eq!(live.picture.view.requests, 7.0, "what was seen last stays");
        live.take(told(&shard, 2));
        assert_eq!((live.picture.requests.len(), &live.picture.state), (1, &State::Live));
    }
}
