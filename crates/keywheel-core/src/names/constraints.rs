//! The name constraints of one CA certificate, as RFC 5280 section 4.2.1.10 reads them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{NameConstraints, NameRefusal, Names, Subtree, domain, refusal};

const EXCLUDED: &str = "is excluded by the name constraints of the issuing chain";
const NOT_PERMITTED: &str = "is not permitted by the name constraints of the issuing chain";
const UNREADABLE: &str = "cannot be judged by the name constraints of the issuing chain, because it is malformed";
const UNJUDGED: &str = "is a kind of name constraint of the issuing chain that is not supported";

pub(super) fn check(constraints: &NameConstraints, names: &Names) -> Result<(), NameRefusal> {
    let all = constraints.permitted.iter().chain(&constraints.excluded);
    // A constraint that is not understood may forbid anything: RFC 5280 wants such a certificate refused.
    for subtree in all {
        if let Subtree::Other(kind) = subtree {
            return Err(refusal("other", kind, UNJUDGED));
        }
    }
    for name in dns_names(names) {
        let name_read = domain::normalised(name);
        let readable = domain::is_plausible(&name_read);
        judge(constraints, "dns", name, readable, |subtree, excluding| match subtree {
            Subtree::Dns(tree) => Some(in_domain(&name_read, tree, excluding)),
            _ => None,
        })?;
    }
    for address in &names.ip {
        judge(constraints, "ip", &address.to_string(), true, |subtree, _| match subtree {
            Subtree::Ip { address: network, mask } => Some(in_range(*address, *network, *mask)),
            _ => None,
        })?;
    }
    for name in &names.email {
        let mailbox = domain::mailbox(name);
        judge(constraints, "email", name, mailbox.is_some(), |subtree, _| match (subtree, &mailbox) {
            (Subtree::Email(tree), Some((local, host))) => Some(in_mailbox_tree(local, host, tree)),
            (Subtree::Email(_), None) => Some(false),
            _ => None,
        })?;
    }
    for name in &names.uri {
        let host = domain::uri_host(name);
        judge(constraints, "uri", name, host.is_some(), |subtree, _| match (subtree, &host) {
            (Subtree::Uri(tree), Some(host)) => Some(in_host_tree(host, tree)),
            (Subtree::Uri(_), None) => Some(false),
            _ => None,
        })?;
    }
    Ok(())
}

/// Judges one name; `within` says whether it lies in a subtree, and gives none for a subtree of another kind.
fn judge(
    constraints: &NameConstraints,
    kind: &'static str,
    name: &str,
    readable: bool,
    within: impl Fn(&Subtree, bool) -> Option<bool>,
) -> Result<(), NameRefusal> {
    let excluded: Vec<bool> = constraints.excluded.iter().filter_map(|tree| within(tree, true)).collect();
    let permitted: Vec<bool> = constraints.permitted.iter().filter_map(|tree| within(tree, false)).collect();
    if excluded.is_empty() && permitted.is_empty() {
        return Ok(());
    }
    if !readable {
        return Err(refusal(kind, name, UNREADABLE));
    }
    if excluded.contains(&true) {
        return Err(refusal(kind, name, EXCLUDED));
    }
    if !permitted.is_empty() && !permitted.contains(&true) {
        return Err(refusal(kind, name, NOT_PERMITTED));
    }
    Ok(())
}

/// The DNS names, and the common name where there are none and it looks like one: verifiers fall back to it.
fn dns_names(names: &Names) -> Vec<&String> {
    let fallback = names
        .common_name
        .iter()
        .filter(|name| names.dns.is_empty() && name.contains('.') && name.parse::<IpAddr>().is_err())
        .filter(|name| domain::is_plausible(&domain::normalised(name)));
    names.dns.iter().chain(fallback).collect()
}

fn in_domain(name: &str, tree: &str, excluding: bool) -> bool {
    let tree = domain::normalised(tree);
    let (below_only, tree) = match tree.strip_prefix('.') {
        Some(tree) => (true, tree),
        None => (false, tree.as_str()),
    };
    if tree.is_empty() {
        return true;
    }
    // A wildcard reaches one label down: it touches an excluded name that it would serve.
    let wildcard_parent = name.strip_prefix("*.").filter(|_| excluding && !below_only);
    if wildcard_parent.is_some() && tree.split_once('.').map(|(_, parent)| parent) == wildcard_parent {
        return true;
    }
    (!below_only && name == tree) || is_below(name, tree)
}

fn in_range(address: IpAddr, network: IpAddr, mask: IpAddr) -> bool {
    match (address.to_canonical(), network, mask) {
        (IpAddr::V4(address), IpAddr::V4(network), IpAddr::V4(mask)) => {
            address.to_bits() & mask.to_bits() == network.to_bits() & mask.to_bits()
        }
        (IpAddr::V6(address), IpAddr::V6(network), IpAddr::V6(mask)) => {
            address.to_bits() & mask.to_bits() == network.to_bits() & mask.to_bits()
        }
        _ => false,
    }
}

fn in_mailbox_tree(local: &str, host: &str, tree: &str) -> bool {
    match tree.rsplit_once('@') {
        Some((wanted, tree_host)) => wanted == local && domain::normalised(tree_host) == host,
        None => in_host_tree(host, tree),
    }
}

/// A host stands for itself alone; with a leading dot, for all hosts below.
fn in_host_tree(host: &str, tree: &str) -> bool {
    let tree = domain::normalised(tree);
    match tree.strip_prefix('.') {
        Some(parent) => is_below(host, parent),
        None => host == tree,
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}
