//! The JSON bodies of the step API, request and answer, in the exact shapes that step and step-ca exchange.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The largest request body that is worth reading; everything the API asks for is far below it.
pub const MAX_REQUEST_BODY: usize = 256 * 1024;

/// Reads the first JSON value of a request body, as the reference does: what follows it is ignored, and so are unknown fields;
/// `null` is an empty object, and any other value that is no object is refused.
///
/// # Errors
/// What serde says when the body is not JSON or has another shape.
pub fn decode_first<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let first = match serde_json::Deserializer::from_slice(body).into_iter::<Value>().next() {
        Some(first) => first?,
        None => serde_json::from_slice(body)?,
    };
    match first {
        Value::Null => serde_json::from_value(Value::Object(Map::new())),
        // A derived reader would take the fields from a list, one after the other.
        Value::Array(_) => Err(serde_json::Error::custom("a list stands where an object is expected")),
        other => serde_json::from_value(other),
    }
}

/// Writes an answer as the reference does: compact JSON that ends with a newline.
///
/// # Errors
/// Never for the types of this module; serde's signature allows for it.
pub fn encode_line<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = serde_json::to_vec(value)?;
    body.push(b'\n');
    Ok(body)
}

/// `{"status":"ok"}`: the answer of `/health` and `/revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusResponse {
    /// `ok` unless something is wrong.
    pub status: String,
}

impl StatusResponse {
    /// The answer that all is well.
    #[must_use]
    pub fn ok() -> Self {
        Self { status: "ok".to_owned() }
    }
}

/// The answer of `/version`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionResponse {
    /// The version of the CA program.
    pub version: String,
    /// Present and true where every route wants a client certificate.
    #[serde(rename = "requireClientAuthentication", default, skip_serializing_if = "is_false")]
    pub require_client_authentication: bool,
}

/// The answer of `/root/{sha}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootResponse {
    /// The root certificate as PEM.
    pub ca: String,
}

/// The answer of `/roots`, `/federation` and `/intermediates` (sent with status 201).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatesResponse {
    /// The certificates, each as PEM.
    #[serde(default, deserialize_with = "null_as_default")]
    pub crts: Vec<String>,
}

/// The answer of `/provisioners`: the objects of `ca.json`, as they stand there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProvisionersResponse {
    /// The provisioner objects.
    #[serde(default, deserialize_with = "null_as_default")]
    pub provisioners: Vec<Map<String, Value>>,
    /// Where to go on; empty when this was the last page.
    #[serde(rename = "nextCursor", default, deserialize_with = "null_as_default")]
    pub next_cursor: String,
}

/// The answer of `/provisioners/{kid}/encrypted-key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptedKeyResponse {
    /// The compact JWE of the provisioner's private JWK.
    pub key: String,
}

/// The body of `/sign`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SignRequest {
    /// The certificate request as PEM.
    #[serde(default, deserialize_with = "null_as_default")]
    pub csr: String,
    /// The one-time token.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ott: String,
    /// RFC 3339 time or Go duration from now; empty for the provisioner's choice.
    #[serde(
        rename = "notBefore",
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub not_before: String,
    /// RFC 3339 time or Go duration from now; empty for the provisioner's choice.
    #[serde(
        rename = "notAfter",
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub not_after: String,
    /// What the template sees as `.Insecure.User`.
    #[serde(rename = "templateData", default, skip_serializing_if = "Option::is_none")]
    pub template_data: Option<Value>,
}

/// The body of `/rekey`: only the public key of the request is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RekeyRequest {
    /// The certificate request as PEM.
    #[serde(default, deserialize_with = "null_as_default")]
    pub csr: String,
}

/// The answer of `/sign`, `/renew` and `/rekey` (sent with status 201). The root is never part of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SignResponse {
    /// The leaf as PEM.
    #[serde(default, deserialize_with = "null_as_default")]
    pub crt: String,
    /// The first intermediate as PEM.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ca: String,
    /// The leaf and all intermediates, each as PEM.
    #[serde(
        rename = "certChain",
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cert_chain: Vec<String>,
    /// How the CA would like the client to speak TLS.
    #[serde(rename = "tlsOptions", default, skip_serializing_if = "Option::is_none")]
    pub tls_options: Option<TlsOptions>,
}

impl SignResponse {
    /// The chain to install, leaf first: `certChain` where there is one, else `crt` and `ca`, as clients of the reference do.
    #[must_use]
    pub fn chain(&self) -> Vec<&str> {
        if !self.cert_chain.is_empty() {
            return self.cert_chain.iter().map(String::as_str).collect();
        }
        [self.crt.as_str(), self.ca.as_str()].into_iter().filter(|pem| !pem.is_empty()).collect()
    }
}

/// The TLS settings of a [`SignResponse`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TlsOptions {
    /// IANA names of the TLS 1.2 suites.
    #[serde(rename = "cipherSuites", default, deserialize_with = "null_as_default")]
    pub cipher_suites: Vec<String>,
    /// A JSON number: 1.2 or 1.3.
    #[serde(rename = "minVersion")]
    pub min_version: f64,
    /// A JSON number: 1.2 or 1.3.
    #[serde(rename = "maxVersion")]
    pub max_version: f64,
    /// Always false here.
    #[serde(default)]
    pub renegotiation: bool,
}

/// The body of `/revoke`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeRequest {
    /// Decimal, or hexadecimal after `0x`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub serial: String,
    /// The one-time token; empty where the client certificate speaks for itself.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ott: String,
    /// RFC 5280 reason code.
    #[serde(rename = "reasonCode", default, deserialize_with = "null_as_default")]
    pub reason_code: i64,
    /// Free text for the log.
    #[serde(default, deserialize_with = "null_as_default")]
    pub reason: String,
    /// Only `true` is implemented, as in the reference.
    #[serde(default, deserialize_with = "null_as_default")]
    pub passive: bool,
}

/// The error body: the HTTP status again, and a text for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorResponse {
    /// The HTTP status.
    pub status: u16,
    /// The text.
    pub message: String,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Go reads `null` as "leave it empty"; so do we.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_an_empty_body_and_a_list_is_none() {
        assert_eq!(decode_first::<RekeyRequest>(b"null").unwrap(), decode_first(b"{}").unwrap());
        assert!(decode_first::<RekeyRequest>(b"[\"x\"]").is_err());
        assert!(decode_first::<RekeyRequest>(b"[]").is_err());
    }

    #[test]
    fn an_absent_null_or_unknown_field_is_read_as_empty() {
        let request: SignRequest = decode_first(br#"{"csr":null,"ott":"t","other":[1]}"#).unwrap();
        assert_eq!(request.csr, "");
        assert_eq!(request.ott, "t");
        assert_eq!(request.template_data, None);
    }

    #[test]
    fn only_the_first_json_value_of_a_body_is_read() {
        let request: RekeyRequest = decode_first(br#"{"csr":"a"} trailing words"#).unwrap();
        assert_eq!(request.csr, "a");
    }

    #[test]
    fn an_empty_body_is_an_error() {
        assert!(decode_first::<RekeyRequest>(b"").is_err());
        assert!(decode_first::<RekeyRequest>(b"  ").is_err());
    }

    #[test]
    fn a_sign_answer_has_the_shape_of_the_reference() {
        let answer = SignResponse {
            crt: "L".into(),
            ca: "I".into(),
            cert_chain: vec!["L".into(), "I".into()],
            tls_options: Some(TlsOptions {
                cipher_suites: vec!["S".into()],
                min_version: 1.2,
                max_version: 1.3,
                renegotiation: false,
            }),
        };
        assert_eq!(
            String::from_utf8(encode_line(&answer).unwrap()).unwrap(),
            "{\"crt\":\"L\",\"ca\":\"I\",\"certChain\":[\"L\",\"I\"],\"tlsOptions\":{\"cipherSuites\":[\"S\"],\"minVersion\":1.2,\"maxVersion\":1.3,\"renegotiation\":false}}\n"
        );
    }

    #[test]
    fn a_sign_answer_without_a_chain_falls_back_to_leaf_and_issuer() {
        let answer: SignResponse = serde_json::from_str(r#"{"crt":"L","ca":"I","certChain":null}"#).unwrap();
        assert_eq!(answer.chain(), ["L", "I"]);
    }

    #[test]
    fn version_leaves_the_client_authentication_flag_out_when_false() {
        let answer = VersionResponse { version: "1".into(), require_client_authentication: false };
        assert_eq!(serde_json::to_string(&answer).unwrap(), r#"{"version":"1"}"#);
    }
}
