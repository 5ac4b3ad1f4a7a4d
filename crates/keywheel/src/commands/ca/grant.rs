//! By which right a certificate is asked for: a token, or the flags from which one is made.

use std::path::{Path, PathBuf};

use clap::Args;
use keywheel_engine::client::certificate::Authorization;
use keywheel_engine::client::error::ClientError;
use keywheel_engine::client::token::Provisioning;
use serde_json::{Map, Value};

use super::token_flags::KmsFlag;
use crate::failure::{Classed, Failure, Outcome};
use crate::{passwords, prompt};

/// The flags that choose a provisioner and prove the right to use it.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct GrantFlags {
    /// The one-time token, or '-' to read it from stdin; without it one is made with the key of the provisioner. Other users see the command line: use '-', --token-file or STEP_TOKEN
    #[arg(long, value_name = "token")]
    pub(crate) token: Option<String>,
    /// The file with the one-time token
    #[arg(long, value_name = "file")]
    pub(crate) token_file: Option<PathBuf>,
    /// The name of the provisioner
    #[arg(long, visible_alias = "issuer", value_name = "name")]
    pub(crate) provisioner: Option<String>,
    /// The file with the password of the provisioner's key
    #[arg(long, value_name = "file")]
    pub(crate) provisioner_password_file: Option<PathBuf>,
    /// The certificate (chain) that proves the right to use an X5C provisioner
    #[arg(long, value_name = "chain")]
    pub(crate) x5c_cert: Option<PathBuf>,
    /// The key of that certificate, a file or the pkcs11: URI of a key in a token
    #[arg(long, value_name = "file")]
    pub(crate) x5c_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) kms: KmsFlag,
}

/// The flags that say for how long a certificate is wanted.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct LifetimeFlags {
    /// When the certificate's life starts: a time of RFC 3339, or a duration such as 5m from now
    #[arg(long, value_name = "time|duration", allow_hyphen_values = true)]
    pub(crate) not_before: Option<String>,
    /// When the certificate's life ends: a time of RFC 3339, or a duration such as 24h from now
    #[arg(long, value_name = "time|duration", allow_hyphen_values = true)]
    pub(crate) not_after: Option<String>,
}

/// The flags with data for the template of the CA.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TemplateFlags {
    /// A variable for the template of the CA; can be given several times
    #[arg(long, value_name = "key=value", action = clap::ArgAction::Append)]
    pub(crate) set: Vec<String>,
    /// A JSON file with variables for the template of the CA
    #[arg(long, value_name = "file")]
    pub(crate) set_file: Option<PathBuf>,
}

impl GrantFlags {
    /// The flags that only make sense together.
    pub(crate) fn check(&self) -> Outcome<()> {
        match (&self.x5c_cert, &self.x5c_key) {
            (Some(_), None) => Err(Failure::usage("flag '--x5c-cert' requires the '--x5c-key' flag")),
            (None, Some(_)) => Err(Failure::usage("flag '--x5c-key' requires the '--x5c-cert' flag")),
            _ => Ok(()),
        }
    }
}

impl GrantFlags {
    /// Whether a token was given.
    pub(crate) fn has_token(&self) -> bool {
        self.token_file.is_some() || self.token.as_ref().is_some_and(|token| !token.is_empty())
    }

    /// The token, or the provisioner whose key makes one.
    pub(crate) fn authorization(&self) -> Outcome<Authorization> {
        self.check()?;
        let file = match self.token.as_deref() {
            Some("-") => Some(Path::new("-")),
            _ => self.token_file.as_deref(),
        };
        if let Some(file) = file {
            let token = String::from_utf8(passwords::from_file(file)?.to_vec());
            let token = token.or_usage(|| format!("read the token in {}", file.display()))?;
            return Ok(Authorization::Token(token));
        }
        match self.token.clone().filter(|token| !token.is_empty()) {
            Some(token) => Ok(Authorization::Token(token)),
            None => Ok(Authorization::Provisioner(Provisioning {
                name: self.provisioner.clone(),
                password: passwords::from_optional_file(self.provisioner_password_file.as_deref())?,
                x5c_certificate: self.x5c_cert.clone(),
                x5c_key: self.x5c_key.clone(),
                management: self.kms.token()?,
                ..Provisioning::default()
            })),
        }
    }
}

/// Asks the person what an error says is missing; gives the error back where nobody can be asked or nothing is.
pub(crate) fn answer(error: ClientError, provisioning: &mut Provisioning) -> Outcome<()> {
    if !prompt::somebody_is_there() {
        return Err(error.into());
    }
    match &error {
        ClientError::ProvisionerPasswordRequired { name } if provisioning.password.is_none() => {
            let question = format!("Please enter the password to decrypt the key of provisioner '{name}'");
            provisioning.password = Some(prompt::password(&question, "--provisioner-password-file", None)?);
            Ok(())
        }
        ClientError::Provisioner { names, .. } if provisioning.name.is_none() && names.len() > 1 => {
            let chosen = prompt::choose("What provisioner do you want to use", "--provisioner", names)?;
            provisioning.name = names.get(chosen).cloned();
            Ok(())
        }
        _ => Err(error.into()),
    }
}

/// The same for what may also be a token.
pub(crate) fn answer_for(error: ClientError, authorization: &mut Authorization) -> Outcome<()> {
    match authorization {
        Authorization::Provisioner(provisioning) => answer(error, provisioning),
        Authorization::Token(_) => Err(error.into()),
    }
}

impl LifetimeFlags {
    /// Both as the CA takes them; checked here so that a slip of the pen does not cost a token.
    pub(crate) fn check(&self) -> Outcome<(String, String)> {
        Ok((moment("--not-before", self.not_before.as_deref())?, moment("--not-after", self.not_after.as_deref())?))
    }
}

/// A time or duration as it was written, or empty.
pub(crate) fn moment(flag: &str, given: Option<&str>) -> Outcome<String> {
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(String::new()) };
    let fits = keywheel_core::go_duration::parse(text).is_ok() || text.parse::<jiff::Timestamp>().is_ok();
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Failure::usage(format!("invalid value '{text}' for flag '{flag}'"))
            .hint("write a time such as 2030-01-31T12:00:00Z or a duration such as 8h30m"))
    }
}

impl TemplateFlags {
    /// All variables; single ones come before those of the file.
    pub(crate) fn data(&self) -> Outcome<Map<String, Value>> {
        let mut data = self.set_file.as_deref().map(file).transpose()?.unwrap_or_default();
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                return Err(Failure::usage(format!("invalid value '{pair}' for flag '--set'; write key=value")));
            };
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            data.insert(key.to_owned(), value);
        }
        Ok(data)
    }
}

fn file(path: &Path) -> Outcome<Map<String, Value>> {
    let doing = || format!("read the template data in {}", path.display());
    let text = std::fs::read(path).or_usage(doing)?;
    serde_json::from_slice(&text).or_usage(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_variables_may_be_json_or_text() {
        let flags = TemplateFlags { set: vec!["n=5".into(), "s=a=b".into(), "l=[1,2]".into()], set_file: None };
        assert_eq!(Value::Object(flags.data().unwrap()), serde_json::json!({"n": 5, "s": "a=b", "l": [1, 2]}));
    }

    #[test]
    fn a_variable_without_a_key_is_refused() {
        for wrong in ["novalue", "=x"] {
            let flags = TemplateFlags { set: vec![wrong.into()], set_file: None };
            assert!(flags.data().unwrap_err().message().contains("--set"));
        }
    }

    #[test]
    fn half_of_an_x5c_pair_is_refused() {
        let half = GrantFlags { x5c_cert: Some("a".into()), ..GrantFlags::default() };
        assert_eq!(half.check().unwrap_err().message(), "flag '--x5c-cert' requires the '--x5c-key' flag");
        let half = GrantFlags { x5c_key: Some("a".into()), ..GrantFlags::default() };
        assert_eq!(half.check().unwrap_err().message(), "flag '--x5c-key' requires the '--x5c-cert' flag");
    }
}
