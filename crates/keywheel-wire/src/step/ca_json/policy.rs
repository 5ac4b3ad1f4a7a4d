//! The name policy of a `ca.json`: `authority.policy.x509` of the reference, and ours of one provisioner.

use keywheel_core::names::{NamePolicy, RuleTexts};
use serde_json::{Map, Value};

use super::CaJson;
use super::fields::{CaJsonError, Fields};

/// Which list of a policy is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicySide {
    /// Names that may be certified.
    Allow,
    /// Names that may not.
    Deny,
}

impl PolicySide {
    /// The list's name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl CaJson {
    /// The authority's policy for X.509 names; without one everything is allowed.
    ///
    /// # Errors
    /// The first field or rule that is wrong, with its place.
    pub fn policy(&self) -> Result<NamePolicy, CaJsonError> {
        let root = Fields::root(&self.document);
        let policy = root.object("authority")?.map_or(Ok(None), |authority| authority.object("policy"))?;
        let x509_fields = policy.map_or(Ok(None), |policy| policy.object("x509"))?;
        x509_fields.map_or(Ok(NamePolicy::default()), |fields| x509(&fields))
    }

    /// The authority's policy as it stands in the file, for `ca policy … view`.
    #[must_use]
    pub fn policy_object(&self) -> Option<&Map<String, Value>> {
        self.document.get("authority")?.get("policy")?.as_object()
    }

    /// The rules of one list of the authority's X.509 policy and one kind of name (`cn`, `dns`, `ip`, `email`, `uri`).
    ///
    /// # Errors
    /// When the list is not a list of texts.
    pub fn policy_rules(&self, side: PolicySide, kind: &str) -> Result<Vec<String>, CaJsonError> {
        let root = Fields::root(&self.document);
        let policy = root.object("authority")?.map_or(Ok(None), |authority| authority.object("policy"))?;
        let x509 = policy.map_or(Ok(None), |policy| policy.object("x509"))?;
        let list = x509.map_or(Ok(None), |x509| x509.object(side.name()))?;
        list.map_or(Ok(Vec::new()), |list| list.texts(kind))
    }

    /// Adds rules to the authority's X.509 policy, making the policy where there is none. What is there already stays once.
    ///
    /// # Errors
    /// When a rule is not understood, or a part of the path is not an object. Then nothing is changed.
    pub fn add_policy_rules(&mut self, side: PolicySide, kind: &str, rules: &[String]) -> Result<(), CaJsonError> {
        let mut wanted = self.policy_rules(side, kind)?;
        for rule in rules {
            if !wanted.contains(rule) {
                wanted.push(rule.clone());
            }
        }
        self.change(|document| {
            let list = path(document, &["authority", "policy", "x509", side.name()])?;
            list.insert(kind.to_owned(), Value::from(wanted));
            Ok(())
        })
    }

    /// Takes rules out of the authority's X.509 policy.
    ///
    /// # Errors
    /// When one of them is not there. Then nothing is changed.
    pub fn remove_policy_rules(&mut self, side: PolicySide, kind: &str, rules: &[String]) -> Result<(), CaJsonError> {
        let mut left = self.policy_rules(side, kind)?;
        for rule in rules {
            let place = left.iter().position(|other| other == rule).ok_or_else(|| {
                CaJsonError::NoSuchPolicy(format!("{kind} rule '{rule}' among those that {} names", side.name()))
            })?;
            left.remove(place);
        }
        self.change(|document| {
            let list = path(document, &["authority", "policy", "x509", side.name()])?;
            if left.is_empty() {
                list.shift_remove(kind);
            } else {
                list.insert(kind.to_owned(), Value::from(left));
            }
            Ok(())
        })
    }

    /// Says whether a literal wildcard such as `*.example.com` may be certified.
    ///
    /// # Errors
    /// When a part of the path is not an object. Then nothing is changed.
    pub fn set_policy_wildcards(&mut self, allowed: bool) -> Result<(), CaJsonError> {
        self.change(|document| {
            path(document, &["authority", "policy", "x509"])?
                .insert("allowWildcardNames".to_owned(), Value::from(allowed));
            Ok(())
        })
    }

    /// Removes the authority's whole policy.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove_policy(&mut self) -> Result<(), CaJsonError> {
        self.change(|document| {
            let authority = document.get_mut("authority").and_then(Value::as_object_mut);
            authority
                .and_then(|authority| authority.shift_remove("policy"))
                .map(|_| ())
                .ok_or_else(|| CaJsonError::NoSuchPolicy("policy of the authority".to_owned()))
        })
    }
}

/// Reads one `{"allow":{…},"deny":{…},"allowWildcardNames":…}`.
pub(super) fn x509(fields: &Fields<'_>) -> Result<NamePolicy, CaJsonError> {
    let rules = |side: PolicySide| match fields.object(side.name())? {
        None => Ok(RuleTexts::default()),
        Some(list) => Ok(RuleTexts {
            cn: list.texts("cn")?,
            dns: list.texts("dns")?,
            ip: list.texts("ip")?,
            email: list.texts("email")?,
            uri: list.texts("uri")?,
        }),
    };
    let wildcards = fields.flag("allowWildcardNames")?.unwrap_or_default();
    NamePolicy::new(&rules(PolicySide::Allow)?, &rules(PolicySide::Deny)?, wildcards).map_err(|bad| {
        CaJsonError::Field {
            place: fields.place.clone(),
            expected: format!("rules for {} names", bad.kind),
            found: bad.to_string(),
        }
    })
}

/// Walks down a path of objects and makes those that are absent.
pub(super) fn path<'a>(
    document: &'a mut Map<String, Value>,
    steps: &[&str],
) -> Result<&'a mut Map<String, Value>, CaJsonError> {
    let mut here = document;
    let mut place = String::new();
    for step in steps {
        if !place.is_empty() {
            place.push('.');
        }
        place.push_str(step);
        let next = here.entry((*step).to_owned()).or_insert(Value::Null);
        if next.is_null() {
            *next = Value::Object(Map::new());
        }
        let found = crate::json::describe(next);
        here = next.as_object_mut().ok_or_else(|| CaJsonError::Field {
            place: place.clone(),
            expected: "an object".to_owned(),
            found,
        })?;
    }
    Ok(here)
}
