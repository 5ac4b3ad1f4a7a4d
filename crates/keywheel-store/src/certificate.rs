//! Certificates as they are remembered, and how they are read back.

use jiff::Timestamp;
use keywheel_core::fingerprint::KeyDigest;
use keywheel_core::serial::Serial;

use crate::error::StoreError;
use crate::operation::Operation;
use crate::session::{Row, Session, Value, micros};

/// What is written down before a certificate is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCertificate {
    /// The serial number; unique for ever.
    pub serial: Serial,
    /// The DER of the TBSCertificate: exactly what will be signed.
    pub tbs: Vec<u8>,
    /// The subject as text, for people.
    pub subject: String,
    /// Every name in it (common name, DNS, IP, e-mail, URI), for searching.
    pub names: Vec<String>,
    /// The digest of its public key.
    pub key: KeyDigest,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
    /// Who asked this CA for it: the provisioner, if one did.
    pub issuer: Option<Issuer>,
}

/// The provisioner by whose authority a certificate was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its type, as in `ca.json`: `JWK`, `X5C`…
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its identifier: the key id of a JWK provisioner…
    pub id: String,
}

/// A certificate's bytes: signed, or still only intended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateBody {
    /// The whole certificate in DER.
    Signed(Vec<u8>),
    /// The DER of the TBSCertificate: recorded, but its signature never came back. It may be signed again: exactly these bytes.
    Intended(Vec<u8>),
}

/// A certificate as the store remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCertificate {
    /// The serial number.
    pub serial: Serial,
    /// Its bytes.
    pub body: CertificateBody,
    /// The subject as text.
    pub subject: String,
    /// Every name in it.
    pub names: Vec<String>,
    /// The digest of its public key.
    pub key: KeyDigest,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
    /// The provisioner that it was issued by.
    pub issuer: Option<Issuer>,
    /// The certificate that it was rekeyed or renewed from.
    pub predecessor: Option<Serial>,
    /// The first certificate of its line; its own serial if it is the first.
    pub lineage: Serial,
    /// When it was recorded, before it was signed.
    pub recorded_at: Timestamp,
    /// When its signature was stored.
    pub issued_at: Option<Timestamp>,
    /// When it was first seen in use.
    pub first_seen_at: Option<Timestamp>,
}

/// The columns that [`stored`] reads, in its order.
macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT serial, tbs, der, subject, names, key_digest, not_before, not_after, provisioner_type, \
             provisioner_name, provisioner_id, predecessor, lineage, recorded_at, issued_at, first_seen_at \
             FROM certificates ",
            $rest
        )
    };
}

/// Reads one certificate.
pub(crate) async fn load(session: &mut Session<'_>, serial: &Serial) -> Result<Option<StoredCertificate>, StoreError> {
    let row = session.row(columns!("WHERE serial = $1"), &[Value::Blob(serial.as_bytes())]).await?;
    row.map(|row| stored(&row)).transpose()
}

/// Writes down the intent, under a serial number that was just seen to be free.
pub(crate) async fn insert(
    session: &mut Session<'_>,
    new: &NewCertificate,
    predecessor: Option<&Serial>,
    lineage: &Serial,
    now: Timestamp,
    doing: &'static str,
) -> Result<(), StoreError> {
    // One name per line; a line break inside a name is no name's business.
    let names: Vec<String> = new.names.iter().map(|name| name.replace(['\n', '\r'], " ")).collect();
    let names = names.join("\n");
    let inserted = session
        .execute(
            "INSERT INTO certificates (serial, tbs, subject, names, key_digest, not_before, not_after, \
             provisioner_type, provisioner_name, provisioner_id, predecessor, lineage, recorded_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (serial) DO NOTHING",
            &[
                Value::Blob(new.serial.as_bytes()),
                Value::Blob(&new.tbs),
                Value::Text(&new.subject),
                Value::Text(&names),
                Value::Blob(new.key.as_bytes()),
                micros(new.not_before),
                micros(new.not_after),
                Value::MaybeText(new.issuer.as_ref().map(|issuer| issuer.kind.as_str())),
                Value::MaybeText(new.issuer.as_ref().map(|issuer| issuer.name.as_str())),
                Value::MaybeText(new.issuer.as_ref().map(|issuer| issuer.id.as_str())),
                Value::MaybeBlob(predecessor.map(Serial::as_bytes)),
                Value::Blob(lineage.as_bytes()),
                micros(now),
            ],
        )
        .await?;
    if inserted == 0 {
        // Only two nodes that drew the same 126 random bits at once come here: what was written before must not stay, and
        // all of it is to be done again.
        return Err(StoreError::Busy { doing, source: None });
    }
    Ok(())
}

/// Which certificates to read.
pub(crate) enum Query {
    /// The one with this serial number.
    Serial(Serial),
    /// Those with this key, oldest first.
    Key(KeyDigest),
    /// Those of the same line as this one, oldest first.
    Line(Serial),
    /// Those whose subject, names or serial number (decimal, or hexadecimal after 0x) match, newest first.
    Search { text: String, limit: u32, before: Option<Timestamp> },
    /// Those that were recorded before this time and never signed, oldest first.
    Unsigned { recorded_before: Timestamp, limit: u32 },
}

impl Operation for Query {
    type Answer = Vec<StoredCertificate>;

    fn doing(&self) -> &'static str {
        "reading certificates"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<Self::Answer, StoreError> {
        let rows = match self {
            Self::Serial(serial) => {
                session.rows(columns!("WHERE serial = $1"), &[Value::Blob(serial.as_bytes())]).await?
            }
            Self::Key(key) => {
                session
                    .rows(
                        columns!("WHERE key_digest = $1 ORDER BY recorded_at, serial"),
                        &[Value::Blob(key.as_bytes())],
                    )
                    .await?
            }
            Self::Line(serial) => {
                session
                    .rows(
                        columns!(
                            "WHERE lineage = (SELECT lineage FROM certificates WHERE serial = $1) \
                             ORDER BY recorded_at, serial"
                        ),
                        &[Value::Blob(serial.as_bytes())],
                    )
                    .await?
            }
            Self::Search { text, limit, before } => {
                let pattern = like_pattern(text);
                let serial = Serial::parse(text).ok();
                session
                    .rows(
                        columns!(
                            "WHERE recorded_at < $1 AND (serial = $2 OR LOWER(subject) LIKE $3 ESCAPE '\\' \
                             OR LOWER(names) LIKE $3 ESCAPE '\\') ORDER BY recorded_at DESC, serial LIMIT $4"
                        ),
                        &[
                            Value::Int(before.map_or(i64::MAX, Timestamp::as_microsecond)),
                            Value::MaybeBlob(serial.as_ref().map(Serial::as_bytes)),
                            Value::Text(&pattern),
                            Value::Int(i64::from(*limit)),
                        ],
                    )
                    .await?
            }
            Self::Unsigned { recorded_before, limit } => {
                session
                    .rows(
                        columns!("WHERE der IS NULL AND recorded_at < $1 ORDER BY recorded_at, serial LIMIT $2"),
                        &[micros(*recorded_before), Value::Int(i64::from(*limit))],
                    )
                    .await?
            }
        };
        rows.iter().map(stored).collect()
    }
}

/// Anything that contains the text; the wildcards of LIKE in it are taken literally.
fn like_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    // Only ASCII is folded: SQLite's LOWER knows no more.
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

fn stored(row: &Row) -> Result<StoredCertificate, StoreError> {
    let body = match (row.maybe_blob(2)?, row.maybe_blob(1)?) {
        (Some(der), _) => CertificateBody::Signed(der),
        (None, Some(tbs)) => CertificateBody::Intended(tbs),
        (None, None) => return Err(StoreError::Value { what: "a certificate without bytes" }),
    };
    let names = row.text(4)?;
    let issuer = match (row.maybe_text(8)?, row.maybe_text(9)?, row.maybe_text(10)?) {
        (Some(kind), Some(name), Some(id)) => Some(Issuer { kind, name, id }),
        _ => None,
    };
    Ok(StoredCertificate {
        serial: row.serial(0)?,
        body,
        subject: row.text(3)?,
        names: names.lines().map(str::to_owned).collect(),
        key: row.key(5)?,
        not_before: row.time(6)?,
        not_after: row.time(7)?,
        issuer,
        predecessor: row.maybe_serial(11)?,
        lineage: row.serial(12)?,
        recorded_at: row.time(13)?,
        issued_at: row.maybe_time(14)?,
        first_seen_at: row.maybe_time(15)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_in_a_search_text_are_taken_literally() {
        assert_eq!(like_pattern("*.A_b%\\"), "%*.a\\_b\\%\\\\%");
    }
}
