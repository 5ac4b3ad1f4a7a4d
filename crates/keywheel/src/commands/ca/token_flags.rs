//! `ca init --kms`: the token in which the keys of a new CA are made.

use clap::Args;
use keywheel_engine::home::token::TokenOptions;
use keywheel_wire::pkcs11::uri::{Pin, Pkcs11Uri};

use crate::commands::Setting;
use crate::failure::{Failure, Outcome};

/// Where the keys of a new CA are made, and how they are called there.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TokenFlags {
    /// Make the keys in this PKCS#11 token, which they never leave: pkcs11:module-path=<library>;token=<label>?pin-source=<file>
    #[arg(long, value_name = "uri")]
    kms: Option<String>,
    /// How the root's key is called in the token [default: pkcs11:id=7330;object=root-key]
    #[arg(long, value_name = "uri", requires = "kms")]
    kms_root: Option<String>,
    /// How the issuing key is called in the token [default: pkcs11:id=7331;object=intermediate-key]
    #[arg(long, value_name = "uri", requires = "kms")]
    kms_intermediate: Option<String>,
    /// How the key for SSH host certificates is called in the token [default: pkcs11:id=7332;object=ssh-host-key]
    #[arg(long, value_name = "uri", requires = "kms")]
    kms_ssh_host: Option<String>,
    /// How the key for SSH user certificates is called in the token [default: pkcs11:id=7333;object=ssh-user-key]
    #[arg(long, value_name = "uri", requires = "kms")]
    kms_ssh_user: Option<String>,
}

impl TokenFlags {
    /// Whether the keys shall be made in a token.
    pub(crate) fn is_given(&self) -> bool {
        self.kms.is_some()
    }

    /// What was asked for.
    pub(crate) fn options(&self, setting: &Setting<'_>) -> Outcome<Option<TokenOptions>> {
        let Some(token) = uri(self.kms.as_ref(), "--kms")? else { return Ok(None) };
        if matches!(token.pin, Some(Pin::Value(_))) {
            setting.voice.warn(
                "--kms: everybody on this machine can read a pin-value in the list of processes while this runs; pin-source \
                 names a file instead",
            );
        }
        Ok(Some(TokenOptions {
            token,
            pin: None,
            root: uri(self.kms_root.as_ref(), "--kms-root")?,
            intermediate: uri(self.kms_intermediate.as_ref(), "--kms-intermediate")?,
            ssh_host: uri(self.kms_ssh_host.as_ref(), "--kms-ssh-host")?,
            ssh_user: uri(self.kms_ssh_user.as_ref(), "--kms-ssh-user")?,
        }))
    }
}

/// A URI of the command line; what is wrong with it is said without repeating it, since it may hold a PIN.
fn uri(given: Option<&String>, flag: &str) -> Outcome<Option<Pkcs11Uri>> {
    let read = given.map(|text| Pkcs11Uri::parse(text)).transpose();
    read.map_err(|error| Failure::usage(format!("the value of flag '{flag}' is not a PKCS#11 URI: {error}")))
}
