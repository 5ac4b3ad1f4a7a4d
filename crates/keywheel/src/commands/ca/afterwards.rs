//! When a certificate is replaced, and what happens afterwards: the flags that `rekey` and `renew` share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use keywheel_core::go_duration;
use keywheel_engine::client::afterwards::{self as engine, Pkcs12File};
use keywheel_reach::files::layout::Layout;
use keywheel_reach::hook::HookOptions;
use keywheel_reach::probe::{Endpoint, Proof};

use crate::failure::{Failure, Outcome};
use crate::passwords;

/// The flags about time and hooks.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct AfterwardsFlags {
    /// Do nothing while the certificate is valid for longer than this (plus a jitter); with --daemon: how long before its end it is replaced. Such as 8h or 1h30m
    #[arg(long, value_name = "duration", allow_hyphen_values = true)]
    pub(crate) expires_in: Option<String>,
    /// Stay and replace the certificate again and again, by default after two thirds of its life
    #[arg(long)]
    pub(crate) daemon: bool,
    /// The process to signal afterwards
    #[arg(long, value_name = "number", allow_hyphen_values = true)]
    pub(crate) pid: Option<i64>,
    /// The file with the number of the process to signal afterwards; it is read again for every signal
    #[arg(long, value_name = "file")]
    pub(crate) pid_file: Option<PathBuf>,
    /// The number of that signal [default: 1, SIGHUP]
    #[arg(long, value_name = "number", allow_hyphen_values = true)]
    pub(crate) signal: Option<i32>,
    /// The command to run afterwards, split into words as a shell would; it is told KEYWHEEL_CERTIFICATE, KEYWHEEL_KEY, ...
    #[arg(long, value_name = "command", allow_hyphen_values = true)]
    pub(crate) exec: Option<String>,
    /// How long that command may take [default: 1m]
    #[arg(long, value_name = "duration")]
    pub(crate) exec_timeout: Option<String>,
    /// A service that must show the new certificate afterwards: tls://host:port, or smtp, lmtp, imap, pop3, ftp, ldap, postgres, mysql, xmpp, nntp, sieve instead of tls for STARTTLS; ?servername=name for another name than the host's (may be repeated)
    #[arg(long, value_name = "url")]
    pub(crate) verify: Vec<String>,
    /// How long a service may take until it does so [default: 30s]
    #[arg(long, value_name = "duration", requires = "verify")]
    pub(crate) verify_timeout: Option<String>,
    /// Bring the old pair back, and run the command or send the signal again, where that fails or a service does not show the new certificate; the new key is kept for the next run
    #[arg(long)]
    pub(crate) rollback: bool,
    /// Write key and chain as a PKCS#12 file too, each time
    #[arg(long, value_name = "file", requires = "p12_password_file")]
    pub(crate) p12: Option<PathBuf>,
    /// The file with the password of that PKCS#12 file
    #[arg(long, value_name = "file", requires = "p12")]
    pub(crate) p12_password_file: Option<PathBuf>,
    /// How the pair lies on disk [default: as it does now, or two flat files]
    #[arg(long, value_name = "layout")]
    pub(crate) layout: Option<PairLayout>,
    /// The one argument is a PEM file that holds both key and certificate
    #[arg(long, conflicts_with = "layout")]
    pub(crate) combined: bool,
    /// How long one request to the CA may take [default: 30s]
    #[arg(long, value_name = "duration")]
    pub(crate) timeout: Option<String>,
}

/// How a pair of two files lies on disk.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PairLayout {
    /// Two files, replaced one after the other
    Flat,
    /// Two links into a directory of generations, switched by one rename
    Generations,
}

/// What those flags mean.
#[derive(Clone, Debug)]
pub(crate) struct Afterwards {
    /// The gate, or the lead time.
    pub(crate) expires_in: Option<SignedDuration>,
    /// The period of the daemon.
    pub(crate) period: Option<SignedDuration>,
    /// Whether to stay.
    pub(crate) daemon: bool,
    /// How the pair is to lie on disk.
    pub(crate) layout: Option<Layout>,
    /// Hook, proof, way back.
    pub(crate) then: engine::Afterwards,
    /// For one request.
    pub(crate) time_limit: Option<SignedDuration>,
}

impl AfterwardsFlags {
    /// Checks them in the order of the reference. `period` is the value of `--rekey-period` or `--renew-period`.
    pub(crate) fn check(&self, period: Option<&str>, period_flag: &str) -> Outcome<Afterwards> {
        let expires_in = duration("--expires-in", self.expires_in.as_deref())?;
        let period = duration(period_flag, period)?;
        if expires_in.is_some() && period.is_some() {
            return Err(Failure::usage(format!("flag '--expires-in' is incompatible with '{period_flag}'")));
        }
        if period.is_some() && !self.daemon {
            return Err(Failure::usage(format!("flag '{period_flag}' requires the '--daemon' flag")));
        }
        if self.pid.is_some() && self.pid_file.is_some() {
            return Err(Failure::usage("flag '--pid' and flag '--pid-file' are mutually exclusive"));
        }
        if let Some(pid) = self.pid.filter(|pid| *pid <= 0) {
            return Err(Failure::usage(format!("invalid value '{pid}' for flag '--pid'")));
        }
        if let Some(path) = &self.pid_file {
            check_pid_file(path)?;
        }
        let signal = self.signal.unwrap_or(keywheel_reach::hook::SIGHUP);
        if signal <= 0 {
            return Err(Failure::usage(format!("invalid value '{signal}' for flag '--signal'")));
        }
        let defaults = HookOptions::default();
        let hook = HookOptions {
            pid: self.pid,
            pid_file: self.pid_file.clone(),
            signal,
            exec: self.exec.clone().filter(|command| !command.trim().is_empty()),
            time_limit: limit("--exec-timeout", self.exec_timeout.as_deref())?.unwrap_or(defaults.time_limit),
            ..defaults
        };
        let tells_nobody =
            hook.exec.is_none() && hook.pid.is_none() && hook.pid_file.is_none() && self.verify.is_empty();
        if self.rollback && tells_nobody {
            return Err(Failure::usage(
                "flag '--rollback' requires something that can fail: '--exec', '--pid', '--pid-file' or '--verify'",
            ));
        }
        Ok(Afterwards {
            expires_in,
            period,
            daemon: self.daemon,
            layout: if self.combined { Some(Layout::Combined) } else { self.layout.map(PairLayout::layout) },
            then: engine::Afterwards {
                pkcs12: self.pkcs12()?,
                hook,
                verify: self.verify.iter().map(|text| endpoint(text)).collect::<Outcome<_>>()?,
                proof: self.proof()?,
                rollback: self.rollback,
            },
            time_limit: limit("--timeout", self.timeout.as_deref())?,
        })
    }
}

impl AfterwardsFlags {
    /// The names of certificate and key: two, or one for both with --combined.
    pub(crate) fn pair(&self, certificate: &Path, key: Option<&Path>) -> Outcome<(PathBuf, PathBuf)> {
        match (key, self.combined) {
            (None, true) => Ok((certificate.to_owned(), certificate.to_owned())),
            (Some(key), false) => Ok((certificate.to_owned(), key.to_owned())),
            (None, false) => Err(Failure::usage("the argument <key-file> is missing")
                .hint("name the file of the key, or use --combined for one file that holds both")),
            (Some(_), true) => {
                Err(Failure::usage("flag '--combined' is for one file that holds key and certificate: name one"))
            }
        }
    }

    fn pkcs12(&self) -> Outcome<Option<Pkcs12File>> {
        let Some(file) = self.p12.clone() else { return Ok(None) };
        let password = passwords::from_optional_file(self.p12_password_file.as_deref())?.unwrap_or_default();
        if password.is_empty() {
            return Err(Failure::usage(
                "the file of flag '--p12-password-file' holds no password; nothing was changed",
            ));
        }
        Ok(Some(Pkcs12File { file, password }))
    }

    fn proof(&self) -> Outcome<Proof> {
        let defaults = Proof::default();
        let time_limit = match limit("--verify-timeout", self.verify_timeout.as_deref())? {
            Some(limit) => Duration::try_from(limit).unwrap_or(defaults.time_limit),
            None => defaults.time_limit,
        };
        Ok(Proof { time_limit, ..defaults })
    }
}

impl PairLayout {
    fn layout(self) -> Layout {
        match self {
            Self::Flat => Layout::Flat,
            Self::Generations => Layout::Generations,
        }
    }
}

fn endpoint(text: &str) -> Outcome<Endpoint> {
    Endpoint::parse(text)
        .map_err(|error| Failure::usage(format!("invalid value '{text}' for flag '--verify'")).hint(error.to_string()))
}

/// A duration that means something: like the reference, what is not positive counts as not given.
fn duration(flag: &str, given: Option<&str>) -> Outcome<Option<SignedDuration>> {
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(None) };
    let parsed = go_duration::parse(text)
        .map_err(|error| Failure::usage(format!("invalid value '{text}' for flag '{flag}'")).hint(error.to_string()))?;
    Ok(Some(parsed).filter(SignedDuration::is_positive))
}

/// A time limit: positive.
fn limit(flag: &str, given: Option<&str>) -> Outcome<Option<SignedDuration>> {
    let parsed = duration(flag, given)?;
    match given.filter(|text| !text.is_empty()) {
        Some(text) if parsed.is_none() => Err(Failure::usage(format!("invalid value '{text}' for flag '{flag}'"))),
        _ => Ok(parsed),
    }
}

/// The file is read again at each signal; this only finds out early that it never held a number.
fn check_pid_file(path: &std::path::Path) -> Outcome<()> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::of(crate::exit::Exit::Usage, error).context(format!("read the pid file {}", path.display()))
    })?;
    let text = text.trim();
    match text.parse::<i64>() {
        Ok(pid) if pid > 0 => Ok(()),
        Ok(pid) => Err(Failure::usage(format!("invalid value '{pid}' for flag '--pid-file'"))),
        Err(error) => Err(Failure::usage(format!("error converting {text:?} to integer process id: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(flags: AfterwardsFlags, period: Option<&str>) -> String {
        let failure = flags.check(period, "--rekey-period").unwrap_err();
        assert_eq!(failure.exit(), crate::exit::Exit::Usage);
        failure.message()
    }

    fn flags() -> AfterwardsFlags {
        AfterwardsFlags::default()
    }

    #[test]
    fn every_rule_speaks_the_words_of_the_reference() {
        let expires = |text: &str| AfterwardsFlags { expires_in: Some(text.into()), ..flags() };
        assert_eq!(refused(expires("1x"), None), "invalid value '1x' for flag '--expires-in'");
        assert_eq!(refused(expires("1d"), None), "invalid value '1d' for flag '--expires-in'");
        assert_eq!(refused(flags(), Some("1x")), "invalid value '1x' for flag '--rekey-period'");
        assert_eq!(refused(expires("1h"), Some("1h")), "flag '--expires-in' is incompatible with '--rekey-period'");
        assert_eq!(refused(flags(), Some("1h")), "flag '--rekey-period' requires the '--daemon' flag");
        let both = AfterwardsFlags { pid: Some(1), pid_file: Some("p".into()), ..flags() };
        assert_eq!(refused(both, None), "flag '--pid' and flag '--pid-file' are mutually exclusive");
        for pid in [0, -5] {
            let pid_flag = AfterwardsFlags { pid: Some(pid), ..flags() };
            assert_eq!(refused(pid_flag, None), format!("invalid value '{pid}' for flag '--pid'"));
        }
        for signal in [0, -1] {
            let wrong = AfterwardsFlags { signal: Some(signal), ..flags() };
            assert_eq!(refused(wrong, None), format!("invalid value '{signal}' for flag '--signal'"));
        }
        let wrong = AfterwardsFlags { exec_timeout: Some("0".into()), ..flags() };
        assert_eq!(refused(wrong, None), "invalid value '0' for flag '--exec-timeout'");
    }

    #[test]
    fn a_pid_file_must_hold_a_number_that_can_be_a_process() {
        let path = std::env::temp_dir().join(format!("keywheel-pid-file-{}", std::process::id()));
        let with = |text: &str| {
            std::fs::write(&path, text).unwrap();
            AfterwardsFlags { pid_file: Some(path.clone()), ..flags() }
        };
        assert!(refused(with("nginx\n"), None).starts_with("error converting \"nginx\" to integer process id"));
        assert_eq!(refused(with("-1\n"), None), "invalid value '-1' for flag '--pid-file'");
        assert!(with(" 4711 \n").check(None, "--rekey-period").is_ok());
        std::fs::remove_file(&path).unwrap();
        let missing = AfterwardsFlags { pid_file: Some(path), ..flags() };
        assert!(refused(missing, None).starts_with("read the pid file"));
    }

    #[test]
    fn what_is_not_positive_counts_as_not_given() {
        let negative = AfterwardsFlags { expires_in: Some("-1.5h".into()), ..flags() };
        assert_eq!(negative.check(Some("0"), "--rekey-period").unwrap().expires_in, None);
    }

    #[test]
    fn the_signal_is_a_hangup_and_the_time_limit_a_minute_unless_said_otherwise() {
        let plain = flags().check(None, "--rekey-period").unwrap();
        assert_eq!(plain.then.hook.signal, 1);
        assert_eq!(plain.then.hook.time_limit, SignedDuration::from_secs(60));
    }
}
