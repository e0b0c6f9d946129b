//! Which coding and which form of an answer a client prefers (RFC 9110 section 12.5).

/// How the bytes of a file are coded when they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Brotli, from `name.br`.
    Br,
    /// Zstandard, from `name.zst`.
    Zstd,
    /// Gzip, from `name.gz`.
    Gzip,
    /// As they are.
    Identity,
}

impl Coding {
    /// Every coding, the most preferred first at equal weight.
    pub const ALL: [Coding; 4] = [Coding::Br, Coding::Zstd, Coding::Gzip, Coding::Identity];

    /// The value of Content-Encoding, which identity does not have.
    pub fn token(self) -> Option<&'static str> {
        match self {
            Coding::Br => Some("br"),
            Coding::Zstd => Some("zstd"),
            Coding::Gzip => Some("gzip"),
            Coding::Identity => None,
        }
    }

    /// What the name of a precompressed neighbour ends in, with its dot; empty for identity.
    pub fn suffix(self) -> &'static str {
        match self {
            Coding::Br => ".br",
            Coding::Zstd => ".zst",
            Coding::Gzip => ".gz",
            Coding::Identity => "",
        }
    }
}

/// The codings that a file can be sent in; identity always is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Available {
    /// There is a `name.br`.
    pub br: bool,
    /// There is a `name.zst`.
    pub zstd: bool,
    /// There is a `name.gz`.
    pub gzip: bool,
}

impl Available {
    fn has(self, coding: Coding) -> bool {
        match coding {
            Coding::Br => self.br,
            Coding::Zstd => self.zstd,
            Coding::Gzip => self.gzip,
            Coding::Identity => true,
        }
    }
}

/// What a client says of the codings, in thousandths; read once, so that variants may be looked
/// for in the order in which the client wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codings {
    /// In the order of [`Coding::ALL`].
    weights: [u16; 4],
}

impl Codings {
    /// Reads the lines of Accept-Encoding (RFC 9110 section 12.5.3).
    ///
    /// An element that is malformed is read over. A coding named twice has the higher weight.
    /// Identity, unless it is named or `*` is there, is acceptable after everything else. Without
    /// the field the file is sent as it is: the RFC allows any coding, but who does not ask may
    /// not decode.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Codings {
        let mut named: [Option<u16>; 4] = [None; 4];
        let mut others = None;
        for element in elements(lines) {
            let (token, parameters) = split_first(element, b';');
            let weight = match parameters.map(weight) {
                None => 1000,
                Some(Some(weight)) => weight,
                Some(None) => continue,
            };
            let is = |name: &str| token.eq_ignore_ascii_case(name.as_bytes());
            let place = if is("*") {
                &mut others
            } else if is("br") {
                &mut named[0]
            } else if is("zstd") {
                &mut named[1]
            } else if is("gzip") || is("x-gzip") {
                &mut named[2]
            } else if is("identity") {
                &mut named[3]
            } else {
                continue;
            };
            *place = (*place).max(Some(weight));
        }
        let weights = named.map(|named| named.or(others).unwrap_or(0));
        Codings { weights }
    }

    /// The codings to be tried, the most wanted first, ending in identity; left out is what is
    /// wanted less than the file as it is.
    pub fn ranked(&self) -> impl Iterator<Item = Coding> {
        let mut order = [0, 1, 2, 3];
        // Stable: at equal weight the order of Coding::ALL stays.
        order.sort_by_key(|at| std::cmp::Reverse(self.weights[*at]));
        let weights = self.weights;
        // Identity stands behind all that is wanted at least as much; it is the answer when nothing
        // fits, excluded or not.
        order
            .into_iter()
            .filter(move |at| weights[*at] > 0 && *at != 3 && weights[*at] >= weights[3])
            .map(|at| Coding::ALL[at])
            .chain([Coding::Identity])
    }

    /// The most wanted of the available codings; identity when none is acceptable.
    pub fn choose(&self, available: Available) -> Coding {
        self.ranked().find(|coding| available.has(*coding)).unwrap_or(Coding::Identity)
    }
}

/// A form in which the server can say the same thing: a listing, a refusal, its telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `text/html`.
    Html,
    /// `application/json`.
    Json,
    /// The text that Prometheus reads, `text/plain; version=0.0.4`.
    Prometheus,
    /// The text of OpenMetrics, `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
    /// `text/plain`.
    Plain,
}

impl Form {
    /// The value of Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Html => "text/html; charset=utf-8",
            Form::Json => "application/json",
            Form::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Plain => "text/plain; charset=utf-8",
        }
    }

    /// How closely a media range names this form, if it does (RFC 9110 section 12.5.1).
    fn precision(self, range: &MediaRange<'_>) -> Option<u8> {
        let (kind, subtype) = match self {
            Form::Html => ("text", "html"),
            Form::Json => ("application", "json"),
            Form::Prometheus | Form::Plain => ("text", "plain"),
            Form::OpenMetrics => ("application", "openmetrics-text"),
        };
        let is = |one: &[u8], two: &str| one.eq_ignore_ascii_case(two.as_bytes());
        if is(range.kind, "*") && is(range.subtype, "*") {
            return Some(0);
        }
        if !is(range.kind, kind) {
            return None;
        }
        if is(range.subtype, "*") {
            return Some(1);
        }
        if !is(range.subtype, subtype) {
            return None;
        }
        match (self, range.version) {
            (_, None) => Some(2),
            (Form::Prometheus, Some(b"0.0.4")) => Some(3),
            (Form::OpenMetrics, Some(b"1.0.0")) => Some(3),
            (_, Some(_)) => None,
        }
    }
}

/// The offered form that the lines of Accept want most (RFC 9110 section 12.5.1).
///
/// At equal weight the form offered first wins; the same one is the answer when the field is
/// missing or nothing offered is acceptable. `offered` must not be empty.
pub fn form<'a>(
    lines: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>,
    offered: &[Form],
) -> Form {
    let lines = lines.into_iter();
    let mut best = (0, *offered.first().expect("a caller offers what it can make"));
    for form in offered {
        let mut closest: Option<(u8, u16)> = None;
        for range in elements(lines.clone()).filter_map(MediaRange::parse) {
            // The most precise range decides; of two equal ones, the higher weight.
            let found = form.precision(&range).map(|precision| (precision, range.weight));
            closest = closest.max(found);
        }
        let weight = closest.map_or(0, |(_, weight)| weight);
        if weight > best.0 {
            best = (weight, *form);
        }
    }
    best.1
}

/// One element of Accept.
struct MediaRange<'a> {
    kind: &'a [u8],
    subtype: &'a [u8],
    /// The one parameter that tells forms apart; others are read over.
    version: Option<&'a [u8]>,
    weight: u16,
}

impl<'a> MediaRange<'a> {
    fn parse(element: &'a [u8]) -> Option<MediaRange<'a>> {
        let (essence, mut rest) = split_first(element, b';');
        let (kind, subtype) = split_first(essence, b'/');
        let mut range = MediaRange { kind, subtype: subtype?, version: None, weight: 1000 };
        let token =
            |name: &[u8]| !name.is_empty() && name.iter().all(|b| super::media::is_token(*b));
        if !token(kind) || !token(range.subtype) || (kind == b"*" && range.subtype != b"*") {
            return None;
        }
        while let Some(parameters) = rest {
            let (parameter, behind) = split_first(parameters, b';');
            let (name, value) = split_first(parameter, b'=');
            if name.eq_ignore_ascii_case(b"q") {
                range.weight = quality(value?)?;
            } else if name.eq_ignore_ascii_case(b"version") {
                range.version = value.map(unquote);
            }
            rest = behind;
        }
        Some(range)
    }
}

/// The elements of a list field over all its lines, without the spaces around them. None of the
/// lists read here has a comma inside an element that matters.
fn elements<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines.into_iter().flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// What stands before and behind the first of a byte, trimmed.
fn split_first(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, text) {
        None => (text.trim_ascii(), None),
        Some(place) => (text[..place].trim_ascii(), Some(text[place + 1..].trim_ascii())),
    }
}

fn unquote(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// `q=0.5`, in thousandths (RFC 9110 section 12.4.2).
fn weight(parameter: &[u8]) -> Option<u16> {
    let (b'q' | b'Q', value) = parameter.split_first()? else { return None };
    quality(value.strip_prefix(b"=")?)
}

/// `0` or `1` with up to three decimals, at most 1, in thousandths.
fn quality(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut sum = u16::from(whole - b'0');
    for place in 0..3 {
        let digit = decimals.get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        sum = sum * 10 + u16::from(digit - b'0');
    }
    (sum <= 1000).then_some(sum)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVERY: Available = Available { br: true, zstd: true, gzip: true };

    fn of(value: &str) -> Coding {
        Codings::parse([value.as_bytes()]).choose(EVERY)
    }

    /// RFC 9110 section 12.5.3.
    #[test]
    fn accept_encoding() {
        for (value, coding) in [
            ("", Coding::Identity),
            ("gzip, deflate, br, zstd", Coding::Br),
            ("gzip, zstd", Coding::Zstd),
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("GZip;Q=1", Coding::Gzip),
            ("br;q=0.9, gzip", Coding::Gzip),
            ("br;q=0.899, zstd;q=0.9", Coding::Zstd),
            ("br ; q=0.5 , gzip ;q=0.6", Coding::Gzip),
            ("deflate", Coding::Identity),
            ("br;q=0", Coding::Identity),
            ("*", Coding::Br),
            ("*, br;q=0", Coding::Zstd),
            ("*;q=0", Coding::Identity),
            ("*;q=0, gzip", Coding::Gzip),
            ("identity;q=0", Coding::Identity),
            ("identity;q=0, gzip;q=0.001", Coding::Gzip),
            ("identity, gzip;q=0.5", Coding::Identity),
            ("identity;q=0.5, gzip;q=0.5", Coding::Gzip),
            ("identity;q=0.5, gzip;q=0.4, br;q=0.6", Coding::Br),
            ("gzip;q=0.5, gzip;q=0", Coding::Gzip),
            ("br;q=2, gzip", Coding::Gzip),
            ("br;q=0.1234, gzip", Coding::Gzip),
            ("br;q=, gzip", Coding::Gzip),
            ("br;q=1.001, gzip", Coding::Gzip),
            ("br;q=-1, gzip", Coding::Gzip),
            ("br;level=1, gzip", Coding::Gzip),
            ("br;, gzip", Coding::Gzip),
            ("br gzip", Coding::Identity),
            (",,gzip,", Coding::Gzip),
        ] {
            assert_eq!(of(value), coding, "{value}");
        }
        assert_eq!(Codings::parse([]).choose(EVERY), Coding::Identity);
        let lines = [&b"gzip;q=0.5"[..], b"br;q=0.4"];
        assert_eq!(Codings::parse(lines).choose(EVERY), Coding::Gzip);
    }

    /// RFC 9110 section 12.5.3.
    #[test]
    fn only_what_is_there_is_chosen() {
        let codings = Codings::parse([&b"br, zstd, gzip"[..]]);
        let gzip = Available { gzip: true, ..Available::default() };
        assert_eq!(codings.choose(gzip), Coding::Gzip);
        assert_eq!(codings.choose(Available::default()), Coding::Identity);
        let ranked: Vec<_> = Codings::parse([&b"gzip, br;q=0.5"[..]]).ranked().collect();
        assert_eq!(ranked, [Coding::Gzip, Coding::Br, Coding::Identity]);
    }

    /// RFC 9110 section 12.4.2.
    #[test]
    fn weights_are_exact() {
        for (text, thousandths) in [
            ("0", Some(0)),
            ("1", Some(1000)),
            ("0.", Some(0)),
            ("1.000", Some(1000)),
            ("0.001", Some(1)),
            ("0.12", Some(120)),
            ("1.001", None),
            ("0.0001", None),
            ("00", None),
            (".5", None),
            ("0.a", None),
            ("", None),
        ] {
            assert_eq!(quality(text.as_bytes()), thousandths, "{text}");
        }
    }

    /// RFC 9110 section 12.5.1.
    #[test]
    fn accept() {
        let all = [Form::Json, Form::Html, Form::Prometheus, Form::OpenMetrics];
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let scraper = "application/openmetrics-text;version=1.0.0;q=0.5,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (value, wanted) in [
            (browser, Form::Html),
            (scraper, Form::OpenMetrics),
            (
                "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3",
                Form::Prometheus,
            ),
            ("*/*", Form::Json),
            ("", Form::Json),
            ("image/png", Form::Json),
            ("text/*", Form::Html),
            ("text/*, text/html;q=0", Form::Prometheus),
            ("text/plain", Form::Prometheus),
            ("text/plain;version=1.0.0", Form::Json),
            ("TEXT/HTML", Form::Html),
            ("application/json;q=0.5, text/html;q=0.6", Form::Html),
            ("application/json;q=x, text/html;q=0.001", Form::Html),
            ("*/*;q=0.5, application/json;q=0.1", Form::Html),
            ("*/html", Form::Json),
            ("text", Form::Json),
            ("text/html;level=1 ; q=0.5, application/json;q=0.4", Form::Html),
        ] {
            assert_eq!(form([value.as_bytes()], &all), wanted, "{value}");
        }
        assert_eq!(form([], &all), Form::Json);
        assert_eq!(form([&b"*/*"[..]], &[Form::Plain, Form::Html]), Form::Plain);
        assert_eq!(form([browser.as_bytes()], &[Form::Plain, Form::Html]), Form::Html);
        let lines = [&b"text/html;q=0.5"[..], b"application/json"];
        assert_eq!(form(lines, &all), Form::Json);
    }

    const EVERY_FORM: [Form; 5] =
        [Form::Html, Form::Json, Form::Prometheus, Form::OpenMetrics, Form::Plain];

    /// Every range that stands for a form, the most specific first (RFC 9110 section 12.5.1).
    fn called(form: Form) -> &'static [&'static str] {
        match form {
            Form::Html => &["text/html", "text/*", "*/*"],
            Form::Json => &["application/json", "application/*", "*/*"],
            Form::Prometheus => &["text/plain;version=0.0.4", "text/plain", "text/*", "*/*"],
            Form::OpenMetrics => &[
                "application/openmetrics-text;version=1.0.0",
                "application/openmetrics-text",
                "application/*",
                "*/*",
            ],
            Form::Plain => &["text/plain", "text/*", "*/*"],
        }
    }

    /// An element of Accept, and how it is spelled.
    #[derive(Clone, Debug)]
    struct Accepted {
        name: &'static str,
        weight: Option<u16>,
        text: String,
    }

    fn accepted() -> impl Strategy<Value = Accepted> {
        let mut names: Vec<_> = EVERY_FORM.iter().flat_map(|form| called(*form)).copied().collect();
        names.extend(["image/png", "text/plain;version=2", "text/html;version=0.0.4"]);
        let weights = prop::sample::select(vec![0, 1, 300, 500, 999, 1000]);
        let spelling = (0..4u8, any::<bool>(), any::<bool>());
        (prop::sample::select(names), prop::option::of(weights), spelling).prop_map(
            |(name, weight, (spaces, shouts, first))| {
                let mut parts: Vec<_> = name.split(';').map(str::to_owned).collect();
                if let Some(weight) = weight {
                    let weight = format!("q={}.{:03}", weight / 1000, weight % 1000);
                    let at = if first { 1 } else { parts.len() };
                    parts.insert(at, weight);
                }
                let text = parts.join([";", " ;", "; ", " ; "][usize::from(spaces)]);
                let text = if shouts { text.to_uppercase() } else { text };
                Accepted { name, weight, text }
            },
        )
    }

    proptest! {
        /// The rules of section 12.5.3 for one coding at a time, then the best of them.
        #[test]
        fn as_the_model_chooses(
            list in prop::collection::vec((
                prop::sample::select(vec!["br", "zstd", "gzip", "identity", "*", "deflate"]),
                prop::option::of(0..=20u16),
            ), 0..6),
            br in any::<bool>(), zstd in any::<bool>(), gzip in any::<bool>(),
        ) {
            let value: Vec<_> = list.iter().map(|(name, weight)| match weight {
                None => (*name).to_owned(),
                Some(weight) => format!("{name};q={:.2}", f32::from(*weight) / 20.0),
            }).collect();
            let weight = |name: &str| {
                let of = |wanted: &str| list.iter().filter(|(name, _)| *name == wanted)
                    .map(|(_, weight)| weight.unwrap_or(20)).max();
                of(name).or(of("*"))
            };
            let mut best = (Coding::Identity, weight("identity").unwrap_or(0));
            // From the least preferred, so that an equal one wins.
            for (there, coding, name) in [
                (gzip, Coding::Gzip, "gzip"), (zstd, Coding::Zstd, "zstd"), (br, Coding::Br, "br"),
            ] {
                let weight = weight(name).unwrap_or(0);
                if there && weight > 0 && weight >= best.1 {
                    best = (coding, weight);
                }
            }
            let chosen = Codings::parse([value.join(", ").as_bytes()])
                .choose(Available { br, zstd, gzip });
            prop_assert_eq!(chosen, best.0, "{:?}", value);
        }

        /// For each form the ranges that name it most closely decide, then the best form, the
        /// first of equal ones (RFC 9110 section 12.5.1).
        #[test]
        fn as_the_model_accepts(
            ranges in prop::collection::vec(accepted(), 0..6),
            offered in Just(EVERY_FORM.to_vec()).prop_shuffle(),
            offered_count in 1..=EVERY_FORM.len(),
            cut in 0..6usize,
        ) {
            let offered = &offered[..offered_count];
            let weight = |form: Form| {
                let of = |name: &str| ranges.iter().filter(|range| range.name == name)
                    .map(|range| range.weight.unwrap_or(1000)).max();
                called(form).iter().find_map(|name| of(name)).unwrap_or(0)
            };
            let most = offered.iter().map(|form| weight(*form)).max().unwrap();
            let wanted = match most {
                0 => offered[0],
                most => *offered.iter().find(|form| weight(**form) == most).unwrap(),
            };
            let text: Vec<_> = ranges.iter().map(|range| range.text.as_str()).collect();
            let (one, two) = text.split_at(cut.min(text.len()));
            let lines = [one.join(","), two.join(" , ")];
            let found = form(lines.iter().map(String::as_bytes), offered);
            prop_assert_eq!(found, wanted, "{:?} of {:?}", lines, offered);
        }

        #[test]
        fn any_bytes(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Codings::parse([&value[..]]).choose(EVERY);
            let _ = form([&value[..]], &[Form::Plain, Form::Html]);
        }

        #[test]
        fn any_list(value in "([a-z*/]{0,4}[;=q0-9., ]{0,6}){0,5}") {
            let _ = Codings::parse([value.as_bytes()]).choose(EVERY);
            let _ = form([value.as_bytes()], &[Form::Plain, Form::Html]);
        }
    }
}
