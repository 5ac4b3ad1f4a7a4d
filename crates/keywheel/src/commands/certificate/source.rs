//! Where certificates come from: files with PEM or DER, stdin, folders of roots.

use std::path::{Path, PathBuf};

use keywheel_wire::pem;
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::request::Request;

use crate::commands::files;
use crate::failure::{Classed, Failure, Outcome};

/// What a file holds.
#[derive(Debug)]
pub(crate) enum Found {
    /// Certificates, in the order of the file.
    Certificates(Vec<Certificate>),
    /// A certificate signing request.
    Request(Box<Request>),
}

/// What is in a file, with whatever else stands there skipped.
pub(crate) fn find(path: &Path) -> Outcome<Found> {
    find_in(&files::read(path)?, path)
}

/// The same, for text that was read from there.
pub(crate) fn find_in(text: &[u8], path: &Path) -> Outcome<Found> {
    let doing = || format!("read {}", path.display());
    if !has_pem(text) {
        return match Certificate::from_der(text) {
            Ok(certificate) => Ok(Found::Certificates(vec![certificate])),
            Err(error) => match Request::from_der(text) {
                Ok(request) => Ok(Found::Request(Box::new(request))),
                Err(_) => Err(error).or_usage(|| format!("{} is neither a certificate nor a request", path.display())),
            },
        };
    }
    let blocks = pem::parse(text).or_usage(doing)?;
    let first = blocks.iter().find(|block| is_certificate(&block.label) || is_request(&block.label));
    match first {
        Some(block) if is_request(&block.label) => {
            Ok(Found::Request(Box::new(Request::from_der(&block.der).or_usage(doing)?)))
        }
        Some(_) => {
            let certificates = blocks
                .iter()
                .filter(|block| is_certificate(&block.label))
                .map(|block| Certificate::from_der(&block.der))
                .collect::<Result<Vec<_>, _>>()
                .or_usage(doing)?;
            Ok(Found::Certificates(certificates))
        }
        None => Err(Failure::usage(format!("{} holds neither a certificate nor a request", path.display()))),
    }
}

/// The certificates in a file; at least one.
pub(crate) fn certificates(path: &Path) -> Outcome<Vec<Certificate>> {
    match find(path)? {
        Found::Certificates(certificates) => Ok(certificates),
        Found::Request(_) => Err(Failure::usage(format!("{} is a request, not a certificate", path.display()))),
    }
}

/// The certificates of `--roots`: a file, several with commas between them, or a folder.
pub(crate) fn roots(given: &str) -> Outcome<Vec<Certificate>> {
    let mut all = Vec::new();
    for part in given.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let path = PathBuf::from(part);
        if path.is_dir() {
            let doing = || format!("read the folder {}", path.display());
            let mut names = std::fs::read_dir(&path)
                .or_usage(doing)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()
                .or_usage(doing)?;
            names.sort();
            for file in names.iter().filter(|file| file.is_file()) {
                // Other files may lie in the folder, too.
                if let Ok(Found::Certificates(found)) = find(file) {
                    all.extend(found);
                }
            }
        } else {
            all.extend(certificates(&path)?);
        }
    }
    if all.is_empty() {
        return Err(Failure::usage(format!("there are no certificates in '{given}'")));
    }
    Ok(all)
}

/// The roots that the system trusts, where it keeps them in one of the usual files.
pub(crate) fn system_roots() -> Vec<Certificate> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    named
        .into_iter()
        .chain(usual.iter().map(PathBuf::from))
        .find_map(|path| std::fs::read(path).ok())
        .and_then(|text| pem::parse(&text).ok())
        .unwrap_or_default()
        .iter()
        .filter(|block| is_certificate(&block.label))
        // One that cannot be read is no root for us; the others still are.
        .filter_map(|block| Certificate::from_der(&block.der).ok())
        .collect()
}

/// Whether a text has PEM blocks; what has none is taken for DER.
pub(crate) fn has_pem(text: &[u8]) -> bool {
    text.windows(11).any(|window| window == b"-----BEGIN ")
}

fn is_certificate(label: &str) -> bool {
    matches!(label, "CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE")
}

fn is_request(label: &str) -> bool {
    matches!(label, "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST")
}
