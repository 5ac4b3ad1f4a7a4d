//! What was done to a pair of files, for people and for programs.

use keywheel_core::go_duration;
use keywheel_engine::client::certificate::CertificateReport;
use keywheel_engine::client::error::ClientError;
use keywheel_engine::client::rekey::{CertificateSummary, RekeyOutcome, RekeyReport};
use serde_json::{Value, json};

use crate::commands::DONE;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::voice::Voice;

/// What the words call it: `rekeyed` or `renewed`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deed {
    /// The past participle.
    pub(crate) past: &'static str,
    /// The noun.
    pub(crate) noun: &'static str,
    /// What holds once it is done.
    in_place: &'static str,
}

/// A new key.
pub(crate) const REKEY: Deed =
    Deed { past: "rekeyed", noun: "rekey", in_place: "the new certificate and key are in place" };
/// The same key.
pub(crate) const RENEWAL: Deed = Deed { past: "renewed", noun: "renewal", in_place: "the new certificate is in place" };

/// Says how a rekey or renewal ended.
pub(crate) fn ended(result: Result<RekeyOutcome, ClientError>, deed: Deed, voice: &Voice) -> Outcome {
    match result {
        Ok(RekeyOutcome::NotYet { remaining }) => not_yet(remaining, deed, voice)?,
        Ok(RekeyOutcome::Done(report)) => done(&report, deed, voice)?,
        Err(ClientError::NotTaken { report, source }) => {
            done(&report, deed, voice)?;
            let context = format!("{}, but {}", deed.in_place, source.what());
            return Err(Failure::of(Exit::Hook, source).context(context));
        }
        Err(error) => return Err(error.into()),
    }
    DONE
}

/// Says that nothing needed to be done.
pub(crate) fn not_yet(remaining: jiff::SignedDuration, deed: Deed, voice: &Voice) -> Outcome<()> {
    let shown = go_duration::format(go_duration::round_to_second(remaining));
    voice.say(format!("certificate not {}: expires in {shown}", deed.past));
    voice.json(&json!({deed.past: false, "expires_in": shown}))
}

/// Says what was replaced.
fn done(report: &RekeyReport, deed: Deed, voice: &Voice) -> Outcome<()> {
    if report.resumed {
        voice.say("went on with what an earlier run had left");
    }
    voice.done("Certificate", report.certificate.display());
    if report.key_written {
        voice.done("Private Key", report.key.display());
    }
    for warning in &report.warnings {
        voice.warn(warning);
    }
    voice.json(&rekey_value(report, deed))
}

/// The same as JSON.
pub(crate) fn rekey_value(report: &RekeyReport, deed: Deed) -> Value {
    json!({
        deed.past: true,
        "certificate": report.certificate,
        "key": report.key,
        "key_written": report.key_written,
        "old": summary(&report.old),
        "new": summary(&report.new),
        "resumed": report.resumed,
        "warnings": report.warnings,
    })
}

/// Says what a first certificate is.
pub(crate) fn first(report: &CertificateReport, voice: &Voice) -> Outcome<()> {
    voice.done("CA", &report.authority);
    voice.done("Certificate", report.certificate.display());
    if let Some(key) = &report.key {
        voice.done("Private Key", key.display());
    }
    voice.json(&json!({
        "authority": report.authority,
        "certificate": report.certificate,
        "key": report.key,
        "new": summary(&report.new),
    }))
}

/// A certificate in short, as JSON.
pub(crate) fn summary(summary: &CertificateSummary) -> Value {
    json!({
        "subject": summary.subject,
        "serial": summary.serial,
        "fingerprint": summary.fingerprint,
        "key_fingerprint": summary.key_fingerprint,
        "key_kind": summary.key_kind,
        "not_before": summary.not_before.to_string(),
        "not_after": summary.not_after.to_string(),
    })
}
