//! `ca …`: run a certificate authority, and ask one for certificates.

mod address;
mod afterwards;
mod bootstrap;
mod certificate;
mod config;
mod grant;
mod init;
mod offline;
mod policy;
mod provisioner;
mod provisioner_key;
mod rekey;
mod renew;
pub(crate) mod report;
mod revoke;
mod serve;
mod sign;
mod token;
mod token_flags;
mod trust;
mod watch;

use clap::Subcommand;

use super::Setting;
use crate::failure::Outcome;

/// What is wanted of or from a CA.
#[derive(Debug, Subcommand)]
pub(crate) enum Words {
    /// Make a new CA: root, issuer, configuration and first provisioner
    Init(Box<init::Flags>),
    /// Serve the CA
    Serve(serve::Flags),
    /// Trust a CA: fetch its root by fingerprint, and remember where it is
    Bootstrap(bootstrap::Flags),
    /// Ask whether the CA works
    Health(trust::HealthFlags),
    /// Fetch the root certificate by its fingerprint
    Root(trust::RootFlags),
    /// Fetch all root certificates
    Roots(trust::RootsFlags),
    /// Make a one-time token
    Token(Box<token::Flags>),
    /// Make a key and get a certificate for it
    Certificate(Box<certificate::Flags>),
    /// Get a certificate for a certificate signing request
    Sign(Box<sign::Flags>),
    /// Get a new certificate for the same key
    Renew(Box<renew::Flags>),
    /// Replace a certificate and its key
    Rekey(Box<rekey::Flags>),
    /// Revoke a certificate
    Revoke(Box<revoke::Flags>),
    /// Manage who may ask for certificates
    #[command(subcommand, arg_required_else_help = true)]
    Provisioner(Box<provisioner::Words>),
    /// Manage for which names certificates may be had
    #[command(subcommand, arg_required_else_help = true)]
    Policy(policy::Words),
}

pub(crate) use config::Config;
pub(crate) use init::init;
pub(crate) use report::summary;
pub(crate) use serve::{LogFormat, ServePlan, Signals, serve, start_log_at};

pub(crate) fn run(words: Words, setting: &Setting<'_>) -> Outcome {
    match words {
        Words::Init(flags) => init::run(&flags, setting),
        Words::Serve(flags) => serve::run(flags, setting),
        Words::Bootstrap(flags) => bootstrap::run(&flags, setting),
        Words::Health(flags) => trust::health(&flags, setting),
        Words::Root(flags) => trust::root(&flags, setting),
        Words::Roots(flags) => trust::roots(&flags, setting),
        Words::Token(flags) => token::run(&flags, setting),
        Words::Certificate(flags) => certificate::run(&flags, setting),
        Words::Sign(flags) => sign::run(&flags, setting),
        Words::Renew(flags) => renew::run(&flags, setting),
        Words::Rekey(flags) => rekey::run(&flags, setting),
        Words::Revoke(flags) => revoke::run(&flags, setting),
        Words::Provisioner(words) => provisioner::run(*words, setting),
        Words::Policy(words) => policy::run(words, setting),
    }
}
