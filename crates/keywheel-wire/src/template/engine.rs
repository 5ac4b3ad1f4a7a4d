//! Runs a template within its limits.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use base64ct::{Base64, Encoding};
use gotmpl::Value as Item;
use serde_json::{Map, Value, json};

use super::data::{AuthorizationCertificate, ExtensionInput, NameInput, PublicKeyInput, San, TemplateInput};
use super::{MAX_OUTPUT, MAX_TEMPLATE, MAX_TURNS, RenderError, functions};

/// A member that names the Go type of what a map stands for; no template can spell it.
pub(super) const GO_TYPE: &str = "\0type";

/// A member that holds what `toJson` makes of a map: Go writes structures with other names than templates see.
pub(super) const GO_JSON: &str = "\0json";

/// What `fail` said, carried past the template engine.
pub(super) type Refusal = Arc<Mutex<Option<String>>>;

pub(super) struct Parsed {
    template: gotmpl::Template,
    refusal: Refusal,
}

pub(super) fn parse(template: &str) -> Result<Parsed, RenderError> {
    if template.len() > MAX_TEMPLATE {
        return Err(RenderError::TooLong);
    }
    let refusal = Refusal::default();
    gotmpl::Template::new("template")
        .max_range_iters(MAX_TURNS)
        .funcs(functions::all(&refusal))
        .parse(template)
        .map(|template| Parsed { template, refusal })
        .map_err(RenderError::Parse)
}

pub(super) fn run(template: &str, input: &TemplateInput) -> Result<String, RenderError> {
    let parsed = parse(template)?;
    let mut output = Bounded { text: String::new(), full: false };
    let result = parsed.template.execute_fmt(&mut output, &item(input)?);
    if let Some(message) = parsed.refusal.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(RenderError::Refused(message));
    }
    if output.full {
        return Err(RenderError::TooMuch);
    }
    result.map(|()| output.text).map_err(RenderError::Execute)
}

/// A text that refuses to grow beyond the limit.
struct Bounded {
    text: String,
    full: bool,
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.text.len() + more.len() > MAX_OUTPUT {
            self.full = true;
            return Err(fmt::Error);
        }
        self.text.push_str(more);
        Ok(())
    }
}

/// Everything that the template sees, in the names that it uses.
fn item(input: &TemplateInput) -> Result<Item, RenderError> {
    let plain = |value: &Value| gotmpl::to_value(value).map_err(RenderError::Execute);
    let mut root: BTreeMap<Arc<str>, Item> = BTreeMap::new();
    for (name, value) in &input.provisioner_data {
        root.insert(name.as_str().into(), plain(value)?);
    }
    let mut put = |name: &str, value: Item| root.insert(name.into(), value);
    put("Subject", name_item(&input.subject));
    put("SANs", list(input.sans.iter().map(san_item)));
    put("Token", plain(&Value::Object(input.token.clone()))?);
    if let Some(certificate) = &input.authorization_certificate {
        put("AuthorizationCrt", certificate_item(certificate));
    }
    if !input.authorization_chain.is_empty() {
        put("AuthorizationChain", list(input.authorization_chain.iter().map(certificate_item)));
    }
    let user = input.user.clone().unwrap_or_else(|| Value::Object(Map::new()));
    let request = &input.request;
    let names = Names {
        dns: &request.dns_names,
        email: &request.email_addresses,
        ip: &request.ip_addresses,
        uri: &request.uris,
    };
    let mut members = names.items();
    members.push(("Version", Item::Int(0)));
    members.push(("Subject", name_item(&request.subject)));
    members.push(("Extensions", list(request.extensions.iter().map(extension_item))));
    members.push(("PublicKey", key_item(&request.public_key)));
    members.push(("PublicKeyAlgorithm", text(key_algorithm(&request.public_key))));
    members.push(("Raw", text(&Base64::encode_string(&request.raw))));
    let mut shown = names.json();
    shown.insert("subject".to_owned(), name_json(&request.subject));
    shown.insert("extensions".to_owned(), request.extensions.iter().map(extension_json).collect());
    let request = structure("*x509util.CertificateRequest", members, &Value::Object(shown));
    put("Insecure", map([("CR", request), ("User", plain(&user)?)]));
    Ok(Item::Map(Arc::new(root)))
}

/// The four kinds of names that requests and certificates have.
struct Names<'a> {
    dns: &'a [String],
    email: &'a [String],
    ip: &'a [String],
    uri: &'a [String],
}

impl Names<'_> {
    fn items(&self) -> Vec<(&'static str, Item)> {
        vec![
            ("DNSNames", texts(self.dns)),
            ("EmailAddresses", texts(self.email)),
            ("IPAddresses", texts(self.ip)),
            ("URIs", texts(self.uri)),
            ("SANs", list(self.sans().iter().map(san_item))),
        ]
    }

    fn json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("dnsNames".to_owned(), json!(self.dns));
        object.insert("emailAddresses".to_owned(), json!(self.email));
        object.insert("ipAddresses".to_owned(), json!(self.ip));
        object.insert("uris".to_owned(), json!(self.uri));
        object
    }

    fn sans(&self) -> Vec<San> {
        [("dns", self.dns), ("email", self.email), ("ip", self.ip), ("uri", self.uri)]
            .into_iter()
            .flat_map(|(kind, names)| names.iter().map(move |name| (kind, name)))
            .map(|(kind, name)| San { kind: kind.to_owned(), value: name.clone(), asn1_value: None })
            .collect()
    }
}

fn certificate_item(certificate: &AuthorizationCertificate) -> Item {
    let names = Names {
        dns: &certificate.dns_names,
        email: &certificate.email_addresses,
        ip: &certificate.ip_addresses,
        uri: &certificate.uris,
    };
    let mut members = names.items();
    members.push(("Subject", name_item(&certificate.subject)));
    members.push(("Issuer", name_item(&certificate.issuer)));
    members.push(("SerialNumber", text(&certificate.serial_number)));
    members.push(("Extensions", list(certificate.extensions.iter().map(extension_item))));
    members.push(("PublicKey", key_item(&certificate.public_key)));
    members.push(("NotBefore", text(&certificate.not_before)));
    members.push(("NotAfter", text(&certificate.not_after)));
    let mut shown = names.json();
    shown.insert("subject".to_owned(), name_json(&certificate.subject));
    shown.insert("issuer".to_owned(), name_json(&certificate.issuer));
    shown.insert("serialNumber".to_owned(), json!(certificate.serial_number));
    shown.insert("notBefore".to_owned(), json!(certificate.not_before));
    shown.insert("notAfter".to_owned(), json!(certificate.not_after));
    structure("*x509util.Certificate", members, &Value::Object(shown))
}

fn name_item(name: &NameInput) -> Item {
    let extra = name.extra_names.iter().map(|(oid, value)| {
        structure(
            "x509util.DistinguishedName",
            vec![("Type", text(oid)), ("Value", text(value))],
            &json!({"type": oid, "value": value}),
        )
    });
    structure(
        "x509util.Subject",
        vec![
            ("Country", texts(&name.country)),
            ("Organization", texts(&name.organization)),
            ("OrganizationalUnit", texts(&name.organizational_unit)),
            ("Locality", texts(&name.locality)),
            ("Province", texts(&name.province)),
            ("StreetAddress", texts(&name.street_address)),
            ("PostalCode", texts(&name.postal_code)),
            ("SerialNumber", text(&name.serial_number)),
            ("CommonName", text(&name.common_name)),
            ("ExtraNames", list(extra)),
        ],
        &name_json(name),
    )
}

fn name_json(name: &NameInput) -> Value {
    let mut object = Map::new();
    let several = [
        ("country", &name.country),
        ("organization", &name.organization),
        ("organizationalUnit", &name.organizational_unit),
        ("locality", &name.locality),
        ("province", &name.province),
        ("streetAddress", &name.street_address),
        ("postalCode", &name.postal_code),
    ];
    for (member, values) in several {
        match values.as_slice() {
            [] => {}
            [one] => {
                object.insert(member.to_owned(), json!(one));
            }
            more => {
                object.insert(member.to_owned(), json!(more));
            }
        }
    }
    for (member, value) in [("serialNumber", &name.serial_number), ("commonName", &name.common_name)] {
        if !value.is_empty() {
            object.insert(member.to_owned(), json!(value));
        }
    }
    if !name.extra_names.is_empty() {
        let extra: Vec<Value> =
            name.extra_names.iter().map(|(oid, value)| json!({"type": oid, "value": value})).collect();
        object.insert("extraNames".to_owned(), Value::Array(extra));
    }
    Value::Object(object)
}

fn san_item(san: &San) -> Item {
    let mut shown = Map::new();
    shown.insert("type".to_owned(), json!(san.kind));
    shown.insert("value".to_owned(), json!(san.value));
    if let Some(description) = &san.asn1_value {
        shown.insert("asn1Value".to_owned(), description.clone());
    }
    structure(
        "x509util.SubjectAlternativeName",
        vec![("Type", text(&san.kind)), ("Value", text(&san.value))],
        &Value::Object(shown),
    )
}

fn extension_item(extension: &ExtensionInput) -> Item {
    structure(
        "x509util.Extension",
        vec![
            ("ID", text(&extension.id)),
            ("Critical", Item::Bool(extension.critical)),
            ("Value", text(&Base64::encode_string(&extension.value))),
        ],
        &extension_json(extension),
    )
}

fn extension_json(extension: &ExtensionInput) -> Value {
    json!({"id": extension.id, "critical": extension.critical, "value": Base64::encode_string(&extension.value)})
}

fn key_item(key: &PublicKeyInput) -> Item {
    match key {
        PublicKeyInput::Rsa { bits, exponent } => structure(
            "*rsa.PublicKey",
            vec![
                // Go's Size counts octets.
                ("Size", Item::Int(i64::from(bits.div_ceil(8)))),
                ("E", Item::Int(i64::try_from(*exponent).unwrap_or(i64::MAX))),
                ("N", map([("BitLen", Item::Int(i64::from(*bits)))])),
            ],
            &Value::Null,
        ),
        PublicKeyInput::Ecdsa { curve } => {
            let bits = curve.trim_start_matches("P-").parse().unwrap_or(0);
            let params = map([("Name", text(curve)), ("BitSize", Item::Int(bits))]);
            structure(
                "*ecdsa.PublicKey",
                vec![("Curve", map([("Params", params.clone())])), ("Params", params)],
                &Value::Null,
            )
        }
        PublicKeyInput::Ed25519 => structure("ed25519.PublicKey", vec![], &Value::Null),
        PublicKeyInput::Other => structure("", vec![], &Value::Null),
    }
}

fn key_algorithm(key: &PublicKeyInput) -> &'static str {
    match key {
        PublicKeyInput::Rsa { .. } => "RSA",
        PublicKeyInput::Ecdsa { .. } => "ECDSA",
        PublicKeyInput::Ed25519 => "Ed25519",
        PublicKeyInput::Other => "0",
    }
}

fn structure(go_type: &str, members: Vec<(&str, Item)>, shown: &Value) -> Item {
    let mut entries: BTreeMap<Arc<str>, Item> =
        members.into_iter().map(|(name, value)| (Arc::from(name), value)).collect();
    entries.insert(GO_TYPE.into(), text(go_type));
    entries.insert(GO_JSON.into(), text(&shown.to_string()));
    Item::Map(Arc::new(entries))
}

fn map<const N: usize>(members: [(&str, Item); N]) -> Item {
    Item::Map(Arc::new(members.into_iter().map(|(name, value)| (Arc::from(name), value)).collect()))
}

fn list(items: impl Iterator<Item = Item>) -> Item {
    Item::List(items.collect())
}

fn texts(values: &[String]) -> Item {
    list(values.iter().map(|value| text(value)))
}

fn text(value: &str) -> Item {
    Item::String(value.into())
}
