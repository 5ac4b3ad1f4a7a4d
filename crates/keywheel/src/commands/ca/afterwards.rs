//! When a certificate is replaced, and what happens afterwards: the flags that `rekey` and `renew` share.

use std::path::PathBuf;

use clap::Args;
use jiff::SignedDuration;
use keywheel_core::go_duration;
use keywheel_reach::hook::HookOptions;

use crate::failure::{Failure, Outcome};

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
    /// How long one request to the CA may take [default: 30s]
    #[arg(long, value_name = "duration")]
    pub(crate) timeout: Option<String>,
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
    /// The hook.
    pub(crate) hook: HookOptions,
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
        Ok(Afterwards {
            expires_in,
            period,
            daemon: self.daemon,
            hook: HookOptions {
                pid: self.pid,
                pid_file: self.pid_file.clone(),
                signal,
                exec: self.exec.clone().filter(|command| !command.trim().is_empty()),
                time_limit: limit("--exec-timeout", self.exec_timeout.as_deref())?.unwrap_or(defaults.time_limit),
                ..defaults
            },
            time_limit: limit("--timeout", self.timeout.as_deref())?,
        })
    }
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
        assert_eq!(plain.hook.signal, 1);
        assert_eq!(plain.hook.time_limit, SignedDuration::from_secs(60));
    }
}
