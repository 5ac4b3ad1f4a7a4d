//! What happens once a new pair is in place: its users are told, it is proved in use, and only then the old one goes. Where
//! that fails, the old pair comes back.

use std::path::{Path, PathBuf};

use keywheel_reach::files::pair::{Pair, PairError};
use keywheel_reach::files::write::{PRIVATE, Target};
use keywheel_reach::hook::{Hook, HookFailed, HookOptions, Variable};
use keywheel_reach::probe::{self, Endpoint, NotProven, Proof};
use keywheel_reach::tls::Identity;
use keywheel_signer::random;
use keywheel_wire::pkcs11::uri::is_pkcs11;
use keywheel_wire::pkcs12;
use keywheel_wire::x509::certificate::Certificate;
use zeroize::Zeroizing;

use super::access::CaAccess;
use super::error::{Cause, ClientError};
use super::rekey::{RekeyOutcome, RekeyReport};
use super::{ask, load, place};

/// What is to happen once a new pair is in place.
#[derive(Debug, Clone, Default)]
pub struct Afterwards {
    /// A second form of the pair, written before anybody is told.
    pub pkcs12: Option<Pkcs12File>,
    /// Tells those who use the pair.
    pub hook: HookOptions,
    /// The services that must show the new certificate then.
    pub verify: Vec<Endpoint>,
    /// What counts as showing it.
    pub proof: Proof,
    /// Whether the old pair comes back where the hook or the proof fails.
    pub rollback: bool,
}

/// A PKCS#12 file that goes with a pair.
#[derive(Clone)]
pub struct Pkcs12File {
    /// Where it goes.
    pub file: PathBuf,
    /// What encrypts it.
    pub password: Zeroizing<Vec<u8>>,
}

/// What failed although the new pair was in place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// The PKCS#12 file.
    #[error("{} was not written", .file.display())]
    Pkcs12 {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The hook.
    #[error(transparent)]
    Hook(#[from] HookFailed),
    /// The proof.
    #[error(transparent)]
    Proof(#[from] NotProven),
    /// What was to be proved cannot be read.
    #[error("the certificate that the services should show could not be read back")]
    Unread,
}

/// A pair that was just put in place, or was so by an earlier run.
pub(super) struct InPlace<'a> {
    pub(super) pair: &'a Pair,
    pub(super) report: RekeyReport,
    /// Opens the key, where it is encrypted.
    pub(super) password: Option<&'a [u8]>,
    /// The authority that is to learn of it, and the pair as it shows itself.
    pub(super) authority: Option<(&'a CaAccess, Identity)>,
}

impl NotTaken {
    /// In two words.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Pkcs12 { .. } => "the PKCS#12 file failed",
            Self::Hook(_) => "the hook failed",
            Self::Proof(_) | Self::Unread => "the proof failed",
        }
    }
}

impl Afterwards {
    /// Tells, proves, retires the old pair; or brings it back.
    ///
    /// The pair is held until then: all of this is part of the replacement. A process that dies in it does it again at its next
    /// start; a hook that ran and failed is told of, not run again.
    pub(super) async fn conclude(&self, hook: &Hook, mut new: InPlace<'_>) -> Result<RekeyOutcome, ClientError> {
        if let Err(reason) = self.told_and_proved(hook, &new, environment(&new.report)).await {
            return Err(self.not_taken(hook, new, reason).await);
        }
        // Last: the authority ends the old certificate once it knows that the new one is in use.
        let known = match new.authority.take() {
            Some((access, identity)) => show_to_authority(access, &identity).await,
            None => Ok(()),
        };
        let forgotten = match &known {
            Ok(()) => place::retire(new.pair),
            Err(_) => place::close(new.pair),
        };
        if let Err(error) = known {
            new.report.warnings.push(format!(
                "the new pair is in place, but a connection to the authority with it was not possible: {}",
                place::with_causes(&*error.into_cause())
            ));
        }
        if let Err(error) = forgotten {
            new.report.warnings.push(place::with_causes(&error));
        }
        Ok(RekeyOutcome::Done(Box::new(new.report)))
    }

    /// Runs the hook and waits until every service shows what the files hold now.
    async fn told_and_proved(&self, hook: &Hook, new: &InPlace<'_>, variables: Vec<Variable>) -> Result<(), NotTaken> {
        if let Some(wanted) = &self.pkcs12 {
            let written = write_pkcs12(wanted, new.pair, new.password);
            written.map_err(|source| NotTaken::Pkcs12 { file: wanted.file.clone(), source })?;
        }
        self.tell(hook, leaf_of(new.pair).as_ref(), &variables).await
    }

    /// Runs the hook and waits until every service shows this certificate.
    pub(super) async fn tell(
        &self,
        hook: &Hook,
        leaf: Option<&Certificate>,
        variables: &[Variable],
    ) -> Result<(), NotTaken> {
        hook.run(variables).await?;
        for endpoint in &self.verify {
            let leaf = leaf.ok_or(NotTaken::Unread)?;
            probe::proves(endpoint, leaf.der(), &self.proof).await?;
        }
        Ok(())
    }

    async fn not_taken(&self, hook: &Hook, new: InPlace<'_>, source: NotTaken) -> ClientError {
        let mut report = Box::new(new.report.clone());
        if !self.rollback {
            if let Err(error) = place::close(new.pair) {
                report.warnings.push(place::with_causes(&error));
            }
            return ClientError::NotTaken { report, source };
        }
        if let Err(error) = new.pair.roll_back() {
            report.warnings.push(format!("the old pair could not be brought back: {}", place::with_causes(&error)));
            if !matches!(error, PairError::NothingToTakeBack) {
                // The files are as they are; what would go forward or back again must not be forgotten.
                return ClientError::NotTaken { report, source };
            }
            if let Err(error) = place::close(new.pair) {
                report.warnings.push(place::with_causes(&error));
            }
            return ClientError::NotTaken { report, source };
        }
        let back = RekeyReport { new: report.old.clone(), old: report.new.clone(), ..(*report).clone() };
        let again = self.told_and_proved(hook, &new, environment(&back)).await.err();
        ClientError::RolledBack { report, source, again: again.map(|error| place::with_causes(&error)) }
    }
}

/// Shakes hands with the authority, so that it sees the new pair in use.
pub(super) async fn show_to_authority(access: &CaAccess, identity: &Identity) -> Result<(), ClientError> {
    access.client(Some(identity))?.health().await.map_err(ask::failed).map(|_| ())
}

/// Writes the second form of what the files hold now.
fn write_pkcs12(wanted: &Pkcs12File, pair: &Pair, password: Option<&[u8]>) -> Result<(), Cause> {
    let (chain, key) = load::pair(pair.certificate().real(), pair.key().real(), password)?;
    let name = load::summary(load::leaf(&chain)?).subject;
    let packed = pkcs12::encode(key.signer.private_key(), &chain, &name, &wanted.password, &random::bytes()?)?;
    Ok(Target::resolve(&wanted.file, PRIVATE)?.replace(&packed)?)
}

fn leaf_of(pair: &Pair) -> Option<Certificate> {
    load::chain(pair.certificate().real()).ok()?.into_iter().next()
}

/// What the command of a hook is told.
pub(super) fn environment(report: &RekeyReport) -> Vec<Variable> {
    let absolute = |path: &Path| match path.to_str() {
        // A key in a token is where it is.
        Some(uri) if is_pkcs11(uri) => uri.into(),
        _ => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).into_os_string(),
    };
    vec![
        ("KEYWHEEL_CERTIFICATE", absolute(&report.certificate)),
        ("KEYWHEEL_KEY", absolute(&report.key)),
        ("KEYWHEEL_SUBJECT", report.new.subject.clone().into()),
        ("KEYWHEEL_SERIAL", report.new.serial.clone().into()),
        ("KEYWHEEL_OLD_SERIAL", report.old.serial.clone().into()),
        ("KEYWHEEL_FINGERPRINT", report.new.fingerprint.clone().into()),
        ("KEYWHEEL_OLD_FINGERPRINT", report.old.fingerprint.clone().into()),
        ("KEYWHEEL_KEY_FINGERPRINT", report.new.key_fingerprint.clone().into()),
        ("KEYWHEEL_NOT_BEFORE", report.new.not_before.to_string().into()),
        ("KEYWHEEL_NOT_AFTER", report.new.not_after.to_string().into()),
    ]
}

impl std::fmt::Debug for Pkcs12File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pkcs12File").field("file", &self.file).finish_non_exhaustive()
    }
}
