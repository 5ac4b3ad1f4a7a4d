//! Many pairs of certificate and key at once, and the TOML that gives them to an agent: stamped out after one certificate of a
//! CA with that CA's own key, each with a key and a serial number of its own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use keywheel_core::serial::Serial;
use keywheel_signer::file_key::FileKey;
use keywheel_signer::random;
use keywheel_wire::private_key::{Encoding, KeyKind};
use keywheel_wire::signer::{SignatureScheme, Signer};
use keywheel_wire::x509::certificate::{self, Certificate};
use keywheel_wire::x509::extension::key_identifier;
use keywheel_wire::x509::name::Name;
use keywheel_wire::x509::oid;
use keywheel_wire::x509::tbs::TbsBuilder;

/// So many stand in one folder, and in one TOML file.
const IN_ONE_FOLDER: usize = 1000;

/// Why there is no fleet.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the certificates are to be like.
pub struct Model {
    /// The chain of a certificate of the CA: names and extensions are taken from it.
    pub template: PathBuf,
    /// The key that the CA issues with.
    pub issuing_key: PathBuf,
    /// Its password.
    pub password: String,
    /// The first second of all of them.
    pub not_before: Timestamp,
    /// The last one.
    pub not_after: Timestamp,
}

/// Makes `count` pairs in `folder`, named `s0`, `s1`, …, and `folder/agent.d` with their entries.
pub fn make(model: &Model, folder: &Path, count: usize) -> Result<(), Failure> {
    let chain = Certificate::chain_from_pem(&std::fs::read(&model.template)?)?;
    let (template, rest) = chain.split_first().ok_or("the template is empty")?;
    let rest = certificate::chain_to_pem(rest);
    let (issuer, _) = FileKey::load(&model.issuing_key, Some(model.password.as_bytes()))?;
    std::fs::create_dir_all(folder.join("agent.d"))?;
    for first in (0..count).step_by(IN_ONE_FOLDER) {
        let part = first / IN_ONE_FOLDER;
        let place = folder.join(part.to_string());
        std::fs::create_dir_all(&place)?;
        let mut entries = String::new();
        for number in first..count.min(first + IN_ONE_FOLDER) {
            let key = FileKey::generate(KeyKind::EcP256)?;
            let leaf = stamp(model, template, &issuer, &format!("s{number}"), &key)?;
            let (certificate_file, key_file) =
                (place.join(format!("s{number}.crt")), place.join(format!("s{number}.key")));
            std::fs::write(&certificate_file, leaf.to_pem() + &rest)?;
            std::fs::write(&key_file, key.to_pem(Encoding::Sec1, None)?.as_bytes())?;
            let (certificate_file, key_file) = (certificate_file.display(), key_file.display());
            writeln!(
                entries,
                "[[certificate]]\nname = \"s{number}\"\ncertificate = \"{certificate_file}\"\nkey = \"{key_file}\""
            )?;
        }
        std::fs::write(folder.join("agent.d").join(format!("{part}.toml")), entries)?;
    }
    Ok(())
}

fn stamp(
    model: &Model,
    template: &Certificate,
    issuer: &FileKey,
    name: &str,
    key: &FileKey,
) -> Result<Certificate, Failure> {
    let identifier = key_identifier::of_key(key.public_key())?;
    let own = |extension: &_| match extension {
        known if *keywheel_wire::x509::extension::Extension::oid(known) == oid::SUBJECT_KEY_IDENTIFIER => {
            key_identifier::subject(&identifier)
        }
        other => other.clone(),
    };
    let scheme = SignatureScheme::default_for(issuer.kind());
    let tbs = TbsBuilder {
        serial: Serial::from_random(random::bytes()?),
        scheme,
        issuer: template.issuer().clone(),
        not_before: model.not_before,
        not_after: model.not_after,
        subject: Name::with_common_name(name),
        spki: key.public_key().to_vec(),
        extensions: template.extensions().iter().map(own).collect(),
    }
    .build()?;
    let signature = issuer.sign(scheme, &tbs)?;
    Ok(Certificate::from_der(&certificate::assemble(&tbs, scheme, &signature))?)
}
