//! `doctor`: what is wrong with the keys and certificates of this machine, and what to type.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use keywheel_core::doctor::kind::Severity;
use keywheel_engine::doctor::{self, Diagnosis, DoctorOptions, Prescription, place};
use serde_json::json;

use super::{DONE, Setting};
use crate::failure::{Failure, Outcome};
use crate::passwords;

/// Flags of `doctor`.
#[derive(Args, Debug)]
#[command(
    long_about = "Find what is wrong with keys and certificates, and say what to type.\n\n\
        Finds pairs that do not match, keys that others can read or that several certificates have, renewers that never \
        change the key, certificates that expire soon with nothing that renews them, and what crashed tools left. Knows \
        the files of step, certbot, acme.sh, lego and Caddy. Nothing is changed.",
    after_help = "Exit codes: 0 no errors (there may be warnings), 1 errors were found, 2 a path cannot be used.

Examples:
  keywheel doctor
  keywheel doctor /etc/nginx/tls svc.crt svc.key
  keywheel doctor --password-file password.txt /etc/ssl/private
  keywheel doctor --unit-path /mnt/etc/systemd/system --unit-path /mnt/etc/cron.d /mnt/etc/letsencrypt
  keywheel doctor --json"
)]
pub(crate) struct Flags {
    /// Files and folders to examine [default: the usual places of step, certbot, acme.sh, lego, Caddy, and /etc/ssl]
    #[arg(value_name = "path")]
    paths: Vec<PathBuf>,
    /// Where systemd units or cron jobs are, instead of the system's usual places; may be given several times
    #[arg(long, value_name = "dir")]
    unit_path: Vec<PathBuf>,
    /// The file with the password of encrypted keys
    #[arg(long, value_name = "file")]
    password_file: Option<PathBuf>,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    for path in flags.paths.iter().chain(&flags.unit_path) {
        if let Err(error) = std::fs::symlink_metadata(path) {
            return Err(Failure::usage(format!("{} cannot be examined: {error}", path.display())));
        }
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let or_usual = |given: &[PathBuf], usual: &dyn Fn() -> Vec<PathBuf>| {
        if given.is_empty() { usual() } else { given.to_vec() }
    };
    let options = DoctorOptions {
        paths: or_usual(&flags.paths, &|| place::usual(&setting.home.path(), home.as_deref())),
        unit_paths: or_usual(&flags.unit_path, &|| place::units(home.as_deref())),
        password: passwords::from_optional_file(flags.password_file.as_deref())?,
    };
    let diagnosis = doctor::examine(&options, Timestamp::now());
    setting.voice.json(&as_json(&options, &diagnosis))?;
    setting.voice.result(as_text(&diagnosis))?;
    match count(&diagnosis, Severity::Error) {
        0 => DONE,
        errors => Err(Failure::failed(format!("{} found, nothing was changed", number(errors, "error")))),
    }
}

fn as_json(options: &DoctorOptions, diagnosis: &Diagnosis) -> serde_json::Value {
    let findings: Vec<_> = diagnosis
        .findings
        .iter()
        .map(|Prescription { finding, fix }| {
            json!({
                "id": finding.kind.id(),
                "severity": finding.severity().word(),
                "files": finding.files,
                "message": finding.message,
                "fix": fix,
            })
        })
        .collect();
    let notes: Vec<_> = diagnosis.notes.iter().map(|note| json!({"file": note.path, "reason": note.reason})).collect();
    json!({
        "paths": options.paths,
        "files": diagnosis.files,
        "errors": count(diagnosis, Severity::Error),
        "warnings": count(diagnosis, Severity::Warning),
        "findings": findings,
        "not_examined": notes,
    })
}

fn as_text(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    let titles = [(Severity::Error, "Errors"), (Severity::Warning, "Warnings"), (Severity::Info, "Worth knowing")];
    for (severity, title) in titles {
        let group = diagnosis.findings.iter().filter(|one| one.finding.severity() == severity);
        let group: Vec<String> = group.map(finding).collect();
        if !group.is_empty() {
            text.push_str(&format!("{title}:\n\n{}\n", group.join("\n")));
        }
    }
    if !diagnosis.notes.is_empty() {
        text.push_str("Not examined:\n\n");
        for note in &diagnosis.notes {
            text.push_str(&format!("  {}: {}\n", note.path, note.reason));
        }
        text.push('\n');
    }
    let (errors, warnings) = (count(diagnosis, Severity::Error), count(diagnosis, Severity::Warning));
    let files = number(diagnosis.files, "file");
    text.push_str(&format!("{files} examined: {}, {}", number(errors, "error"), number(warnings, "warning")));
    text
}

fn finding(one: &Prescription) -> String {
    let Prescription { finding, fix } = one;
    let mut text = format!("  {}: {}\n    {}\n", finding.kind.id(), finding.files.join(", "), finding.message);
    if let Some(fix) = fix {
        text.push_str(&format!("    fix: {fix}\n"));
    }
    text
}

fn count(diagnosis: &Diagnosis, severity: Severity) -> usize {
    diagnosis.findings.iter().filter(|one| one.finding.severity() == severity).count()
}

fn number(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
