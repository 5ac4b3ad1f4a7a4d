//! The provisioners of a `ca.json` as core's type.

use base64ct::{Base64, Encoding};
use jiff::SignedDuration;
use keywheel_core::claims::{Claims, EffectiveClaims};
use keywheel_core::provisioner::{
    AfterRekey, DEFAULT_LATEST_REVOCATION, Provisioner, ProvisionerKind, RekeyPolicy, TemplateSource,
};
use serde_json::{Map, Value};

use super::fields::{CaJsonError, Fields};
use super::{CaJson, policy};
use crate::jose::jwk::PublicJwk;
use crate::{json, pem};

/// A provisioner with the object that it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfiguredProvisioner {
    /// What the CA acts upon. Types that are not served have the kind [`ProvisionerKind::Other`].
    pub provisioner: Provisioner,
    /// What `/provisioners` shows: the object as it stands in the file, without our own `keywheel` settings.
    pub object: Map<String, Value>,
}

impl CaJson {
    /// Reads the provisioners, in the file's order. Unknown types are among them, to be skipped by whoever serves.
    ///
    /// # Errors
    /// The first field that is wrong or missing, with the provisioner's type and name.
    pub fn provisioners(&self) -> Result<Vec<ConfiguredProvisioner>, CaJsonError> {
        let root = Fields::root(&self.document);
        let Some(authority) = root.object("authority")? else { return Ok(Vec::new()) };
        let global = EffectiveClaims::default().under(&claims(&authority)?);
        let mut read: Vec<ConfiguredProvisioner> = Vec::new();
        for (index, entry) in authority.list("provisioners")?.iter().enumerate() {
            let configured = provisioner(index, entry, &global)?;
            let id = configured.provisioner.id();
            if read.iter().any(|other| other.provisioner.id() == id) {
                return Err(CaJsonError::DuplicateProvisioner(id));
            }
            read.push(configured);
        }
        Ok(read)
    }
}

/// Reads the `claims` of an authority or a provisioner.
pub(super) fn claims(owner: &Fields<'_>) -> Result<Claims, CaJsonError> {
    let Some(fields) = owner.object("claims")? else { return Ok(Claims::default()) };
    let positive = |name: &str| match fields.duration(name)? {
        Some(given) if !given.is_positive() => Err(fields.wrong(name, "a duration above zero such as \"24h\"")),
        given => Ok(given),
    };
    let claims = Claims {
        min_tls_duration: positive("minTLSCertDuration")?,
        max_tls_duration: positive("maxTLSCertDuration")?,
        default_tls_duration: positive("defaultTLSCertDuration")?,
        disable_renewal: fields.flag("disableRenewal")?,
        allow_renewal_after_expiry: fields.flag("allowRenewalAfterExpiry")?,
        disable_smallstep_extensions: fields.flag("disableSmallstepExtensions")?,
        enable_ssh_ca: fields.flag("enableSSHCA")?,
        min_user_ssh_duration: positive("minUserSSHCertDuration")?,
        max_user_ssh_duration: positive("maxUserSSHCertDuration")?,
        default_user_ssh_duration: positive("defaultUserSSHCertDuration")?,
        min_host_ssh_duration: positive("minHostSSHCertDuration")?,
        max_host_ssh_duration: positive("maxHostSSHCertDuration")?,
        default_host_ssh_duration: positive("defaultHostSSHCertDuration")?,
    };
    // Global claims are judged over the defaults; a provisioner's own over the global ones, by the caller.
    if owner.place == "authority" {
        consistent(owner, &EffectiveClaims::default().under(&claims))?;
    }
    Ok(claims)
}

fn provisioner(index: usize, entry: &Value, global: &EffectiveClaims) -> Result<ConfiguredProvisioner, CaJsonError> {
    let place = format!("authority.provisioners[{index}]");
    let Value::Object(object) = entry else {
        return Err(CaJsonError::Field { place, expected: "an object".into(), found: json::describe(entry) });
    };
    let bare = Fields::at(place, object);
    let type_name = bare.required_text("type", "a provisioner type such as \"JWK\"")?;
    let name = bare.required_text("name", "the provisioner's name")?;
    // From here on an error says which provisioner it means in words, too.
    let fields = Fields::at(format!("{} ({type_name} \"{name}\")", bare.place), object);
    let kind = match type_name.to_ascii_lowercase().as_str() {
        "jwk" => jwk(&fields)?,
        "x5c" => x5c(&fields)?,
        "sshpop" => ProvisionerKind::Sshpop,
        _ => ProvisionerKind::Other { type_name },
    };
    let claims = claims(&fields)?;
    consistent(&fields, &global.under(&claims))?;
    let options = fields.object("options")?;
    let x509 = options.map_or(Ok(None), |options| options.object("x509"))?;
    let own = fields.object("keywheel")?;
    let mut shown = object.clone();
    shown.shift_remove("keywheel");
    Ok(ConfiguredProvisioner {
        provisioner: Provisioner {
            name,
            kind,
            claims,
            rekey: own.as_ref().map_or(Ok(RekeyPolicy::default()), rekey_policy)?,
            name_policy: own
                .map_or(Ok(None), |own| own.object("policy"))?
                .map_or(Ok(keywheel_core::names::NamePolicy::default()), |policy| policy::x509(&policy))?,
            x509_template: x509.as_ref().map_or(Ok(None), template)?,
            x509_template_data: x509.as_ref().map_or(Ok(None), template_data)?,
        },
        object: shown,
    })
}

fn consistent(owner: &Fields<'_>, claims: &EffectiveClaims) -> Result<(), CaJsonError> {
    claims.validate().map_err(|error| CaJsonError::Field {
        place: owner.place_of("claims"),
        expected: "durations above zero with min, default and max in this order".to_owned(),
        found: error.to_string().trim_start_matches("claims: ").to_owned(),
    })
}

fn jwk(fields: &Fields<'_>) -> Result<ProvisionerKind, CaJsonError> {
    let Some(key) = fields.object("key")? else {
        return Err(fields.wrong("key", "the public key as JWK"));
    };
    let public = PublicJwk::from_object(key.map).map_err(|error| CaJsonError::Field {
        place: key.place.clone(),
        expected: "a public key as JWK".to_owned(),
        found: error.to_string(),
    })?;
    let encrypted_key = fields.text("encryptedKey")?;
    Ok(ProvisionerKind::Jwk {
        kid: public.key_id.clone().unwrap_or_else(|| public.thumbprint()),
        encrypted_key,
        public_jwk_json: Value::Object(public.to_object()).to_string(),
    })
}

/// The roots are PEM, in base64 once more; the reference writes them so.
fn x5c(fields: &Fields<'_>) -> Result<ProvisionerKind, CaJsonError> {
    let expected = "PEM certificates in base64";
    let text = fields.required_text("roots", expected)?;
    let bundle = if text.contains("-----BEGIN") {
        text.into_bytes()
    } else {
        Base64::decode_vec(&text).map_err(|_| fields.wrong("roots", expected))?
    };
    let blocks = pem::parse(&bundle).map_err(|_| fields.wrong("roots", expected))?;
    let roots_der: Vec<Vec<u8>> =
        blocks.into_iter().filter(|block| block.label == "CERTIFICATE").map(|block| block.der.to_vec()).collect();
    if roots_der.is_empty() {
        return Err(fields.wrong("roots", expected));
    }
    Ok(ProvisionerKind::X5c { roots_der })
}

/// A template's text goes before a file's name, as in the reference.
fn template(x509: &Fields<'_>) -> Result<Option<TemplateSource>, CaJsonError> {
    match (x509.text("template")?, x509.text("templateFile")?) {
        (Some(text), _) => Ok(Some(TemplateSource::Inline(inline(text)))),
        (None, Some(path)) => Ok(Some(TemplateSource::File(path))),
        (None, None) => Ok(None),
    }
}

/// As the reference does: what starts like a JSON object is the template, what decodes is base64 of it.
fn inline(text: String) -> String {
    if text.trim_start().starts_with('{') {
        return text;
    }
    let compact: String = text.split_ascii_whitespace().collect();
    Base64::decode_vec(&compact).ok().and_then(|decoded| String::from_utf8(decoded).ok()).unwrap_or(text)
}

/// The data as the text of a JSON object, which is how core carries it.
fn template_data(x509: &Fields<'_>) -> Result<Option<String>, CaJsonError> {
    match x509.get("templateData") {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(Value::Object(map.clone()).to_string())),
        Some(_) => Err(x509.wrong("templateData", "an object")),
    }
}

fn rekey_policy(own: &Fields<'_>) -> Result<RekeyPolicy, CaJsonError> {
    let overlap = match own.duration("overlap")? {
        Some(given) if given.is_negative() => {
            return Err(own.wrong("overlap", "a duration that is not negative such as \"24h\""));
        }
        given => given,
    };
    let latest = overlap.unwrap_or(DEFAULT_LATEST_REVOCATION);
    let after = match own.text("afterRekey")?.as_deref() {
        None | Some("stays") => AfterRekey::OldStays,
        Some("revokeAfterOverlap") => AfterRekey::RevokeAfterOverlap(overlap.ok_or_else(|| {
            own.wrong("overlap", "a duration such as \"24h\", since afterRekey is \"revokeAfterOverlap\"")
        })?),
        Some("revokeWhenSuccessorSeen") => AfterRekey::RevokeWhenSuccessorSeen { at_latest: latest },
        Some(_) => {
            return Err(own.wrong("afterRekey", "\"stays\", \"revokeAfterOverlap\" or \"revokeWhenSuccessorSeen\""));
        }
    };
    Ok(RekeyPolicy { after })
}

/// The `keywheel` settings of a provisioner with this policy, to be put into its object.
#[must_use]
pub fn rekey_settings(policy: RekeyPolicy) -> Map<String, Value> {
    let mut settings = Map::new();
    let mut put = |rule: &str, overlap: Option<SignedDuration>| {
        settings.insert("afterRekey".to_owned(), Value::from(rule));
        if let Some(overlap) = overlap {
            settings.insert("overlap".to_owned(), Value::from(keywheel_core::go_duration::format(overlap)));
        }
    };
    match policy.after {
        AfterRekey::OldStays => put("stays", None),
        AfterRekey::RevokeAfterOverlap(overlap) => put("revokeAfterOverlap", Some(overlap)),
        AfterRekey::RevokeWhenSuccessorSeen { at_latest } => put("revokeWhenSuccessorSeen", Some(at_latest)),
    }
    settings
}
