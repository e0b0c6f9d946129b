//! What is shown, as lines: a pure function of a view, what was before, and a width.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::Paragraph;

use super::lines::{Cell, Column, bar, beside, cut, table, trace};
use super::units::{bytes, count, share, span, time, words};
use super::view::{EngineLane, Lane, Percentiles, View};

/// Everything that a picture is made of.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub view: View,
    /// Requests and bytes a second, the newest last.
    pub requests: Vec<f64>,
    pub bytes: Vec<f64>,
    pub state: State,
    /// Lines that were scrolled away.
    pub scrolled: u16,
    pub colour: bool,
}

/// How the view stands to its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Live,
    Paused,
    /// Why, and for how many seconds.
    Gone(String, u64),
}

/// Columns from which on blocks stand beside each other.
const WIDE: usize = 100;

/// Puts the picture on the screen, its keys in the last line.
pub(super) fn draw(frame: &mut Frame<'_>, picture: &Picture) {
    let area = frame.area();
    let lines = picture.lines(area.width as usize);
    let shown = area.height.saturating_sub(1);
    let scrolled = picture.scrolled.min(last_scroll(lines.len(), area.height));
    let body = Rect { height: shown, ..area };
    frame.render_widget(Paragraph::new(Text::from(lines)).scroll((scrolled, 0)), body);
    if area.height > 1 {
        let keys = Line::styled(" q quit  p pause  ↑ ↓ scroll", picture.soft());
        let last = Rect { y: area.y + shown, height: 1, ..area };
        frame.render_widget(Paragraph::new(keys), last);
    }
}

/// How far so many lines can be scrolled in so many rows, of which the last one is for the keys.
pub(super) fn last_scroll(lines: usize, rows: u16) -> u16 {
    u16::try_from(lines).unwrap_or(u16::MAX).saturating_sub(rows.saturating_sub(1))
}

impl Picture {
    /// All lines, none wider than this.
    pub(super) fn lines(&self, width: usize) -> Vec<Line<'static>> {
        let mut all = vec![self.title(width)];
        if let State::Gone(why, seconds) = &self.state {
            let text = format!(" The server is gone, for {seconds} s: {why}. Asking again.");
            all.push(Line::styled(text, self.red().add_modifier(Modifier::BOLD)));
        }
        all.push(Line::default());
        all.extend(self.traffic(width));
        all.push(Line::default());
        all.extend(self.techniques(width));
        all.push(Line::default());
        all.extend(self.engines(width));
        all.push(Line::default());
        all.extend(self.inside(width));
        all.into_iter().map(|line| cut(line, width)).collect()
    }

    fn title(&self, width: usize) -> Line<'static> {
        let view = &self.view;
        let workers = if view.workers == 1 { "worker" } else { "workers" };
        let facts = format!(
            "  engine {}  {} {workers}  ring {}  up {}",
            view.engine,
            view.workers,
            view.ring_setup,
            span(view.uptime)
        );
        let (word, style) = match self.state {
            State::Live => ("● live", self.green()),
            State::Paused => ("● paused", self.amber()),
            State::Gone(..) => ("● no answer", self.red()),
        };
        let name = format!(" pitcrew {}", view.version);
        let used = name.chars().count() + facts.chars().count() + word.chars().count();
        let strong = Style::new().add_modifier(Modifier::BOLD);
        if used + 2 > width {
            // The state is what has to be seen.
            let state = Span::styled(format!(" {word} "), style);
            return Line::from(vec![
                state,
                Span::styled(name, strong),
                Span::styled(facts, self.soft()),
            ]);
        }
        let room = " ".repeat(width - used - 1);
        Line::from(vec![
            Span::styled(name, strong),
            Span::styled(facts, self.soft()),
            Span::raw(room),
            Span::styled(word, style),
        ])
    }

    fn traffic(&self, width: usize) -> Vec<Line<'static>> {
        let view = &self.view;
        let traces = |label: &str, value: String, values: &[f64], width: usize| {
            let head = format!(" {label:9} {value:>15} ");
            let room = width.saturating_sub(head.chars().count() + 1);
            Line::from(vec![
                Span::styled(format!(" {label:9} "), self.soft()),
                Span::styled(format!("{value:>15} "), Style::new().add_modifier(Modifier::BOLD)),
                Span::styled(trace(values, room), self.blue()),
            ])
        };
        let requests = |width| {
            traces("requests", format!("{} /s", count(view.requests)), &self.requests, width)
        };
        let sent = |width| traces("bytes", format!("{}/s", bytes(view.bytes)), &self.bytes, width);
        let mut lines = match width >= WIDE {
            true => beside(vec![requests(width / 2)], vec![sent(width - width / 2)], width / 2),
            false => vec![requests(width), sent(width)],
        };
        let latency = match view.latency {
            // The kernel took each answer in the turn that its request came in.
            Some(Percentiles { p99: 0, .. }) => "within a turn".to_owned(),
            Some(Percentiles { p50, p90, p99 }) => {
                format!("p50 {}  p90 {}  p99 {}", time(p50), time(p90), time(p99))
            }
            None => "no answers".to_owned(),
        };
        let fact = |label: &str, text: String| {
            let label = Span::styled(format!(" {label:9} "), self.soft());
            Line::from(vec![label, Span::raw(text)])
        };
        let open = format!("{} open of {}", count(view.open as f64), count(view.budget as f64));
        let copies = Line::from(vec![
            Span::styled(format!(" {:9} ", "copies"), self.soft()),
            Span::raw(format!("{} not copied ", share(view.not_copied))),
            Span::styled(bar(view.not_copied, 16), self.blue()),
        ]);
        let (latency, open) = (fact("latency", latency), fact("clients", open));
        lines.extend(match width >= WIDE {
            true => beside(vec![latency], vec![open], width / 2),
            false => vec![latency, open],
        });
        lines.push(copies);
        lines
    }

    fn techniques(&self, width: usize) -> Vec<Line<'static>> {
        const COLUMNS: &[Column] = &[
            Column { name: " technique", spare: 0 },
            Column { name: "share", spare: 1 },
            Column { name: "", spare: 8 },
            Column { name: "bytes/s", spare: 2 },
            Column { name: "bytes", spare: 5 },
            Column { name: "calls/s", spare: 3 },
            Column { name: "short", spare: 6 },
            Column { name: "EAGAIN", spare: 9 },
            Column { name: "errors", spare: 4 },
            Column { name: "best", spare: 7 },
            Column { name: "p99", spare: 10 },
            Column { name: "lap", spare: 11 },
        ];
        let timed = |value: Option<u64>| value.map_or("none".to_owned(), time);
        let row = |lane: &Lane| -> Vec<Cell> {
            let moved = lane.bytes > 0;
            vec![
                (format!(" {}", lane.name), Style::new()),
                self.some(if moved { share(lane.share) } else { String::new() }, moved),
                (if moved { bar(lane.share, 10) } else { String::new() }, self.blue()),
                self.some(bytes(lane.speed), lane.speed > 0.0),
                self.some(bytes(lane.bytes as f64), moved),
                self.some(count(lane.operations), lane.operations > 0.0),
                self.some(count(lane.short as f64), lane.short > 0),
                self.some(count(lane.would_block as f64), lane.would_block > 0),
                self.bad(lane.errors, lane.failing),
                self.some(timed(lane.best), lane.best.is_some()),
                self.some(timed(lane.p99), lane.p99.is_some()),
                self.some(
                    lane.lap.map_or(String::new(), |lap| format!("{}/s", bytes(lap as f64))),
                    true,
                ),
            ]
        };
        let rows: Vec<_> = self.view.lanes.iter().map(row).collect();
        let mut lines = table(COLUMNS, &rows, self.heading(), width);
        let idle = format!(" {} not used so far", self.view.idle);
        lines.push(Line::styled(idle, self.soft()));
        lines
    }

    fn engines(&self, width: usize) -> Vec<Line<'static>> {
        const COLUMNS: &[Column] = &[
            Column { name: " engine", spare: 0 },
            Column { name: "bytes/s", spare: 1 },
            Column { name: "", spare: 7 },
            Column { name: "bytes", spare: 2 },
            Column { name: "answers", spare: 3 },
            Column { name: "declined", spare: 5 },
            Column { name: "failed", spare: 4 },
            Column { name: "copies a byte", spare: 6 },
        ];
        let fastest = self.view.engines.iter().map(|lane| lane.speed).fold(1.0, f64::max);
        let row = |lane: &EngineLane| -> Vec<Cell> {
            let mark = if lane.chosen { "▸" } else { " " };
            let copies = lane.copies.map_or("none".to_owned(), |copies| format!("{copies:.2}"));
            let served = lane.responses > 0;
            vec![
                self.some(format!("{mark}{}", lane.name), lane.chosen || served),
                self.some(bytes(lane.speed), lane.speed > 0.0),
                (bar(lane.speed / fastest, 10), self.blue()),
                self.some(bytes(lane.bytes as f64), lane.bytes > 0),
                self.some(count(lane.responses as f64), served),
                self.some(count(lane.declined as f64), lane.declined > 0),
                self.bad(lane.failed, lane.failed > 0),
                self.some(copies, lane.copies.is_some()),
            ]
        };
        let rows: Vec<_> = self.view.engines.iter().map(row).collect();
        table(COLUMNS, &rows, self.heading(), width)
    }

    /// The ring, hit rates, phases, farewells and the log: beside each other where there is room.
    fn inside(&self, width: usize) -> Vec<Line<'static>> {
        let view = &self.view;
        let named = |all: &[(String, u64)]| -> Vec<(String, String, bool)> {
            all.iter().map(|(name, n)| (words(name), count(*n as f64), false)).collect()
        };
        let hits = view
            .hits
            .iter()
            .map(|(name, part, all)| (words(name), share(*part as f64 / *all as f64), false));
        let log = &view.log;
        let number =
            |name: &str, n: u64, bad: bool| (name.to_owned(), count(n as f64), bad && n > 0);
        let log = vec![
            number("records", log.records, false),
            number("dropped", log.dropped, true),
            number("missing in a sink", log.missing, true),
            number("failures", log.failures, true),
        ];
        let blocks = [
            self.list("ring", self.ring()),
            self.list("hit rates", hits.collect()),
            self.list("phases", named(&view.phases)),
            self.list("farewells", named(&view.farewells)),
            self.list("refusals", named(&view.refusals)),
            self.list("access log", log),
        ];
        // Three of them beside each other, two, or none.
        let beside_each_other = (width / BLOCK).clamp(1, 3);
        let mut lines = Vec::new();
        for (number, group) in blocks.chunks(beside_each_other).enumerate() {
            if number > 0 {
                lines.push(Line::default());
            }
            let first = group.first().cloned().unwrap_or_default();
            lines.extend(
                group
                    .iter()
                    .enumerate()
                    .skip(1)
                    .fold(first, |left, (at, block)| beside(left, block.clone(), at * BLOCK)),
            );
        }
        lines
    }

    fn ring(&self) -> Vec<(String, String, bool)> {
        let ring = &self.view.ring;
        let batch = ring.batch.map_or("none".to_owned(), |batch| {
            format!("{}, p99 {}", count(batch.p50 as f64), count(batch.p99 as f64))
        });
        let mean = ring.batch_mean.map_or("none".to_owned(), |mean| format!("{mean:.2}"));
        let turn = ring.turn.map_or("none".to_owned(), |turn| time(turn.p99));
        vec![
            ("entries a call".to_owned(), batch, false),
            ("mean".to_owned(), mean, false),
            ("calls/s".to_owned(), count(ring.calls), false),
            ("in flight".to_owned(), count(ring.in_flight as f64), false),
            ("turn, p99".to_owned(), turn, false),
            ("longest stall".to_owned(), time(ring.stall), false),
            ("stalls".to_owned(), count(ring.stalls as f64), false),
            ("overflowed".to_owned(), count(ring.overflow as f64), ring.overflow > 0),
        ]
    }

    /// Names and values below a heading; a value that is bad is red.
    fn list(&self, title: &str, rows: Vec<(String, String, bool)>) -> Vec<Line<'static>> {
        let mut lines = vec![Line::styled(format!(" {title}"), self.heading())];
        if rows.is_empty() {
            lines.push(Line::styled(" none", self.soft()));
        }
        lines.extend(rows.into_iter().map(|(name, value, bad)| {
            let zero = value == "0" || value == "none";
            let style = if bad {
                self.red()
            } else if zero {
                self.soft()
            } else {
                Style::new()
            };
            let room = (BLOCK - 4).saturating_sub(name.chars().count());
            Line::from(vec![
                Span::styled(format!(" {name}"), self.soft()),
                Span::styled(format!(" {value:>room$}"), style),
            ])
        }));
        lines
    }

    fn some(&self, text: String, there: bool) -> Cell {
        (text, if there { Style::new() } else { self.soft() })
    }

    /// A count of what should not be; red if it is worth a look now.
    fn bad(&self, number: u64, now: bool) -> Cell {
        let quiet = if number > 0 { Style::new() } else { self.soft() };
        (count(number as f64), if now { self.red() } else { quiet })
    }

    fn heading(&self) -> Style {
        self.soft().add_modifier(Modifier::BOLD)
    }

    fn soft(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn painted(&self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn blue(&self) -> Style {
        self.painted(Color::Blue)
    }

    fn green(&self) -> Style {
        self.painted(Color::Green)
    }

    fn amber(&self) -> Style {
        self.painted(Color::Yellow)
    }

    fn red(&self) -> Style {
        self.painted(Color::Red)
    }
}

/// Columns of one block of names and values.
const BLOCK: usize = 36;

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::view::told;
    use super::*;
    use crate::engines::Kind;
    use crate::ring::Technique;
    use crate::telemetry::Shard;

    fn picture() -> Picture {
        let shard = Shard::default();
        let before = told(&shard, 7200);
        shard.connections.requests.add(1234);
        shard.connections.bytes.add(10 << 20);
        shard.ring.technique(Technique::SpliceOut).operations.add(10);
        shard.ring.technique(Technique::SpliceOut).bytes.add(10 << 20);
        shard.ring.technique(Technique::SpliceOut).errors.add(3);
        shard.engines.engine(Kind::Splice).responses.add(10);
        shard.ring.turn.record(12_000_000);
        let view = View::between(&before, &told(&shard, 7201));
        let (requests, bytes) = (vec![1.0, 5.0, view.requests], vec![view.bytes]);
        Picture { view, requests, bytes, colour: true, ..Picture::default() }
    }

    fn drawn(picture: &Picture, width: u16, height: u16) -> ratatui::buffer::Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("in memory");
        terminal.draw(|frame| draw(frame, picture)).expect("in memory");
        terminal.backend().buffer().clone()
    }

    fn text(picture: &Picture, width: u16, height: u16) -> String {
        let buffer = drawn(picture, width, height);
        let symbols = buffer.content().chunks(width.max(1) as usize);
        let lines = symbols.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
        lines.map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn an_operator_sees_at_a_glance_what_moves_the_bytes_and_what_holds_it_back() {
        let text = text(&picture(), 120, 48);
        let first = text.lines().next().expect("a title");
        assert!(first.contains("engine splice") && first.ends_with("● live"), "{first}");
        for words in [
            "1234 /s",
            "10.0 MiB/s",
            "up 2 h 0 min",
            "splice_out",
            "100 %",
            "▸splice",
            "longest stall",
            "farewells",
            "phases",
            "hit rates",
            "entries a call",
            "dropped",
            "q quit",
        ] {
            assert!(text.contains(words), "{words}:\n{text}");
        }
        let lane = text.lines().find(|line| line.contains("splice_out")).expect("a lane");
        assert!(lane.contains("██████████") && lane.contains('3'), "{lane}");
    }

    #[test]
    fn every_size_of_a_terminal_is_drawn() {
        let mut picture = picture();
        for state in [State::Live, State::Paused, State::Gone("nobody listens".to_owned(), 3)] {
            picture.state = state;
            for width in [1, 2, 10, 20, 39, 40, 79, 99, 100, 107, 300] {
                for height in [1, 2, 5, 24, 100] {
                    picture.scrolled = height;
                    drawn(&picture, width, height);
                }
                let lines = picture.lines(width as usize);
                assert!(lines.iter().all(|line| line.width() <= width as usize), "{width}");
            }
        }
        picture.state = State::Live;
        picture.scrolled = 0;
        let narrow = text(&picture, 40, 60);
        for words in ["● live", "1234 /s", "splice_out", "▸splice", "longest stall"] {
            assert!(narrow.contains(words), "{words}:\n{narrow}");
        }
    }

    #[test]
    fn a_server_that_is_gone_is_said_first() {
        let state = State::Gone("nobody listens there".to_owned(), 12);
        let text = text(&Picture { state, ..picture() }, 100, 20);
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|line| line.ends_with("● no answer")));
        let said = " The server is gone, for 12 s: nobody listens there. Asking again.";
        assert_eq!(lines.next(), Some(said));
    }

    #[test]
    fn without_colour_there_is_none() {
        let picture = Picture { colour: false, ..picture() };
        let buffer = drawn(&picture, 120, 60);
        assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset));
        let coloured = drawn(&Picture { colour: true, ..picture }, 120, 60);
        assert!(coloured.content().iter().any(|cell| cell.fg == Color::Red), "errors are red");
    }

    #[test]
    fn scrolling_ends_where_the_last_line_is_seen() {
        assert_eq!(last_scroll(50, 24), 27);
        assert_eq!((last_scroll(10, 24), last_scroll(10, 0)), (0, 10));
        let scrolled = Picture { scrolled: u16::MAX, ..picture() };
        let text = text(&scrolled, 80, 24);
        assert!(text.contains("failures") && !text.contains("live"), "{text}");
    }
}
