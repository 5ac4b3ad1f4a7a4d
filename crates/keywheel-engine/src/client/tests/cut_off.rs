//! What an earlier run left behind, and what changes while nobody holds the files.

use std::os::unix::fs::PermissionsExt;

use jiff::{SignedDuration, Timestamp};
use keywheel_reach::hook::HookOptions;
use keywheel_wire::x509::certificate::Certificate;

use super::{World, run};
use crate::client::afterwards::Afterwards;
use crate::client::daemon::{self, Command, DaemonOptions, Event, Job};
use crate::client::error::{ClientError, Fault};
use crate::client::key_choice::KeyChoice;
use crate::client::rekey::{self, RekeyOptions, RekeyOutcome};

#[tokio::test]
async fn a_refusal_after_a_lost_reply_does_not_cost_the_key_that_may_have_been_certified() {
    let world = World::with_certificate().await;
    let options = RekeyOptions { certifier: world.losing_then_refusing(2), ..world.options() };
    run(&options).await.unwrap_err();
    let key = std::fs::read(world.path(".svc.key.keywheel/key.pem")).unwrap();
    for _ in 0..2 {
        let Err(ClientError::Refused { hint: Some(hint), .. }) = run(&options).await else { panic!("not refused") };
        assert!(hint.contains(".svc.key.keywheel"), "{hint}");
        assert_eq!(std::fs::read(world.path(".svc.key.keywheel/key.pem")).unwrap(), key);
    }
    assert!(run(&options).await.unwrap().resumed);
    assert_eq!(std::fs::read(world.path("svc.key")).unwrap(), key);
    assert_eq!(world.names(), ["home", "svc.crt", "svc.key"]);
}

#[tokio::test]
async fn a_lost_reply_is_gone_after_whatever_the_gate_says() {
    let world = World::with_certificate().await;
    let options = RekeyOptions { certifier: world.losing(1), ..world.options() };
    run(&options).await.unwrap_err();
    let options = RekeyOptions { expires_in: Some(SignedDuration::from_hours(1)), ..options };
    assert!(run(&options).await.unwrap().resumed);
}

#[tokio::test]
async fn a_daemon_goes_on_at_its_start_with_what_was_cut_off() {
    let world = World::with_certificate().await;
    let job = RekeyOptions { certifier: world.losing(1), ..world.options() };
    run(&job).await.unwrap_err();
    let (commands, receiver) = tokio::sync::mpsc::channel(8);
    let (events, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let options = DaemonOptions { job: Job::Rekey(job), period: None };
    let running = tokio::spawn(daemon::run(options, receiver, move |event| events.send(event).unwrap()));
    let report = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            match seen.recv().await.unwrap() {
                Event::Done(report) => break report,
                Event::Failed { error, .. } => panic!("{error:?}"),
                _ => {}
            }
        }
    });
    assert!(report.await.unwrap().resumed);
    drop(commands);
    running.await.unwrap().unwrap();
}

/// Leaves the world as a process does that died after both files were in place.
fn cut_before_the_hook(world: &World, old: &Certificate) {
    let place = world.path(".svc.key.keywheel");
    std::fs::create_dir(&place).unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o700)).unwrap();
    let journal = serde_json::json!({
        "version": 1, "phase": "installed", "certificate": world.path("svc.crt"), "key": world.path("svc.key"),
        "old_certificate": old.to_pem(), "old_certificate_file": null, "old_key_file": null, "chain": null,
    });
    std::fs::write(place.join("journal.json"), journal.to_string()).unwrap();
}

#[tokio::test]
async fn a_hook_that_a_crash_cut_off_runs_at_the_next_start_once() {
    let world = World::with_certificate().await;
    let old = world.leaf("svc.crt");
    run(&world.options()).await.unwrap();
    let new = world.leaf("svc.crt");
    cut_before_the_hook(&world, &old);
    let told = world.path("told");
    let exec = format!("sh -c 'echo $KEYWHEEL_SERIAL $KEYWHEEL_OLD_SERIAL >> {}'", told.display());
    let hook = HookOptions { exec: Some(exec), ..HookOptions::default() };
    let afterwards = Afterwards { hook, ..Afterwards::default() };
    let options = RekeyOptions { afterwards, expires_in: Some(SignedDuration::from_hours(1)), ..world.options() };
    let plan = rekey::check(&options, Timestamp::now()).await.unwrap();
    assert!(plan.not_yet().is_none() && plan.overwrites().is_empty());
    let RekeyOutcome::Done(report) = plan.run().await.unwrap() else { panic!("not done") };
    assert!(report.resumed);
    assert_eq!(world.leaf("svc.crt"), new, "the pair of the earlier run is good enough");
    // Everybody knows now.
    let plan = rekey::check(&options, Timestamp::now()).await.unwrap();
    assert!(plan.not_yet().is_some());
    plan.run().await.unwrap();
    assert_eq!(std::fs::read_to_string(&told).unwrap(), format!("{} {}\n", new.serial(), old.serial()));
    assert_eq!(world.names(), ["home", "svc.crt", "svc.key", "told"]);
}

#[tokio::test]
async fn the_hook_of_a_renewal_that_was_cut_off_runs_too_and_is_no_rekey() {
    let world = World::with_certificate().await;
    let told = world.path("told");
    let hook = HookOptions { exec: Some(format!("sh -c 'echo told >> {}'", told.display())), ..HookOptions::default() };
    let afterwards = Afterwards { hook, ..Afterwards::default() };
    let hour = Some(SignedDuration::from_hours(1));
    cut_before_the_hook(&world, &world.leaf("svc.crt"));
    let options = RekeyOptions { afterwards: afterwards.clone(), expires_in: hour, ..world.options() };
    let plan = rekey::check(&options, Timestamp::now()).await.unwrap();
    assert!(matches!(plan.run().await.unwrap(), RekeyOutcome::NotYet { .. }));
    assert_eq!(std::fs::read_to_string(&told).unwrap(), "told\n");

    cut_before_the_hook(&world, &world.leaf("svc.crt"));
    let old = world.leaf("svc.crt");
    run(&RekeyOptions { expires_in: None, ..options }).await.unwrap();
    assert_ne!(world.leaf("svc.crt").key_digest(), old.key_digest());
    // Of the renewal, then of the rekey.
    assert_eq!(std::fs::read_to_string(&told).unwrap(), "told\ntold\ntold\n");
    assert_eq!(world.names(), ["home", "svc.crt", "svc.key", "told"]);
}

#[tokio::test]
async fn nothing_is_held_while_a_person_is_asked_and_what_changed_meanwhile_is_noticed() {
    let world = World::with_certificate().await;
    let plan = rekey::check(&world.options(), Timestamp::now()).await.unwrap();
    assert_eq!(world.names(), ["home", "svc.crt", "svc.key"]);
    run(&world.options()).await.unwrap();
    let between = world.leaf("svc.crt");
    assert!(matches!(plan.run().await, Err(ClientError::Changed { .. })));
    assert_eq!(world.leaf("svc.crt"), between);
}

#[tokio::test]
async fn a_service_that_is_down_does_not_keep_the_old_key_in_use() {
    let world = World::with_certificate().await;
    let old = world.leaf("svc.crt");
    let pid_file = world.path("svc.pid");
    std::fs::write(&pid_file, std::process::id().to_string()).unwrap();
    let hook = HookOptions { pid_file: Some(pid_file.clone()), signal: 28, ..HookOptions::default() };
    let afterwards = Afterwards { hook, ..Afterwards::default() };
    let job = Job::Rekey(RekeyOptions { afterwards, ..world.options() });
    let (commands, receiver) = tokio::sync::mpsc::channel(8);
    let (events, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let options = DaemonOptions { job, period: None };
    let running = tokio::spawn(daemon::run(options, receiver, move |event| events.send(event).unwrap()));
    assert!(matches!(seen.recv().await.unwrap(), Event::Scheduled { first: true, .. }));
    std::fs::remove_file(&pid_file).unwrap();
    commands.send(Command::Now).await.unwrap();
    match seen.recv().await.unwrap() {
        Event::HookFailed { .. } => {}
        other => panic!("{other:?}"),
    }
    assert_ne!(world.leaf("svc.crt"), old);
    drop(commands);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_key_that_every_user_can_read_is_spoken_of() {
    let world = World::with_certificate().await;
    std::fs::set_permissions(world.path("svc.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let report = run(&world.options()).await.unwrap();
    assert!(report.warnings.iter().any(|warning| warning.contains("mode 0644")), "{:?}", report.warnings);
}

#[tokio::test]
async fn a_refused_request_for_another_key_leaves_the_one_that_may_have_been_answered() {
    let world = World::with_certificate().await;
    let options = RekeyOptions { certifier: world.losing_then_refusing(1), ..world.options() };
    run(&options).await.unwrap_err();
    let key = std::fs::read(world.path(".svc.key.keywheel/key.pem")).unwrap();
    let ed25519 = KeyChoice { kty: Some("OKP".to_owned()), ..KeyChoice::default() };
    let error = run(&RekeyOptions { key_choice: ed25519, ..options.clone() }).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Refused);
    assert!(run(&options).await.unwrap().resumed);
    assert_eq!(std::fs::read(world.path("svc.key")).unwrap(), key);
    assert_eq!(world.names(), ["home", "svc.crt", "svc.key"]);
}
