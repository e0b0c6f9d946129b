//! Values as people read them; the page of the server writes them so, too.

fn scaled(value: f64, units: &[&str], base: f64) -> String {
    let (mut value, mut at) = (value, 0);
    while value >= base && at < units.len() - 1 {
        value /= base;
        at += 1;
    }
    let digits = match value {
        v if v >= 100.0 || at == 0 && v.fract() == 0.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{}", units[at])
}

pub(super) fn bytes(value: f64) -> String {
    scaled(value, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"], 1024.0)
}

pub(super) fn count(value: f64) -> String {
    if value < 10_000.0 {
        let digits = usize::from(value.fract() != 0.0 && value < 10.0);
        return format!("{value:.digits$}");
    }
    scaled(value, &["", " k", " M", " G", " T"], 1000.0)
}

pub(super) fn time(nanoseconds: u64) -> String {
    scaled(nanoseconds as f64, &[" ns", " µs", " ms", " s"], 1000.0)
}

pub(super) fn share(part: f64) -> String {
    match part {
        all if all >= 0.9995 => "100 %".to_owned(),
        little if little > 0.0 && little < 0.001 => "< 0.1 %".to_owned(),
        part => format!("{:.1} %", part * 100.0),
    }
}

pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A name of a figure as words.
pub(super) fn words(name: &str) -> String {
    name.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_few_digits_and_a_unit() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(1536.0), "1.50 KiB");
        assert_eq!(bytes(3e12), "2.73 TiB");
        assert_eq!(
            (count(3.25), count(42.6), count(123_456.0)),
            ("3.2".into(), "43".into(), "123 k".into())
        );
        assert_eq!((time(999), time(12_345)), ("999 ns".into(), "12.3 µs".into()));
        assert_eq!(
            (share(1.0), share(0.0), share(0.0001)),
            ("100 %".into(), "0.0 %".into(), "< 0.1 %".into())
        );
        assert_eq!(
            (span(59.9), span(3700.0), span(200_000.0)),
            ("59 s".into(), "1 h 1 min".into(), "2 d 7 h".into())
        );
    }
}
