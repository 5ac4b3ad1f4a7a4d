//! `ca policy …`: for which names certificates may be had, in `ca.json`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use keywheel_wire::step::ca_json::{CaJsonError, PolicySide};
use serde_json::{Value, json};

use super::config::Config;
use crate::commands::{DONE, Setting};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Whose policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Words {
    /// The policy of the whole CA
    #[command(subcommand, arg_required_else_help = true)]
    Authority(AuthorityWords),
}

/// What is to be done to the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthorityWords {
    /// Show the policy
    #[command(after_help = "Examples:\n  keywheel ca policy authority view")]
    View(ConfigFlags),
    /// Remove the whole policy: then every name is allowed
    #[command(after_help = "Examples:\n  keywheel ca policy authority remove")]
    Remove(ConfigFlags),
    /// The rules for X.509 certificates
    #[command(subcommand, arg_required_else_help = true)]
    X509(X509Words),
}

/// Which rules.
#[derive(Debug, Subcommand)]
pub(crate) enum X509Words {
    /// Names that certificates may have; without such rules every name is allowed
    #[command(subcommand, arg_required_else_help = true)]
    Allow(NameWords),
    /// Names that certificates may not have; they count more than those that are allowed
    #[command(subcommand, arg_required_else_help = true)]
    Deny(NameWords),
    /// Whether certificates may have names such as *.example.com
    #[command(subcommand, arg_required_else_help = true)]
    Wildcards(WildcardWords),
}

/// Of which kind the names are.
#[derive(Debug, Subcommand)]
pub(crate) enum NameWords {
    /// Common names
    #[command(after_help = "Examples:\n  keywheel ca policy authority x509 allow cn 'My Service'")]
    Cn(RuleFlags),
    /// DNS names, such as svc.example.com or *.example.com
    #[command(
        after_help = "Examples:\n  keywheel ca policy authority x509 allow dns '*.example.com'\n  keywheel ca policy authority x509 deny dns --remove bad.example.com"
    )]
    Dns(RuleFlags),
    /// E-mail addresses, such as @example.com or a@example.com
    #[command(after_help = "Examples:\n  keywheel ca policy authority x509 allow email @example.com")]
    Email(RuleFlags),
    /// IP addresses and networks, such as 10.0.0.0/8
    #[command(after_help = "Examples:\n  keywheel ca policy authority x509 allow ip 10.0.0.0/8")]
    Ip(RuleFlags),
    /// Domains of URIs
    #[command(after_help = "Examples:\n  keywheel ca policy authority x509 allow uri '*.example.com'")]
    Uri(RuleFlags),
}

/// Whether wildcards are allowed.
#[derive(Debug, Subcommand)]
pub(crate) enum WildcardWords {
    /// Allow them
    #[command(after_help = "Examples:\n  keywheel ca policy authority x509 wildcards allow")]
    Allow(ConfigFlags),
    /// Refuse them
    #[command(after_help = "Examples:\n  keywheel ca policy authority x509 wildcards deny")]
    Deny(ConfigFlags),
}

/// Which configuration.
#[derive(Args, Debug)]
pub(crate) struct ConfigFlags {
    /// The configuration of the CA [default: config/ca.json]
    #[arg(long, value_name = "file")]
    ca_config: Option<PathBuf>,
}

/// Which rules.
#[derive(Args, Debug)]
pub(crate) struct RuleFlags {
    /// The names
    #[arg(value_name = "name", required = true)]
    names: Vec<String>,
    /// Take them out instead of adding them
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    config: ConfigFlags,
}

pub(crate) fn run(words: Words, setting: &Setting<'_>) -> Outcome {
    let Words::Authority(words) = words;
    match words {
        AuthorityWords::View(flags) => {
            let config = Config::read(flags.ca_config.as_deref(), setting)?;
            setting.voice.json_always(&shown(&config))?;
            DONE
        }
        AuthorityWords::Remove(flags) => change(&flags, setting, |config| config.json.remove_policy()),
        AuthorityWords::X509(X509Words::Wildcards(words)) => {
            let (flags, allowed) = match &words {
                WildcardWords::Allow(flags) => (flags, true),
                WildcardWords::Deny(flags) => (flags, false),
            };
            change(flags, setting, |config| config.json.set_policy_wildcards(allowed))
        }
        AuthorityWords::X509(X509Words::Allow(words)) => rules(PolicySide::Allow, &words, setting),
        AuthorityWords::X509(X509Words::Deny(words)) => rules(PolicySide::Deny, &words, setting),
    }
}

fn rules(side: PolicySide, words: &NameWords, setting: &Setting<'_>) -> Outcome {
    let (kind, flags) = match words {
        NameWords::Cn(flags) => ("cn", flags),
        NameWords::Dns(flags) => ("dns", flags),
        NameWords::Email(flags) => ("email", flags),
        NameWords::Ip(flags) => ("ip", flags),
        NameWords::Uri(flags) => ("uri", flags),
    };
    change(&flags.config, setting, |config| {
        if flags.remove {
            config.json.remove_policy_rules(side, kind, &flags.names)
        } else {
            config.json.add_policy_rules(side, kind, &flags.names)
        }
    })
}

fn change(
    flags: &ConfigFlags,
    setting: &Setting<'_>,
    change: impl FnOnce(&mut Config) -> Result<(), CaJsonError>,
) -> Outcome {
    let mut config = Config::read(flags.ca_config.as_deref(), setting)?;
    change(&mut config).map_err(|error| Failure::of(Exit::Usage, error))?;
    config.write(setting)?;
    setting.voice.json(&shown(&config))?;
    DONE
}

/// The whole policy; an empty one where there is none.
fn shown(config: &Config) -> Value {
    config.json.policy_object().cloned().map_or_else(|| json!({}), Value::Object)
}
