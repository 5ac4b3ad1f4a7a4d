//! Schedules against the formulas of the reference, and the promises that it does not keep.

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn seconds(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

fn day() -> Validity {
    Validity { not_before: at(-60), not_after: at(24 * HOUR) }
}

#[test]
fn the_gate_opens_when_no_more_than_the_lead_and_its_jitter_remain() {
    let end = at(1_000);
    assert_eq!(gate(at(0), end, None, 0), Gate::Due);
    assert_eq!(gate(at(0), end, Some(seconds(999)), 0), Gate::NotYet { remaining: seconds(1_000) });
    assert_eq!(gate(at(0), end, Some(seconds(1_000)), 0), Gate::Due);
    assert_eq!(gate(at(0), end, Some(seconds(960)), u64::MAX), Gate::Due);
    assert_eq!(gate(at(0), end, Some(seconds(950)), u64::MAX), Gate::NotYet { remaining: seconds(1_000) });
    assert_eq!(gate(at(2_000), end, Some(seconds(1)), 7), Gate::Due);
}

#[test]
fn a_lead_too_small_for_jitter_or_below_zero_is_no_fault() {
    for lead in [0, 1, 19, 20, -5, i64::MIN, i64::MAX] {
        for seed in [0, 1, u64::MAX] {
            let _ = gate(at(0), at(10), Some(SignedDuration::from_nanos(lead)), seed);
        }
    }
    assert_eq!(gate(at(0), at(10), Some(seconds(-5)), 3), Gate::Due);
}

#[test]
fn without_a_lead_the_first_rekey_of_a_day_falls_where_the_reference_puts_it() {
    // Two thirds of 24h01m after the start, less up to a twentieth.
    assert_eq!(next_rekey(at(0), day(), Timing::LastThird, None, 0), at(24 * HOUR - 86_460 / 3));
    let earliest = next_rekey(at(0), day(), Timing::LastThird, None, u64::MAX);
    assert!(earliest > at(24 * HOUR - 86_460 / 3 - 86_460 / 20 - 1));
    assert!(earliest < at(24 * HOUR - 86_460 / 3 - 86_460 / 20 + 1));
}

#[test]
fn a_lead_and_a_period_are_kept() {
    assert_eq!(next_rekey(at(0), day(), Timing::BeforeExpiry(seconds(8 * HOUR)), None, 0), at(16 * HOUR));
    assert_eq!(next_rekey(at(0), day(), Timing::Every(seconds(8 * HOUR)), None, 9), at(8 * HOUR));
    // No more than the period remains: at once.
    assert_eq!(next_rekey(at(20 * HOUR), day(), Timing::Every(seconds(8 * HOUR)), None, 9), at(20 * HOUR));
    assert_eq!(next_rekey(at(20 * HOUR), day(), Timing::BeforeExpiry(seconds(8 * HOUR)), None, 9), at(20 * HOUR));
}

#[test]
fn a_period_that_would_end_with_the_certificate_leaves_time_for_a_second_try() {
    let due = next_rekey(at(0), day(), Timing::Every(seconds(24 * HOUR - 1)), None, 0);
    assert_eq!(due, at(24 * HOUR - 86_460 / 20));
}

#[test]
fn a_lead_longer_than_the_validity_does_not_make_the_daemon_spin() {
    let due = next_rekey(at(0), day(), Timing::BeforeExpiry(seconds(48 * HOUR)), Some(at(0)), 5);
    assert_eq!(due, at(HOUR));
}

#[test]
fn a_clock_that_is_ahead_of_the_certificates_does_not_make_the_daemon_spin() {
    let now = at(48 * HOUR);
    assert_eq!(next_rekey(now, day(), Timing::LastThird, Some(now), 5), at(49 * HOUR));
    assert_eq!(next_rekey(now, day(), Timing::LastThird, None, 5), now);
}

#[test]
fn a_success_in_the_future_does_not_put_the_next_one_off_for_long() {
    // The clock was set back by a year after the last success.
    let due = next_rekey(at(0), day(), Timing::LastThird, Some(at(365 * 24 * HOUR)), 0);
    assert_eq!(due, at(24 * HOUR - 86_460 / 3));
}

#[test]
fn the_back_off_doubles_up_to_ten_minutes() {
    let far = at(365 * 24 * HOUR);
    for (failures, longest) in
        [(0, 10), (1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 320), (7, 600), (8, 600), (u32::MAX, 600)]
    {
        assert_eq!(next_retry(at(0), far, failures, 0), at(0) + seconds(longest) / 2, "{failures}");
        let latest = next_retry(at(0), far, failures, u64::MAX);
        assert!(latest <= at(longest) && latest > at(0) + seconds(longest) * 9 / 10, "{failures}: {latest}");
    }
}

#[test]
fn a_sleep_is_short_and_follows_the_wall_clock() {
    assert_eq!(sleep_towards(at(0), at(HOUR)), LONGEST_SLEEP);
    assert_eq!(sleep_towards(at(0), at(5)), seconds(5));
    assert_eq!(sleep_towards(at(10), at(5)), SignedDuration::ZERO);
}

fn timings() -> impl Strategy<Value = Timing> {
    let lengths = (-1_000_000_i64..100_000_000).prop_map(seconds);
    prop_oneof![
        Just(Timing::LastThird),
        lengths.clone().prop_map(Timing::BeforeExpiry),
        lengths.prop_map(Timing::Every),
        prop_oneof![Just(SignedDuration::MIN), Just(SignedDuration::MAX)].prop_map(Timing::BeforeExpiry),
        prop_oneof![Just(SignedDuration::MIN), Just(SignedDuration::MAX)].prop_map(Timing::Every),
    ]
}

#[test]
fn ten_thousand_that_are_due_in_one_minute_are_spread() {
    let validity = Validity { not_before: at(0), not_after: at(24 * HOUR) };
    for timing in [Timing::LastThird, Timing::Every(seconds(16 * HOUR))] {
        let mut minutes = std::collections::BTreeMap::new();
        // Chance that is spread evenly, as a generator's is.
        for seed in (0..10_000_u64).map(|index| index.wrapping_mul(0x9E37_79B9_7F4A_7C15)) {
            let next = next_of_many(at(0), validity, timing, None, None, seed);
            *minutes.entry(next.as_second() / 60).or_insert(0_u32) += 1;
        }
        // A twentieth of a day is 72 minutes, of sixteen hours 48.
        assert!(minutes.len() >= 48, "{timing:?}: {} minutes", minutes.len());
        assert!(minutes.values().all(|count| *count < 250), "{timing:?}: {minutes:?}");
    }
}

proptest! {
    #[test]
    fn a_rekey_is_never_planned_for_the_past_or_after_the_end(
        start in -100_000_i64..100_000,
        length in 0_i64..50_000_000,
        passed in -1_000_i64..60_000_000,
        since_success in proptest::option::of(-1_000_i64..100_000),
        timing in timings(),
        seed: u64,
    ) {
        let validity = Validity { not_before: at(start), not_after: at(start + length) };
        let now = at(start + passed);
        let last_success = since_success.map(|ago| now - seconds(ago));
        let due = next_rekey(now, validity, timing, last_success, seed);
        prop_assert!(due >= now);
        if validity.not_after > now {
            prop_assert!(due < validity.not_after.max(now + FLOOR * 2), "due {} end {}", due, validity.not_after);
        }
        if let Some(success) = last_success {
            prop_assert!(due >= success.min(now) + FLOOR);
        }
    }

    #[test]
    fn a_daemon_that_always_succeeds_does_at_most_a_few_dozen_rekeys_per_validity(
        length in 60_i64..10_000_000,
        skew in -200_000_i64..200_000,
        timing in timings(),
        seeds in proptest::collection::vec(any::<u64>(), 200),
    ) {
        prop_assume!(!matches!(timing, Timing::Every(period) if period.is_positive() && period < seconds(length / 20)));
        let issue = |now: Timestamp| {
            let start = now + seconds(skew);
            Validity { not_before: start - seconds(60), not_after: start + seconds(length) }
        };
        let begin = at(1_000_000_000);
        let (mut now, mut last, mut validity) = (begin, None, issue(begin));
        let mut rekeys = 0;
        for seed in seeds {
            now = next_rekey(now, validity, timing, last, seed);
            if now > begin + seconds(length) {
                break;
            }
            rekeys += 1;
            validity = issue(now);
            last = Some(now);
        }
        // A twentieth of the validity, or an hour, lies between two; only a certificate that the clock calls nearly
        // over is replaced faster, and even then never twice in a second.
        let most = 22 + length / HOUR + if skew < 0 && skew + length < length / 10 + 120 { 200 } else { 0 };
        prop_assert!(rekeys <= most, "{} rekeys, at most {}", rekeys, most);
    }

    #[test]
    fn one_of_many_comes_at_most_its_jitter_earlier_and_never_too_late(
        length in 600_i64..10_000_000,
        jitter in 0_i64..10_000_000,
        seed: u64,
    ) {
        let validity = Validity { not_before: at(0), not_after: at(length) };
        for timing in [Timing::LastThird, Timing::BeforeExpiry(seconds(length / 2)), Timing::Every(seconds(length / 2))] {
            let latest = next_rekey(at(0), validity, timing, None, 0);
            let next = next_of_many(at(0), validity, timing, Some(seconds(jitter)), None, seed);
            prop_assert!(next <= latest && next >= at(0));
            prop_assert!(next + seconds(jitter) >= latest);
        }
    }

    #[test]
    fn several_tries_fit_before_the_end(remaining in 20_i64..1_000_000, seeds in proptest::collection::vec(any::<u64>(), 6)) {
        let end = at(remaining);
        let mut now = at(0);
        for (failures, seed) in (1..=3).zip(seeds) {
            let next = next_retry(now, end, failures, seed);
            prop_assert!(next >= now + FLOOR);
            prop_assert!(next < end);
            now = next;
        }
    }

    #[test]
    fn tries_go_on_after_the_end_without_spinning(late in 0_i64..1_000_000, failures: u32, seed: u64) {
        let now = at(late);
        let next = next_retry(now, at(0), failures, seed);
        prop_assert!(next >= now + seconds(5) && next <= now + LONGEST_BACKOFF);
    }

    #[test]
    fn chance_takes_any_share_but_never_the_whole(whole in 1_i64..i64::MAX, seed: u64) {
        let share = part(SignedDuration::from_nanos(whole), seed);
        prop_assert!(!share.is_negative() && share < SignedDuration::from_nanos(whole));
    }
}
