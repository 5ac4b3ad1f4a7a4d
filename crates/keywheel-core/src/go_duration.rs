//! Durations in the notation of Go, which the reference's flags, configuration and messages use.

use alloc::format;
use alloc::string::{String, ToString};

use jiff::SignedDuration;

/// Why a text is no Go duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GoDurationError {
    /// Empty, not starting with a number, or beyond 292 years.
    #[error("{text:?} is not a duration; write it like 24h, 90m or 1h30m")]
    Invalid {
        /// What was given.
        text: String,
    },
    /// A number without a unit.
    #[error("{text:?} is not a duration: a unit is missing; write it like 24h, 90m or 1h30m")]
    MissingUnit {
        /// What was given.
        text: String,
    },
    /// A unit that Go does not know (such as days).
    #[error("{text:?} is not a duration: {unit:?} is no unit; the units are h, m, s, ms, us and ns")]
    UnknownUnit {
        /// What was given.
        text: String,
        /// What stands where a unit should.
        unit: String,
    },
}

/// Reads a duration with exactly the grammar and the limits of Go's `time.ParseDuration`.
pub fn parse(text: &str) -> Result<SignedDuration, GoDurationError> {
    let invalid = || GoDurationError::Invalid { text: shown(text) };
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let nanoseconds = take_term(&mut rest).map_err(|fault| match fault {
            Fault::Invalid => invalid(),
            Fault::MissingUnit => GoDurationError::MissingUnit { text: shown(text) },
            Fault::UnknownUnit(unit) => GoDurationError::UnknownUnit { text: shown(text), unit: shown(unit) },
        })?;
        total = total.checked_add(nanoseconds).filter(|total| *total <= LIMIT).ok_or_else(invalid)?;
    }
    match (negative, i64::try_from(total)) {
        (false, Ok(nanoseconds)) => Ok(SignedDuration::from_nanos(nanoseconds)),
        (true, Ok(nanoseconds)) => Ok(SignedDuration::from_nanos(-nanoseconds)),
        // Exactly 2^63: only the negative side has room for it.
        (true, Err(_)) => Ok(SignedDuration::from_nanos(i64::MIN)),
        (false, Err(_)) => Err(invalid()),
    }
}

/// Writes a duration as Go prints it: `24h0m0s`, `1.5s`, `300ms`, `0s`.
pub fn format(duration: SignedDuration) -> String {
    let nanoseconds = duration.as_nanos();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let size = nanoseconds.unsigned_abs();
    match size {
        0 => "0s".to_string(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(size, 1_000)),
        1_000_000..SECOND => format!("{sign}{}ms", decimal(size, 1_000_000)),
        _ => {
            let seconds = decimal(size % (60 * SECOND), SECOND);
            let minutes = size / (60 * SECOND);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// Rounds to the nearest second, halves away from zero, as Go's `Round` does.
pub fn round_to_second(duration: SignedDuration) -> SignedDuration {
    let part = duration.subsec_nanos();
    let whole = SignedDuration::from_secs(duration.as_secs());
    match part {
        500_000_000.. => whole.saturating_add(SignedDuration::from_secs(1)),
        ..=-500_000_000 => whole.saturating_sub(SignedDuration::from_secs(1)),
        _ => whole,
    }
}

const SECOND: u128 = 1_000_000_000;
const LIMIT: u64 = 1 << 63;

enum Fault<'a> {
    Invalid,
    MissingUnit,
    UnknownUnit(&'a str),
}

/// Takes one number and its unit off the front and gives its nanoseconds.
fn take_term<'a>(rest: &mut &'a str) -> Result<u64, Fault<'a>> {
    let (whole, after_whole) = take_digits(rest);
    let (fraction, after_number) = match after_whole.strip_prefix('.') {
        Some(after_point) => take_digits(after_point),
        None => ("", after_whole),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(Fault::Invalid);
    }
    let mut number: u64 = 0;
    for digit in whole.bytes() {
        number = number
            .checked_mul(10)
            .and_then(|number| number.checked_add(u64::from(digit - b'0')))
            .filter(|number| *number <= LIMIT)
            .ok_or(Fault::Invalid)?;
    }
    let unit_end = after_number.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after_number.len());
    let (unit, after_unit) = after_number.split_at(unit_end);
    if unit.is_empty() {
        return Err(Fault::MissingUnit);
    }
    let size: u64 = match unit {
        "ns" => 1,
        // The micro sign and the Greek letter mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(Fault::UnknownUnit(unit)),
    };
    *rest = after_unit;
    let nanoseconds = number.checked_mul(size).filter(|value| *value <= LIMIT).ok_or(Fault::Invalid)?;
    nanoseconds.checked_add(fraction_of(fraction, size)).filter(|value| *value <= LIMIT).ok_or(Fault::Invalid)
}

fn take_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `0.<digits>` of a unit in nanoseconds, cut off below one nanosecond.
///
/// Digits beyond what fits 63 bits are ignored and the product is taken in floating point: Go does both, and a
/// script may compare the outcome.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let mut value: u64 = 0;
    let mut scale = 1.0_f64;
    for digit in digits.bytes() {
        match value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit - b'0'))) {
            Some(next) if next <= LIMIT => value = next,
            _ => break,
        }
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

/// `size / unit` as a decimal fraction without trailing zeros.
fn decimal(size: u128, unit: u128) -> String {
    let fraction = size % unit;
    if fraction == 0 {
        return (size / unit).to_string();
    }
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{fraction:0digits$}", size / unit);
    text.trim_end_matches('0').to_string()
}

/// Keeps a hostile text from flooding a message.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    #[test]
    fn the_grammar_of_go_is_read() {
        let table: &[(&str, i64)] = &[
            ("0", 0),
            ("-0", 0),
            ("+0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("30s", 30_000_000_000),
            ("1478s", 1_478_000_000_000),
            ("-5s", -5_000_000_000),
            ("+5s", 5_000_000_000),
            ("5.0s", 5_000_000_000),
            ("5.6s", 5_600_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.0s", 1_000_000_000),
            ("1.004s", 1_004_000_000),
            ("1.0040s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("13ms", 13_000_000),
            ("14s", 14_000_000_000),
            ("15m", 900_000_000_000),
            ("16h", 16 * HOUR),
            ("3h30m", 3 * HOUR + HOUR / 2),
            ("10.5s4m", 250_500_000_000),
            ("-2m3.4s", -123_400_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("39h9m14.425s", 140_954_425_000_000),
            ("-1.5h", -HOUR - HOUR / 2),
            ("52763797000ns", 52_763_797_000),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9223372036854775807ns", i64::MAX),
            ("9223372036854775.807us", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("-9223372036854775.808us", i64::MIN),
            ("-2562047h47m16.854775808s", i64::MIN),
            ("0.100000000000000000000h", 360_000_000_000),
            ("0.830103483285477580700h", 2_988_372_539_827),
        ];
        for (text, nanoseconds) in table {
            assert_eq!(parse(text), Ok(SignedDuration::from_nanos(*nanoseconds)), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_with_its_reason() {
        for text in ["", "-", "+", "s", ".", "-.", ".s", "+.s", "1h.s", "- 5s", "--5s", " 5s", "1e3s", "é"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        for text in [
            "",
            "s",
            ".s",
            "9223372036854775808ns",
            "9223372036854775.808us",
            "3000000h",
            "9999999999999999999999s",
            "-9223372036854775809ns",
            "9223372036854ms775us808ns",
        ] {
            assert_eq!(parse(text), Err(GoDurationError::Invalid { text: text.into() }), "{text:?}");
        }
        for text in ["3", "1h3", "1.5"] {
            assert_eq!(parse(text), Err(GoDurationError::MissingUnit { text: text.into() }), "{text:?}");
        }
        for (text, unit) in
            [("1d", "d"), ("1x", "x"), ("1H", "H"), ("5s ", "s "), ("1h 3m", "h "), ("1\u{85}", "\u{85}")]
        {
            assert_eq!(
                parse(text),
                Err(GoDurationError::UnknownUnit { text: text.into(), unit: unit.into() }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn durations_are_written_as_go_prints_them() {
        let table: &[(i64, &str)] = &[
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (300_000_000, "300ms"),
            (1_500_000_000, "1.5s"),
            (3_300_000_000, "3.3s"),
            (60_000_000_000, "1m0s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (5 * HOUR + 367_001_000_000, "5h6m7.001s"),
            (24 * HOUR, "24h0m0s"),
            (24 * HOUR + HOUR / 60, "24h1m0s"),
            (480_000_000_001, "8m0.000000001s"),
            (-1_500_000_000, "-1.5s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ];
        for (nanoseconds, text) in table {
            assert_eq!(format(SignedDuration::from_nanos(*nanoseconds)), *text);
        }
    }

    #[test]
    fn halves_round_away_from_zero() {
        for (milliseconds, seconds) in
            [(499, 0), (500, 1), (1_499, 1), (1_500, 2), (-499, 0), (-500, -1), (-1_500, -2), (86_399_999, 86_400)]
        {
            assert_eq!(
                round_to_second(SignedDuration::from_millis(milliseconds)),
                SignedDuration::from_secs(seconds),
                "{milliseconds}"
            );
        }
        assert_eq!(round_to_second(SignedDuration::MAX).as_secs(), i64::MAX);
    }

    proptest! {
        #[test]
        fn every_duration_reads_back_from_its_text(nanoseconds: i64) {
            let duration = SignedDuration::from_nanos(nanoseconds);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_parser_fail_otherwise_than_by_an_error(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn nearly_right_texts_never_overflow(text in "[-+]?([0-9]{0,22}(\\.[0-9]{0,25})?(ns|us|µs|ms|s|m|h)){1,4}") {
            if let Ok(duration) = parse(&text) {
                prop_assert_eq!(parse(&format(duration)), Ok(duration));
            }
        }
    }
}
