//! The keeper against a turned clock, a CA that is away, and files that contradict one another: no disk, no network.

use keywheel_core::validity::Validity;

use super::super::config::{Content, Surroundings};
use super::super::sources::{Loaded, Scan};
use super::*;

const HOUR: i64 = 3600;

fn at(second: i64) -> Now {
    let wall = Timestamp::from_second(1_900_000_000 + second).unwrap();
    Now { wall, steady: Duration::from_secs(u64::try_from(second).unwrap()) }
}

fn keeper() -> Keeper {
    Keeper::new(false, || u64::MAX / 2)
}

/// A certificate of a day that was issued at the beginning of time.
fn facts() -> Facts {
    let validity = Validity { not_before: at(0).wall, not_after: at(24 * HOUR).wall };
    Facts { validity, stamp: Stamp::default(), is_begun: false }
}

/// What files say, each with these names of certificates.
fn scan(files: &[(&str, &[&str])]) -> Scan {
    scan_with(files, "")
}

fn scan_with(files: &[(&str, &[&str])], more: &str) -> Scan {
    let surroundings =
        Surroundings { ca_url: Some("https://ca".to_owned()), root: "root.crt".into(), credentials: None };
    let mut scan = Scan::default();
    for (file, names) in files {
        let text = format!("[[certificate]]\nname = \"x\"\ncertificate = \"x.crt\"\nkey = \"x.key\"\n{more}");
        let mut content = Content::parse(Path::new(file), &text, None, &surroundings).unwrap();
        let profile = Arc::new(content.entries.pop().unwrap().profile);
        scan.entries.extend(names.iter().enumerate().map(|(index, name)| Loaded {
            name: Arc::from(*name),
            certificate: Path::new(&format!("{name}.crt")).into(),
            key: Some(Path::new(&format!("{name}.key")).into()),
            profile: profile.clone(),
            line: 1 + index * text.lines().count(),
            source: scan.found.len(),
            facts: Ok(facts()),
        }));
        scan.found.push((Arc::from(Path::new(file)), Ok(())));
    }
    scan
}

fn names(keeper: &Keeper) -> Vec<String> {
    let mut names: Vec<String> = keeper.pairs.iter().map(|(_, managed)| managed.name.to_string()).collect();
    names.sort();
    names
}

fn silence(slot: Slot) -> Done {
    Done { slot, outcome: Err(ClientError::Unanswered("nobody".into())), facts: Ok(facts()) }
}

fn renewed(slot: Slot, now: Now) -> Done {
    let validity = Validity { not_before: now.wall, not_after: now.wall + SignedDuration::from_hours(24) };
    let outcome = Ok(RekeyOutcome::NotYet { remaining: SignedDuration::ZERO });
    Done { slot, outcome, facts: Ok(Facts { validity, ..facts() }) }
}

#[test]
fn each_is_started_once_when_two_thirds_of_its_life_are_over() {
    let mut keeper = keeper();
    keeper.apply(scan(&[("a.toml", &["a", "b"])]), at(0));
    assert!(keeper.tick(at(14 * HOUR)).jobs.is_empty());
    // Half of the jitter: a fortieth of a day earlier than sixteen hours.
    let mut started = keeper.tick(at(16 * HOUR)).jobs;
    started.extend(keeper.tick(at(16 * HOUR + 1)).jobs);
    assert_eq!(started.len(), 2);
    let now = at(16 * HOUR + 2);
    for job in started {
        keeper.ended(renewed(job.slot, now), now);
    }
    assert!(keeper.tick(at(29 * HOUR)).jobs.is_empty());
    let next: usize = (0..5).map(|second| keeper.tick(at(33 * HOUR + second)).jobs.len()).sum();
    assert_eq!(next, 2);
}

#[test]
fn ten_thousand_that_are_due_together_are_begun_no_faster_than_the_limits_and_all_before_their_end() {
    let mut keeper = keeper();
    let all: Vec<String> = (0..10_000).map(|number| format!("s{number}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    keeper.apply(scan(&[("a.toml", &all)]), at(0));
    let (mut begun, mut in_flight) = (0, VecDeque::new());
    let mut now = at(20 * HOUR);
    let start = now;
    while begun < all.len() {
        let jobs = keeper.tick(now).jobs;
        begun += jobs.len();
        in_flight.extend(jobs.into_iter().map(|job| (now.steady + Duration::from_millis(50), job.slot)));
        assert!(in_flight.len() <= keeper.settings.limits.at_once as usize);
        let passed = now.steady - start.steady;
        assert!(begun as f64 <= passed.as_secs_f64() * 50.0 + 7.0, "{begun} after {passed:?}");
        assert!(now.wall < at(24 * HOUR).wall, "{begun} of them were begun in time");
        let step = keeper.sleep(now).clamp(Duration::from_millis(1), Duration::from_millis(20));
        now = Now { wall: now.wall + SignedDuration::try_from(step).unwrap(), steady: now.steady + step };
        while in_flight.front().is_some_and(|(end, _)| *end <= now.steady) {
            if let Some((_, slot)) = in_flight.pop_front() {
                keeper.ended(renewed(slot, now), now);
            }
        }
    }
    assert!(now.steady - start.steady < Duration::from_secs(210), "{:?}", now.steady - start.steady);
}

#[test]
fn the_certificate_that_ends_first_goes_first() {
    let mut keeper = keeper();
    keeper.settings.at_once = 1;
    let mut scan = scan(&[("a.toml", &["later", "sooner"])]);
    scan.entries[0].facts.as_mut().unwrap().validity.not_after = at(25 * HOUR).wall;
    keeper.apply(scan, at(0));
    let jobs = keeper.tick(at(20 * HOUR)).jobs;
    assert_eq!(jobs.len(), 1);
    assert_eq!(&*keeper.pairs.get(jobs[0].slot).unwrap().name, "sooner");
}

#[test]
fn a_silent_authority_is_asked_by_one_alone_and_the_rest_follow_when_it_is_back() {
    let mut keeper = keeper();
    keeper.apply(scan(&[("a.toml", &["a", "b", "c", "d"])]), at(0));
    keeper.settings.limits.at_once = 2;
    let mut first = keeper.tick(at(20 * HOUR)).jobs;
    first.extend(keeper.tick(at(20 * HOUR + 1)).jobs);
    assert_eq!(first.len(), 2);
    for job in &first {
        keeper.ended(silence(job.slot), at(20 * HOUR + 2));
    }
    assert!(keeper.tick(at(20 * HOUR + 2)).jobs.is_empty(), "it was just silent");
    let probe = keeper.tick(at(20 * HOUR + 5)).jobs;
    assert_eq!(probe.len(), 1);
    let back = at(20 * HOUR + 6);
    keeper.ended(renewed(probe[0].slot, back), back);
    let mut rest = 0;
    for second in 7..20 {
        let now = at(20 * HOUR + second);
        for job in keeper.tick(now).jobs {
            rest += 1;
            keeper.ended(renewed(job.slot, now), now);
        }
    }
    assert_eq!(rest, 3, "those that failed since it was away wait no longer");
}

#[test]
fn a_clock_that_was_ahead_for_a_while_puts_nothing_off() {
    let mut keeper = keeper();
    keeper.apply(scan(&[("a.toml", &["a"])]), at(0));
    keeper.tick(at(0));
    let year = SignedDuration::from_hours(365 * 24);
    let ahead = Now { wall: at(10).wall + year, steady: at(10).steady };
    let job = keeper.tick(ahead).jobs.pop().expect("by the wrong clock it is over");
    keeper.ended(silence(job.slot), ahead);
    assert!(keeper.tick(at(20)).jobs.is_empty());
    let due = keeper.pairs.get(job.slot).unwrap().due_at();
    assert!(due <= at(20).wall + SignedDuration::from_mins(10), "{due}");
}

#[test]
fn a_file_that_contradicts_another_is_refused_as_a_whole_and_keeps_what_it_said() {
    let mut keeper = keeper();
    keeper.apply(scan(&[("a.toml", &["a"]), ("b.toml", &["b"])]), at(0));
    let applied = keeper.apply(scan(&[("b.toml", &["c", "a"])]), at(1));
    assert!(matches!(&applied.events[..], [Event::ConfigBroken { error }] if error.line == 5), "{:?}", applied.events);
    assert_eq!(applied.refused, [Arc::from(Path::new("b.toml"))]);
    assert_eq!(names(&keeper), ["a", "b"]);
    // Twice in one file.
    keeper.apply(scan(&[("c.toml", &["d", "d"])]), at(1));
    assert_eq!(names(&keeper), ["a", "b"]);
    // Once the other file is gone there is nothing to contradict; a certificate may move from one to another.
    let moved = Scan { gone: vec![Arc::from(Path::new("a.toml"))], ..scan(&[("b.toml", &["c", "a"])]) };
    let applied = keeper.apply(moved, at(2));
    assert_eq!(names(&keeper), ["a", "c"]);
    assert_eq!((applied.loading.added, applied.loading.removed), (1, 1));
}

#[test]
fn what_is_changed_or_removed_while_it_is_under_way_is_so_afterwards() {
    let mut keeper = keeper();
    keeper.apply(scan(&[("a.toml", &["a", "b"])]), at(0));
    let mut jobs = keeper.tick(at(20 * HOUR)).jobs;
    jobs.extend(keeper.tick(at(20 * HOUR + 1)).jobs);
    keeper.apply(scan_with(&[("a.toml", &["a"])], "rekey-period = \"1h\"\n"), at(20 * HOUR + 2));
    assert_eq!(names(&keeper), ["a", "b"]);
    let now = at(20 * HOUR + 3);
    for job in jobs {
        keeper.ended(renewed(job.slot, now), now);
    }
    assert_eq!(names(&keeper), ["a"]);
    let slot = keeper.pairs.find("a").unwrap();
    assert_eq!(keeper.pairs.get(slot).unwrap().profile.period, Some(SignedDuration::from_hours(1)));
    assert!(keeper.under_way.is_empty());
}

#[test]
fn one_of_them_takes_little_memory() {
    assert!(std::mem::size_of::<Managed>() <= 176, "{}", std::mem::size_of::<Managed>());
}
