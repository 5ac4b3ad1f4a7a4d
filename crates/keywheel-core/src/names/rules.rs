//! Allow and deny rules, parsed.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{BadRule, RuleTexts, domain};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RuleSet {
    pub(super) cn: Vec<String>,
    pub(super) dns: Vec<DomainRule>,
    pub(super) ip: Vec<IpRange>,
    pub(super) email: Vec<EmailRule>,
    pub(super) uri: Vec<DomainRule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DomainRule {
    /// This name.
    Exact(String),
    /// This name with exactly one more label before it.
    OneLabelBelow(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IpRange {
    address: IpAddr,
    prefix: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EmailRule {
    /// None for every mailbox of the host.
    pub(super) local: Option<String>,
    pub(super) host: String,
}

impl RuleSet {
    pub(super) fn parse(texts: &RuleTexts) -> Result<Self, BadRule> {
        Ok(Self {
            cn: parse_all("cn", &texts.cn, common_name)?,
            dns: parse_all("dns", &texts.dns, domain_rule)?,
            ip: parse_all("ip", &texts.ip, ip_range)?,
            email: parse_all("email", &texts.email, email_rule)?,
            uri: parse_all("uri", &texts.uri, domain_rule)?,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.cn.len() + self.dns.len() + self.ip.len() + self.email.len() + self.uri.len()
    }
}

impl DomainRule {
    /// Whether everything that a certificate for `domain` serves lies within the rule.
    pub(super) fn covers(&self, domain: &str) -> bool {
        match self {
            Self::Exact(name) => name == domain,
            Self::OneLabelBelow(parent) => parent_of(domain) == Some(parent.as_str()),
        }
    }

    /// Whether anything that a certificate for `domain`, perhaps a wildcard, serves lies within the rule.
    pub(super) fn touches(&self, domain: &str) -> bool {
        match (self, domain.strip_prefix("*.")) {
            (Self::Exact(name), Some(parent)) => parent_of(name) == Some(parent),
            _ => self.covers(domain),
        }
    }
}

impl IpRange {
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - self.prefix).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

fn parse_all<T>(
    kind: &'static str,
    texts: &[String],
    parse: fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<T>, BadRule> {
    texts
        .iter()
        .map(|rule| {
            parse(rule.trim()).map_err(|reason| BadRule { kind, rule: rule.chars().take(255).collect(), reason })
        })
        .collect()
}

fn common_name(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("it is empty"),
        "*" => Err("a bare wildcard would allow or deny everything"),
        _ => Ok(text.to_string()),
    }
}

fn domain_rule(text: &str) -> Result<DomainRule, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if !text.is_ascii() {
        return Err("write an internationalised name in its ASCII form (xn--...)");
    }
    if text.starts_with('.') {
        return Err("a wildcard starts with *.");
    }
    if text.contains("://") || text.contains([':', '/', '@']) {
        return Err("only a host name may stand here, without scheme, port or path");
    }
    let (wildcard, rest) = match text.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest.contains('*') {
        return Err("a wildcard may only stand for the whole first label");
    }
    let name = domain::normalised(rest);
    if !domain::is_plausible(&name) {
        return Err("it is not a DNS name");
    }
    if name.parse::<IpAddr>().is_ok() {
        return Err("an address belongs among the ip rules");
    }
    Ok(if wildcard { DomainRule::OneLabelBelow(name) } else { DomainRule::Exact(name) })
}

fn ip_range(text: &str) -> Result<IpRange, &'static str> {
    const NO_ADDRESS: &str = "it is neither an address nor a range such as 10.0.0.0/8";
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => {
            if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_digit()) {
                return Err(NO_ADDRESS);
            }
            (address, Some(prefix.parse::<u32>().map_err(|_| NO_ADDRESS)?))
        }
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| NO_ADDRESS)?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.unwrap_or(bits);
    if prefix > bits {
        return Err("its prefix is longer than the address");
    }
    Ok(match (address, address.to_canonical()) {
        // A mapped range below 96 bits would span both families.
        (IpAddr::V6(_), IpAddr::V4(mapped)) if prefix >= 96 => IpRange { address: mapped.into(), prefix: prefix - 96 },
        (address, _) => IpRange { address, prefix },
    })
}

fn email_rule(text: &str) -> Result<EmailRule, &'static str> {
    if text.contains('*') {
        return Err("it cannot hold a wildcard; @example.com stands for everybody there");
    }
    let (local, host) = match text.rsplit_once('@') {
        Some(("", host)) => (None, host),
        Some((local, host)) => (Some(local.to_string()), host),
        None => (None, text),
    };
    if !host.is_ascii() {
        return Err("write an internationalised name in its ASCII form (xn--...)");
    }
    let host = domain::normalised(host);
    if !domain::is_plausible(&host) { Err("its host is not a DNS name") } else { Ok(EmailRule { local, host }) }
}

fn parent_of(domain: &str) -> Option<&str> {
    domain.split_once('.').map(|(_, parent)| parent)
}
