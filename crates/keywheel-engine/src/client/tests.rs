//! The client against a whole authority of ours in this process: real files, real keys, a real database.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::{SignedDuration, Timestamp};
use keywheel_reach::hook::HookOptions;
use keywheel_signer::file_key::FileKey;
use keywheel_wire::private_key::{Encoding, KeyKind};
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::certificate::Certificate;
use zeroize::Zeroizing;

use super::access::{Certifier, LocalAuthority, LocalRequest};
use super::afterwards::Afterwards;
use super::certificate::{self, Authorization, CertificateOptions};
use super::daemon::{self, Command, DaemonOptions, Event, Job};
use super::error::{ClientError, Fault};
use super::key_choice::KeyChoice;
use super::rekey::{self, RekeyOptions, RekeyOutcome, RekeyReport};
use super::renew::{self, RenewOptions};
use super::revoke::{self, RevokeOptions, RevokeTarget};
use super::token::Provisioning;
use crate::authority::{Authority, AuthorityOptions};
use crate::home::{self, InitOptions};

mod cut_off;

const PASSWORD: &[u8] = b"correct horse";

/// A home with an authority, and a place for certificates.
struct World {
    scratch: tempfile::TempDir,
    certifier: Certifier,
    authority: LocalAuthority,
}

impl World {
    async fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let options = InitOptions {
            home: scratch.path().join("home"),
            name: "Test".to_owned(),
            dns_names: vec!["localhost".to_owned()],
            address: "127.0.0.1:0".to_owned(),
            ca_url: None,
            provisioner: "admin".to_owned(),
            password: Zeroizing::new(PASSWORD.to_vec()),
            provisioner_password: None,
            key_kind: KeyKind::EcP256,
            token: None,
            ssh: false,
            database: None,
            force: false,
            made_by_up: false,
        };
        let report = home::init(&options, now).unwrap();
        let options = AuthorityOptions {
            config_file: report.ca_json,
            password: Some(Zeroizing::new(PASSWORD.to_vec())),
            database: None,
            fresh_database: false,
        };
        let authority = LocalAuthority::from_authority(Authority::open(options, now).await.unwrap());
        Self { scratch, certifier: Certifier::Local(authority.clone()), authority }
    }

    /// With a first certificate for `svc.example.com`.
    async fn with_certificate() -> Self {
        let world = Self::new().await;
        world.issue(KeyChoice::default(), None).await;
        world
    }

    async fn issue(&self, key_choice: KeyChoice, key_password: Option<&[u8]>) {
        let provisioning =
            Provisioning { password: Some(Zeroizing::new(PASSWORD.to_vec())), ..Provisioning::default() };
        let options = CertificateOptions {
            subject: "svc.example.com".to_owned(),
            sans: Vec::new(),
            certificate: self.path("svc.crt"),
            key: self.path("svc.key"),
            key_choice,
            key_password: key_password.map(|password| Zeroizing::new(password.to_vec())),
            authorization: Authorization::Provisioner(provisioning),
            not_before: String::new(),
            not_after: String::new(),
            template_data: serde_json::Map::new(),
            certifier: self.certifier.clone(),
        };
        certificate::check(&options).await.unwrap().run().await.unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn options(&self) -> RekeyOptions {
        RekeyOptions {
            certificate: self.path("svc.crt"),
            key: self.path("svc.key"),
            out_certificate: None,
            out_key: None,
            private_key: None,
            key_choice: KeyChoice::default(),
            password: None,
            expires_in: None,
            certifier: self.certifier.clone(),
            mtls: true,
            layout: None,
            afterwards: Afterwards::default(),
            prove: true,
        }
    }

    fn leaf(&self, name: &str) -> Certificate {
        Certificate::from_pem(&std::fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn assert_pair(&self, certificate: &str, key: &str, password: Option<&[u8]>) {
        super::load::pair(&self.path(certificate), &self.path(key), password).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.scratch.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// An authority that certifies the first time but whose answer gets lost, then refuses `refused` times.
    fn losing_then_refusing(&self, refused: u32) -> Certifier {
        let (authority, asked) = (self.authority.clone(), Arc::new(AtomicU32::new(0)));
        Certifier::Local(LocalAuthority::new("localhost".to_owned(), move |request| {
            let (authority, number) = (authority.clone(), asked.fetch_add(1, Ordering::SeqCst));
            Box::pin(async move {
                if (1..=refused).contains(&number) {
                    return Err(ClientError::Refused { message: "no".to_owned(), status: Some(403), hint: None });
                }
                let answer = authority.ask(request).await?;
                if number == 0 { Err(ClientError::Unreachable("the reply was lost".into())) } else { Ok(answer) }
            })
        }))
    }

    /// An authority whose answers to the first `lost` requests get lost on the way back.
    fn losing(&self, lost: u32) -> Certifier {
        let (authority, asked) = (self.authority.clone(), Arc::new(AtomicU32::new(0)));
        Certifier::Local(LocalAuthority::new("localhost".to_owned(), move |request| {
            let (authority, asked) = (authority.clone(), asked.clone());
            Box::pin(async move {
                let answer = authority.ask(request).await?;
                if asked.fetch_add(1, Ordering::SeqCst) < lost {
                    return Err(ClientError::Unreachable("the reply was lost".into()));
                }
                Ok(answer)
            })
        }))
    }
}

async fn run(options: &RekeyOptions) -> Result<RekeyReport, ClientError> {
    match rekey::check(options, Timestamp::now()).await?.run().await? {
        RekeyOutcome::Done(report) => Ok(*report),
        RekeyOutcome::NotYet { remaining } => panic!("not yet: {remaining}"),
    }
}

#[tokio::test]
async fn a_rekey_replaces_key_and_certificate_and_leaves_nothing_behind() {
    let world = World::with_certificate().await;
    let old = world.leaf("svc.crt");
    std::fs::set_permissions(world.path("svc.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let report = run(&world.options()).await.unwrap();
    let new = world.leaf("svc.crt");
    world.assert_pair("svc.crt", "svc.key", None);
    assert_ne!(new.key_digest(), old.key_digest());
    assert_eq!(new.subject(), old.subject());
    assert_eq!((report.old.serial, report.new.serial), (old.serial().to_string(), new.serial().to_string()));
    assert!(!report.resumed && report.warnings.is_empty());
    let mode = std::fs::metadata(world.path("svc.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(world.names(), ["home", "svc.crt", "svc.key"]);
}

#[tokio::test]
async fn after_a_lost_reply_the_next_run_goes_on_with_the_same_key() {
    let world = World::with_certificate().await;
    let old = world.leaf("svc.crt");
    let options = RekeyOptions { certifier: world.losing(1), ..world.options() };
    let error = run(&options).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Unreachable);
    assert_eq!(world.leaf("svc.crt"), old);
    world.assert_pair("svc.crt", "svc.key", None);
    let pending = std::fs::read(world.path(".svc.key.keywheel/key.pem")).unwrap();

    let plan = rekey::check(&options, Timestamp::now()).await.unwrap();
    assert!(plan.resumes());
    let RekeyOutcome::Done(report) = plan.run().await.unwrap() else { panic!("not done") };
    assert!(report.resumed);
    assert_eq!(std::fs::read(world.path("svc.key")).unwrap(), pending);
    world.assert_pair("svc.crt", "svc.key", None);
    assert_eq!(world.names(), ["home", "svc.crt", "svc.key"]);
}

#[tokio::test]
async fn a_request_for_another_kind_of_key_is_begun_afresh() {
    let world = World::with_certificate().await;
    let options = RekeyOptions { certifier: world.losing(1), ..world.options() };
    run(&options).await.unwrap_err();
    let ed25519 = KeyChoice { kty: Some("OKP".to_owned()), ..KeyChoice::default() };
    let report = run(&RekeyOptions { key_choice: ed25519, ..options }).await.unwrap();
    assert!(!report.resumed);
    assert_eq!(report.new.key_kind, KeyKind::Ed25519.to_string());
    world.assert_pair("svc.crt", "svc.key", None);
}

#[tokio::test]
async fn a_refused_request_leaves_the_old_pair_and_no_journal() {
    let world = World::with_certificate().await;
    let old = world.leaf("svc.crt");
    let target = RevokeTarget::Itself {
        certificate: world.path("svc.crt"),
        key: world.path("svc.key"),
        management: None,
        password: None,
    };
    let certifier = world.certifier.clone();
    revoke::revoke(&RevokeOptions { target, reason_code: 4, reason: String::new(), certifier }).await.unwrap();
    let error = run(&world.options()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Refused, "{error:?}");
    assert_eq!(world.leaf("svc.crt"), old);
    assert_eq!(world.names(), ["home", "svc.crt", "svc.key"]);
}

#[tokio::test]
async fn an_encrypted_key_stays_encrypted_with_the_same_password() {
    let world = World::new().await;
    world.issue(KeyChoice::default(), Some(b"secret")).await;
    assert!(matches!(run(&world.options()).await, Err(ClientError::PasswordRequired { .. })));
    let wrong = RekeyOptions { password: Some(Zeroizing::new(b"other".to_vec())), ..world.options() };
    assert!(matches!(run(&wrong).await, Err(ClientError::WrongPassword { .. })));
    let options = RekeyOptions { password: Some(Zeroizing::new(b"secret".to_vec())), ..world.options() };
    run(&options).await.unwrap();
    assert!(std::fs::read_to_string(world.path("svc.key")).unwrap().contains("ENCRYPTED PRIVATE KEY"));
    world.assert_pair("svc.crt", "svc.key", Some(b"secret"));
}

#[tokio::test]
async fn the_encoding_of_the_key_is_kept_where_the_new_kind_has_it() {
    let world = World::with_certificate().await;
    let label = |world: &World| {
        let text = std::fs::read_to_string(world.path("svc.key")).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    run(&world.options()).await.unwrap();
    assert_eq!(label(&world), "-----BEGIN EC PRIVATE KEY-----");
    let rsa = KeyChoice { kty: Some("RSA".to_owned()), ..KeyChoice::default() };
    run(&RekeyOptions { key_choice: rsa, ..world.options() }).await.unwrap();
    assert_eq!(label(&world), "-----BEGIN RSA PRIVATE KEY-----");
    let (key, _) = FileKey::from_pem(&std::fs::read(world.path("svc.key")).unwrap(), None).unwrap();
    std::fs::write(world.path("svc.key"), key.to_pem(Encoding::Pkcs8, None).unwrap().as_bytes()).unwrap();
    run(&world.options()).await.unwrap();
    assert_eq!(label(&world), "-----BEGIN PRIVATE KEY-----");
}

#[tokio::test]
async fn a_given_key_is_installed_with_its_certificate() {
    let world = World::with_certificate().await;
    let given = FileKey::generate(KeyKind::EcP384).unwrap();
    std::fs::write(world.path("foo.key"), given.to_pem(Encoding::Pkcs8, None).unwrap().as_bytes()).unwrap();
    let before = std::fs::read(world.path("foo.key")).unwrap();
    let options = RekeyOptions { private_key: Some(world.path("foo.key")), ..world.options() };
    run(&options).await.unwrap();
    world.assert_pair("svc.crt", "svc.key", None);
    assert_eq!(world.leaf("svc.crt").spki(), given.public_key());
    assert_eq!(std::fs::read(world.path("foo.key")).unwrap(), before);
    // The same key again would be no new key.
    assert_eq!(run(&options).await.unwrap_err().fault(), Fault::Usage);
}

#[tokio::test]
async fn other_targets_leave_the_old_pair_alone() {
    let world = World::with_certificate().await;
    let old = (std::fs::read(world.path("svc.crt")).unwrap(), std::fs::read(world.path("svc.key")).unwrap());
    let options = RekeyOptions {
        out_certificate: Some(world.path("out.crt")),
        out_key: Some(world.path("out.key")),
        ..world.options()
    };
    assert!(rekey::check(&options, Timestamp::now()).await.unwrap().overwrites().is_empty());
    run(&options).await.unwrap();
    world.assert_pair("out.crt", "out.key", None);
    assert_eq!((std::fs::read(world.path("svc.crt")).unwrap(), std::fs::read(world.path("svc.key")).unwrap()), old);
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_the_authority_is_asked() {
    let world = World::with_certificate().await;
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let certifier = Certifier::Local(LocalAuthority::new("localhost".to_owned(), move |_: LocalRequest| {
        counter.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Err(ClientError::Unreachable("asked".into())) })
    }));
    let options = RekeyOptions { certifier, ..world.options() };
    let foreign = FileKey::generate(KeyKind::EcP256).unwrap();
    std::fs::write(world.path("foreign.key"), foreign.to_pem(Encoding::Sec1, None).unwrap().as_bytes()).unwrap();
    let before = world.names();
    let hook = |exec: &str| Afterwards {
        hook: HookOptions { exec: Some(exec.to_owned()), ..HookOptions::default() },
        ..Afterwards::default()
    };
    let bad_kty = KeyChoice { kty: Some("FOO".to_owned()), ..KeyChoice::default() };
    let cases = [
        RekeyOptions { key: world.path("foreign.key"), ..options.clone() },
        RekeyOptions { key: world.path("missing.key"), ..options.clone() },
        RekeyOptions { certificate: world.path("missing.crt"), ..options.clone() },
        RekeyOptions { out_certificate: Some(world.path("svc.key")), ..options.clone() },
        RekeyOptions { out_key: Some(world.path("no/such/directory.key")), ..options.clone() },
        RekeyOptions { out_key: Some(world.path("home")), ..options.clone() },
        RekeyOptions { out_certificate: Some("/proc/svc.crt".into()), ..options.clone() },
        RekeyOptions { private_key: Some(world.path("svc.crt")), ..options.clone() },
        RekeyOptions { private_key: Some(world.path("svc.key")), ..options.clone() },
        RekeyOptions { afterwards: hook("/no/such/program"), ..options.clone() },
        RekeyOptions { afterwards: hook("echo 'open"), ..options.clone() },
        RekeyOptions { key_choice: bad_kty, ..options.clone() },
    ];
    for (number, case) in cases.iter().enumerate() {
        let error = rekey::check(case, Timestamp::now()).await.err().unwrap_or_else(|| panic!("case {number} passed"));
        assert!(matches!(error.fault(), Fault::Usage | Fault::Failed), "case {number}: {error:?}");
        assert_eq!(world.names(), before, "case {number}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_failing_hook_is_told_apart_and_the_new_pair_stays() {
    let world = World::with_certificate().await;
    let old = world.leaf("svc.crt");
    let out = world.path("seen");
    let exec = format!("sh -c 'echo $KEYWHEEL_SERIAL $KEYWHEEL_OLD_SERIAL > {}; exit 9'", out.display());
    let hook = HookOptions { exec: Some(exec), ..HookOptions::default() };
    let afterwards = Afterwards { hook, ..Afterwards::default() };
    let error = run(&RekeyOptions { afterwards, ..world.options() }).await.unwrap_err();
    assert_eq!(error.fault(), Fault::NotTaken);
    let new = world.leaf("svc.crt");
    assert_ne!(new, old);
    world.assert_pair("svc.crt", "svc.key", None);
    assert_eq!(std::fs::read_to_string(out).unwrap(), format!("{} {}\n", new.serial(), old.serial()));
}

#[tokio::test]
async fn nothing_is_done_while_the_certificate_is_good_for_long() {
    let world = World::with_certificate().await;
    let options = RekeyOptions { expires_in: Some(SignedDuration::from_hours(1)), ..world.options() };
    let plan = rekey::check(&options, Timestamp::now()).await.unwrap();
    assert!(plan.not_yet().is_some_and(|remaining| remaining > SignedDuration::from_hours(20)));
    assert!(matches!(plan.run().await.unwrap(), RekeyOutcome::NotYet { .. }));
    let options = RekeyOptions { expires_in: Some(SignedDuration::from_hours(9999)), ..world.options() };
    run(&options).await.unwrap();
}

#[tokio::test]
async fn a_renewal_keeps_the_key() {
    let world = World::with_certificate().await;
    let (old, key) = (world.leaf("svc.crt"), std::fs::read(world.path("svc.key")).unwrap());
    let options = RenewOptions {
        certificate: world.path("svc.crt"),
        key: world.path("svc.key"),
        out: None,
        password: None,
        expires_in: None,
        certifier: world.certifier.clone(),
        mtls: true,
        layout: None,
        afterwards: Afterwards::default(),
    };
    renew::check(&options, Timestamp::now()).await.unwrap().run().await.unwrap();
    let new = world.leaf("svc.crt");
    assert_ne!(new.serial(), old.serial());
    assert_eq!(new.key_digest(), old.key_digest());
    assert_eq!(std::fs::read(world.path("svc.key")).unwrap(), key);
}

#[tokio::test]
async fn the_daemon_makes_a_new_key_each_time_it_is_told_to_and_ends_when_told() {
    let world = World::with_certificate().await;
    let (commands, receiver) = tokio::sync::mpsc::channel(8);
    let options = DaemonOptions { job: Job::Rekey(world.options()), period: None };
    let (events, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(daemon::run(options, receiver, move |event| events.send(event).unwrap()));
    let mut keys = vec![world.leaf("svc.crt").key_digest()];
    for _ in 0..3 {
        commands.send(Command::Now).await.unwrap();
        loop {
            match seen.recv().await.unwrap() {
                Event::Done(_) => break,
                Event::Failed { error, .. } => panic!("{error:?}"),
                _ => {}
            }
        }
        let key = world.leaf("svc.crt").key_digest();
        assert!(!keys.contains(&key));
        keys.push(key);
        world.assert_pair("svc.crt", "svc.key", None);
    }
    commands.send(Command::Stop).await.unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_daemon_backs_off_when_the_authority_is_away_and_goes_on_afterwards() {
    let world = World::with_certificate().await;
    let (commands, receiver) = tokio::sync::mpsc::channel(8);
    let job = Job::Rekey(RekeyOptions { certifier: world.losing(1), ..world.options() });
    let (events, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let options = DaemonOptions { job, period: None };
    let running = tokio::spawn(daemon::run(options, receiver, move |event| events.send(event).unwrap()));
    commands.send(Command::Now).await.unwrap();
    let retry_after = loop {
        if let Event::Failed { attempt, retry_after, .. } = seen.recv().await.unwrap() {
            assert_eq!(attempt, 1);
            break retry_after;
        }
    };
    assert!(retry_after >= SignedDuration::from_secs(1), "{retry_after}");
    commands.send(Command::Now).await.unwrap();
    let report = loop {
        match seen.recv().await.unwrap() {
            Event::Done(report) => break report,
            Event::Failed { error, .. } => panic!("{error:?}"),
            _ => {}
        }
    };
    assert!(report.resumed);
    drop(commands);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_daemon_refuses_at_the_start_what_it_could_not_do_later() {
    let world = World::with_certificate().await;
    let check = |job: RekeyOptions, period: Option<SignedDuration>| async move {
        daemon::check(&DaemonOptions { job: Job::Rekey(job), period }, Timestamp::now()).await
    };
    let days = Some(SignedDuration::from_hours(48));
    assert!(check(world.options(), None).await.is_ok());
    let message = check(world.options(), days).await.unwrap_err().to_string();
    assert!(message.starts_with("flag '--rekey-period' must be within (lower than)"), "{message}");
    assert!(check(RekeyOptions { expires_in: days, ..world.options() }, None).await.is_err());
    let bad_kty = KeyChoice { kty: Some("FOO".to_owned()), ..KeyChoice::default() };
    assert!(check(RekeyOptions { key_choice: bad_kty, ..world.options() }, None).await.is_err());
}
