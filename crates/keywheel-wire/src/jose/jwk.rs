//! Keys as JSON (RFC 7517): to and from the DER that the rest of the program uses, and their thumbprints.

use std::fmt;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode, Encode};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{bytes, jws};
use crate::private_key::{KeyKind, PrivateKey, PrivateKeyError};
use crate::signer;

/// The longest JWK that is looked at.
pub const MAX_TEXT: usize = 32 * 1024;

/// A public key as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicJwk {
    parameters: Parameters,
    /// The key's name.
    pub key_id: Option<String>,
    /// The algorithm it is for.
    pub algorithm: Option<String>,
    /// What it is for: `sig` or `enc`.
    pub usage: Option<String>,
}

/// A private key as JSON. Its private half is wiped from memory when the value goes.
#[derive(Clone)]
pub struct PrivateJwk {
    public: PublicJwk,
    key: PrivateKey,
}

/// Why a JSON text is not a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// Longer than [`MAX_TEXT`].
    #[error("the JWK is longer than {MAX_TEXT} characters")]
    TooLong,
    /// Not a JSON object.
    #[error("the JWK is not a JSON object")]
    Json(#[source] serde_json::Error),
    /// A field is missing or has another form.
    #[error("the JWK's field '{0}' is missing or malformed")]
    Field(&'static str),
    /// A kind of key that is not supported.
    #[error("a JWK of kind '{0}' is not supported; expected EC with P-256, P-384 or P-521, OKP with Ed25519, or RSA")]
    Unsupported(String),
    /// The DER is not a public key that is supported.
    #[error("the public key is malformed or of a kind that is not supported")]
    PublicKey,
    /// The private half is not accepted.
    #[error("the JWK's private key was not accepted")]
    PrivateKey(#[source] PrivateKeyError),
    /// The public half is another key's.
    #[error("the public and the private half of the JWK do not belong together")]
    Mismatch,
}

/// The numbers of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Parameters {
    Ec { kind: KeyKind, x: Vec<u8>, y: Vec<u8> },
    Okp { x: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl PublicJwk {
    /// Reads a JSON text; private fields are ignored.
    ///
    /// # Errors
    /// When it is not a key that is supported.
    pub fn parse(text: &str) -> Result<Self, JwkError> {
        if text.len() > MAX_TEXT {
            return Err(JwkError::TooLong);
        }
        Self::from_object(&serde_json::from_str(text).map_err(JwkError::Json)?)
    }

    /// Reads a JSON object; private fields are ignored.
    ///
    /// # Errors
    /// When it is not a key that is supported.
    pub fn from_object(object: &Map<String, Value>) -> Result<Self, JwkError> {
        let parameters = Parameters::from_object(object)?;
        let own = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
        let jwk = Self { parameters, key_id: own("kid"), algorithm: own("alg"), usage: own("use") };
        // A point that is not on its curve, or a modulus too short, is found here and not in the middle of a request.
        signer::public_key_kind(&jwk.to_spki()?).ok_or(JwkError::PublicKey)?;
        Ok(jwk)
    }

    /// Makes the JWK of a public key (DER of a SubjectPublicKeyInfo) for signatures, named by its thumbprint.
    ///
    /// # Errors
    /// When the key is malformed or not supported.
    pub fn from_spki(spki: &[u8]) -> Result<Self, JwkError> {
        let (kind, bits) = signer::public_key_bits(spki).ok_or(JwkError::PublicKey)?;
        let parameters = Parameters::from_bits(kind, bits).ok_or(JwkError::PublicKey)?;
        let mut jwk = Self {
            parameters,
            key_id: None,
            algorithm: Some(jws::Algorithm::default_for(kind).name().to_owned()),
            usage: Some("sig".to_owned()),
        };
        jwk.key_id = Some(jwk.thumbprint());
        Ok(jwk)
    }

    /// The key as the DER of a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// When a number does not fit into DER.
    pub fn to_spki(&self) -> Result<Vec<u8>, JwkError> {
        self.parameters.to_spki().map_err(|_| JwkError::PublicKey)
    }

    /// The RFC 7638 thumbprint (SHA-256, base64url): what the reference uses as `kid`.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        // The members stand in lexical order and without blanks: this is what is hashed.
        let members = match &self.parameters {
            Parameters::Ec { kind, x, y } => format!(
                r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                curve_name(*kind),
                bytes::encode(x),
                bytes::encode(y)
            ),
            Parameters::Okp { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, bytes::encode(x)),
            Parameters::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, bytes::encode(e), bytes::encode(n))
            }
        };
        bytes::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, members.as_bytes()).as_ref())
    }

    /// The JSON object, in the field order of the reference.
    #[must_use]
    pub fn to_object(&self) -> Map<String, Value> {
        let mut object = Map::new();
        let mut put = |name: &str, value: &str| object.insert(name.to_owned(), Value::from(value));
        if let Some(usage) = &self.usage {
            put("use", usage);
        }
        put("kty", self.parameters.key_type());
        if let Some(key_id) = &self.key_id {
            put("kid", key_id);
        }
        match &self.parameters {
            Parameters::Ec { kind, .. } => {
                put("crv", curve_name(*kind));
            }
            Parameters::Okp { .. } => {
                put("crv", "Ed25519");
            }
            Parameters::Rsa { .. } => {}
        }
        if let Some(algorithm) = &self.algorithm {
            put("alg", algorithm);
        }
        match &self.parameters {
            Parameters::Ec { x, y, .. } => {
                put("x", &bytes::encode(x));
                put("y", &bytes::encode(y));
            }
            Parameters::Okp { x } => {
                put("x", &bytes::encode(x));
            }
            Parameters::Rsa { n, e } => {
                put("n", &bytes::encode(n));
                put("e", &bytes::encode(e));
            }
        }
        object
    }
}

impl PrivateJwk {
    /// Reads a JSON text with the private half.
    ///
    /// # Errors
    /// When it is not a private key that is supported, or its halves do not belong together.
    pub fn parse(text: &[u8]) -> Result<Self, JwkError> {
        if text.len() > MAX_TEXT {
            return Err(JwkError::TooLong);
        }
        let object: Map<String, Value> = serde_json::from_slice(text).map_err(JwkError::Json)?;
        let public = PublicJwk::from_object(&object)?;
        let key = private_key(&public.parameters, &object)?;
        if key.public_key() != public.to_spki()?.as_slice() {
            return Err(JwkError::Mismatch);
        }
        Ok(Self { public, key })
    }

    /// The JWK of a private key, named by its thumbprint.
    ///
    /// # Errors
    /// When the key is not supported.
    pub fn from_private_key(key: &PrivateKey) -> Result<Self, JwkError> {
        Ok(Self { public: PublicJwk::from_spki(key.public_key())?, key: key.clone() })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicJwk {
        &self.public
    }

    /// The key, to sign with.
    #[must_use]
    pub fn private_key(&self) -> &PrivateKey {
        &self.key
    }

    /// The JSON text with the private half.
    ///
    /// # Errors
    /// When the key's DER cannot be read back.
    pub fn to_json(&self) -> Result<Zeroizing<String>, JwkError> {
        let mut text = serde_json::to_string(&self.public.to_object()).map_err(JwkError::Json)?;
        text.pop();
        // Room for everything that follows, so that no half-written secret is left behind by a move.
        let mut text = Zeroizing::new({
            let mut roomy = String::with_capacity(MAX_TEXT);
            roomy.push_str(&text);
            roomy
        });
        for (name, number) in private_members(&self.key).ok_or(JwkError::PrivateKey(PrivateKeyError::Malformed))? {
            text.push_str(",\"");
            text.push_str(name);
            text.push_str("\":\"");
            text.push_str(&Zeroizing::new(bytes::encode(&number)));
            text.push('"');
        }
        text.push('}');
        Ok(text)
    }
}

impl fmt::Debug for PrivateJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateJwk").field("public", &self.public).finish_non_exhaustive()
    }
}

const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const OID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

impl Parameters {
    fn from_object(object: &Map<String, Value>) -> Result<Self, JwkError> {
        let text = |name: &'static str| object.get(name).and_then(Value::as_str).ok_or(JwkError::Field(name));
        let number = |name: &'static str| bytes::decode(text(name)?).ok_or(JwkError::Field(name));
        let exact = |name: &'static str, width: usize| {
            number(name).and_then(|bytes| if bytes.len() == width { Ok(bytes) } else { Err(JwkError::Field(name)) })
        };
        let positive = |name: &'static str| {
            number(name).and_then(|octets| match bytes::minimal(&octets) {
                [] => Err(JwkError::Field(name)),
                minimal => Ok(minimal.to_vec()),
            })
        };
        match text("kty")? {
            "EC" => {
                let curve = text("crv")?;
                let (kind, width) = [(KeyKind::EcP256, 32), (KeyKind::EcP384, 48), (KeyKind::EcP521, 66)]
                    .into_iter()
                    .find(|(kind, _)| curve_name(*kind) == curve)
                    .ok_or_else(|| JwkError::Unsupported(format!("EC {}", short(curve))))?;
                Ok(Self::Ec { kind, x: exact("x", width)?, y: exact("y", width)? })
            }
            "OKP" => match text("crv")? {
                "Ed25519" => Ok(Self::Okp { x: exact("x", 32)? }),
                other => Err(JwkError::Unsupported(format!("OKP {}", short(other)))),
            },
            "RSA" => Ok(Self::Rsa { n: positive("n")?, e: positive("e")? }),
            other => Err(JwkError::Unsupported(short(other))),
        }
    }

    fn from_bits(kind: KeyKind, bits: &[u8]) -> Option<Self> {
        match kind {
            KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 => {
                let (form, point) = bits.split_first()?;
                if *form != 4 {
                    return None;
                }
                let (x, y) = point.split_at_checked(point.len() / 2)?;
                Some(Self::Ec { kind, x: x.to_vec(), y: y.to_vec() })
            }
            KeyKind::Ed25519 => Some(Self::Okp { x: bits.to_vec() }),
            KeyKind::Rsa(_) => {
                let key = pkcs1::RsaPublicKeyRef::from_der(bits).ok()?;
                Some(Self::Rsa {
                    n: bytes::minimal(key.modulus.as_bytes()).to_vec(),
                    e: bytes::minimal(key.public_exponent.as_bytes()).to_vec(),
                })
            }
        }
    }

    fn to_spki(&self) -> Result<Vec<u8>, der::Error> {
        let curve;
        let (oid, parameters, bits) = match self {
            Self::Ec { kind, x, y } => {
                curve = curve_oid(*kind);
                (OID_EC, Some(AnyRef::from(&curve)), point(x, y))
            }
            Self::Okp { x } => (OID_ED25519, None, x.clone()),
            Self::Rsa { n, e } => {
                let key = pkcs1::RsaPublicKey { modulus: UintRef::new(n)?, public_exponent: UintRef::new(e)? };
                (OID_RSA, Some(AnyRef::NULL), key.to_der()?)
            }
        };
        SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef { oid, parameters },
            subject_public_key: BitStringRef::from_bytes(&bits)?,
        }
        .to_der()
    }

    fn key_type(&self) -> &'static str {
        match self {
            Self::Ec { .. } => "EC",
            Self::Okp { .. } => "OKP",
            Self::Rsa { .. } => "RSA",
        }
    }
}

/// Puts the private half of a JWK into the DER that [`PrivateKey`] reads and checks.
fn private_key(public: &Parameters, object: &Map<String, Value>) -> Result<PrivateKey, JwkError> {
    let number = |name: &'static str| {
        object
            .get(name)
            .and_then(Value::as_str)
            .and_then(bytes::decode)
            .map(Zeroizing::new)
            .ok_or(JwkError::Field(name))
    };
    let malformed = |_| JwkError::PrivateKey(PrivateKeyError::Malformed);
    let read = match public {
        Parameters::Ec { kind, x, y } => {
            let d = number("d")?;
            if d.len() != x.len() {
                return Err(JwkError::Field("d"));
            }
            let key = sec1::EcPrivateKey {
                private_key: &d,
                parameters: Some(sec1::EcParameters::NamedCurve(curve_oid(*kind))),
                public_key: Some(&point(x, y)),
            };
            PrivateKey::from_sec1_der(&Zeroizing::new(key.to_der().map_err(malformed)?))
        }
        Parameters::Okp { .. } => {
            let d = number("d")?;
            if d.len() != 32 {
                return Err(JwkError::Field("d"));
            }
            let inner = Zeroizing::new([&[0x04, 0x20], d.as_slice()].concat());
            let key = pkcs8::PrivateKeyInfoRef::new(
                AlgorithmIdentifierRef { oid: OID_ED25519, parameters: None },
                OctetStringRef::new(&inner).map_err(malformed)?,
            );
            PrivateKey::from_pkcs8_der(&Zeroizing::new(key.to_der().map_err(malformed)?))
        }
        Parameters::Rsa { n, e } => {
            let [d, p, q, dp, dq, qi] =
                [number("d")?, number("p")?, number("q")?, number("dp")?, number("dq")?, number("qi")?];
            let key = pkcs1::RsaPrivateKey {
                modulus: UintRef::new(n).map_err(malformed)?,
                public_exponent: UintRef::new(e).map_err(malformed)?,
                private_exponent: UintRef::new(&d).map_err(malformed)?,
                prime1: UintRef::new(&p).map_err(malformed)?,
                prime2: UintRef::new(&q).map_err(malformed)?,
                exponent1: UintRef::new(&dp).map_err(malformed)?,
                exponent2: UintRef::new(&dq).map_err(malformed)?,
                coefficient: UintRef::new(&qi).map_err(malformed)?,
                other_prime_infos: None,
            };
            PrivateKey::from_pkcs1_der(&Zeroizing::new(key.to_der().map_err(malformed)?))
        }
    };
    read.map_err(JwkError::PrivateKey)
}

/// A private number and its name.
type PrivateMember = (&'static str, Zeroizing<Vec<u8>>);

/// The private numbers of a key, in the order in which they are written.
fn private_members(key: &PrivateKey) -> Option<Vec<PrivateMember>> {
    let info = pkcs8::PrivateKeyInfoRef::try_from(key.pkcs8_der()).ok()?;
    let inner = info.private_key.as_bytes();
    let own = |number: &[u8]| Zeroizing::new(number.to_vec());
    match key.kind() {
        KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 => {
            let key = sec1::EcPrivateKey::from_der(inner).ok()?;
            Some(vec![("d", own(key.private_key))])
        }
        KeyKind::Ed25519 => {
            let seed = <&OctetStringRef>::from_der(inner).ok()?;
            Some(vec![("d", own(seed.as_bytes()))])
        }
        KeyKind::Rsa(_) => {
            let key = pkcs1::RsaPrivateKeyRef::from_der(inner).ok()?;
            Some(
                [
                    ("d", key.private_exponent),
                    ("p", key.prime1),
                    ("q", key.prime2),
                    ("dp", key.exponent1),
                    ("dq", key.exponent2),
                    ("qi", key.coefficient),
                ]
                .into_iter()
                .map(|(name, number)| (name, own(number.as_bytes())))
                .collect(),
            )
        }
    }
}

fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}

fn curve_name(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::EcP256 => "P-256",
        KeyKind::EcP384 => "P-384",
        _ => "P-521",
    }
}

fn curve_oid(kind: KeyKind) -> ObjectIdentifier {
    match kind {
        KeyKind::EcP256 => ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
        KeyKind::EcP384 => ObjectIdentifier::new_unwrap("1.3.132.0.34"),
        _ => ObjectIdentifier::new_unwrap("1.3.132.0.35"),
    }
}

fn short(text: &str) -> String {
    text.chars().take(32).collect()
}
