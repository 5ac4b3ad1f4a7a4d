//! Which names may be certified: allow and deny rules, and the name constraints of the issuing chain.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// The names that a certificate carries or asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The subject's common name.
    pub common_name: Option<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ip: Vec<IpAddr>,
    /// E-mail addresses.
    pub email: Vec<String>,
    /// URIs.
    pub uri: Vec<String>,
}

/// Rules as configured, by kind of name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleTexts {
    /// Rules for the common name.
    pub cn: Vec<String>,
    /// Rules for DNS names: `www.example.com`, or `*.example.com` for exactly one label.
    pub dns: Vec<String>,
    /// Rules for IP addresses: an address, or a range in CIDR notation.
    pub ip: Vec<String>,
    /// Rules for e-mail addresses: `jane@example.com`, or `@example.com` for everybody there.
    pub email: Vec<String>,
    /// Rules for the host of a URI, written like DNS rules.
    pub uri: Vec<String>,
}

/// Checked allow and deny rules. The default allows every name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamePolicy {
    rules: (),
}

/// A rule that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?} is no rule for {kind} names: {reason}")]
pub struct BadRule {
    /// The kind of name: `cn`, `dns`, `ip`, `email` or `uri`.
    pub kind: &'static str,
    /// The rule as written.
    pub rule: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A name that may not be certified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {name:?} {reason}")]
pub struct NameRefusal {
    /// The kind of name: `cn`, `dns`, `ip`, `email` or `uri`.
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// Why, as the end of a sentence that starts with the name.
    pub reason: &'static str,
}

/// The name constraints extension of one CA certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// Where names may lie; a kind without a subtree is free.
    pub permitted: Vec<Subtree>,
    /// Where names may not lie.
    pub excluded: Vec<Subtree>,
}

/// One subtree of a name constraints extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subtree {
    /// A domain and everything below it.
    Dns(String),
    /// A range of addresses.
    Ip {
        /// The first address.
        address: IpAddr,
        /// The mask, of the same family.
        mask: IpAddr,
    },
    /// A mailbox, a host, or with a leading dot all hosts of a domain.
    Email(String),
    /// A host, or with a leading dot all hosts of a domain.
    Uri(String),
    /// A directory name or another kind that is not judged here; the kind's name.
    Other(String),
}

impl NamePolicy {
    /// Checks the rules and makes a policy. `allow_wildcards` lets a literal `*.example.com` be certified.
    pub fn new(_allow: &RuleTexts, _deny: &RuleTexts, _allow_wildcards: bool) -> Result<Self, BadRule> {
        todo!()
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
}

/// Whether the policy lets all these names be certified; deny wins, and without allow rules all else is allowed.
pub fn check(_policy: &NamePolicy, _names: &Names) -> Result<(), NameRefusal> {
    todo!()
}

/// Whether the names respect the name constraints of every CA certificate of the chain.
pub fn check_constraints(_chain: &[NameConstraints], _names: &Names) -> Result<(), NameRefusal> {
    todo!()
}
