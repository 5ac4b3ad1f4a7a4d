//! The description of a certificate that a template makes, typed and checked.

use serde_json::{Map, Value};

use super::data::{NameInput, San};
use crate::json::{self, short};
use crate::x509::oid::{self, Oid};
use crate::x509::tlv;

/// The description of a certificate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CertificateDescription {
    /// The subject.
    pub subject: NameInput,
    /// The DER of the subject, where the template brings it; it goes before `subject`.
    pub raw_subject: Option<Vec<u8>>,
    /// All subject alternative names, those of `dnsNames`, `emailAddresses`, `ipAddresses` and `uris` first.
    pub sans: Vec<San>,
    /// Key usage; none where the template leaves it out.
    pub key_usage: Vec<KeyUsageFlag>,
    /// Extended key usages as OIDs with dots, in the template's order.
    pub ext_key_usage: Vec<String>,
    /// Basic constraints; `None` where the template leaves them out.
    pub basic_constraints: Option<BasicConstraintsOutput>,
    /// Further extensions, in the template's order.
    pub extensions: Vec<ExtensionOutput>,
    /// URLs of OCSP responders.
    pub ocsp_servers: Vec<String>,
    /// URLs of the issuer's certificate.
    pub issuing_certificate_urls: Vec<String>,
    /// URLs of revocation lists.
    pub crl_distribution_points: Vec<String>,
    /// Policies as OIDs with dots.
    pub policy_identifiers: Vec<String>,
}

/// Basic constraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraintsOutput {
    /// Whether it is a CA.
    pub is_ca: bool,
    /// The path length; `None` for no limit.
    pub max_path_len: Option<u32>,
}

/// An extension that a template brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionOutput {
    /// The OID with dots.
    pub id: String,
    /// Whether it is critical.
    pub critical: bool,
    /// The DER inside the octet string.
    pub value: Vec<u8>,
}

/// One bit of the key usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyUsageFlag {
    /// Bit 0.
    DigitalSignature,
    /// Bit 1, also known as non-repudiation.
    ContentCommitment,
    /// Bit 2.
    KeyEncipherment,
    /// Bit 3.
    DataEncipherment,
    /// Bit 4.
    KeyAgreement,
    /// Bit 5.
    CertSign,
    /// Bit 6.
    CrlSign,
    /// Bit 7.
    EncipherOnly,
    /// Bit 8.
    DecipherOnly,
}

/// What is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}, found {found}")]
pub struct DescriptionError {
    /// The field.
    pub field: String,
    /// What it takes.
    pub expected: &'static str,
    /// What it holds.
    pub found: String,
}

impl CertificateDescription {
    /// Reads the object that a template made. Unknown members are ignored, as in the reference.
    pub(super) fn read(object: &Map<String, Value>) -> Result<Self, DescriptionError> {
        let members = Members { place: String::new(), map: object };
        // Dropping a constraint in silence would make a certificate that may do more than its template says.
        if members.get("nameConstraints").is_some() {
            return Err(
                members.wrong("nameConstraints", "nothing, since name constraints in templates are not supported")
            );
        }
        let mut sans = Vec::new();
        for (member, kind) in [("dnsNames", "dns"), ("emailAddresses", "email"), ("ipAddresses", "ip"), ("uris", "uri")]
        {
            for value in members.texts(member)? {
                sans.push(San { kind: kind.to_owned(), value, asn1_value: None });
            }
        }
        for entry in members.objects("sans")? {
            sans.push(san(&entry)?);
        }
        Ok(Self {
            subject: subject(&members)?,
            raw_subject: members.octets("rawSubject")?.filter(|raw| !raw.is_empty()),
            sans,
            key_usage: key_usage(&members)?,
            ext_key_usage: ext_key_usage(&members)?,
            basic_constraints: basic_constraints(&members)?,
            extensions: members.objects("extensions")?.iter().map(extension).collect::<Result<_, _>>()?,
            ocsp_servers: members.urls("ocspServer")?,
            issuing_certificate_urls: members.urls("issuingCertificateURL")?,
            crl_distribution_points: members.urls("crlDistributionPoints")?,
            policy_identifiers: members.oids("policyIdentifiers")?,
        })
    }

    /// The extensions for `ocsp_servers`, `issuing_certificate_urls` and `policy_identifiers`: authority information access and
    /// certificate policies, as far as there is something to say.
    #[must_use]
    pub fn access_and_policies(&self) -> Vec<ExtensionOutput> {
        let access =
            |method: &Oid, url: &String| tlv::sequence(&[method.to_der(), tlv::tlv(tlv::context(6), url.as_bytes())]);
        let ocsp = self.ocsp_servers.iter().map(|url| access(&OCSP, url));
        let issuers = self.issuing_certificate_urls.iter().map(|url| access(&CA_ISSUERS, url));
        // Every policy in the list was read as an identifier before.
        let policies = self.policy_identifiers.iter().filter_map(|policy| policy.parse::<Oid>().ok());
        let lists: [(&Oid, Vec<Vec<u8>>); 2] = [
            (&oid::AUTHORITY_INFORMATION_ACCESS, ocsp.chain(issuers).collect()),
            (&oid::CERTIFICATE_POLICIES, policies.map(|policy| tlv::sequence(&[policy.to_der()])).collect()),
        ];
        lists
            .into_iter()
            .filter(|(_, entries)| !entries.is_empty())
            .map(|(id, entries)| ExtensionOutput {
                id: id.to_string(),
                critical: false,
                value: tlv::sequence(&entries),
            })
            .collect()
    }
}

/// 1.3.6.1.5.5.7.48.1
const OCSP: Oid = Oid::known(&[0x2b, 6, 1, 5, 5, 7, 0x30, 1]);

/// 1.3.6.1.5.5.7.48.2
const CA_ISSUERS: Oid = Oid::known(&[0x2b, 6, 1, 5, 5, 7, 0x30, 2]);

fn subject(members: &Members<'_>) -> Result<NameInput, DescriptionError> {
    let name = match members.get("subject") {
        None => return Ok(NameInput::default()),
        Some(Value::String(common_name)) => {
            return Ok(NameInput { common_name: common_name.clone(), ..NameInput::default() });
        }
        Some(Value::Object(map)) => Members { place: "subject".to_owned(), map },
        Some(_) => return Err(members.wrong("subject", "a text or an object")),
    };
    let mut extra_names = Vec::new();
    for entry in name.objects("extraNames")? {
        let oid = entry.text("type")?;
        if oid.parse::<Oid>().is_err() {
            return Err(entry.wrong("type", "an object identifier such as \"1.2.3\""));
        }
        extra_names.push((oid, entry.text("value")?));
    }
    Ok(NameInput {
        country: name.texts("country")?,
        organization: name.texts("organization")?,
        organizational_unit: name.texts("organizationalUnit")?,
        locality: name.texts("locality")?,
        province: name.texts("province")?,
        street_address: name.texts("streetAddress")?,
        postal_code: name.texts("postalCode")?,
        serial_number: name.text("serialNumber")?,
        common_name: name.text("commonName")?,
        extra_names,
    })
}

fn san(entry: &Members<'_>) -> Result<San, DescriptionError> {
    let value = entry.text("value")?;
    let asn1_value = entry.get("asn1Value").cloned();
    let kind = entry.text("type")?;
    // The reference takes a name without a type for one to be guessed.
    if kind.is_empty() || kind.eq_ignore_ascii_case("auto") {
        return Ok(San::guess(&value));
    }
    if value.is_empty() && asn1_value.is_none() {
        return Err(entry.wrong("value", "a name"));
    }
    let known = ["dns", "email", "ip", "uri"].into_iter().find(|known| kind.eq_ignore_ascii_case(known));
    if known == Some("ip") && value.parse::<std::net::IpAddr>().is_err() {
        return Err(entry.wrong("value", "an IP address"));
    }
    Ok(San { kind: known.map_or(kind, str::to_owned), value, asn1_value })
}

fn key_usage(members: &Members<'_>) -> Result<Vec<KeyUsageFlag>, DescriptionError> {
    members
        .texts("keyUsage")?
        .iter()
        .map(|name| match fold(name).as_str() {
            "digitalsignature" => Ok(KeyUsageFlag::DigitalSignature),
            "contentcommitment" | "nonrepudiation" => Ok(KeyUsageFlag::ContentCommitment),
            "keyencipherment" => Ok(KeyUsageFlag::KeyEncipherment),
            "dataencipherment" => Ok(KeyUsageFlag::DataEncipherment),
            "keyagreement" => Ok(KeyUsageFlag::KeyAgreement),
            "certsign" | "keycertsign" => Ok(KeyUsageFlag::CertSign),
            "crlsign" => Ok(KeyUsageFlag::CrlSign),
            "encipheronly" => Ok(KeyUsageFlag::EncipherOnly),
            "decipheronly" => Ok(KeyUsageFlag::DecipherOnly),
            _ => Err(DescriptionError {
                field: "keyUsage".to_owned(),
                expected: "names such as \"digitalSignature\"",
                found: format!("\"{}\"", short(name)),
            }),
        })
        .collect()
}

fn ext_key_usage(members: &Members<'_>) -> Result<Vec<String>, DescriptionError> {
    let mut oids = Vec::new();
    for name in members.texts("extKeyUsage")? {
        let folded = fold(&name);
        let oid = EXT_KEY_USAGES.iter().find(|(known, _)| *known == folded).map(|(_, oid)| *oid);
        oids.push(oid.map(str::to_owned).ok_or_else(|| DescriptionError {
            field: "extKeyUsage".to_owned(),
            expected: "names such as \"serverAuth\"; others go into \"unknownExtKeyUsage\" as object identifiers",
            found: format!("\"{}\"", short(&name)),
        })?);
    }
    oids.extend(members.oids("unknownExtKeyUsage")?);
    Ok(oids)
}

fn basic_constraints(members: &Members<'_>) -> Result<Option<BasicConstraintsOutput>, DescriptionError> {
    let constraints = match members.get("basicConstraints") {
        None => return Ok(None),
        Some(Value::Object(map)) => Members { place: "basicConstraints".to_owned(), map },
        Some(_) => return Err(members.wrong("basicConstraints", "an object")),
    };
    let is_ca = constraints.flag("isCA")?;
    let length = match constraints.get("maxPathLen") {
        None => 0,
        Some(given) => given.as_i64().ok_or_else(|| constraints.wrong("maxPathLen", "a whole number"))?,
    };
    // As in the reference: absent means 0, negative means no limit, and only a CA has a path length.
    let max_path_len = match u32::try_from(length) {
        Ok(length) if is_ca => Some(length),
        _ => None,
    };
    Ok(Some(BasicConstraintsOutput { is_ca, max_path_len }))
}

fn extension(entry: &Members<'_>) -> Result<ExtensionOutput, DescriptionError> {
    let id = entry.text("id")?;
    if id.parse::<Oid>().is_err() {
        return Err(entry.wrong("id", "an object identifier such as \"1.2.3\""));
    }
    let value = entry.octets("value")?.ok_or_else(|| entry.wrong("value", "base64"))?;
    Ok(ExtensionOutput { id, critical: entry.flag("critical")?, value })
}

/// An object that a template made, and where it stands.
struct Members<'a> {
    place: String,
    map: &'a Map<String, Value>,
}

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        json::member(self.map, name)
    }

    fn wrong(&self, name: &str, expected: &'static str) -> DescriptionError {
        let field = if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) };
        let found = self.get(name).map_or_else(|| "nothing".to_owned(), json::describe);
        DescriptionError { field, expected, found }
    }

    fn text(&self, name: &str) -> Result<String, DescriptionError> {
        match self.get(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.wrong(name, "a text")),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, DescriptionError> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// A list of texts, or one text.
    fn texts(&self, name: &str) -> Result<Vec<String>, DescriptionError> {
        json::texts(self.get(name)).map_err(|expected| self.wrong(name, expected))
    }

    /// URLs, which certificates carry in ASCII.
    fn urls(&self, name: &str) -> Result<Vec<String>, DescriptionError> {
        let urls = self.texts(name)?;
        if urls.iter().any(|url| !url.is_ascii() || url.is_empty()) {
            return Err(self.wrong(name, "URLs in ASCII"));
        }
        Ok(urls)
    }

    fn oids(&self, name: &str) -> Result<Vec<String>, DescriptionError> {
        let oids = self.texts(name)?;
        if oids.iter().any(|oid| oid.parse::<Oid>().is_err()) {
            return Err(self.wrong(name, "object identifiers such as \"1.2.3\""));
        }
        Ok(oids)
    }

    fn octets(&self, name: &str) -> Result<Option<Vec<u8>>, DescriptionError> {
        use base64ct::{Base64, Encoding};
        match self.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_str()
                .and_then(|text| Base64::decode_vec(text).ok())
                .map(Some)
                .ok_or_else(|| self.wrong(name, "base64")),
        }
    }

    fn objects(&self, name: &str) -> Result<Vec<Members<'a>>, DescriptionError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(entries)) => entries
                .iter()
                .enumerate()
                .map(|(index, entry)| match entry {
                    Value::Object(map) => Ok(Members { place: format!("{name}[{index}]"), map }),
                    _ => Err(self.wrong(name, "a list of objects")),
                })
                .collect(),
            Some(_) => Err(self.wrong(name, "a list of objects")),
        }
    }
}

/// Names are compared without case, dashes, underscores and blanks.
fn fold(name: &str) -> String {
    name.chars().filter(|letter| !['-', '_', ' '].contains(letter)).flat_map(char::to_lowercase).collect()
}

const EXT_KEY_USAGES: [(&str, &str); 14] = [
    ("any", "2.5.29.37.0"),
    ("serverauth", "1.3.6.1.5.5.7.3.1"),
    ("clientauth", "1.3.6.1.5.5.7.3.2"),
    ("codesigning", "1.3.6.1.5.5.7.3.3"),
    ("emailprotection", "1.3.6.1.5.5.7.3.4"),
    ("ipsecendsystem", "1.3.6.1.5.5.7.3.5"),
    ("ipsectunnel", "1.3.6.1.5.5.7.3.6"),
    ("ipsecuser", "1.3.6.1.5.5.7.3.7"),
    ("timestamping", "1.3.6.1.5.5.7.3.8"),
    ("ocspsigning", "1.3.6.1.5.5.7.3.9"),
    ("microsoftservergatedcrypto", "1.3.6.1.4.1.311.10.3.3"),
    ("netscapeservergatedcrypto", "2.16.840.1.113730.4.1"),
    ("microsoftcommercialcodesigning", "1.3.6.1.4.1.311.2.1.22"),
    ("microsoftkernelcodesigning", "1.3.6.1.4.1.311.61.1.1"),
];
