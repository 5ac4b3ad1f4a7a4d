//! Which names may be certified: allow and deny rules, and the name constraints of the issuing chain.

mod constraints;
mod domain;
mod rules;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use rules::{EmailRule, IpRange, RuleSet};

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
    allow: RuleSet,
    deny: RuleSet,
    allow_wildcards: bool,
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
    pub fn new(allow: &RuleTexts, deny: &RuleTexts, allow_wildcards: bool) -> Result<Self, BadRule> {
        Ok(Self { allow: RuleSet::parse(allow)?, deny: RuleSet::parse(deny)?, allow_wildcards })
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.allow.count() == 0 && self.deny.count() == 0
    }
}

/// Whether the policy lets all these names be certified; deny wins, and without allow rules all else is allowed.
///
/// Once anything is allowed explicitly, a kind of name that has no rule of its own is refused. The common name is
/// judged by the `cn` rules where there are some, else as the kind of name that it looks like.
pub fn check(policy: &NamePolicy, names: &Names) -> Result<(), NameRefusal> {
    if policy.is_empty() {
        return Ok(());
    }
    for name in &names.dns {
        check_dns(policy, "dns", name)?;
    }
    for name in &names.ip {
        check_ip(policy, "ip", *name)?;
    }
    for name in &names.email {
        check_email(policy, "email", name)?;
    }
    for name in &names.uri {
        check_uri(policy, "uri", name)?;
    }
    match names.common_name.as_deref() {
        Some(name) if !name.is_empty() => check_common_name(policy, name),
        _ => Ok(()),
    }
}

/// Whether the names respect the name constraints of every CA certificate of the chain.
pub fn check_constraints(chain: &[NameConstraints], names: &Names) -> Result<(), NameRefusal> {
    chain.iter().try_for_each(|constraints| constraints::check(constraints, names))
}

/// The kind of name that a text looks like: as `cn` is judged, and as a bare `--san` is sorted.
pub fn sort(text: &str, names: &mut Names) {
    if let Ok(address) = text.parse::<IpAddr>() {
        names.ip.push(address);
    } else if text.contains("://") || has_opaque_scheme(text) {
        names.uri.push(text.to_string());
    } else if text.contains('@') {
        names.email.push(text.to_string());
    } else {
        names.dns.push(text.to_string());
    }
}

const DENIED: &str = "is denied by the policy";
const NOT_ALLOWED: &str = "is not allowed by the policy";
const WILDCARD: &str = "is a wildcard, which the policy does not allow";
const UNREADABLE: &str = "cannot be judged by the policy, because it is malformed";

fn refusal(kind: &'static str, name: &str, reason: &'static str) -> NameRefusal {
    NameRefusal { kind, name: name.chars().take(255).collect(), reason }
}

/// What the two verdicts about one name come to; `rules` counts the rules of its kind, allow and deny.
fn conclude(
    policy: &NamePolicy,
    kind: &'static str,
    name: &str,
    rules: (usize, usize),
    denied: bool,
    allowed: bool,
) -> Result<(), NameRefusal> {
    let (allow_rules, deny_rules) = rules;
    if denied {
        return Err(refusal(kind, name, DENIED));
    }
    // A kind with deny rules alone was meant to be open for the rest, as in the reference.
    let kind_is_closed = allow_rules > 0 || (deny_rules == 0 && policy.allow.count() > 0);
    if kind_is_closed && !allowed { Err(refusal(kind, name, NOT_ALLOWED)) } else { Ok(()) }
}

fn check_common_name(policy: &NamePolicy, name: &str) -> Result<(), NameRefusal> {
    let rules = (policy.allow.cn.len(), policy.deny.cn.len());
    if rules != (0, 0) {
        let has = |rules: &[String]| rules.iter().any(|rule| rule.eq_ignore_ascii_case(name.trim()));
        return conclude(policy, "cn", name, rules, has(&policy.deny.cn), has(&policy.allow.cn));
    }
    let mut sorted = Names::default();
    sort(name, &mut sorted);
    sorted.dns.iter().try_for_each(|name| check_dns(policy, "cn", name))?;
    sorted.ip.iter().try_for_each(|name| check_ip(policy, "cn", *name))?;
    sorted.email.iter().try_for_each(|name| check_email(policy, "cn", name))?;
    sorted.uri.iter().try_for_each(|name| check_uri(policy, "cn", name))
}

fn check_dns(policy: &NamePolicy, kind: &'static str, name: &str) -> Result<(), NameRefusal> {
    let domain = domain::normalised(name);
    if domain.contains('*') && !policy.allow_wildcards {
        return Err(refusal(kind, name, WILDCARD));
    }
    // Some verifiers compare an address with a DNS name that is written like one: it must not slip past the ip rules.
    if let Ok(address) = domain.parse::<IpAddr>() {
        check_ip(policy, kind, address)?;
    }
    let rules = (policy.allow.dns.len(), policy.deny.dns.len());
    if rules != (0, 0) && !domain::is_plausible(&domain) {
        return Err(refusal(kind, name, UNREADABLE));
    }
    let denied = policy.deny.dns.iter().any(|rule| rule.touches(&domain));
    let allowed = policy.allow.dns.iter().any(|rule| rule.covers(&domain));
    conclude(policy, kind, name, rules, denied, allowed)
}

fn check_ip(policy: &NamePolicy, kind: &'static str, address: IpAddr) -> Result<(), NameRefusal> {
    let rules = (policy.allow.ip.len(), policy.deny.ip.len());
    let has = |ranges: &[IpRange]| ranges.iter().any(|range| range.contains(address));
    conclude(policy, kind, &address.to_string(), rules, has(&policy.deny.ip), has(&policy.allow.ip))
}

fn check_email(policy: &NamePolicy, kind: &'static str, name: &str) -> Result<(), NameRefusal> {
    let rules = (policy.allow.email.len(), policy.deny.email.len());
    let Some((local, host)) = domain::mailbox(name) else {
        let outcome = if rules == (0, 0) {
            conclude(policy, kind, name, rules, false, false)
        } else {
            Err(refusal(kind, name, UNREADABLE))
        };
        return outcome;
    };
    let has = |rules: &[EmailRule]| {
        rules.iter().any(|rule| rule.host == host && rule.local.as_deref().is_none_or(|wanted| wanted == local))
    };
    conclude(policy, kind, name, rules, has(&policy.deny.email), has(&policy.allow.email))
}

fn check_uri(policy: &NamePolicy, kind: &'static str, name: &str) -> Result<(), NameRefusal> {
    let rules = (policy.allow.uri.len(), policy.deny.uri.len());
    if rules == (0, 0) {
        return conclude(policy, kind, name, rules, false, false);
    }
    // Rules speak of hosts: a URI without one, or with an address, matches none and must not slip past a deny rule.
    let Some(host) = domain::uri_host(name) else { return Err(refusal(kind, name, UNREADABLE)) };
    let denied = policy.deny.uri.iter().any(|rule| rule.covers(&host));
    let allowed = policy.allow.uri.iter().any(|rule| rule.covers(&host));
    conclude(policy, kind, name, rules, denied, allowed)
}

/// `urn:`, `spiffe:` and the like without two slashes; a colon alone may also be a port.
fn has_opaque_scheme(text: &str) -> bool {
    matches!(text.split_once(':'), Some((scheme, rest))
        if !rest.is_empty()
            && !rest.starts_with(|c: char| c.is_ascii_digit())
            && scheme.len() >= 2
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-')))
}

#[cfg(test)]
mod tests;
