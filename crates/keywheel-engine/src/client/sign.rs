//! A certificate for a request that somebody else made.

use std::path::PathBuf;

use keywheel_reach::files::write::Target;
use keywheel_wire::x509::certificate::chain_to_pem;
use keywheel_wire::x509::extension::alt_name::GeneralName;
use keywheel_wire::x509::request::Request;

use super::access::Certifier;
use super::certificate::{self, Authority, Authorization, CertificateReport, Wish};
use super::error::{Cause, ClientError};
use super::{ask, load, place};

/// Room for a chain.
const ROOM_FOR_CHAIN: usize = 32 * 1024;

/// What is asked for.
#[derive(Clone)]
pub struct SignOptions {
    /// The request, PEM or DER.
    pub request: PathBuf,
    /// Where the certificate goes.
    pub certificate: PathBuf,
    /// A token, or who makes one.
    pub authorization: Authorization,
    /// RFC 3339, a Go duration, or empty.
    pub not_before: String,
    /// RFC 3339, a Go duration, or empty.
    pub not_after: String,
    /// Data for the template, from `--set`.
    pub template_data: serde_json::Map<String, serde_json::Value>,
    /// Who certifies.
    pub certifier: Certifier,
}

/// Everything that could be known beforehand was checked; nothing was changed yet.
pub struct SignPlan {
    options: SignOptions,
    request: Request,
    target: Target,
    authority: Authority,
    overwrites: Vec<PathBuf>,
}

/// Checks everything that can be known beforehand.
pub async fn check(options: &SignOptions) -> Result<SignPlan, ClientError> {
    let request = load_request(&options.request)?;
    let target = place::target(&options.certificate, ROOM_FOR_CHAIN)?;
    let authority = Authority::open(&options.authorization, &options.certifier).await?;
    let overwrites = place::existing([&target]);
    Ok(SignPlan { options: options.clone(), request, target, authority, overwrites })
}

impl SignPlan {
    /// The files that exist and will be replaced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Asks and writes.
    pub async fn run(self) -> Result<CertificateReport, ClientError> {
        let options = &self.options;
        let sans: Vec<_> =
            self.request.subject_alt_names().unwrap_or_default().iter().filter_map(GeneralName::as_text).collect();
        let subject = self.request.subject().common_name().or_else(|| sans.first().cloned()).unwrap_or_default();
        let wish = Wish {
            request_der: self.request.der(),
            not_before: &options.not_before,
            not_after: &options.not_after,
            template_data: &options.template_data,
        };
        let token = self.authority.token(&subject, &sans, &options.certifier)?;
        let chain = certificate::sign(&options.certifier, token, &wish).await?;
        ask::check_chain(&chain, self.request.spki())?;
        self.target.replace(chain_to_pem(&chain).as_bytes()).map_err(|error| ClientError::Install(error.into()))?;
        Ok(CertificateReport {
            certificate: options.certificate.clone(),
            key: None,
            new: load::summary(load::leaf(&chain)?),
            authority: options.certifier.name().to_owned(),
        })
    }
}

/// The request in a file, PEM or DER, signed by its own key.
pub(super) fn load_request(file: &std::path::Path) -> Result<Request, ClientError> {
    let unusable = |source: Cause| ClientError::Input { what: "the request", file: file.to_owned(), source };
    let content = load::content("the request", file)?;
    let request = if content.first() == Some(&0x30) {
        Request::from_der(&content).map_err(|error| unusable(error.into()))?
    } else {
        Request::from_pem(&content).map_err(|error| unusable(error.into()))?
    };
    request.verify().map_err(|error| unusable(error.into()))?;
    Ok(request)
}
