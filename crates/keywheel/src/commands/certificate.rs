//! `certificate …`: look at certificates, check and convert them.

mod fingerprint;
mod format;
mod inspect;
mod key;
mod layout;
mod needs_renewal;
mod p12;
mod server;
mod source;
mod verify;

use clap::Subcommand;

use super::Setting;
use crate::failure::Outcome;

/// What is wanted of a certificate.
#[derive(Debug, Subcommand)]
pub(crate) enum Words {
    /// Show what is in a certificate or a request
    Inspect(inspect::Flags),
    /// Check that a certificate is good
    Verify(verify::Flags),
    /// Convert a certificate or a request between PEM and DER
    Format(format::Flags),
    /// Print the fingerprint of a certificate or a request
    Fingerprint(fingerprint::Flags),
    /// Say whether a certificate should be replaced: exit code 0 yes, 1 no, 2 no such file, 255 other errors
    NeedsRenewal(needs_renewal::Flags),
    /// Print the public key of a certificate or a request
    Key(key::Flags),
    /// Tell how a certificate and its key lie on disk, or let them lie otherwise
    Layout(layout::Flags),
    /// Pack a key and its certificates into a PKCS#12 file, for Java, Windows and Firefox
    P12(p12::Flags),
}

pub(crate) fn run(words: Words, setting: &Setting<'_>) -> Outcome {
    match words {
        Words::Inspect(flags) => inspect::run(&flags, setting),
        Words::Verify(flags) => verify::run(&flags, setting),
        Words::Format(flags) => format::run(&flags, setting),
        Words::Fingerprint(flags) => fingerprint::run(&flags, setting),
        Words::NeedsRenewal(flags) => needs_renewal::run(&flags, setting),
        Words::Key(flags) => key::run(&flags, setting),
        Words::Layout(flags) => layout::run(&flags, setting),
        Words::P12(flags) => p12::run(&flags, setting),
    }
}
