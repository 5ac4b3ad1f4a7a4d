//! Tables of names against policies and name constraints.

use alloc::borrow::ToOwned;
use std::vec;

use proptest::prelude::*;

use super::*;

fn texts(rules: &[(&str, &str)]) -> RuleTexts {
    let mut texts = RuleTexts::default();
    for (kind, rule) in rules {
        let list = match *kind {
            "cn" => &mut texts.cn,
            "dns" => &mut texts.dns,
            "ip" => &mut texts.ip,
            "email" => &mut texts.email,
            "uri" => &mut texts.uri,
            other => panic!("{other}"),
        };
        list.push((*rule).to_owned());
    }
    texts
}

fn names(kind: &str, name: &str) -> Names {
    let mut names = Names::default();
    match kind {
        "cn" => names.common_name = Some(name.to_owned()),
        "dns" => names.dns.push(name.to_owned()),
        "ip" => names.ip.push(name.parse().unwrap()),
        "email" => names.email.push(name.to_owned()),
        "uri" => names.uri.push(name.to_owned()),
        other => panic!("{other}"),
    }
    names
}

type Rules<'a> = &'a [(&'a str, &'a str)];

/// Allow rules, deny rules, whether wildcards are allowed, kind and name, and the reason of the refusal if any.
type PolicyRow<'a> = (Rules<'a>, Rules<'a>, bool, &'a str, &'a str, Option<&'a str>);

/// Permitted and excluded subtrees, kind and name, and whether it passes.
type ConstraintRow<'a> = (Vec<Subtree>, Vec<Subtree>, &'a str, &'a str, bool);

#[test]
fn policies_judge_names_as_the_table_says() {
    const OK: Option<&str> = None;
    const DENY: Option<&str> = Some(DENIED);
    const NO: Option<&str> = Some(NOT_ALLOWED);
    const WILD: Option<&str> = Some(WILDCARD);
    const BAD: Option<&str> = Some(UNREADABLE);
    let table: &[PolicyRow<'_>] = &[
        // No rule at all.
        (&[], &[], false, "dns", "*.anything", OK),
        (&[], &[], false, "uri", "no uri at all", OK),
        // An address is one also where it is written as a DNS name.
        (&[], &[("ip", "10.0.0.0/8")], false, "dns", "10.1.2.3", DENY),
        (&[], &[("ip", "10.0.0.0/8")], false, "dns", "ten.example", OK),
        // Exact names and one label of wildcard.
        (&[("dns", "www.example.com")], &[], false, "dns", "www.example.com", OK),
        (&[("dns", "www.example.com")], &[], false, "dns", "WWW.Example.COM.", OK),
        (&[("dns", "www.example.com")], &[], false, "dns", "example.com", NO),
        (&[("dns", "www.example.com")], &[], false, "dns", "a.www.example.com", NO),
        (&[("dns", "*.local")], &[], false, "dns", "host.local", OK),
        (&[("dns", "*.local")], &[], false, "dns", "sub.host.local", NO),
        (&[("dns", "*.local")], &[], false, "dns", "local", NO),
        (&[("dns", "*.local")], &[], false, "dns", ".local", BAD),
        (&[("dns", "*.local")], &[], false, "dns", "host.notlocal", NO),
        (&[("dns", "*.local")], &[], false, "dns", "host.local.example.com", NO),
        (&[("dns", "*.local")], &[], false, "dns", "a..local", BAD),
        // Literal wildcards.
        (&[("dns", "*.local")], &[], false, "dns", "*.local", WILD),
        (&[("dns", "*.local")], &[], true, "dns", "*.local", OK),
        (&[("dns", "*.local")], &[], true, "dns", "*.sub.local", NO),
        (&[("dns", "a.local")], &[], true, "dns", "*.local", NO),
        (&[("dns", "*.local")], &[], true, "dns", "a*.local", BAD),
        // Deny wins, and a wildcard does not walk around it.
        (&[("dns", "*.local")], &[("dns", "secret.local")], true, "dns", "open.local", OK),
        (&[("dns", "*.local")], &[("dns", "secret.local")], true, "dns", "secret.local", DENY),
        (&[("dns", "*.local")], &[("dns", "secret.local")], true, "dns", "*.local", DENY),
        (&[], &[("dns", "secret.local")], false, "dns", "other.example", OK),
        (&[], &[("dns", "secret.local")], false, "dns", "*.local", WILD),
        (&[], &[("dns", "*.local")], true, "dns", "*.local", DENY),
        (&[], &[("dns", "*.local")], false, "dns", "deep.sub.local", OK),
        // A kind without a rule is closed as soon as anything is allowed explicitly.
        (&[("dns", "*.local")], &[], false, "ip", "10.0.0.1", NO),
        (&[("dns", "*.local")], &[], false, "email", "a@local", NO),
        (&[("dns", "*.local")], &[], false, "uri", "https://host.local", NO),
        (&[("dns", "*.local")], &[("ip", "10.0.0.0/8")], false, "ip", "192.168.0.1", OK),
        (&[], &[("dns", "*.local")], false, "ip", "10.0.0.1", OK),
        (&[("email", "@example.com")], &[], false, "email", "broken", BAD),
        (&[("dns", "*.local")], &[], false, "email", "broken", NO),
        // Addresses.
        (&[("ip", "10.0.0.0/8")], &[], false, "ip", "10.255.1.2", OK),
        (&[("ip", "10.0.0.0/8")], &[], false, "ip", "11.0.0.1", NO),
        (&[("ip", "10.0.0.0/8")], &[], false, "ip", "::ffff:10.1.1.1", OK),
        (&[("ip", "10.0.0.7")], &[], false, "ip", "10.0.0.7", OK),
        (&[("ip", "10.0.0.7")], &[], false, "ip", "10.0.0.8", NO),
        (&[("ip", "0.0.0.0/0")], &[], false, "ip", "203.0.113.9", OK),
        (&[("ip", "0.0.0.0/0")], &[], false, "ip", "2001:db8::1", NO),
        (&[("ip", "::/0")], &[], false, "ip", "2001:db8::1", OK),
        (&[("ip", "2001:db8::/32")], &[], false, "ip", "2001:db8:ffff::1", OK),
        (&[("ip", "2001:db8::/32")], &[], false, "ip", "2001:db9::1", NO),
        (&[("ip", "10.0.0.0/8")], &[("ip", "10.6.6.6")], false, "ip", "10.6.6.6", DENY),
        // Mailboxes.
        (&[("email", "@example.com")], &[], false, "email", "jane@EXAMPLE.com", OK),
        (&[("email", "@example.com")], &[], false, "email", "jane@sub.example.com", NO),
        (&[("email", "jane@example.com")], &[], false, "email", "jane@example.com", OK),
        (&[("email", "jane@example.com")], &[], false, "email", "Jane@example.com", NO),
        (&[("email", "@example.com")], &[("email", "root@example.com")], false, "email", "root@example.com", DENY),
        // URIs.
        (&[("uri", "*.example.com")], &[], false, "uri", "https://www.example.com:8443/x?y#z", OK),
        (&[("uri", "*.example.com")], &[], false, "uri", "https://user@www.example.com/", OK),
        (&[("uri", "*.example.com")], &[], false, "uri", "https://www.example.com@evil.org/", NO),
        (&[("uri", "*.example.com")], &[], false, "uri", "https://10.0.0.1/", BAD),
        (&[("uri", "*.example.com")], &[], false, "uri", "https://[::1]/", BAD),
        (&[("uri", "*.example.com")], &[], false, "uri", "urn:uuid:1234", BAD),
        (&[("uri", "*.example.com")], &[], false, "uri", "https://*.example.com", BAD),
        (&[], &[("uri", "evil.example")], false, "uri", "https://evil.example/", DENY),
        // Common names.
        (&[("cn", "Jane Doe"), ("dns", "*.local")], &[], false, "cn", "jane doe", OK),
        (&[("cn", "Jane Doe"), ("dns", "*.local")], &[], false, "cn", "host.local", NO),
        (&[("dns", "*.local")], &[], false, "cn", "host.local", OK),
        (&[("dns", "*.local")], &[], false, "cn", "Jane Doe", BAD),
        (&[("dns", "*.local")], &[], false, "cn", "10.0.0.1", NO),
        (&[("ip", "10.0.0.0/8")], &[], false, "cn", "10.0.0.1", OK),
        (&[("email", "@example.com")], &[], false, "cn", "jane@example.com", OK),
        (&[("uri", "example.com")], &[], false, "cn", "https://example.com/x", OK),
        (&[("dns", "*.local")], &[], false, "cn", "", OK),
        (&[], &[("cn", "root")], false, "cn", "ROOT", DENY),
        (&[], &[("cn", "root")], false, "cn", "leaf", OK),
        (&[], &[("dns", "secret.local")], false, "cn", "secret.local", DENY),
    ];
    for (allow, deny, wildcards, kind, name, reason) in table {
        let policy = NamePolicy::new(&texts(allow), &texts(deny), *wildcards).unwrap();
        let verdict = check(&policy, &names(kind, name)).err().map(|refusal| refusal.reason);
        assert_eq!(verdict, *reason, "allow {allow:?} deny {deny:?} wildcards {wildcards}: {kind} {name}");
    }
}

#[test]
fn one_bad_name_among_good_ones_is_named() {
    let policy = NamePolicy::new(&texts(&[("dns", "*.local")]), &RuleTexts::default(), false).unwrap();
    let mut asked = names("dns", "a.local");
    asked.dns.push("b.example".to_owned());
    assert_eq!(
        check(&policy, &asked),
        Err(NameRefusal { kind: "dns", name: "b.example".to_owned(), reason: NOT_ALLOWED })
    );
}

#[test]
fn rules_that_say_nothing_sensible_are_refused() {
    let table: &[(&str, &[&str])] = &[
        ("cn", &["", " ", "*"]),
        (
            "dns",
            &[
                "",
                "*",
                "*.",
                ".local",
                "a..b",
                "*.*.local",
                "a*.local",
                "www.*.com",
                "müller.example",
                "a b",
                "https://x",
                "10.0.0.1",
            ],
        ),
        (
            "ip",
            &["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/", "host", "10.0.0.0/8/8"],
        ),
        ("email", &["", "@", "jane@", "*@example.com", "@*.example.com", "jane@ex ample.com"]),
        ("uri", &["", "https://example.com", "example.com:443", "*", "example.com/path"]),
    ];
    for (kind, rules) in table {
        for rule in *rules {
            let outcome = NamePolicy::new(&texts(&[(kind, rule)]), &RuleTexts::default(), false);
            assert!(outcome.is_err(), "{kind} {rule:?}");
        }
    }
}

#[test]
fn name_constraints_judge_names_as_the_standard_says() {
    let dns = |tree: &str| Subtree::Dns(tree.to_owned());
    let email = |tree: &str| Subtree::Email(tree.to_owned());
    let uri = |tree: &str| Subtree::Uri(tree.to_owned());
    let ip = |address: &str, mask: &str| Subtree::Ip { address: address.parse().unwrap(), mask: mask.parse().unwrap() };
    let table: &[ConstraintRow<'_>] = &[
        (vec![], vec![], "dns", "anything.example", true),
        (vec![dns("example.com")], vec![], "dns", "example.com", true),
        (vec![dns("example.com")], vec![], "dns", "deep.sub.Example.com", true),
        (vec![dns("example.com")], vec![], "dns", "*.example.com", true),
        (vec![dns("example.com")], vec![], "dns", "notexample.com", false),
        (vec![dns("example.com")], vec![], "dns", "example.com.evil.org", false),
        (vec![dns(".example.com")], vec![], "dns", "example.com", false),
        (vec![dns(".example.com")], vec![], "dns", "a.example.com", true),
        (vec![dns("")], vec![], "dns", "a.example.com", true),
        (vec![], vec![dns("")], "dns", "a.example.com", false),
        (vec![dns("example.com")], vec![dns("secret.example.com")], "dns", "secret.example.com", false),
        (vec![dns("example.com")], vec![dns("secret.example.com")], "dns", "*.example.com", false),
        (vec![dns("example.com")], vec![dns("secret.example.com")], "dns", "x.secret.example.com", false),
        (vec![dns("example.com")], vec![], "dns", "a..example.com", false),
        // A kind without a subtree is free.
        (vec![dns("example.com")], vec![], "ip", "10.0.0.1", true),
        // A common name that verifiers would fall back to is judged as well.
        (vec![dns("example.com")], vec![], "cn", "www.evil.org", false),
        (vec![dns("example.com")], vec![], "cn", "Jane Doe", true),
        (vec![ip("10.0.0.0", "255.0.0.0")], vec![], "ip", "10.1.2.3", true),
        (vec![ip("10.0.0.0", "255.0.0.0")], vec![], "ip", "11.1.2.3", false),
        (vec![ip("10.0.0.0", "255.0.0.0")], vec![], "ip", "2001:db8::1", false),
        (vec![], vec![ip("2001:db8::", "ffff:ffff::")], "ip", "2001:db8::1", false),
        (vec![email("jane@example.com")], vec![], "email", "jane@example.com", true),
        (vec![email("jane@example.com")], vec![], "email", "joe@example.com", false),
        (vec![email("example.com")], vec![], "email", "joe@example.com", true),
        (vec![email("example.com")], vec![], "email", "joe@sub.example.com", false),
        (vec![email(".example.com")], vec![], "email", "joe@sub.example.com", true),
        (vec![email(".example.com")], vec![], "email", "joe@example.com", false),
        (vec![], vec![email("example.com")], "email", "no mailbox", false),
        (vec![uri("example.com")], vec![], "uri", "https://example.com/x", true),
        (vec![uri("example.com")], vec![], "uri", "https://www.example.com/x", false),
        (vec![uri(".example.com")], vec![], "uri", "https://www.example.com/x", true),
        (vec![uri(".example.com")], vec![], "uri", "urn:x:y", false),
        (vec![Subtree::Other("directoryName".to_owned())], vec![], "dns", "example.com", false),
    ];
    for (permitted, excluded, kind, name, allowed) in table {
        let chain =
            [NameConstraints::default(), NameConstraints { permitted: permitted.clone(), excluded: excluded.clone() }];
        let verdict = check_constraints(&chain, &names(kind, name));
        assert_eq!(
            verdict.is_ok(),
            *allowed,
            "permitted {permitted:?} excluded {excluded:?}: {kind} {name}: {verdict:?}"
        );
    }
}

#[test]
fn texts_are_sorted_by_what_they_look_like() {
    let table = [
        ("10.0.0.1", "ip"),
        ("::1", "ip"),
        ("https://example.com", "uri"),
        ("urn:uuid:f81d4fae", "uri"),
        ("jane@example.com", "email"),
        ("example.com", "dns"),
        ("localhost:8443", "dns"),
        ("Jane Doe", "dns"),
    ];
    for (text, kind) in table {
        let mut sorted = Names::default();
        sort(text, &mut sorted);
        let found = [
            ("ip", sorted.ip.len()),
            ("uri", sorted.uri.len()),
            ("email", sorted.email.len()),
            ("dns", sorted.dns.len()),
        ];
        for (list, count) in found {
            assert_eq!(count, usize::from(list == kind), "{text} in {list}");
        }
    }
}

proptest! {
    #[test]
    fn a_denied_name_is_never_allowed(label in "[a-z][a-z0-9]{0,8}", parent in "[a-z]{1,5}\\.[a-z]{2,3}", wildcards: bool) {
        let name = std::format!("{label}.{parent}");
        let allow = texts(&[("dns", &std::format!("*.{parent}")), ("dns", &name)]);
        let policy = NamePolicy::new(&allow, &texts(&[("dns", &name)]), wildcards).unwrap();
        prop_assert!(check(&policy, &names("dns", &name)).is_err());
        let wildcard = std::format!("*.{parent}");
        prop_assert!(check(&policy, &names("dns", &wildcard)).is_err());
    }

    #[test]
    fn every_address_of_a_range_matches_it_and_the_next_range_does_not(address: u32, prefix in 1_u32..=32, low: u32) {
        let mask = u32::MAX << (32 - prefix);
        let network = core::net::Ipv4Addr::from_bits(address & mask);
        let policy = NamePolicy::new(&texts(&[("ip", &std::format!("{network}/{prefix}"))]), &RuleTexts::default(), false).unwrap();
        let inside = core::net::Ipv4Addr::from_bits((address & mask) | (low & !mask));
        let outside = core::net::Ipv4Addr::from_bits(inside.to_bits() ^ (1 << (32 - prefix)));
        prop_assert!(check(&policy, &names("ip", &inside.to_string())).is_ok());
        prop_assert!(check(&policy, &names("ip", &outside.to_string())).is_err());
    }

    #[test]
    fn no_name_makes_the_check_fail_otherwise_than_by_a_refusal(name in "\\PC{0,60}") {
        let rules = texts(&[("cn", "x"), ("dns", "*.local"), ("email", "@local"), ("uri", "*.local")]);
        let policy = NamePolicy::new(&rules, &rules, true).unwrap();
        for kind in ["cn", "dns", "email", "uri"] {
            let _ = check(&policy, &names(kind, &name));
        }
        let mut sorted = Names::default();
        sort(&name, &mut sorted);
    }
}
