//! Recording what will be signed before it is signed, and what was signed after.

use jiff::Timestamp;
use keywheel_core::serial::Serial;

use crate::certificate::{self, CertificateBody, NewCertificate, StoredCertificate};
use crate::error::StoreError;
use crate::operation::Operation;
use crate::session::{Session, Value, micros};
use crate::token::{self, TokenOutcome, TokenUse};

/// What became of the wish to issue a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssueOutcome {
    /// The intent is durable: sign exactly these bytes, then call `complete`.
    Recorded,
    /// The very same request was answered before: this is the answer again. If it is still only intended, sign exactly those
    /// bytes, then call `complete` and hand out what that answers.
    Replay(Box<StoredCertificate>),
    /// The token was used before; nothing was recorded.
    TokenUsed,
    /// The serial number is taken; nothing was recorded and the token is still good: draw another number.
    SerialTaken,
}

/// Records a certificate that nothing precedes.
pub(crate) struct Record {
    pub(crate) new: NewCertificate,
    pub(crate) token: Option<TokenUse>,
    pub(crate) now: Timestamp,
}

impl Operation for Record {
    type Answer = IssueOutcome;

    fn doing(&self) -> &'static str {
        "recording a certificate"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<IssueOutcome, StoreError> {
        session.lock_key(&self.new.key).await?;
        if serial_is_known(session, &self.new.serial).await? {
            return Ok(IssueOutcome::SerialTaken);
        }
        if let Some(token) = &self.token
            && token::consume_for(session, token, Some(&self.new.serial)).await? == TokenOutcome::AlreadyUsed
        {
            let Some(serial) = token::answered(session, token, self.now).await? else {
                return Ok(IssueOutcome::TokenUsed);
            };
            let earlier = certificate::load(session, &serial).await?;
            return earlier
                .map(|stored| IssueOutcome::Replay(Box::new(stored)))
                .ok_or(StoreError::Value { what: "a token without its certificate" });
        }
        certificate::insert(session, &self.new, None, &self.new.serial, self.now, self.doing()).await?;
        Ok(IssueOutcome::Recorded)
    }
}

/// Whether a number must not be given out again: a certificate has it, or a revocation (of a database that was taken over).
pub(crate) async fn serial_is_known(session: &mut Session<'_>, serial: &Serial) -> Result<bool, StoreError> {
    let row = session
        .row(
            "SELECT EXISTS (SELECT 1 FROM certificates WHERE serial = $1) \
             OR EXISTS (SELECT 1 FROM revocations WHERE serial = $1)",
            &[Value::Blob(serial.as_bytes())],
        )
        .await?;
    row.map_or(Ok(false), |row| row.flag(0))
}

/// Stores the signed certificate in place of its intent.
pub(crate) struct Complete {
    pub(crate) serial: Serial,
    pub(crate) der: Vec<u8>,
    pub(crate) now: Timestamp,
}

impl Operation for Complete {
    /// The certificate to hand out.
    type Answer = Vec<u8>;

    fn doing(&self) -> &'static str {
        "storing a signed certificate"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<Vec<u8>, StoreError> {
        let not_recorded = || StoreError::NotRecorded { what: format!("certificate {}", self.serial) };
        session.lock_certificate(&self.serial).await?;
        let row = session
            .row("SELECT tbs, der FROM certificates WHERE serial = $1", &[Value::Blob(self.serial.as_bytes())])
            .await?
            .ok_or_else(not_recorded)?;
        let recorded = match (row.maybe_blob(1)?, row.maybe_blob(0)?) {
            (Some(der), _) => CertificateBody::Signed(der),
            (None, Some(tbs)) => CertificateBody::Intended(tbs),
            (None, None) => return Err(StoreError::Value { what: "a certificate without bytes" }),
        };
        match recorded {
            // The second answer to a request that was repeated; its signature differs (ECDSA draws a new number each time),
            // what is signed does not. The first one stays, since somebody may have it already.
            CertificateBody::Signed(first) => match (signed_part(&first), signed_part(&self.der)) {
                (Some(one), Some(other)) if one == other => Ok(first),
                _ => Err(not_recorded()),
            },
            CertificateBody::Intended(tbs) => {
                if signed_part(&self.der) != Some(tbs.as_slice()) {
                    return Err(not_recorded());
                }
                session
                    .execute(
                        "UPDATE certificates SET der = $2, tbs = NULL, issued_at = $3 WHERE serial = $1",
                        &[Value::Blob(self.serial.as_bytes()), Value::Blob(&self.der), micros(self.now)],
                    )
                    .await?;
                Ok(self.der.clone())
            }
        }
    }
}

/// The first element of the outer SEQUENCE of a certificate or CRL: what its signature covers.
pub(crate) fn signed_part(der: &[u8]) -> Option<&[u8]> {
    let (tag, content, _) = element(der)?;
    if tag != 0x30 {
        return None;
    }
    let (tag, _, length) = element(content)?;
    if tag == 0x30 { content.get(..length) } else { None }
}

/// Tag, content and whole length of the first DER element.
fn element(der: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&tag, &first) = (der.first()?, der.get(1)?);
    let (header, length) = if first < 0x80 {
        (2, usize::from(first))
    } else {
        let octets = usize::from(first & 0x7f);
        if octets == 0 || octets > 4 {
            return None;
        }
        let length = der.get(2..2 + octets)?.iter().fold(0usize, |length, octet| (length << 8) | usize::from(*octet));
        (2 + octets, length)
    };
    let end = header.checked_add(length)?;
    Some((tag, der.get(header..end)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_part_is_the_first_element_with_its_header() {
        let der = [0x30, 0x08, 0x30, 0x03, 0x02, 0x01, 0x05, 0x03, 0x01, 0x00];
        assert_eq!(signed_part(&der), Some(&der[2..7]));
        let mut long = vec![0x30, 0x82, 0x01, 0x04, 0x30, 0x82, 0x01, 0x00];
        long.resize(8 + 256, 7);
        assert_eq!(signed_part(&long), Some(&long[4..]));
    }

    #[test]
    fn what_is_cut_off_or_no_sequence_has_no_signed_part() {
        for der in [
            &[][..],
            &[0x30],
            &[0x30, 0x05, 0x30, 0x01],
            &[0x31, 0x02, 0x30, 0x00],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x02, 0x02, 0x00],
        ] {
            assert_eq!(signed_part(der), None, "{der:x?}");
        }
    }
}
