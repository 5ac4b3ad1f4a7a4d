//! From what was authorised to the certificate that a template describes, and from the description to its parts.

use keywheel_core::key_strength::{Curve, PublicKeyFacts};
use keywheel_core::lint::Role;
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::signer;
use keywheel_wire::step::ca_json::SubjectDefaults;
use keywheel_wire::template::{
    self, AuthorizationCertificate, CertificateDescription, ExtensionInput, KeyUsageFlag, NameInput, PublicKeyInput,
    RenderError, RequestInput, San, TemplateInput,
};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::extension::alt_name::{self, GeneralName};
use keywheel_wire::x509::extension::constraints::BasicConstraints;
use keywheel_wire::x509::extension::provisioner::ProvisionerExtension;
use keywheel_wire::x509::extension::usage::{self, KeyUsage};
use keywheel_wire::x509::extension::{Extension, crl_distribution, key_identifier};
use keywheel_wire::x509::facts;
use keywheel_wire::x509::name::{Name, NameParts};
use keywheel_wire::x509::oid::{self, Oid};
use keywheel_wire::x509::request::Request;
use serde_json::Value;

use super::carry_over::authority_key_identifier;
use super::settings::Entry;
use super::token::Authorized;
use super::{AuthorityError, chain};
use crate::authority::issue::broken;

/// The parts of a certificate that a template decides.
pub(super) struct Described {
    pub(super) subject: Name,
    pub(super) names: Vec<GeneralName>,
    pub(super) extensions: Vec<Extension>,
    pub(super) role: Role,
}

/// Runs the provisioner's template over what was authorised.
pub(super) fn describe(
    authorized: &Authorized,
    request: &Request,
    sans: &[String],
    user: Option<Value>,
    defaults: &SubjectDefaults,
    issuer: &Certificate,
) -> Result<Described, AuthorityError> {
    let entry = &authorized.entry;
    let input = input(authorized, request, sans, user);
    let text = entry.template.as_deref().unwrap_or(template::DEFAULT_LEAF);
    let mut description =
        template::render(text, &input).map_err(|error| not_rendered(&entry.provisioner.name, error))?;
    fill(&mut description.subject, defaults);
    parts(&description, entry, request.spki(), issuer)
}

/// What a request's own mistakes may cause is the requester's fault; a template that is none is ours.
fn not_rendered(provisioner: &str, error: RenderError) -> AuthorityError {
    match error {
        RenderError::Refused(message) => AuthorityError::Malformed(message),
        RenderError::TooLong | RenderError::Parse(_) => broken("running the template", error),
        error => {
            tracing::warn!(provisioner, error = chain(&error), "the template does not accept a request");
            AuthorityError::Malformed("error applying certificate template".to_owned())
        }
    }
}

fn input(authorized: &Authorized, request: &Request, sans: &[String], user: Option<Value>) -> TemplateInput {
    let crt = |certificate: &Certificate| authorization(certificate);
    TemplateInput {
        subject: NameInput { common_name: authorized.claims.registered.subject.clone(), ..NameInput::default() },
        sans: sans.iter().map(|name| San::guess(name)).collect(),
        token: authorized.claims.all.clone(),
        user,
        request: request_input(request),
        authorization_certificate: authorized.chain.first().map(crt),
        authorization_chain: authorized.chain.iter().map(crt).collect(),
        provisioner_data: authorized
            .entry
            .template_data
            .as_ref()
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default(),
    }
}

fn request_input(request: &Request) -> RequestInput {
    let names = facts::names(request.subject(), &request.subject_alt_names().unwrap_or_default());
    RequestInput {
        subject: name_input(request.subject()),
        dns_names: names.dns,
        email_addresses: names.email,
        ip_addresses: names.ip.iter().map(ToString::to_string).collect(),
        uris: names.uri,
        extensions: request.extensions().iter().map(extension_input).collect(),
        public_key: public_key_input(request.spki()),
        raw: request.der().to_vec(),
    }
}

fn authorization(certificate: &Certificate) -> AuthorizationCertificate {
    let names = facts::names(certificate.subject(), &certificate.subject_alt_names().unwrap_or_default());
    AuthorizationCertificate {
        subject: name_input(certificate.subject()),
        issuer: name_input(certificate.issuer()),
        serial_number: certificate.serial().to_string(),
        dns_names: names.dns,
        email_addresses: names.email,
        ip_addresses: names.ip.iter().map(ToString::to_string).collect(),
        uris: names.uri,
        extensions: certificate.extensions().iter().map(extension_input).collect(),
        public_key: public_key_input(certificate.spki()),
        not_before: certificate.not_before().to_string(),
        not_after: certificate.not_after().to_string(),
    }
}

fn name_input(name: &Name) -> NameInput {
    let known = [
        &oid::COUNTRY,
        &oid::ORGANIZATION,
        &oid::ORGANIZATIONAL_UNIT,
        &oid::LOCALITY,
        &oid::STATE,
        &oid::STREET,
        &oid::POSTAL_CODE,
        &oid::SERIAL_NUMBER,
        &oid::COMMON_NAME,
    ];
    let extra = name.attributes().into_iter().filter(|attribute| !known.contains(&&attribute.oid));
    NameInput {
        country: name.values(&oid::COUNTRY),
        organization: name.values(&oid::ORGANIZATION),
        organizational_unit: name.values(&oid::ORGANIZATIONAL_UNIT),
        locality: name.values(&oid::LOCALITY),
        province: name.values(&oid::STATE),
        street_address: name.values(&oid::STREET),
        postal_code: name.values(&oid::POSTAL_CODE),
        serial_number: name.values(&oid::SERIAL_NUMBER).pop().unwrap_or_default(),
        common_name: name.common_name().unwrap_or_default(),
        extra_names: extra.map(|attribute| (attribute.oid.to_string(), attribute.value)).collect(),
    }
}

fn extension_input(extension: &Extension) -> ExtensionInput {
    ExtensionInput {
        id: extension.oid().to_string(),
        critical: extension.critical(),
        value: extension.value().to_vec(),
    }
}

fn public_key_input(spki: &[u8]) -> PublicKeyInput {
    match facts::public_key_facts(spki) {
        Ok(PublicKeyFacts::Rsa { exponent, .. }) => PublicKeyInput::Rsa {
            bits: match signer::public_key_kind(spki) {
                Some(KeyKind::Rsa(bits)) => bits,
                _ => 0,
            },
            exponent: exponent.iter().fold(0, |number, octet| number << 8 | u64::from(*octet)),
        },
        Ok(PublicKeyFacts::Ec { curve }) => PublicKeyInput::Ecdsa {
            curve: match curve {
                Curve::P256 => "P-256",
                Curve::P384 => "P-384",
                Curve::P521 => "P-521",
            }
            .to_owned(),
        },
        Ok(PublicKeyFacts::Ed25519) => PublicKeyInput::Ed25519,
        _ => PublicKeyInput::Other,
    }
}

/// `authority.template` fills in what the subject lacks.
fn fill(subject: &mut NameInput, defaults: &SubjectDefaults) {
    let lists = [
        (&mut subject.country, &defaults.country),
        (&mut subject.organization, &defaults.organization),
        (&mut subject.organizational_unit, &defaults.organizational_unit),
        (&mut subject.locality, &defaults.locality),
        (&mut subject.province, &defaults.province),
        (&mut subject.street_address, &defaults.street_address),
    ];
    for (list, default) in lists {
        if list.is_empty() {
            list.extend(default.clone());
        }
    }
    let texts =
        [(&mut subject.serial_number, &defaults.serial_number), (&mut subject.common_name, &defaults.common_name)];
    for (text, default) in texts {
        if text.is_empty() {
            text.clone_from(default.as_ref().unwrap_or(&String::new()));
        }
    }
}

/// The parts that a description stands for; what identifies keys and the provisioner is always ours.
fn parts(
    description: &CertificateDescription,
    entry: &Entry,
    spki: &[u8],
    issuer: &Certificate,
) -> Result<Described, AuthorityError> {
    let malformed = |error: keywheel_wire::x509::Malformed| AuthorityError::Malformed(error.to_string());
    let subject = subject(description)?;
    let names = description.sans.iter().map(general_name).collect::<Result<Vec<_>, _>>()?;
    let mut extensions = Vec::new();
    let usage = description.key_usage.iter().fold(KeyUsage::none(), |usage, flag| usage.with(key_usage(*flag)));
    if !usage.is_empty() {
        extensions.push(usage.extension());
    }
    if !description.ext_key_usage.is_empty() {
        let usages = description.ext_key_usage.iter().map(|text| template_oid(text)).collect::<Result<Vec<_>, _>>()?;
        extensions.push(usage::extended(&usages));
    }
    let ca = description.basic_constraints.is_some_and(|constraints| constraints.is_ca);
    if let Some(constraints) = description.basic_constraints {
        extensions.push(BasicConstraints { ca, path_len: constraints.max_path_len }.extension());
    }
    extensions.push(key_identifier::subject(&key_identifier::of_key(spki).map_err(malformed)?));
    extensions.push(authority_key_identifier(issuer).map_err(malformed)?);
    if !names.is_empty() {
        extensions.push(alt_name::extension(&names, subject.is_empty()).map_err(malformed)?);
    }
    if !description.crl_distribution_points.is_empty() {
        extensions.push(crl_distribution::extension(&description.crl_distribution_points).map_err(malformed)?);
    }
    if !entry.claims.disable_smallstep_extensions
        && let Some(kind) = entry.provisioner.kind.type_number()
    {
        let provisioner = ProvisionerExtension {
            kind: u64::from(kind),
            name: entry.provisioner.name.clone(),
            credential_id: entry.provisioner.credential_id().to_owned(),
            key_value_pairs: Vec::new(),
        };
        extensions.push(provisioner.extension());
    }
    for extra in description.access_and_policies().iter().chain(&description.extensions) {
        let oid = template_oid(&extra.id)?;
        // Which provisioner vouches, and for which keys, is not for a template to say.
        if [oid::PROVISIONER, oid::SUBJECT_KEY_IDENTIFIER, oid::AUTHORITY_KEY_IDENTIFIER].contains(&oid) {
            continue;
        }
        // As in the reference, an extension that a template writes out goes before the one made of its other fields.
        extensions.retain(|extension| *extension.oid() != oid);
        extensions.push(Extension::new(oid, extra.critical, extra.value.clone()));
    }
    let names = match extensions.iter().find(|extension| *extension.oid() == oid::SUBJECT_ALT_NAME) {
        Some(extension) => alt_name::read(extension.value()).map_err(malformed)?,
        None => Vec::new(),
    };
    Ok(Described { subject, names, extensions, role: if ca { Role::Intermediate } else { Role::Leaf } })
}

fn subject(description: &CertificateDescription) -> Result<Name, AuthorityError> {
    if let Some(der) = &description.raw_subject {
        return Name::from_der(der).map_err(|error| AuthorityError::Malformed(error.to_string()));
    }
    let name = &description.subject;
    let extra = name.extra_names.iter().map(|(id, value)| Ok((template_oid(id)?, value.clone())));
    let parts = NameParts {
        country: name.country.clone(),
        organization: name.organization.clone(),
        organizational_unit: name.organizational_unit.clone(),
        locality: name.locality.clone(),
        province: name.province.clone(),
        street_address: name.street_address.clone(),
        postal_code: name.postal_code.clone(),
        serial_number: name.serial_number.clone(),
        common_name: name.common_name.clone(),
        extra: extra.collect::<Result<_, AuthorityError>>()?,
    };
    Ok(parts.to_name())
}

fn general_name(san: &San) -> Result<GeneralName, AuthorityError> {
    let wrong = || AuthorityError::Malformed(format!("{:?} is no name of the type {:?}", san.value, san.kind));
    match san.kind.to_ascii_lowercase().as_str() {
        "dns" => Ok(GeneralName::Dns(san.value.clone())),
        "ip" => san.value.parse().map(GeneralName::Ip).map_err(|_| wrong()),
        "email" => Ok(GeneralName::Email(san.value.clone())),
        "uri" => Ok(GeneralName::Uri(san.value.clone())),
        "" | "auto" => Ok(GeneralName::from_text(&san.value)),
        "registeredid" => san.value.parse().map(GeneralName::RegisteredId).map_err(|_| wrong()),
        _ => Err(AuthorityError::Malformed(format!("names of the type {:?} are not certified", san.kind))),
    }
}

fn template_oid(text: &str) -> Result<Oid, AuthorityError> {
    text.parse().map_err(|_| AuthorityError::Malformed("error applying certificate template".to_owned()))
}

fn key_usage(flag: KeyUsageFlag) -> KeyUsage {
    match flag {
        KeyUsageFlag::DigitalSignature => KeyUsage::DIGITAL_SIGNATURE,
        KeyUsageFlag::ContentCommitment => KeyUsage::CONTENT_COMMITMENT,
        KeyUsageFlag::KeyEncipherment => KeyUsage::KEY_ENCIPHERMENT,
        KeyUsageFlag::DataEncipherment => KeyUsage::DATA_ENCIPHERMENT,
        KeyUsageFlag::KeyAgreement => KeyUsage::KEY_AGREEMENT,
        KeyUsageFlag::CertSign => KeyUsage::CERT_SIGN,
        KeyUsageFlag::CrlSign => KeyUsage::CRL_SIGN,
        KeyUsageFlag::EncipherOnly => KeyUsage::ENCIPHER_ONLY,
        KeyUsageFlag::DecipherOnly => KeyUsage::DECIPHER_ONLY,
    }
}
