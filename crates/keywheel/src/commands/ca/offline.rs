//! `--offline`: the CA's own keys and store, used in this process instead of being asked over the network.

use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use keywheel_engine::authority::{Authority, AuthorityOptions, OpenError};
use keywheel_engine::client::access::{CaAccess, Certifier, LocalAnswer, LocalAuthority};
use keywheel_engine::client::error::ClientError;
use zeroize::Zeroizing;

use super::address::AddressFlags;
use super::config::Config;
use super::serve::open_exit;
use crate::commands::Setting;
use crate::failure::{Failure, Outcome};
use crate::prompt;

/// The flags of a command that is for a CA: the one at an address, or with `--offline` the one in this process.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct CertifierFlags {
    #[command(flatten)]
    address: AddressFlags,
    /// Use the keys and the database of the CA in this process, without the network
    #[arg(long)]
    pub(crate) offline: bool,
    /// The configuration of that CA [default: config/ca.json]
    #[arg(long, value_name = "file")]
    ca_config: Option<PathBuf>,
}

impl CertifierFlags {
    /// Refuses what the command line alone shows to be wrong; `command` is who needs the CA, such as `ca rekey`.
    pub(crate) fn check(&self, command: &str, setting: &Setting<'_>) -> Outcome<()> {
        if !self.offline {
            self.address.url(command, setting)?;
        }
        Ok(())
    }

    /// Who certifies.
    pub(crate) async fn certifier(
        &self,
        command: &str,
        password: Option<&Zeroizing<Vec<u8>>>,
        time_limit: Option<SignedDuration>,
        setting: &Setting<'_>,
    ) -> Outcome<Certifier> {
        if self.offline {
            let config = Config::read(self.ca_config.as_deref(), setting)?;
            return Ok(Certifier::Local(open(config, password.cloned()).await?));
        }
        let address = self.address.resolve(command, setting)?;
        let access = CaAccess::new(&address.url, address.root)?;
        Ok(Certifier::Remote(match time_limit {
            Some(limit) => access.with_time_limit(limit),
            None => access,
        }))
    }

    /// Whom a token is for: as [`Self::certifier`], but without opening keys or the database of the CA, which a token does not
    /// need.
    pub(crate) fn audience(&self, setting: &Setting<'_>) -> Outcome<Certifier> {
        if !self.offline {
            let address = self.address.resolve("ca token", setting)?;
            return Ok(Certifier::Remote(CaAccess::new(&address.url, address.root)?));
        }
        let config = Config::read(self.ca_config.as_deref(), setting)?;
        let provisioners = config.json.provisioner_objects().into_iter().cloned().collect();
        let nothing = |_request| -> LocalAnswer {
            Box::pin(async { Err(ClientError::Usage("a token is made without asking the CA".to_owned())) })
        };
        let local = LocalAuthority::new(config.first_name()?, nothing).with_provisioners(provisioners);
        let fingerprint = config.root_fingerprint()?;
        Ok(Certifier::Local(local.with_root_fingerprint(fingerprint)))
    }
}

async fn open(config: Config, password: Option<Zeroizing<Vec<u8>>>) -> Outcome<LocalAuthority> {
    // Its tokens are addressed to the first of its names.
    config.first_name()?;
    let mut password = password;
    loop {
        let options = AuthorityOptions {
            config_file: config.path.clone(),
            password: password.clone(),
            database: None,
            fresh_database: false,
        };
        match Authority::open(options, Timestamp::now()).await {
            Ok(authority) => return Ok(LocalAuthority::from_authority(authority)),
            Err(OpenError::PasswordRequired { path }) if password.is_none() && prompt::somebody_is_there() => {
                let question = format!("Please enter the password to decrypt {}", path.display());
                password = Some(prompt::password(&question, "--password-file", None)?);
            }
            Err(OpenError::PinRequired { token }) if password.is_none() && prompt::somebody_is_there() => {
                let question = format!("Please enter the PIN of the token '{token}'");
                password = Some(prompt::password(&question, "--password-file", None)?);
            }
            Err(error) => return Err(Failure::of(open_exit(&error), error).context("open the CA for --offline")),
        }
    }
}
