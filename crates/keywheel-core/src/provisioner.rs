//! Who may ask the CA for certificates: provisioners, and what becomes of a certificate after its rekey.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::SignedDuration;

use crate::claims::Claims;
use crate::names::NamePolicy;

/// How long an old certificate stays valid at the most when its successor is never seen, where nothing else is said.
pub const DEFAULT_LATEST_REVOCATION: SignedDuration = SignedDuration::from_mins(10);

/// One provisioner of a CA.
#[derive(Clone, Debug, PartialEq)]
pub struct Provisioner {
    /// Its name, unique within its kind.
    pub name: String,
    /// How it proves itself.
    pub kind: ProvisionerKind,
    /// Its own claims; what is absent is inherited from the CA.
    pub claims: Claims,
    /// What becomes of an old certificate after a rekey.
    pub rekey: RekeyPolicy,
    /// The names that it may certify, beside the CA's own policy.
    pub name_policy: NamePolicy,
    /// Its template for X.509 certificates; none means the default leaf.
    pub x509_template: Option<TemplateSource>,
    /// Data for the template, as a JSON object.
    pub x509_template_data: Option<String>,
}

/// How a provisioner proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvisionerKind {
    /// One-time tokens signed by a JSON Web Key.
    Jwk {
        /// The key's identifier.
        kid: String,
        /// The private key as compact JWE, for clients that know its password.
        encrypted_key: Option<String>,
        /// The public key as JSON.
        public_jwk_json: String,
    },
    /// Tokens signed by a certificate's key.
    X5c {
        /// The root certificates that are trusted for it, in DER.
        roots_der: Vec<Vec<u8>>,
    },
    /// Tokens signed by an SSH certificate's key.
    Sshpop,
    /// A kind that is kept in the configuration but not served.
    Other {
        /// Its `type` as configured.
        type_name: String,
    },
}

/// Where a template comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateSource {
    /// The template's text.
    Inline(String),
    /// The path of a file with the template.
    File(String),
}

/// What becomes of the old certificate after a rekey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RekeyPolicy {
    /// The rule.
    pub after: AfterRekey,
}

/// The rule for the old certificate after a rekey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterRekey {
    /// It stays valid until it expires, as with the reference.
    #[default]
    OldStays,
    /// It is revoked as superseded when this much time has passed.
    RevokeAfterOverlap(SignedDuration),
    /// It is revoked as superseded as soon as its successor is seen in use.
    RevokeWhenSuccessorSeen {
        /// The time after which it is revoked even if the successor was not seen.
        at_latest: SignedDuration,
    },
}

impl RekeyPolicy {
    /// What a CA that we initialise gets.
    pub const RECOMMENDED: Self =
        Self { after: AfterRekey::RevokeWhenSuccessorSeen { at_latest: DEFAULT_LATEST_REVOCATION } };
}

impl Provisioner {
    /// The identifier by which tokens and records name it.
    pub fn id(&self) -> String {
        match &self.kind {
            ProvisionerKind::Jwk { kid, .. } => format!("{}:{kid}", self.name),
            ProvisionerKind::X5c { .. } => format!("x5c/{}", self.name),
            ProvisionerKind::Sshpop => format!("sshpop/{}", self.name),
            ProvisionerKind::Other { type_name } => format!("{}/{}", type_name.to_ascii_lowercase(), self.name),
        }
    }

    /// What the provisioner extension of a certificate names beside type and name; empty where there is nothing.
    pub fn credential_id(&self) -> &str {
        match &self.kind {
            ProvisionerKind::Jwk { kid, .. } => kid,
            ProvisionerKind::X5c { .. } | ProvisionerKind::Sshpop | ProvisionerKind::Other { .. } => "",
        }
    }
}

impl ProvisionerKind {
    /// The `type` as `ca.json` writes it.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Jwk { .. } => "JWK",
            Self::X5c { .. } => "X5C",
            Self::Sshpop => "SSHPOP",
            Self::Other { type_name } => type_name,
        }
    }

    /// The number in the provisioner extension; none for a type that nobody knows.
    pub fn type_number(&self) -> Option<u8> {
        type_number(self.type_name())
    }
}

/// The number that stands for a provisioner type in the provisioner extension; the case does not count.
pub fn type_number(type_name: &str) -> Option<u8> {
    TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(type_name)).map(|(_, number)| *number)
}

/// The provisioner type that a number of the provisioner extension stands for.
pub fn type_name(number: i64) -> Option<&'static str> {
    TYPES.iter().find(|(_, known)| i64::from(*known) == number).map(|(name, _)| *name)
}

const TYPES: [(&str, u8); 11] = [
    ("JWK", 1),
    ("OIDC", 2),
    ("GCP", 3),
    ("AWS", 4),
    ("Azure", 5),
    ("ACME", 6),
    ("X5C", 7),
    ("K8sSA", 8),
    ("SSHPOP", 9),
    ("SCEP", 10),
    ("Nebula", 11),
];

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;

    use super::*;

    fn provisioner(kind: ProvisionerKind) -> Provisioner {
        Provisioner {
            name: "ops@lab".to_owned(),
            kind,
            claims: Claims::default(),
            rekey: RekeyPolicy::default(),
            name_policy: NamePolicy::default(),
            x509_template: None,
            x509_template_data: None,
        }
    }

    #[test]
    fn each_kind_has_its_identifier_and_number() {
        let jwk = ProvisionerKind::Jwk { kid: "k1".to_owned(), encrypted_key: None, public_jwk_json: "{}".to_owned() };
        let table = [
            (jwk, "ops@lab:k1", "k1", Some(1)),
            (ProvisionerKind::X5c { roots_der: Vec::new() }, "x5c/ops@lab", "", Some(7)),
            (ProvisionerKind::Sshpop, "sshpop/ops@lab", "", Some(9)),
            (ProvisionerKind::Other { type_name: "ACME".to_owned() }, "acme/ops@lab", "", Some(6)),
            (ProvisionerKind::Other { type_name: "Quantum".to_owned() }, "quantum/ops@lab", "", None),
        ];
        for (kind, id, credential, number) in table {
            let provisioner = provisioner(kind);
            assert_eq!(provisioner.id(), id);
            assert_eq!(provisioner.credential_id(), credential);
            assert_eq!(provisioner.kind.type_number(), number);
        }
    }

    #[test]
    fn type_numbers_and_names_are_each_others_inverse() {
        for number in 1..=11_u8 {
            let name = type_name(i64::from(number)).unwrap();
            assert_eq!(type_number(&name.to_lowercase()), Some(number));
        }
        assert_eq!((type_name(0), type_name(12), type_name(-1)), (None, None, None));
    }
}
