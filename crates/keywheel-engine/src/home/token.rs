//! The keys of a new CA that are made in a PKCS#11 token, and deleted there again if the rest fails.

use std::path::Path;

use keywheel_signer::pkcs11::TokenError;
use keywheel_signer::pkcs11::key::TokenKey;
use keywheel_signer::pkcs11::token::Token;
use keywheel_wire::pkcs11::uri::{Pin, Pkcs11Uri};
use keywheel_wire::private_key::KeyKind;
use zeroize::Zeroizing;

use super::InitError;
use super::content::Keys;
use super::layout::Layout;

/// The names that the reference's `step-pkcs11-init` gives keys.
const ROOT: &str = "pkcs11:id=7330;object=root-key";
const INTERMEDIATE: &str = "pkcs11:id=7331;object=intermediate-key";
const SSH_HOST: &str = "pkcs11:id=7332;object=ssh-host-key";
const SSH_USER: &str = "pkcs11:id=7333;object=ssh-user-key";

/// In which token the keys of a new CA are made, and how they are called there.
pub struct TokenOptions {
    /// The token.
    pub token: Pkcs11Uri,
    /// Its PIN, where the URI does not say where that is.
    pub pin: Option<Zeroizing<Vec<u8>>>,
    /// The root's key; absent: as the reference calls it.
    pub root: Option<Pkcs11Uri>,
    /// The issuing CA's key; absent: as the reference calls it.
    pub intermediate: Option<Pkcs11Uri>,
    /// The key that signs SSH host certificates; absent: as the reference calls it.
    pub ssh_host: Option<Pkcs11Uri>,
    /// The key that signs SSH user certificates; absent: as the reference calls it.
    pub ssh_user: Option<Pkcs11Uri>,
}

/// How the keys are called, checked.
pub(super) struct Names {
    /// The token as `ca.json` names it.
    pub(super) token: Pkcs11Uri,
    /// The PIN that is to be put into a file of the home.
    pub(super) pin: Option<Zeroizing<String>>,
    pub(super) root: Pkcs11Uri,
    pub(super) intermediate: Pkcs11Uri,
    pub(super) ssh: Option<(Pkcs11Uri, Pkcs11Uri)>,
}

impl Names {
    /// Checks what the keys shall be called, and says how `ca.json` names their token: without the PIN, which goes to a file.
    pub(super) fn of(options: &TokenOptions, ssh: bool, layout: &Layout) -> Result<Self, InitError> {
        let invalid = |text: String| InitError::Invalid(text);
        if !options.token.names_token() {
            return Err(invalid(
                "--kms does not say which token is meant: add token=, serial= or slot-id= to it".into(),
            ));
        }
        let key = |given: Option<&Pkcs11Uri>, usual: &str, flag: &str| {
            let key = match given {
                Some(key) => key.clone(),
                None => Pkcs11Uri::parse(usual).map_err(|error| invalid(error.to_string()))?,
            };
            if key.id.is_none() || key.object.is_none() {
                return Err(invalid(format!("{flag} needs both an id and an object, such as {usual}")));
            }
            let within = key.clone().within(&options.token);
            within.map_err(|error| invalid(format!("{flag} does not fit --kms: {error}")))?;
            Ok(key.key_only())
        };
        let root = key(options.root.as_ref(), ROOT, "--kms-root")?;
        let intermediate = key(options.intermediate.as_ref(), INTERMEDIATE, "--kms-intermediate")?;
        let ssh = if ssh {
            let host = key(options.ssh_host.as_ref(), SSH_HOST, "--kms-ssh-host")?;
            Some((host, key(options.ssh_user.as_ref(), SSH_USER, "--kms-ssh-user")?))
        } else {
            None
        };
        let mut all = vec![&root, &intermediate];
        all.extend(ssh.iter().flat_map(|(host, user)| [host, user]));
        for (index, one) in all.iter().enumerate() {
            if all[..index].iter().any(|other| other.id == one.id || other.object == one.object) {
                return Err(invalid("the keys in the token need different ids and different objects".into()));
            }
        }
        let (token, pin) = recorded(&options.token, layout)?;
        Ok(Self { token, pin, root, intermediate, ssh })
    }
}

impl Keys<TokenKey> {
    /// Makes all keys, or none.
    pub(super) fn make(options: &TokenOptions, names: &Names, kind: KeyKind) -> Result<Self, InitError> {
        let token = Token::open(&options.token, options.pin.as_ref().map(|pin| pin.as_slice()));
        let token = token.map_err(|error| match error {
            TokenError::PinRequired { token } => InitError::PinRequired { token },
            error => InitError::Token(Box::new(error)),
        })?;
        let mut made = Vec::new();
        let mut ordered = vec![(&names.root, kind), (&names.intermediate, kind)];
        // As in the reference; SSH clients know no other kind for sure.
        ordered.extend(names.ssh.iter().flat_map(|(host, user)| [(host, KeyKind::EcP256), (user, KeyKind::EcP256)]));
        for (uri, kind) in ordered {
            match TokenKey::generate(&token, uri, kind) {
                Ok(key) => made.push(key),
                Err(error) => return Err(undone(&made, InitError::Token(Box::new(error)))),
            }
        }
        let mut made = made.into_iter();
        let mut next = || made.next();
        match (next(), next(), next(), next()) {
            (Some(root), Some(intermediate), host, user) => Ok(Self { root, intermediate, ssh: host.zip(user) }),
            // As many are made as were ordered.
            _ => Err(InitError::Invalid("the token made too few keys".to_owned())),
        }
    }

    /// Deletes the keys again, since they certify nothing that anybody has seen.
    pub(super) fn undo(self, error: InitError) -> InitError {
        let ssh = self.ssh.into_iter().flat_map(|(host, user)| [host, user]);
        let all: Vec<TokenKey> = [self.root, self.intermediate].into_iter().chain(ssh).collect();
        undone(&all, error)
    }
}

/// Deletes keys; those that stay are named in the error.
fn undone(keys: &[TokenKey], error: InitError) -> InitError {
    let left: Vec<String> = keys.iter().filter(|key| key.delete().is_err()).map(|key| key.uri().to_string()).collect();
    if left.is_empty() { error } else { InitError::KeysLeft { keys: left.join(", "), source: Box::new(error) } }
}

/// The token as `ca.json` names it, and the PIN for the file that it then names.
fn recorded(token: &Pkcs11Uri, layout: &Layout) -> Result<(Pkcs11Uri, Option<Zeroizing<String>>), InitError> {
    let mut recorded = Pkcs11Uri { id: None, object: None, ..token.clone() };
    if recorded.serial.is_some() {
        // The reference takes either of them, and the serial number is the more exact one.
        recorded.token = None;
    }
    let absolute = |file: &Path| {
        let path = std::path::absolute(file);
        path.map(|path| path.to_string_lossy().into_owned()).map_err(|source| InitError::Invalid(source.to_string()))
    };
    Ok(match recorded.pin.take() {
        Some(Pin::Value(pin)) => {
            recorded.pin = Some(Pin::File(layout.pin.to_string_lossy().into_owned()));
            (recorded, Some(pin))
        }
        Some(Pin::File(file)) => {
            recorded.pin = Some(Pin::File(absolute(Path::new(&file))?));
            (recorded, None)
        }
        Some(Pin::Prompt) | None => (recorded, None),
    })
}
