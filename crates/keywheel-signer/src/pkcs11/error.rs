//! Why a token or a key in it cannot be used, and what to do then.

use std::io;

use keywheel_wire::pkcs11::uri::Pkcs11UriError;
use keywheel_wire::private_key::KeyKind;

/// Why a token or a key in it cannot be used. No PIN is ever in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The URI is not right.
    #[error("the PKCS#11 URI is not right")]
    Uri(#[from] Pkcs11UriError),
    /// The URI does not say which token is meant.
    #[error("the PKCS#11 URI does not say which token is meant: add token=, serial= or slot-id= to it")]
    TokenNotNamed,
    /// The URI does not say which key is meant.
    #[error("the PKCS#11 URI does not say which key is meant: add id= or object= to it")]
    KeyNotNamed,
    /// The module cannot be loaded.
    #[error(
        "the PKCS#11 module {path} could not be loaded ({reason}): install the software of the token, or correct module-path \
         in its URI"
    )]
    Module {
        /// The module.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The module shows no such token.
    #[error("the PKCS#11 module {module} shows no token with {wanted}; {seen}")]
    NoToken {
        /// The module.
        module: String,
        /// What was looked for.
        wanted: String,
        /// What is there instead.
        seen: String,
    },
    /// The module shows several such tokens.
    #[error("the PKCS#11 module {module} shows several tokens with {wanted}: add serial= to the URI")]
    SeveralTokens {
        /// The module.
        module: String,
        /// What was looked for.
        wanted: String,
    },
    /// The token wants a PIN and none was given.
    #[error("the token '{token}' wants its PIN: add pin-source= with the path of a file that holds it to the URI")]
    PinRequired {
        /// The label of the token.
        token: String,
    },
    /// The file with the PIN cannot be read.
    #[error("the file {file} with the PIN of the token could not be read")]
    PinFile {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The PIN is not the token's.
    #[error(
        "the PIN does not open the token '{token}'; it was tried once only, since a token locks itself after a few wrong ones: \
         correct it before the next start"
    )]
    WrongPin {
        /// The label of the token.
        token: String,
    },
    /// One more wrong PIN would lock the token.
    #[error(
        "the token '{token}' allows one more try of its PIN before it locks itself, so that none was made: log in once with \
         another program, such as pkcs11-tool --login --pin, and start again"
    )]
    PinLastTry {
        /// The label of the token.
        token: String,
    },
    /// The token has locked itself.
    #[error("the token '{token}' is locked after too many wrong PINs: its security officer must set a new one")]
    PinLocked {
        /// The label of the token.
        token: String,
    },
    /// This process has opened the token with another PIN.
    #[error(
        "the token '{token}' is open in this process with another PIN than the one given now: restart to use the new one"
    )]
    OtherPin {
        /// The label of the token.
        token: String,
    },
    /// The token holds no such key.
    #[error("the token '{token}' holds no private key with {wanted}")]
    NoKey {
        /// The label of the token.
        token: String,
        /// What was looked for.
        wanted: String,
    },
    /// The token holds several such keys.
    #[error("the token '{token}' holds several keys with {wanted}: give both id= and object=")]
    SeveralKeys {
        /// The label of the token.
        token: String,
        /// What was looked for.
        wanted: String,
    },
    /// The public half of the key is not in the token.
    #[error(
        "the token '{token}' holds the private key with {wanted}, but neither its public key nor its certificate: import one \
         of them under the same id"
    )]
    NoPublicKey {
        /// The label of the token.
        token: String,
        /// What was looked for.
        wanted: String,
    },
    /// The key is of a kind that is not supported, or malformed.
    #[error(
        "the key with {wanted} in the token '{token}' is of a kind that is not supported: expected EC P-256, P-384 or P-521, \
         Ed25519, or RSA of 2048 to 8192 bits"
    )]
    UnsupportedKey {
        /// The label of the token.
        token: String,
        /// What was looked for.
        wanted: String,
    },
    /// The key wants the PIN before each signature.
    #[error(
        "the key with {wanted} in the token '{token}' wants the PIN anew for every signature, which is not supported: make a \
         key without CKA_ALWAYS_AUTHENTICATE"
    )]
    AlwaysAuthenticate {
        /// The label of the token.
        token: String,
        /// What was looked for.
        wanted: String,
    },
    /// After the token came back, another key has the name.
    #[error(
        "the token '{token}' came back with another key under {wanted}; it is not used: restart where that is meant"
    )]
    KeyChanged {
        /// The label of the token.
        token: String,
        /// What was looked for.
        wanted: String,
    },
    /// Something in the token has the name that the new key should have.
    #[error(
        "the token '{token}' already holds something with {wanted}; nothing was made: choose another id and object, or delete \
         what is there if nothing needs it any more"
    )]
    Exists {
        /// The label of the token.
        token: String,
        /// What was looked for.
        wanted: String,
    },
    /// The token cannot make such a key.
    #[error("the token '{token}' did not make an {kind} key ({reason}); nothing is left in it")]
    Generate {
        /// The label of the token.
        token: String,
        /// The kind that was asked for.
        kind: KeyKind,
        /// What the token said.
        reason: String,
    },
    /// The token made a key that can be taken out of it, or that does not sign.
    #[error("the new key with {wanted} in the token '{token}' {problem}; {left}")]
    NotUsable {
        /// The label of the token.
        token: String,
        /// The new key.
        wanted: String,
        /// What is wrong with it.
        problem: String,
        /// Whether it is still there.
        left: String,
    },
    /// The token did not do something.
    #[error("the token '{token}' did not {doing} ({reason})")]
    Failed {
        /// The label of the token.
        token: String,
        /// What was asked of it.
        doing: &'static str,
        /// What it said.
        reason: String,
    },
}

/// What the library says, without the paragraphs of the standard.
pub(super) fn reason(error: &cryptoki::error::Error) -> String {
    match error {
        cryptoki::error::Error::Pkcs11(answer, function) => format!("C_{function:?} answered {answer:?}"),
        other => other.to_string(),
    }
}
