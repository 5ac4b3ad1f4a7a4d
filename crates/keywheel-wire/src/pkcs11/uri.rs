//! PKCS#11 URIs, as RFC 7512 and the reference write them: which module, which token, which key in it, and where its PIN is.

use std::fmt;

use zeroize::Zeroizing;

/// The longest URI that is read.
pub const MAX_TEXT: usize = 8 * 1024;

/// The longest identifier of a key in a token.
const MAX_ID: usize = 255;

/// What a URI names: a token, or a key in one. [`fmt::Display`] writes it without the PIN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pkcs11Uri {
    /// The library that speaks to the token.
    pub module_path: Option<String>,
    /// The token's label.
    pub token: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The slot that the token is in.
    pub slot_id: Option<u64>,
    /// Who made the token.
    pub manufacturer: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The most sessions to have open at once.
    pub max_sessions: Option<u32>,
    /// The key's identifier.
    pub id: Option<Vec<u8>>,
    /// The key's label.
    pub object: Option<String>,
    /// What opens the token.
    pub pin: Option<Pin>,
}

/// Where the PIN of a token comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Pin {
    /// It stands in the URI.
    Value(Zeroizing<String>),
    /// It is the content of a file.
    File(String),
    /// Somebody is asked for it.
    Prompt,
}

/// Why a text is not a URI that names a token or key. No text of the URI that could be a PIN is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs11UriError {
    /// Another scheme, or none.
    #[error("it does not begin with 'pkcs11:'")]
    Scheme,
    /// Longer than [`MAX_TEXT`].
    #[error("it is longer than 8 KiB")]
    TooLong,
    /// Something that is not `name=value`.
    #[error(
        "its part {position} is not of the form name=value; a ';', '?' or '&' in a value is written %3B, %3F or %26"
    )]
    NotAnAttribute {
        /// Which part, from 1 on.
        position: usize,
    },
    /// An attribute that is not known, or not acted upon.
    #[error(
        "it has an attribute {0} that is not supported; known are module-path, token, serial, slot-id, manufacturer, model, \
         object, id, type, max-sessions, pin-source and pin-value"
    )]
    UnknownAttribute(String),
    /// The same attribute twice.
    #[error("it has the attribute {0} twice")]
    Twice(&'static str),
    /// A value that the attribute cannot have.
    #[error("its attribute {name} is not right: expected {expected}")]
    Value {
        /// The attribute.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// Two attributes of which only one may be there.
    #[error("it has both {0} and {1}; leave one out")]
    Both(&'static str, &'static str),
    /// The URI of a key and that of the key management name different things.
    #[error("its {0} is another than that of the key management's URI")]
    Contradiction(&'static str),
}

/// The attributes that are read, as they are written.
const ATTRIBUTES: [&str; 13] = [
    "module-path",
    "token",
    "serial",
    "slot-id",
    "manufacturer",
    "model",
    "max-sessions",
    "id",
    "object",
    "type",
    "pin-value",
    "pin-source",
    "pin-prompt",
];

/// Whether a text is meant as the URI of a token or of a key in one.
#[must_use]
pub fn is_pkcs11(text: &str) -> bool {
    text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("pkcs11:"))
}

impl Pkcs11Uri {
    /// Reads a URI. As in the reference, attributes may stand before or after the `?`, `+` is a space, and an `id` without
    /// percent signs is hexadecimal if it can be.
    ///
    /// # Errors
    /// When it is malformed, or has attributes that would be ignored.
    pub fn parse(text: &str) -> Result<Self, Pkcs11UriError> {
        if text.len() > MAX_TEXT {
            return Err(Pkcs11UriError::TooLong);
        }
        if !is_pkcs11(text) {
            return Err(Pkcs11UriError::Scheme);
        }
        let rest = &text[7..];
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = path.split(';').map(|part| (part, true));
        let query = query.split('&').map(|part| (part, false));
        let mut uri = Self::default();
        let mut seen = Vec::new();
        for (index, (part, in_path)) in path.chain(query).enumerate() {
            if part.is_empty() {
                continue;
            }
            let malformed = Pkcs11UriError::NotAnAttribute { position: index + 1 };
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name, value),
                // The reference takes it without a text for the question.
                None if part == "pin-prompt" => (part, ""),
                None => return Err(malformed),
            };
            let Some(known) = ATTRIBUTES.into_iter().find(|known| *known == name) else {
                // Vendors may add attributes after the question mark.
                if !in_path && name.starts_with("x-") {
                    continue;
                }
                // After the question mark an unknown name may be the rest of a PIN with an ampersand in it.
                let shown = if in_path { format!("'{}'", shortened(name)) } else { "after its '?'".to_owned() };
                return Err(Pkcs11UriError::UnknownAttribute(shown));
            };
            if seen.contains(&known) {
                return Err(Pkcs11UriError::Twice(known));
            }
            seen.push(known);
            uri.set(known, value)?;
        }
        if seen.contains(&"pin-value") && seen.contains(&"pin-source") {
            return Err(Pkcs11UriError::Both("pin-value", "pin-source"));
        }
        Ok(uri)
    }

    /// Whether it says which token is meant.
    #[must_use]
    pub fn names_token(&self) -> bool {
        self.token.is_some() || self.serial.is_some() || self.slot_id.is_some()
    }

    /// Whether it says which key is meant.
    #[must_use]
    pub fn names_key(&self) -> bool {
        self.id.is_some() || self.object.is_some()
    }

    /// Only what names the key.
    #[must_use]
    pub fn key_only(&self) -> Self {
        Self { id: self.id.clone(), object: self.object.clone(), ..Self::default() }
    }

    /// The URI of a key, completed by that of the key management that holds it.
    ///
    /// # Errors
    /// When they name different modules or tokens: a PIN must not be shown to a token that it is not for.
    pub fn within(self, management: &Self) -> Result<Self, Pkcs11UriError> {
        Ok(Self {
            module_path: agreed("module-path", self.module_path, management.module_path.as_ref())?,
            token: agreed("token", self.token, management.token.as_ref())?,
            serial: agreed("serial", self.serial, management.serial.as_ref())?,
            slot_id: agreed("slot-id", self.slot_id, management.slot_id.as_ref())?,
            manufacturer: agreed("manufacturer", self.manufacturer, management.manufacturer.as_ref())?,
            model: agreed("model", self.model, management.model.as_ref())?,
            max_sessions: self.max_sessions.or(management.max_sessions),
            id: self.id,
            object: self.object,
            pin: self.pin.or_else(|| management.pin.clone()),
        })
    }

    fn set(&mut self, name: &'static str, value: &str) -> Result<(), Pkcs11UriError> {
        let wrong = |expected| Pkcs11UriError::Value { name, expected };
        let octets = decoded(value).ok_or(wrong("'%' before two hexadecimal digits"))?;
        let secret = Zeroizing::new(octets);
        let text = || match std::str::from_utf8(&secret) {
            Ok("") => Err(wrong("a value")),
            Ok(text) if text.chars().any(char::is_control) => Err(wrong("a text without control characters")),
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(wrong("a text in UTF-8")),
        };
        match name {
            "module-path" => self.module_path = Some(text()?),
            "token" => self.token = Some(text()?),
            "serial" => self.serial = Some(text()?),
            "manufacturer" => self.manufacturer = Some(text()?),
            "model" => self.model = Some(text()?),
            "object" => self.object = Some(text()?),
            "slot-id" => self.slot_id = Some(text()?.parse().map_err(|_| wrong("a number"))?),
            "max-sessions" => {
                // One session stays open to keep the token unlocked.
                let most = text()?.parse().ok().filter(|most| *most >= 2);
                self.max_sessions = Some(most.ok_or(wrong("a number from 2 on"))?);
            }
            "id" => self.id = Some(id(value, &secret).ok_or(wrong("an identifier of 1 to 255 octets"))?),
            // Whether the private or the public half is named: it is the pair that is meant.
            "type" => match text()?.as_str() {
                "private" | "public" => {}
                _ => return Err(wrong("private or public")),
            },
            "pin-value" => {
                let pin = std::str::from_utf8(&secret).map_err(|_| wrong("a text in UTF-8"))?;
                self.pin = Some(Pin::Value(Zeroizing::new(pin.to_owned())));
            }
            "pin-source" => self.pin = Some(Pin::File(pin_file(&text()?).ok_or(wrong("the path of a file"))?)),
            // A PIN that is given wins, as in the reference.
            _ => self.pin = self.pin.take().or(Some(Pin::Prompt)),
        }
        Ok(())
    }
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "pkcs11:";
        let mut put = |f: &mut fmt::Formatter<'_>, name: &str, value: Option<String>| {
            let Some(value) = value else { return Ok(()) };
            let written = write!(f, "{separator}{name}={value}");
            separator = ";";
            written
        };
        put(f, "module-path", self.module_path.as_deref().map(encoded))?;
        put(f, "token", self.token.as_deref().map(encoded))?;
        put(f, "serial", self.serial.as_deref().map(encoded))?;
        put(f, "slot-id", self.slot_id.map(|id| id.to_string()))?;
        put(f, "manufacturer", self.manufacturer.as_deref().map(encoded))?;
        put(f, "model", self.model.as_deref().map(encoded))?;
        put(f, "max-sessions", self.max_sessions.map(|most| most.to_string()))?;
        // In the hexadecimal form of the reference: it would take some percent-encoded ones for hexadecimal, too.
        put(f, "id", self.id.as_deref().map(|id| id.iter().map(|octet| format!("{octet:02x}")).collect()))?;
        put(f, "object", self.object.as_deref().map(encoded))?;
        if separator != ";" {
            f.write_str("pkcs11:")?;
        }
        match &self.pin {
            Some(Pin::File(file)) => write!(f, "?pin-source={}", encoded(file)),
            Some(Pin::Prompt) => f.write_str("?pin-prompt="),
            Some(Pin::Value(_)) | None => Ok(()),
        }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value"),
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
            Self::Prompt => f.write_str("Prompt"),
        }
    }
}

/// The one value that both say, or that one of them says.
fn agreed<T: Clone + PartialEq>(
    name: &'static str,
    own: Option<T>,
    other: Option<&T>,
) -> Result<Option<T>, Pkcs11UriError> {
    match (own, other) {
        (Some(own), Some(other)) if own != *other => Err(Pkcs11UriError::Contradiction(name)),
        (own, other) => Ok(own.or_else(|| other.cloned())),
    }
}

/// The octets of a value; `None` where a percent sign does not stand before two hexadecimal digits.
fn decoded(value: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => hexadecimal(rest.next()?)? << 4 | hexadecimal(rest.next()?)?,
            // The reference reads and writes a space so, which RFC 7512 does not know.
            b'+' => b' ',
            octet => octet,
        });
    }
    Some(octets)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// A value that every reader takes for the same text.
fn encoded(text: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~/:@,".contains(&octet);
    let octets = text.bytes();
    octets.map(|octet| if plain(octet) { char::from(octet).to_string() } else { format!("%{octet:02X}") }).collect()
}

/// An identifier: exactly the octets that are percent-encoded, else what hexadecimal digits say, else the text itself.
fn id(written: &str, octets: &[u8]) -> Option<Vec<u8>> {
    let id = if written.contains('%') { octets.to_vec() } else { from_hexadecimal(octets).unwrap_or(octets.to_vec()) };
    (1..=MAX_ID).contains(&id.len()).then_some(id)
}

/// `7331`, `0x7331` or `73:31`, with a zero in front where the number of digits is odd.
fn from_hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X")).unwrap_or(text);
    let mut digits = Vec::with_capacity(text.len() + 1);
    for octet in text.iter().filter(|octet| **octet != b':') {
        digits.push(hexadecimal(*octet)?);
    }
    if digits.len() % 2 == 1 {
        digits.insert(0, 0);
    }
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()).filter(|id: &Vec<u8>| !id.is_empty())
}

/// The file that a `pin-source` names, as a path or a `file:` URI. The commands that RFC 7512 lets one name are not run.
fn pin_file(source: &str) -> Option<String> {
    if source.starts_with('|') {
        return None;
    }
    let Some(path) = source.strip_prefix("file:") else { return Some(source.to_owned()) };
    let path = path.strip_prefix("//localhost").or_else(|| path.strip_prefix("//")).unwrap_or(path);
    let path = String::from_utf8(decoded(&path.replace('+', "%2B"))?).ok()?;
    (!path.is_empty()).then_some(path)
}

fn shortened(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(32).collect()
}

#[cfg(test)]
mod tests;
