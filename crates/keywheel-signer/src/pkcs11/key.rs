//! A key in a token that signs there.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use keywheel_wire::pkcs11::objects;
use keywheel_wire::pkcs11::uri::Pkcs11Uri;
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::signer::{self, SignError, SignatureScheme, Signer};
use keywheel_wire::x509::certificate::Certificate;

use super::error::{TokenError, reason};
use super::token::{Problem, Token};

/// A key pair whose private half is in a token.
pub struct TokenKey {
    token: Arc<Token>,
    uri: Pkcs11Uri,
    kind: KeyKind,
    public_key: Vec<u8>,
    /// The private half, and when the token was found that gave this handle.
    handle: Mutex<(u64, ObjectHandle)>,
}

impl TokenKey {
    /// Finds the key that the URI names by its id, its label or both.
    ///
    /// # Errors
    /// When there is none, there are several, or it cannot be used.
    pub fn find(token: &Arc<Token>, uri: &Pkcs11Uri) -> Result<Self, TokenError> {
        if !uri.names_key() {
            return Err(TokenError::KeyNotNamed);
        }
        let uri = uri.key_only();
        let found = token.with("show a key", |session, generation| {
            let found = Found::look(session, token, &uri)?;
            Ok((generation, found))
        });
        let (generation, found) = found?;
        Ok(Self {
            token: Arc::clone(token),
            kind: found.kind,
            public_key: found.public_key,
            handle: Mutex::new((generation, found.private)),
            uri,
        })
    }

    /// Makes a key in the token that never leaves it, under an id and a label that are both new there.
    ///
    /// # Errors
    /// When the URI lacks one of them, something has that id or label, or the token does not make a key that can be used and not
    /// be taken out.
    pub fn generate(token: &Arc<Token>, uri: &Pkcs11Uri, kind: KeyKind) -> Result<Self, TokenError> {
        let (Some(id), Some(label)) = (&uri.id, &uri.object) else { return Err(TokenError::KeyNotNamed) };
        for wanted in [
            Pkcs11Uri { id: Some(id.clone()), ..Pkcs11Uri::default() },
            Pkcs11Uri { object: Some(label.clone()), ..Pkcs11Uri::default() },
        ] {
            if token.with("show what it holds", |session, _| {
                Ok(!session.find_objects(&template(&wanted, None))?.is_empty())
            })? {
                return Err(TokenError::Exists { token: token.label().to_owned(), wanted: described(&wanted) });
            }
        }
        let (mechanism, public, private) = generation(uri, kind);
        let made = token.write("make a key", |session| {
            session.generate_key_pair(&mechanism, &public, &private).map_err(|error| {
                let token = token.label().to_owned();
                Problem::Token(TokenError::Generate { token, kind, reason: reason(&error) })
            })
        })?;
        Self::find(token, uri).and_then(|key| key.prove().map(|()| key)).map_err(|error| {
            let removed = token.write("delete a key", |session| {
                session.destroy_object(made.0)?;
                Ok(session.destroy_object(made.1)?)
            });
            let left = match removed {
                Ok(()) => "it was deleted again, and nothing is left in the token".to_owned(),
                Err(error) => format!("it is still there, since it could not be deleted: {error}"),
            };
            let problem = format!("cannot be used: {error}");
            TokenError::NotUsable { token: token.label().to_owned(), wanted: described(uri), problem, left }
        })
    }

    /// What names the key in its token.
    #[must_use]
    pub fn uri(&self) -> &Pkcs11Uri {
        &self.uri
    }

    /// Deletes the key, both its halves. There is no way back.
    ///
    /// # Errors
    /// When the token does not do it.
    pub fn delete(&self) -> Result<(), TokenError> {
        self.token.write("delete a key", |session| {
            for class in [ObjectClass::PUBLIC_KEY, ObjectClass::PRIVATE_KEY] {
                for object in session.find_objects(&template(&self.uri, Some(class)))? {
                    session.destroy_object(object)?;
                }
            }
            Ok(())
        })
    }

    /// Whether the key signs, and stays where it is.
    fn prove(&self) -> Result<(), TokenError> {
        let failed = |reason: String| TokenError::Failed {
            token: self.token.label().to_owned(),
            doing: "sign with it and keep it to itself",
            reason,
        };
        let attributes = self.token.with("show a key", |session, _| {
            let wanted = [AttributeType::Sensitive, AttributeType::Extractable];
            Ok(session.get_attributes(self.handle().1, &wanted)?)
        })?;
        let hidden = attributes
            .iter()
            .all(|attribute| matches!(attribute, Attribute::Sensitive(true) | Attribute::Extractable(false)));
        if !hidden {
            return Err(failed("its private half can be read out".to_owned()));
        }
        let scheme = SignatureScheme::default_for(self.kind);
        let message = b"whether a new key signs";
        let signature = self.try_sign(scheme, message)?;
        signer::verify(&self.public_key, scheme, message, &signature).map_err(|error| failed(error.to_string()))
    }

    fn try_sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let order = Order::of(scheme, message);
        let raw = self.token.with("sign", |session, generation| {
            let (known, handle) = self.handle();
            let handle = if known == generation {
                handle
            } else {
                let found = Found::look(session, &self.token, &self.uri)?;
                if found.public_key != self.public_key {
                    let token = self.token.label().to_owned();
                    return Err(TokenError::KeyChanged { token, wanted: described(&self.uri) }.into());
                }
                *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = (generation, found.private);
                found.private
            };
            Ok(session.sign(&order.mechanism, handle, &order.input)?)
        })?;
        let is_ec = matches!(self.kind, KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521);
        let signature = if is_ec { objects::ecdsa_signature(&raw, self.kind) } else { Some(raw) };
        signature.ok_or_else(|| TokenError::Failed {
            token: self.token.label().to_owned(),
            doing: "sign",
            reason: "its signature is not of the length that this kind of key makes".to_owned(),
        })
    }

    fn handle(&self) -> (u64, ObjectHandle) {
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Signer for TokenKey {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn kind(&self) -> KeyKind {
        self.kind
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let kind = self.kind;
        if !scheme.fits(kind) {
            return Err(SignError::SchemeDoesNotFit { kind, scheme });
        }
        self.try_sign(scheme, message).map_err(|error| SignError::Away { kind, reason: error.to_string() })
    }

    fn takes_long(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").field("kind", &self.kind).field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// What a token shows of a key.
struct Found {
    private: ObjectHandle,
    kind: KeyKind,
    public_key: Vec<u8>,
}

impl Found {
    fn look(session: &Session, token: &Token, uri: &Pkcs11Uri) -> Result<Self, Problem> {
        let (label, wanted) = (token.label().to_owned(), described(uri));
        let private = match session.find_objects(&template(uri, Some(ObjectClass::PRIVATE_KEY)))?.as_slice() {
            [] => return Err(TokenError::NoKey { token: label, wanted }.into()),
            [one] => *one,
            _ => return Err(TokenError::SeveralKeys { token: label, wanted }.into()),
        };
        let own = [
            AttributeType::Id,
            AttributeType::AlwaysAuthenticate,
            AttributeType::Modulus,
            AttributeType::PublicExponent,
            AttributeType::PublicKeyInfo,
        ];
        let own = session.get_attributes(private, &own)?;
        if own.iter().any(|attribute| matches!(attribute, Attribute::AlwaysAuthenticate(true))) {
            return Err(TokenError::AlwaysAuthenticate { token: label, wanted }.into());
        }
        // The halves of a pair have the same id; where there is none, the label must do.
        let id = own.iter().find_map(|attribute| match attribute {
            Attribute::Id(id) if !id.is_empty() => Some(id.clone()),
            _ => None,
        });
        let partner = match id {
            Some(id) => Pkcs11Uri { id: Some(id), ..Pkcs11Uri::default() },
            None => uri.clone(),
        };
        let mut keys = Vec::new();
        let mut unsupported = false;
        for object in session.find_objects(&template(&partner, Some(ObjectClass::PUBLIC_KEY)))? {
            match public_key(session, object)? {
                Some(spki) => keys.push(spki),
                None => unsupported = true,
            }
        }
        if keys.is_empty() && !unsupported {
            keys.extend(public_part(&own));
            for object in session.find_objects(&template(&partner, Some(ObjectClass::CERTIFICATE)))? {
                keys.extend(certified_key(session, object)?);
            }
        }
        keys.dedup();
        let public_key = match keys.as_slice() {
            [one] => one.clone(),
            [] if unsupported => return Err(TokenError::UnsupportedKey { token: label, wanted }.into()),
            [] => return Err(TokenError::NoPublicKey { token: label, wanted }.into()),
            _ => return Err(TokenError::SeveralKeys { token: label, wanted }.into()),
        };
        match signer::public_key_kind(&public_key) {
            Some(KeyKind::Rsa(bits)) if !(2048..=8192).contains(&bits) => {
                Err(TokenError::UnsupportedKey { token: label, wanted }.into())
            }
            Some(kind) => Ok(Self { private, kind, public_key }),
            None => Err(TokenError::UnsupportedKey { token: label, wanted }.into()),
        }
    }
}

/// The SubjectPublicKeyInfo of a public key object; `None` where its kind is not supported.
fn public_key(session: &Session, object: ObjectHandle) -> Result<Option<Vec<u8>>, Problem> {
    let wanted =
        [AttributeType::EcParams, AttributeType::EcPoint, AttributeType::Modulus, AttributeType::PublicExponent];
    let attributes = session.get_attributes(object, &wanted)?;
    let find = |wanted: fn(&Attribute) -> Option<&Vec<u8>>| attributes.iter().find_map(wanted);
    let parameters = find(|attribute| match attribute {
        Attribute::EcParams(octets) => Some(octets),
        _ => None,
    });
    let point = find(|attribute| match attribute {
        Attribute::EcPoint(octets) => Some(octets),
        _ => None,
    });
    Ok(match (parameters, point) {
        (Some(parameters), Some(point)) => objects::ec_public_key(parameters, point),
        _ => public_part(&attributes),
    })
}

/// The public key that stands among the attributes of an RSA key, or as a whole in those of a newer token.
fn public_part(attributes: &[Attribute]) -> Option<Vec<u8>> {
    let (mut modulus, mut exponent) = (None, None);
    for attribute in attributes {
        match attribute {
            Attribute::PublicKeyInfo(spki) if signer::public_key_kind(spki).is_some() => return Some(spki.clone()),
            Attribute::Modulus(octets) => modulus = Some(octets),
            Attribute::PublicExponent(octets) => exponent = Some(octets),
            _ => {}
        }
    }
    objects::rsa_public_key(modulus?, exponent?)
}

fn certified_key(session: &Session, object: ObjectHandle) -> Result<Option<Vec<u8>>, Problem> {
    let attributes = session.get_attributes(object, &[AttributeType::Value])?;
    Ok(attributes.iter().find_map(|attribute| match attribute {
        Attribute::Value(der) => Certificate::from_der(der).ok().map(|certificate| certificate.spki().to_vec()),
        _ => None,
    }))
}

fn template(uri: &Pkcs11Uri, class: Option<ObjectClass>) -> Vec<Attribute> {
    let id = uri.id.clone().map(Attribute::Id);
    let label = uri.object.as_ref().map(|label| Attribute::Label(label.as_bytes().to_vec()));
    let on_token = Some(Attribute::Token(true));
    [class.map(Attribute::Class), on_token, id, label].into_iter().flatten().collect()
}

fn described(uri: &Pkcs11Uri) -> String {
    uri.key_only().to_string().trim_start_matches("pkcs11:").replace(';', " and ")
}

/// How a kind of key is made, and what its halves shall be.
fn generation(uri: &Pkcs11Uri, kind: KeyKind) -> (Mechanism<'static>, Vec<Attribute>, Vec<Attribute>) {
    let named = || template(uri, None);
    let mut public = named();
    public.extend([Attribute::Private(false), Attribute::Verify(true)]);
    let mut private = named();
    private.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ]);
    if let KeyKind::Rsa(bits) = kind {
        public.extend([Attribute::ModulusBits(u64::from(bits).into()), Attribute::PublicExponent(vec![1, 0, 1])]);
        return (Mechanism::RsaPkcsKeyPairGen, public, private);
    }
    public.extend(objects::ec_parameters(kind).map(Attribute::EcParams));
    let mechanism = match kind {
        KeyKind::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
        _ => Mechanism::EccKeyPairGen,
    };
    (mechanism, public, private)
}

/// What a token is asked to sign, and how. Hashes are made here: what every token does is sign a hash.
struct Order {
    mechanism: Mechanism<'static>,
    input: Vec<u8>,
}

impl Order {
    fn of(scheme: SignatureScheme, message: &[u8]) -> Self {
        use SignatureScheme as S;
        let (hash, name, mask) = match scheme {
            S::EcdsaSha384 | S::RsaPkcs1Sha384 | S::RsaPssSha384 => {
                (&digest::SHA384, MechanismType::SHA384, PkcsMgfType::MGF1_SHA384)
            }
            S::EcdsaSha512 | S::RsaPkcs1Sha512 | S::RsaPssSha512 => {
                (&digest::SHA512, MechanismType::SHA512, PkcsMgfType::MGF1_SHA512)
            }
            _ => (&digest::SHA256, MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        };
        if scheme == S::Ed25519 {
            let plain = EddsaParams::new(EddsaSignatureScheme::Ed25519);
            return Self { mechanism: Mechanism::Eddsa(plain), input: message.to_vec() };
        }
        let input = digest::digest(hash, message).as_ref().to_vec();
        if let Some(input) = objects::digest_info(scheme, &input) {
            return Self { mechanism: Mechanism::RsaPkcs, input };
        }
        let mechanism = match scheme {
            S::RsaPssSha256 | S::RsaPssSha384 | S::RsaPssSha512 => {
                let salt = (input.len() as u64).into();
                Mechanism::RsaPkcsPss(PkcsPssParams { hash_alg: name, mgf: mask, s_len: salt })
            }
            _ => Mechanism::Ecdsa,
        };
        Self { mechanism, input }
    }
}

#[cfg(test)]
mod tests;
