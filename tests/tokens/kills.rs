//! SIGKILL at every step of a rekey whose keys are in a token: the certificate is whole, and the next run ends what was begun.

use crate::client::Service;

/// The system calls after which a replacement is another than before.
const STEPS: [&str; 2] = ["rename", "fsync"];

/// So many of each kind at most; there are fewer.
const MOST: usize = 40;

#[test]
fn a_rekey_that_is_killed_at_any_step_leaves_one_certificate_or_the_other_and_the_next_run_goes_on() {
    let service = Service::start();
    let mut points = 0;
    for call in STEPS {
        for when in 1..=MOST {
            let (old, new) = (format!("old-{points}"), format!("new-{points}"));
            service.key(&format!("{:04x}", 2 * points + 16), &old);
            service.key(&format!("{:04x}", 2 * points + 17), &new);
            let (before, after) = (service.public(&old), service.public(&new));
            service.certificate(&old);
            points += 1;

            let old = format!("pkcs11:object={old}");
            let new = format!("pkcs11:object={new}");
            let words = ["ca", "rekey", "--force", "svc.crt", &old, "--private-key", &new, "--exec", "touch told"];
            let injection = format!("inject={call}:signal=KILL:when={when}");
            let options = ["-f", "-qq", "-o", "strace.log", "-e", &format!("trace={call}"), "-e", &injection];
            let program = keywheel_tests::place::keywheel().to_string_lossy().into_owned();
            let command = [&options[..], &[program.as_str()], &words[..], &["--kms", &service.kms]].concat();
            let killed = service.place().run("strace", &command);
            if killed.code == 0 {
                assert!(when > 1, "{call} was never made");
                let _told = std::fs::remove_file(service.place().file("told"));
                break;
            }
            assert_eq!(killed.code, 137, "{call} {when}: {}", killed.stderr);
            let now = service.place().run("openssl", &["x509", "-in", "svc.crt", "-noout", "-pubkey"]).ok().stdout;
            assert!(now == before || now == after, "{call} {when}: neither the old certificate nor the new one");

            let again = service.run(&words[1..]);
            // Where all was done but the end of the process, there is nothing left to do, which is said.
            let was_done = again.code == 2 && again.stderr.contains("has the key of '--private-key' already");
            assert!(again.code == 0 || was_done && now == after, "{call} {when}: {}", again.stderr);
            service.belongs_to(&after);
            std::fs::remove_file(service.place().file("told")).expect("the hook was told");
            assert_eq!(service.left_over(), Vec::<String>::new(), "{call} {when}");
        }
    }
}
