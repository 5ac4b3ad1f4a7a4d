//! Certificates that have expired, and those that soon will while nothing is known that renews them.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::kind::Kind;
use super::managers::{Manager, Order, Steps};
use super::renewers::{Renewer, renews};
use super::scene::Scene;
use super::{Certificate, File, Finding, words};
use crate::go_duration;

/// Nobody needs to hear of a certificate that is good for longer.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A certificate that lives for a day is replaced when a third of that is left.
const SHARE: i32 = 3;

/// Judges every certificate that is in use and has its key here.
pub(super) fn judge(scene: &Scene<'_>, renewers: &[Renewer<'_>], now: Timestamp) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let live = scene.estate.files.iter().filter(|file| scene.is_shown(file) && !scene.is_former(file));
    live.filter_map(|file| {
        let leaf = file.leaf()?;
        let pair = scene.pair_of(file);
        let ours = pair.is_some() || !scene.holders(leaf.key).is_empty();
        let new = ours && seen.insert(leaf.digest);
        let key = pair.map_or_else(|| scene.holders(leaf.key).first().copied(), |pair| Some(pair.key));
        let late = new.then(|| lateness(leaf, renews(scene, renewers, file), now)).flatten()?;
        let (kind, message) = late;
        let fix = key.and_then(|key| mend(scene, file, key, kind));
        Some(Finding { kind, files: vec![file.path.clone()], message, fix })
    })
    .collect()
}

fn lateness(leaf: &Certificate, renewed: bool, now: Timestamp) -> Option<(Kind, alloc::string::String)> {
    let left = leaf.not_after.duration_since(now);
    if left.is_negative() {
        let why = if renewed { "what renews it has failed" } else { "nothing is known that renews it" };
        return Some((
            Kind::CertificateExpired,
            format!("the certificate of '{}' has expired on {}; {why}", leaf.subject, leaf.not_after),
        ));
    }
    let whole = leaf.not_after.duration_since(leaf.not_before);
    if renewed || left > SOON || left > whole / SHARE {
        return None;
    }
    let left = go_duration::format(SignedDuration::from_secs(left.as_secs()));
    Some((
        Kind::CertificateExpiring,
        format!("the certificate of '{}' expires in {left}, and nothing is known that renews it", leaf.subject),
    ))
}

/// Renews once, and sees that it goes on where the tool has something of its own for that.
fn mend(scene: &Scene<'_>, certificate: &File, key: &File, kind: Kind) -> Option<Steps> {
    let manager = Manager::of(scene, certificate);
    // An expired certificate cannot ask for its successor, unless its provisioner lets it: a new one always can.
    let order = match (kind, &manager) {
        (Kind::CertificateExpired, Manager::Plain) => Order::Again,
        _ => Order::Renew,
    };
    let mut steps = match &manager {
        Manager::Caddy { .. } => return Some(vec![words(["systemctl", "enable", "--now", "caddy"])]),
        _ => manager.order(order, certificate, key)?,
    };
    match manager {
        Manager::Certbot { .. } => steps.push(words(["systemctl", "enable", "--now", "certbot.timer"])),
        Manager::AcmeSh { .. } => steps.push(words(["acme.sh", "--install-cronjob"])),
        Manager::Lego { .. } | Manager::Caddy { .. } | Manager::Plain => {}
    }
    Some(steps)
}
