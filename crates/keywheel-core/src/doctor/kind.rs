//! The kinds of findings: each has an identifier that never changes, and one severity.

/// How bad a finding is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something does not work, or a key is in danger now.
    Error,
    /// Something will not work, or is worse than it looks.
    Warning,
    /// Worth knowing.
    Info,
}

/// What is wrong, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A certificate and the key beside it do not belong together.
    PairMismatch,
    /// The links of a lineage of certbot do not lead to one version.
    CertbotLinks,
    /// A certificate or a key is empty or cut off.
    TornFile,
    /// A private key can be read by everybody on the machine.
    KeyReadableByOthers,
    /// A key is too weak to be certified.
    WeakKey,
    /// A certificate has expired.
    CertificateExpired,
    /// A certificate expires soon, and nothing is known that renews it.
    CertificateExpiring,
    /// A private key can be read by its group.
    KeyReadableByGroup,
    /// Certificates of different names have one key.
    KeyShared,
    /// A certificate was replaced, its key was not.
    KeyKept,
    /// What renews a certificate never changes its key.
    RenewerKeepsKey,
    /// A replacement of ours was cut off.
    RekeyCutOff,
    /// The pair from before the last replacement is still kept.
    PreviousKept,
    /// certbot has fetched a certificate and does not use it.
    CertbotNotDeployed,
    /// A file that a crashed tool left.
    LeftoverFile,
    /// The same private key lies in several places.
    KeyCopied,
    /// A certificate without its key.
    CertificateWithoutKey,
    /// A key without a certificate.
    KeyWithoutCertificate,
    /// A key that could not be compared, since it is encrypted.
    KeyEncrypted,
    /// A replacement that was put aside for a person to look at.
    PutAside,
    /// A lock that nobody holds.
    StaleLock,
}

impl Severity {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 21] = [
        Self::PairMismatch,
        Self::CertbotLinks,
        Self::TornFile,
        Self::KeyReadableByOthers,
        Self::WeakKey,
        Self::CertificateExpired,
        Self::CertificateExpiring,
        Self::KeyReadableByGroup,
        Self::KeyShared,
        Self::KeyKept,
        Self::RenewerKeepsKey,
        Self::RekeyCutOff,
        Self::PreviousKept,
        Self::CertbotNotDeployed,
        Self::LeftoverFile,
        Self::KeyCopied,
        Self::CertificateWithoutKey,
        Self::KeyWithoutCertificate,
        Self::KeyEncrypted,
        Self::PutAside,
        Self::StaleLock,
    ];

    /// The identifier, which never changes.
    pub fn id(self) -> &'static str {
        match self {
            Self::PairMismatch => "pair-mismatch",
            Self::CertbotLinks => "certbot-links",
            Self::TornFile => "torn-file",
            Self::KeyReadableByOthers => "key-readable-by-others",
            Self::WeakKey => "weak-key",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateExpiring => "certificate-expiring",
            Self::KeyReadableByGroup => "key-readable-by-group",
            Self::KeyShared => "key-shared",
            Self::KeyKept => "key-kept",
            Self::RenewerKeepsKey => "renewer-keeps-key",
            Self::RekeyCutOff => "rekey-cut-off",
            Self::PreviousKept => "previous-kept",
            Self::CertbotNotDeployed => "certbot-not-deployed",
            Self::LeftoverFile => "leftover-file",
            Self::KeyCopied => "key-copied",
            Self::CertificateWithoutKey => "certificate-without-key",
            Self::KeyWithoutCertificate => "key-without-certificate",
            Self::KeyEncrypted => "key-encrypted",
            Self::PutAside => "put-aside",
            Self::StaleLock => "stale-lock",
        }
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::PairMismatch
            | Self::CertbotLinks
            | Self::TornFile
            | Self::KeyReadableByOthers
            | Self::WeakKey
            | Self::CertificateExpired => Severity::Error,
            Self::CertificateExpiring
            | Self::KeyReadableByGroup
            | Self::KeyShared
            | Self::KeyKept
            | Self::RenewerKeepsKey
            | Self::RekeyCutOff
            | Self::PreviousKept
            | Self::CertbotNotDeployed
            | Self::LeftoverFile => Severity::Warning,
            Self::KeyCopied
            | Self::CertificateWithoutKey
            | Self::KeyWithoutCertificate
            | Self::KeyEncrypted
            | Self::PutAside
            | Self::StaleLock => Severity::Info,
        }
    }
}
