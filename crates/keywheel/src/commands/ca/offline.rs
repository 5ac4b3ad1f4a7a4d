//! `--offline`: the CA's own keys and store, used in this process instead of being asked over the network.

use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use keywheel_engine::authority::{
    Authority, AuthorityError, AuthorityOptions, Caller, RevokeRequest, Revoker, SignRequest,
};
use keywheel_engine::client::access::{CaAccess, Certifier, LocalAuthority, LocalRequest};
use keywheel_engine::client::error::ClientError;
use zeroize::Zeroizing;

use super::address::AddressFlags;
use super::config::Config;
use crate::commands::Setting;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// The flags that choose between the network and this process.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct OfflineFlags {
    /// Use the keys and the database of the CA in this process, without the network
    #[arg(long)]
    pub(crate) offline: bool,
    /// The configuration of that CA [default: config/ca.json]
    #[arg(long, value_name = "file")]
    pub(crate) ca_config: Option<PathBuf>,
}

/// Who certifies: the CA at the address, or with `--offline` the one in this process.
pub(crate) async fn certifier(
    command: &str,
    address: &AddressFlags,
    offline: &OfflineFlags,
    password: Option<&Zeroizing<Vec<u8>>>,
    time_limit: Option<SignedDuration>,
    setting: &Setting<'_>,
) -> Outcome<Certifier> {
    if offline.offline {
        let config = Config::read(offline.ca_config.as_deref(), setting)?;
        return Ok(Certifier::Local(open(config, password.cloned()).await?));
    }
    let address = address.resolve(command, setting)?;
    let access = CaAccess::new(&address.url, address.root)?;
    Ok(Certifier::Remote(match time_limit {
        Some(limit) => access.with_time_limit(limit),
        None => access,
    }))
}

async fn open(config: Config, password: Option<Zeroizing<Vec<u8>>>) -> Outcome<LocalAuthority> {
    let name = config.first_name()?;
    let options = AuthorityOptions { config_file: config.path, password, database: None, fresh_database: false };
    let authority = Authority::open(options, Timestamp::now())
        .await
        .map_err(|error| Failure::of(Exit::Usage, error).context("open the CA for --offline"))?;
    Ok(LocalAuthority::new(name, move |request| {
        let authority = authority.clone();
        Box::pin(async move { ask(&authority, request).await.map_err(refusal) })
    }))
}

async fn ask(authority: &Authority, request: LocalRequest) -> Result<Vec<Vec<u8>>, AuthorityError> {
    let now = Timestamp::now();
    match request {
        LocalRequest::Sign { request_der, token, not_before, not_after, template_data } => {
            let request = SignRequest { csr: request_der, token, not_before, not_after, template_data };
            Ok(authority.sign(request, now).await?.chain)
        }
        LocalRequest::Renew { chain_der } => Ok(authority.renew(Caller::Tls(chain_der), now).await?.chain),
        LocalRequest::Rekey { chain_der, request_der } => {
            Ok(authority.rekey(Caller::Tls(chain_der), request_der, now).await?.chain)
        }
        LocalRequest::Revoke { serial, token, chain_der, reason_code, reason } => {
            let revoker = token.map_or(Revoker::Tls(chain_der), Revoker::Token);
            let request =
                RevokeRequest { serial, reason_code: i64::from(reason_code), reason, passive: true };
            authority.revoke(revoker, request, now).await?;
            Ok(Vec::new())
        }
    }
}

/// What the authority in this process says, as if it had come over the network; but the reason is told here, since who asks owns the CA.
fn refusal(error: AuthorityError) -> ClientError {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        message.push_str(": ");
        message.push_str(&inner.to_string());
        cause = inner.source();
    }
    ClientError::Refused { message, status: None, hint: None }
}
