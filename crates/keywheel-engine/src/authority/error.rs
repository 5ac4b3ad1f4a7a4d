//! Why the authority did not do what was asked, by cause and not by HTTP status.

use jiff::SignedDuration;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The request cannot be understood; the message may be told.
    #[error("{0}")]
    Malformed(String),
    /// The caller did not prove who it is or may not do this; the detail is for the log only.
    #[error("not authenticated: {0}")]
    NotAuthenticated(String),
    /// Like [`Self::NotAuthenticated`], with a message that may be told.
    #[error("not authenticated: {0}")]
    Unauthorized(String),
    /// Understood and refused; the message may be told.
    #[error("{0}")]
    Forbidden(String),
    /// What was asked for does not exist; the message may be told.
    #[error("{0}")]
    NotFound(String),
    /// This authority does not do that.
    #[error("{0}")]
    NotSupported(String),
    /// The store is busy or away: ask again.
    #[error("the store did not answer; nothing was issued: try again")]
    Busy {
        /// When it makes sense to ask again.
        retry_after: SignedDuration,
        /// What went wrong, for the log.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk of the store is full: nothing can be recorded, and so nothing is issued until somebody makes room.
    #[error("the disk of the store is full; nothing was issued: make room and try again")]
    Full {
        /// When it makes sense to ask again.
        retry_after: SignedDuration,
        /// What went wrong, for the log.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What holds the issuing key cannot be used now, a token that was drawn out for example: ask again.
    #[error("the issuing key cannot be used now; nothing was issued: try again")]
    KeyAway {
        /// When it makes sense to ask again.
        retry_after: SignedDuration,
        /// What went wrong, for the log.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something is broken in the authority itself; for the log only.
    #[error("{doing} failed")]
    Broken {
        /// What was being done.
        doing: &'static str,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why an authority could not be opened or reloaded.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file could not be read.
    #[error("cannot read {path}; nothing was changed")]
    Read {
        /// Which file.
        path: std::path::PathBuf,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// The configuration is wrong.
    #[error("{path} is not right: {reason}; nothing was changed")]
    Config {
        /// Which file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The issuing CA's key is encrypted and no password was given.
    #[error("the key {path} is encrypted: give its password with --password-file")]
    PasswordRequired {
        /// Which key file.
        path: std::path::PathBuf,
    },
    /// The password does not open the key.
    #[error("the password does not open the key {path}")]
    WrongPassword {
        /// Which key file.
        path: std::path::PathBuf,
    },
    /// The token with the issuing CA's key wants its PIN and none was given.
    #[error(
        "the token '{token}' wants its PIN: add pin-source= with the path of a file that holds it to kms.uri in ca.json, or \
         give that file with --password-file"
    )]
    PinRequired {
        /// The label of the token.
        token: String,
    },
    /// The issuing CA's key in a token cannot be used.
    #[error("the CA's key cannot be used; nothing was changed")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// `ca.json` names a database that is not ours.
    #[error(
        "ca.json names a {kind} database, which keywheel does not read, and there is no database of its own yet: \
         starting with an empty one would revive revoked certificates; \
         bring its revocations over with `keywheel db import`, or start empty with --fresh-database"
    )]
    ForeignDatabase {
        /// Its type, as `ca.json` says it.
        kind: String,
    },
    /// The store could not be opened.
    #[error("cannot open the database")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}
