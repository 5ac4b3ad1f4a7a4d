//! What a template can see: the authorised names, the token, and the request as it came.

use serde_json::{Map, Value};

use crate::x509::extension::alt_name::GeneralName;

/// Everything that a template sees.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TemplateInput {
    /// `.Subject`: the authorised subject.
    pub subject: NameInput,
    /// `.SANs`: the authorised names.
    pub sans: Vec<San>,
    /// `.Token`: the token's claims.
    pub token: Map<String, Value>,
    /// `.Insecure.User`: what the requester sent as template data.
    pub user: Option<Value>,
    /// `.Insecure.CR`: the certificate request, as it came.
    pub request: RequestInput,
    /// `.AuthorizationCrt`: the certificate that authorised the request, with X5C.
    pub authorization_certificate: Option<AuthorizationCertificate>,
    /// `.AuthorizationChain`: that certificate and its issuers.
    pub authorization_chain: Vec<AuthorizationCertificate>,
    /// The provisioner's `templateData`: its members stand at the top.
    pub provisioner_data: Map<String, Value>,
}

/// A distinguished name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameInput {
    /// C.
    pub country: Vec<String>,
    /// O.
    pub organization: Vec<String>,
    /// OU.
    pub organizational_unit: Vec<String>,
    /// L.
    pub locality: Vec<String>,
    /// ST.
    pub province: Vec<String>,
    /// Street.
    pub street_address: Vec<String>,
    /// Postal code.
    pub postal_code: Vec<String>,
    /// The subject's serial number.
    pub serial_number: String,
    /// CN.
    pub common_name: String,
    /// Further attributes: OID and value.
    pub extra_names: Vec<(String, String)>,
}

/// A subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct San {
    /// `dns`, `ip`, `email`, `uri`, or another kind of the reference.
    pub kind: String,
    /// The name.
    pub value: String,
    /// For kinds without a text: what describes them.
    pub asn1_value: Option<Value>,
}

/// The certificate request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestInput {
    /// Its subject.
    pub subject: NameInput,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// E-mail addresses.
    pub email_addresses: Vec<String>,
    /// IP addresses.
    pub ip_addresses: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// Requested extensions.
    pub extensions: Vec<ExtensionInput>,
    /// The public key.
    pub public_key: PublicKeyInput,
    /// The DER of the whole request.
    pub raw: Vec<u8>,
}

/// An extension as a template sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionInput {
    /// The OID with dots.
    pub id: String,
    /// Whether it is critical.
    pub critical: bool,
    /// The DER inside the octet string.
    pub value: Vec<u8>,
}

/// The public key as a template sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PublicKeyInput {
    /// `*rsa.PublicKey`.
    Rsa {
        /// Bits of the modulus.
        bits: u32,
        /// The exponent.
        exponent: u64,
    },
    /// `*ecdsa.PublicKey`.
    Ecdsa {
        /// `P-256`, `P-384` or `P-521`.
        curve: String,
    },
    /// `ed25519.PublicKey`.
    Ed25519,
    /// Anything else.
    #[default]
    Other,
}

/// A certificate as a template sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthorizationCertificate {
    /// Its subject.
    pub subject: NameInput,
    /// Its issuer.
    pub issuer: NameInput,
    /// Its serial number, decimal.
    pub serial_number: String,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// E-mail addresses.
    pub email_addresses: Vec<String>,
    /// IP addresses.
    pub ip_addresses: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// Its extensions.
    pub extensions: Vec<ExtensionInput>,
    /// Its public key.
    pub public_key: PublicKeyInput,
    /// Start of validity, RFC 3339.
    pub not_before: String,
    /// End of validity, RFC 3339.
    pub not_after: String,
}

impl San {
    /// A name whose kind is told from its look, as the reference does: IP address, URI, e-mail address, else DNS name.
    #[must_use]
    pub fn guess(value: &str) -> Self {
        let name = GeneralName::from_text(value);
        let kind = match name {
            GeneralName::Ip(_) => "ip",
            GeneralName::Uri(_) => "uri",
            GeneralName::Email(_) => "email",
            _ => "dns",
        };
        // An address in brackets loses them.
        let value = name.as_text().unwrap_or_else(|| value.to_owned());
        Self { kind: kind.to_owned(), value, asn1_value: None }
    }
}
