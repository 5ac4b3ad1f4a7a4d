//! A first certificate for a key that is in a PKCS#11 token already: one file is written, the certificate.

use std::path::{Path, PathBuf};

use keywheel_reach::files::write::{PRIVATE, Target, WriteError};
use keywheel_wire::x509::certificate::chain_to_pem;
use keywheel_wire::x509::name::Name;
use keywheel_wire::x509::request;
use zeroize::Zeroizing;

use super::certificate::{Authority, CertificateOptions, CertificateReport, Wish, extensions, sign};
use super::error::ClientError;
use super::in_token::KeyPlace;
use super::{ask, load, place};

/// Room for a chain.
const ROOM_FOR_CHAIN: usize = 32 * 1024;

/// Everything that could be known beforehand was checked; nothing was changed yet.
pub struct FirstInTokenPlan {
    options: CertificateOptions,
    key: KeyPlace,
    pin: Option<Zeroizing<Vec<u8>>>,
    authority: Authority,
    overwrites: Vec<PathBuf>,
}

/// Checks everything that can be known beforehand: the names, the key, the provisioner's password. The key of the options is
/// not looked at; `key` is.
pub async fn check(
    options: &CertificateOptions,
    key: &KeyPlace,
    pin: Option<&Zeroizing<Vec<u8>>>,
) -> Result<FirstInTokenPlan, ClientError> {
    if options.subject.trim().is_empty() {
        return Err(ClientError::Usage("the subject of a certificate cannot be empty".to_owned()));
    }
    extensions(options)?;
    let target = target(&options.certificate)?;
    key.open("the key", None, pin)?;
    let authority = Authority::open(&options.authorization, &options.certifier).await?;
    let overwrites = place::existing([&target]);
    Ok(FirstInTokenPlan { options: options.clone(), key: key.clone(), pin: pin.cloned(), authority, overwrites })
}

impl FirstInTokenPlan {
    /// The files that exist and will be replaced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Asks, writes.
    pub async fn run(self) -> Result<CertificateReport, ClientError> {
        let options = &self.options;
        // Nothing was held while a person thought about the questions.
        let target = target(&options.certificate)?;
        if place::existing([&target]).iter().any(|file| !self.overwrites.contains(file)) {
            return Err(ClientError::Changed { file: options.certificate.clone() });
        }
        let signer = self.key.open("the key", None, self.pin.as_ref())?;
        let subject = Name::with_common_name(&options.subject);
        let request_der = request::create(signer.as_ref(), &subject, &extensions(options)?)
            .map_err(|error| ClientError::Speak { what: "the request", source: error.into() })?;
        let wish = Wish {
            request_der: &request_der,
            not_before: &options.not_before,
            not_after: &options.not_after,
            template_data: &options.template_data,
        };
        let token = self.authority.token(&options.subject, &options.sans, &options.certifier)?;
        let chain = sign(&options.certifier, token, &wish).await?;
        ask::check_chain(&chain, signer.public_key())?;
        let written = target.replace(chain_to_pem(&chain).as_bytes());
        written.map_err(|error: WriteError| ClientError::Install(error.into()))?;
        let key = self.key.token().map_or_else(|| self.key.to_string(), |uri| uri.key_only().to_string());
        Ok(CertificateReport {
            certificate: options.certificate.clone(),
            key: Some(PathBuf::from(key)),
            new: load::summary(load::leaf(&chain)?),
            authority: options.certifier.name().to_owned(),
        })
    }
}

fn target(file: &Path) -> Result<Target, ClientError> {
    let refused = |error: WriteError| ClientError::Target { file: file.to_owned(), source: error.into() };
    let target = Target::resolve(file, PRIVATE).map_err(refused)?;
    target.rehearse(ROOM_FOR_CHAIN).map_err(refused)?;
    Ok(target)
}
