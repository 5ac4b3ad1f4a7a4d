//! Why a certificate was revoked: the reason codes of RFC 5280, section 5.3.1.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

/// A CRL reason code; 7 is unused by the standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReasonCode {
    /// 0: no reason given; left out of a CRL.
    #[default]
    Unspecified,
    /// 1: the private key is known to others.
    KeyCompromise,
    /// 2: the CA's private key is known to others.
    CaCompromise,
    /// 3: the subject's name or affiliation changed.
    AffiliationChanged,
    /// 4: another certificate took its place.
    Superseded,
    /// 5: it is no longer needed.
    CessationOfOperation,
    /// 6: revoked for a time only.
    CertificateHold,
    /// 8: a hold was lifted; only in delta CRLs.
    RemoveFromCrl,
    /// 9: a privilege in the certificate was withdrawn.
    PrivilegeWithdrawn,
    /// 10: the attribute authority was compromised.
    AaCompromise,
}

/// A number or word names no reason code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a revocation reason; use a number from 0 to 10 except 7, or a name such as keyCompromise or superseded"
)]
pub struct UnknownReason {
    /// What was given.
    pub text: String,
}

const NAMES: [(u8, ReasonCode, &str); 10] = [
    (0, ReasonCode::Unspecified, "unspecified"),
    (1, ReasonCode::KeyCompromise, "keyCompromise"),
    (2, ReasonCode::CaCompromise, "cACompromise"),
    (3, ReasonCode::AffiliationChanged, "affiliationChanged"),
    (4, ReasonCode::Superseded, "superseded"),
    (5, ReasonCode::CessationOfOperation, "cessationOfOperation"),
    (6, ReasonCode::CertificateHold, "certificateHold"),
    (8, ReasonCode::RemoveFromCrl, "removeFromCRL"),
    (9, ReasonCode::PrivilegeWithdrawn, "privilegeWithdrawn"),
    (10, ReasonCode::AaCompromise, "aACompromise"),
];

impl ReasonCode {
    /// The reason with this number.
    pub fn from_code(code: i64) -> Result<Self, UnknownReason> {
        NAMES
            .iter()
            .find(|(number, ..)| i64::from(*number) == code)
            .map(|(_, reason, _)| *reason)
            .ok_or_else(|| UnknownReason { text: code.to_string() })
    }

    /// Reads a number, or a name in any case, with or without separators.
    pub fn parse(text: &str) -> Result<Self, UnknownReason> {
        if let Ok(code) = text.trim().parse::<i64>() {
            return Self::from_code(code);
        }
        let wanted: String = text.chars().filter(char::is_ascii_alphabetic).collect();
        NAMES
            .iter()
            .find(|(_, _, name)| name.eq_ignore_ascii_case(&wanted))
            .map(|(_, reason, _)| *reason)
            .ok_or_else(|| UnknownReason { text: text.chars().take(64).collect() })
    }

    /// The number of the standard.
    pub fn code(self) -> u8 {
        self.row().0
    }

    /// The name of the standard, such as `keyCompromise`.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (u8, Self, &'static str) {
        // Every variant has a row; the fallback only spares a panic path.
        NAMES.iter().copied().find(|(_, reason, _)| *reason == self).unwrap_or(NAMES[0])
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ReasonCode {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_read_back() {
        for code in 0..=10 {
            if code == 7 {
                continue;
            }
            let reason = ReasonCode::from_code(code).unwrap();
            assert_eq!(i64::from(reason.code()), code);
            assert_eq!(ReasonCode::parse(reason.name()), Ok(reason));
            assert_eq!(ReasonCode::parse(&code.to_string()), Ok(reason));
        }
        assert_eq!(ReasonCode::parse("KEY_COMPROMISE"), Ok(ReasonCode::KeyCompromise));
        assert_eq!(ReasonCode::parse("CACompromise"), Ok(ReasonCode::CaCompromise));
    }

    #[test]
    fn numbers_outside_the_standard_are_refused() {
        for code in [-1, 7, 11, 256, i64::MAX] {
            assert!(ReasonCode::from_code(code).is_err(), "{code}");
        }
        assert!(ReasonCode::parse("whatever").is_err());
        assert!(ReasonCode::parse("").is_err());
    }
}
