//! Reading the files that a client command names, with errors that say which one and why.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use keywheel_signer::file_key::{FileForm, FileKey, KeyError};
use keywheel_wire::pem;
use keywheel_wire::private_key::PrivateKeyError;
use keywheel_wire::signer::{Signer, public_key_kind};
use keywheel_wire::x509::certificate::Certificate;
use zeroize::Zeroizing;

use super::error::{Cause, ClientError};
use super::rekey::CertificateSummary;

/// A key and how its file keeps it.
pub(super) struct LoadedKey {
    pub(super) signer: Arc<FileKey>,
    pub(super) form: FileForm,
    pub(super) text: Zeroizing<Vec<u8>>,
}

/// The content of a file of a sensible length.
pub(super) fn content(what: &'static str, file: &Path) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    let mut content = Zeroizing::new(Vec::new());
    let limit = pem::MAX_TEXT as u64;
    let read = File::open(file).and_then(|opened| opened.take(limit + 1).read_to_end(&mut content));
    match read {
        Ok(_) if content.len() as u64 > limit => Err(input(what, file)(ErrorKind::FileTooLarge.into())),
        Ok(_) => Ok(content),
        Err(source) => Err(input(what, file)(source)),
    }
}

/// The certificates in a file, leaf first.
pub(super) fn chain(file: &Path) -> Result<Vec<Certificate>, ClientError> {
    let text = content("the certificate", file)?;
    Certificate::chain_from_pem(&text).map_err(|source| ClientError::Input {
        what: "the certificate",
        file: file.to_owned(),
        source: source.into(),
    })
}

/// The roots in a file, DER.
pub(super) fn roots(file: &Path) -> Result<Vec<Vec<u8>>, ClientError> {
    let text = content("the root certificate", file)?;
    let roots = Certificate::chain_from_pem(&text).map_err(|source| ClientError::Input {
        what: "the root certificate",
        file: file.to_owned(),
        source: source.into(),
    })?;
    Ok(roots.iter().map(|root| root.der().to_vec()).collect())
}

/// The key in a file.
pub(super) fn key(what: &'static str, file: &Path, password: Option<&[u8]>) -> Result<LoadedKey, ClientError> {
    let text = content(what, file)?;
    match FileKey::from_pem(&text, password) {
        Ok((key, form)) => Ok(LoadedKey { signer: Arc::new(key), form, text }),
        Err(KeyError::Key(PrivateKeyError::PasswordRequired)) => {
            Err(ClientError::PasswordRequired { file: file.to_owned() })
        }
        Err(KeyError::Key(PrivateKeyError::WrongPassword)) => Err(ClientError::WrongPassword { file: file.to_owned() }),
        Err(error) => Err(ClientError::Input { what, file: file.to_owned(), source: error.into() }),
    }
}

/// A certificate and its key, which must belong together.
pub(super) fn pair(
    certificate: &Path,
    key_file: &Path,
    password: Option<&[u8]>,
) -> Result<(Vec<Certificate>, LoadedKey), ClientError> {
    let chain = chain(certificate)?;
    let key = key("the key", key_file, password)?;
    if leaf(&chain)?.spki() == key.signer.public_key() {
        return Ok((chain, key));
    }
    Err(ClientError::Mismatch { certificate: certificate.to_owned(), key: key_file.to_owned() })
}

/// The first certificate; a chain is never empty.
pub(super) fn leaf(chain: &[Certificate]) -> Result<&Certificate, ClientError> {
    chain.first().ok_or_else(|| ClientError::Garbled("there is no certificate in it".into()))
}

/// A certificate in short.
pub(super) fn summary(certificate: &Certificate) -> CertificateSummary {
    let subject = certificate.subject().common_name().or_else(|| {
        let names = certificate.subject_alt_names().unwrap_or_default();
        names.iter().find_map(keywheel_wire::x509::extension::alt_name::GeneralName::as_text)
    });
    CertificateSummary {
        subject: subject.unwrap_or_default(),
        serial: certificate.serial().to_string(),
        fingerprint: certificate.digest().to_string(),
        key_fingerprint: certificate.key_digest().to_string(),
        key_kind: public_key_kind(certificate.spki()).map_or_else(|| "unknown".to_owned(), |kind| kind.to_string()),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
    }
}

fn input(what: &'static str, file: &Path) -> impl FnOnce(std::io::Error) -> ClientError {
    let file = file.to_owned();
    move |source| ClientError::Input { what, file, source: Cause::from(source) }
}
