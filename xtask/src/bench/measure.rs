//! One measurement: the load generator asks a CA, and what that cost the CA is read from `/proc`.

use anyhow::{Context, Result};
use serde_json::Value;

use super::contender::Contender;
use super::process::{median, programs};
use crate::run::output;

/// After so many rekeys the resident memory is read.
pub(super) const MANY: usize = 20_000;

/// How the clients come, and how many.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// A new connection for each request, or kept ones.
    pub(super) new: bool,
    /// X25519MLKEM768 instead of X25519.
    pub(super) hybrid: bool,
    pub(super) at_once: usize,
    pub(super) rekeys: usize,
}

/// What came of it.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) per_second: f64,
    /// Milliseconds.
    pub(super) p50: f64,
    /// Milliseconds.
    pub(super) p99: f64,
    /// Microseconds of the server's CPU for one rekey.
    pub(super) cpu: f64,
    /// The same of its database server, if it has one.
    pub(super) database: f64,
}

/// Asks once; every answer was checked to certify the key that was sent, or this fails.
pub(super) fn measure(contender: &mut Contender, load: Load) -> Result<Sample> {
    let before = contender.cpu()?;
    let report = output(
        "env",
        &[
            if load.hybrid { "LOAD_HYBRID=1" } else { "LOAD_HYBRID=0" },
            &programs().join("load").to_string_lossy(),
            &contender.url(),
            &contender.file("certs/root_ca.crt"),
            &contender.file("client.crt"),
            &contender.file("client.key"),
            if load.new { "new" } else { "kept" },
            &load.at_once.to_string(),
            &load.rekeys.to_string(),
        ],
    )
    .with_context(|| format!("the load on {} failed", contender.name))?;
    let after = contender.cpu()?;
    contender.rekeys += load.rekeys;
    if contender.rekeys >= MANY && contender.resident.is_none() {
        contender.resident = Some(contender.resident()?);
    }
    let report: Value = serde_json::from_str(&report)?;
    let number = |name: &str| report[name].as_f64().with_context(|| format!("no {name}"));
    let each = |seconds: f64| seconds * 1e6 / load.rekeys as f64;
    Ok(Sample {
        per_second: number("per_second")?,
        p50: number("p50_ms")?,
        p99: number("p99_ms")?,
        cpu: each(after.0 - before.0),
        database: each(after.1 - before.1),
    })
}

/// The medians of several samples.
pub(super) fn medians(samples: &[Sample]) -> Sample {
    let of = |part: fn(&Sample) -> f64| median(samples.iter().map(part).collect());
    Sample {
        per_second: of(|sample| sample.per_second),
        p50: of(|sample| sample.p50),
        p99: of(|sample| sample.p99),
        cpu: of(|sample| sample.cpu),
        database: of(|sample| sample.database),
    }
}

/// The operations that no CA can leave out, and their names in the report of the program that times them.
pub(super) const OPERATIONS: &[(&str, &str, Part)] = &[
    ("x25519", "X25519: key pair and shared secret", Part::Handshake),
    ("handshake_signature", "signature of the server in the handshake", Part::Handshake),
    ("client_proof", "proof of the client verified", Part::Handshake),
    ("client_chain", "chain of the client verified", Part::Handshake),
    ("request", "certificate request verified", Part::Rekey),
    ("certificate_signature", "signature of the certificate", Part::Rekey),
    ("own_signature_verified", "own signature verified before it leaves (not in the bound)", Part::Beside),
    ("mlkem768", "ML-KEM-768 encapsulation, with X25519MLKEM768 (not in the bound)", Part::Beside),
];

/// What an operation belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Handshake,
    Rekey,
    Beside,
}

/// Microseconds of each operation, timed once.
pub(super) fn bound() -> Result<Vec<f64>> {
    let report = output(&programs().join("bound").to_string_lossy(), &[]).context("the bound could not be timed")?;
    let report: Value = serde_json::from_str(&report)?;
    let one = |name: &str| report[name].as_f64().map(|nanoseconds| nanoseconds / 1000.0);
    OPERATIONS.iter().map(|(name, ..)| one(name).with_context(|| format!("no {name}"))).collect()
}
