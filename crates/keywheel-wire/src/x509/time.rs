//! Times as certificates write them: UTCTime until 2049, GeneralizedTime from 2050 on.

use super::Malformed;
use super::tlv::{self, Element};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// The time of an element, of either kind and whatever its year.
pub(crate) fn read(element: &Element<'_>) -> Result<Timestamp, Malformed> {
    let malformed = || Malformed::new("time", "it is not a UTC time to the second");
    let text = element.content;
    let (year, rest) = match element.tag {
        tlv::UTC_TIME if text.len() == 13 => {
            let year = number(&text[..2]).ok_or_else(malformed)?;
            (year + if year < 50 { 2000 } else { 1900 }, &text[2..])
        }
        tlv::GENERALIZED_TIME if text.len() == 15 => (number(&text[..4]).ok_or_else(malformed)?, &text[4..]),
        _ => return Err(malformed()),
    };
    if rest.last() != Some(&b'Z') {
        return Err(malformed());
    }
    let part = |at: usize| number(&rest[at..at + 2]).and_then(|part| i8::try_from(part).ok());
    let civil = (|| {
        let date = Date::new(year, part(0)?, part(2)?).ok()?;
        let time = Time::new(part(4)?, part(6)?, part(8)?, 0).ok()?;
        Some(DateTime::from_parts(date, time))
    })()
    .ok_or_else(malformed)?;
    TimeZone::UTC.to_timestamp(civil).map_err(|_| Malformed::new("time", "it is out of range"))
}

/// The element for a time, whole seconds, rounded down.
pub(crate) fn write(time: Timestamp) -> Vec<u8> {
    let civil = TimeZone::UTC.to_datetime(time);
    let tail =
        format!("{:02}{:02}{:02}{:02}{:02}Z", civil.month(), civil.day(), civil.hour(), civil.minute(), civil.second());
    if (1950..2050).contains(&civil.year()) {
        let text = format!("{:02}{tail}", civil.year() % 100);
        tlv::tlv(tlv::UTC_TIME, text.as_bytes())
    } else {
        let text = format!("{:04}{tail}", civil.year());
        tlv::tlv(tlv::GENERALIZED_TIME, text.as_bytes())
    }
}

/// The time with its fraction of a second cut off, as [`write`] would keep it.
pub(crate) fn whole_second(time: Timestamp) -> Timestamp {
    let second = time.as_nanosecond().div_euclid(1_000_000_000);
    i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(time)
}

fn number(digits: &[u8]) -> Option<i16> {
    digits.iter().try_fold(0i16, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i16::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_bytes(bytes: &[u8]) -> Result<Timestamp, Malformed> {
        read(&Element::only(bytes, "time")?)
    }

    #[test]
    fn the_year_2050_changes_the_encoding() {
        let before: Timestamp = "2049-12-31T23:59:59Z".parse().unwrap();
        let after: Timestamp = "2050-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(write(before), b"\x17\x0d491231235959Z");
        assert_eq!(write(after), b"\x18\x0f20500101000000Z");
    }

    #[test]
    fn a_generalized_time_before_2050_is_read() {
        let time = read_bytes(b"\x18\x0f20261121000000Z").unwrap();
        assert_eq!(time.to_string(), "2026-11-21T00:00:00Z");
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [
            &b"\x17\x0d491331235959Z"[..],
            b"\x17\x0d4912312359590",
            b"\x17\x0b4912312359Z",
            b"\x18\x1320500101000000.000",
            b"\x17\x0d49-231235959Z",
            b"\x17\x0d490230000000Z",
            b"\x04\x0d491231235959Z",
        ] {
            assert!(read_bytes(bytes).is_err());
        }
    }

    proptest! {
        #[test]
        fn times_survive_writing_and_reading(second in -631_152_000i64..253_402_207_200) {
            let time = Timestamp::from_second(second).unwrap();
            prop_assert_eq!(read_bytes(&write(time)).unwrap(), time);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20), tag in prop_oneof![Just(0x17u8), Just(0x18u8)]) {
            let _ = read_bytes(&tlv::tlv(tag, &bytes));
        }
    }
}
