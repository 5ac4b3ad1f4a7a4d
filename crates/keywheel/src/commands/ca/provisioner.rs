//! `ca provisioner …`: who may ask for certificates, in `ca.json`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use keywheel_core::go_duration;
use keywheel_engine::client::access::{self, CaAccess};
use keywheel_wire::step::ca_json::CaJsonError;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::address::AddressFlags;
use super::config::Config;
use super::provisioner_key;
use crate::commands::{DONE, Setting, files, wait_for};
use crate::exit::Exit;
use crate::failure::{Classed, Failure, Outcome};
use crate::{passwords, prompt};

/// What is to be done to provisioners.
#[derive(Debug, Subcommand)]
pub(crate) enum Words {
    /// List the provisioners of the CA
    List(ListFlags),
    /// Show one provisioner of the configuration
    Show(OneFlags),
    /// Add a provisioner to the configuration
    Add(AddFlags),
    /// Change a provisioner of the configuration
    Update(UpdateFlags),
    /// Remove a provisioner from the configuration
    #[command(visible_alias = "delete")]
    Remove(RemoveFlags),
}

/// Flags of `list`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keywheel ca provisioner list\n  keywheel ca provisioner list --ca-config config/ca.json"
)]
pub(crate) struct ListFlags {
    /// List those of this configuration instead of asking the CA
    #[arg(long, value_name = "file")]
    ca_config: Option<PathBuf>,
    #[command(flatten)]
    address: AddressFlags,
}

/// Flags of `show`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  keywheel ca provisioner show admin")]
pub(crate) struct OneFlags {
    /// The name of the provisioner
    #[arg(value_name = "name")]
    name: String,
    /// Its type, where several have that name
    #[arg(long = "type", value_name = "type")]
    kind: Option<String>,
    /// The configuration of the CA [default: config/ca.json]
    #[arg(long, value_name = "file")]
    ca_config: Option<PathBuf>,
}

/// Flags of `remove`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  keywheel ca provisioner remove admin")]
pub(crate) struct RemoveFlags {
    #[command(flatten)]
    one: OneFlags,
}

/// Flags of `add`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel ca provisioner add cicd --create --password-file password.txt
  keywheel ca provisioner add cicd --type JWK --public-key cicd.pub.json
  keywheel ca provisioner add machines --type X5C --x5c-roots machine_root_ca.crt
  keywheel ca provisioner add strict --create --password-file password.txt --x509-max-dur 8h --after-rekey revokeAfterOverlap --overlap 1h")]
pub(crate) struct AddFlags {
    /// The name of the provisioner
    #[arg(value_name = "name")]
    name: String,
    /// Its type: JWK (the default), X5C or SSHPOP
    #[arg(long = "type", value_name = "type", default_value = "JWK")]
    kind: String,
    #[command(flatten)]
    key: KeySourceFlags,
    #[command(flatten)]
    options: OptionFlags,
    /// The configuration of the CA [default: config/ca.json]
    #[arg(long, value_name = "file")]
    ca_config: Option<PathBuf>,
}

/// Flags of `update`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel ca provisioner update cicd --x509-default-dur 2h --x509-max-dur 8h
  keywheel ca provisioner update cicd --create --password-file new-password.txt
  keywheel ca provisioner update cicd --after-rekey stays")]
pub(crate) struct UpdateFlags {
    /// The name of the provisioner
    #[arg(value_name = "name")]
    name: String,
    /// Its type, where several have that name
    #[arg(long = "type", value_name = "type")]
    kind: Option<String>,
    /// A new name
    #[arg(long, visible_alias = "name", value_name = "new-name")]
    name_to: Option<String>,
    #[command(flatten)]
    key: KeySourceFlags,
    #[command(flatten)]
    options: OptionFlags,
    /// The configuration of the CA [default: config/ca.json]
    #[arg(long, value_name = "file")]
    ca_config: Option<PathBuf>,
}

/// Where the provisioner's key or roots come from.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct KeySourceFlags {
    /// Make a new key for a JWK provisioner
    #[arg(long)]
    create: bool,
    /// The file with the public key (JWK or PEM) of a JWK provisioner
    #[arg(long, value_name = "file")]
    public_key: Option<PathBuf>,
    /// The file with the private key (JWK or PEM) of a JWK provisioner; it is kept encrypted in the configuration
    #[arg(long, value_name = "file")]
    private_key: Option<PathBuf>,
    /// The file with the password that encrypts that key
    #[arg(long, value_name = "file")]
    password_file: Option<PathBuf>,
    /// The file with the root certificates of an X5C provisioner
    #[arg(long, visible_alias = "x5c-root", value_name = "file")]
    x5c_roots: Option<PathBuf>,
}

/// What a provisioner allows.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct OptionFlags {
    /// The shortest life of a certificate, such as 5m
    #[arg(long, value_name = "duration")]
    x509_min_dur: Option<String>,
    /// The longest life of a certificate, such as 24h
    #[arg(long, value_name = "duration")]
    x509_max_dur: Option<String>,
    /// The life of a certificate where none is asked for
    #[arg(long, value_name = "duration")]
    x509_default_dur: Option<String>,
    /// Refuse to renew and to rekey
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_renewal: Option<bool>,
    /// Renew and rekey also after the certificate's end
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_renewal_after_expiry: Option<bool>,
    /// Leave the extension that names the provisioner out of certificates
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_smallstep_extensions: Option<bool>,
    /// Allow SSH certificates
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ssh: Option<bool>,
    /// The shortest life of an SSH user certificate
    #[arg(long, value_name = "duration")]
    ssh_user_min_dur: Option<String>,
    /// The longest life of an SSH user certificate
    #[arg(long, value_name = "duration")]
    ssh_user_max_dur: Option<String>,
    /// The life of an SSH user certificate where none is asked for
    #[arg(long, value_name = "duration")]
    ssh_user_default_dur: Option<String>,
    /// The shortest life of an SSH host certificate
    #[arg(long, value_name = "duration")]
    ssh_host_min_dur: Option<String>,
    /// The longest life of an SSH host certificate
    #[arg(long, value_name = "duration")]
    ssh_host_max_dur: Option<String>,
    /// The life of an SSH host certificate where none is asked for
    #[arg(long, value_name = "duration")]
    ssh_host_default_dur: Option<String>,
    /// The file with the template of certificates; '' removes the one that there is
    #[arg(long, value_name = "file")]
    x509_template: Option<OsString>,
    /// The JSON file with data for that template; '' removes the data
    #[arg(long, value_name = "file")]
    x509_template_data: Option<OsString>,
    /// What becomes of the old certificate after a rekey: stays, revokeAfterOverlap or revokeWhenSuccessorSeen
    #[arg(long, value_name = "what", value_parser = ["stays", "revokeAfterOverlap", "revokeWhenSuccessorSeen"])]
    after_rekey: Option<String>,
    /// How long the old certificate stays good after a rekey, at the latest
    #[arg(long, value_name = "duration")]
    overlap: Option<String>,
}

pub(crate) fn run(words: Words, setting: &Setting<'_>) -> Outcome {
    match words {
        Words::List(flags) => list(&flags, setting),
        Words::Show(flags) => show(&flags, setting),
        Words::Add(flags) => add(&flags, setting),
        Words::Update(flags) => update(&flags, setting),
        Words::Remove(flags) => remove(&flags.one, setting),
    }
}

fn list(flags: &ListFlags, setting: &Setting<'_>) -> Outcome {
    let provisioners = match &flags.ca_config {
        Some(path) => Config::read(Some(path), setting)?
            .json
            .provisioner_objects()
            .into_iter()
            .map(|object| Value::Object(object.clone()))
            .collect(),
        None => {
            let address = flags.address.resolve("ca provisioner list", setting)?;
            wait_for(async { Ok(access::provisioners(&CaAccess::new(&address.url, address.root)?).await?) })?
        }
    };
    // As the reference: always JSON.
    setting.voice.json_always(&provisioners)?;
    DONE
}

fn show(flags: &OneFlags, setting: &Setting<'_>) -> Outcome {
    let config = Config::read(flags.ca_config.as_deref(), setting)?;
    let object = config.json.provisioner_object(&flags.name, flags.kind.as_deref()).map_err(wrong)?;
    setting.voice.json_always(object)?;
    DONE
}

fn add(flags: &AddFlags, setting: &Setting<'_>) -> Outcome {
    let mut config = Config::read(flags.ca_config.as_deref(), setting)?;
    let mut object = Map::new();
    let kind = flags.kind.to_ascii_uppercase();
    object.insert("type".into(), kind.clone().into());
    object.insert("name".into(), flags.name.clone().into());
    match kind.as_str() {
        "JWK" => {
            if !flags.key.names_a_key() {
                return Err(Failure::usage("a JWK provisioner needs one of --create, --public-key and --private-key"));
            }
            flags.key.put_key(&mut object)?;
        }
        "X5C" => {
            let Some(path) = &flags.key.x5c_roots else {
                return Err(Failure::usage("an X5C provisioner needs the '--x5c-roots' flag"));
            };
            object.insert("roots".into(), x5c_roots(path)?.into());
        }
        "SSHPOP" => {}
        _ => {
            return Err(Failure::usage(format!(
                "invalid value '{}' for flag '--type'; options are JWK, X5C, SSHPOP",
                flags.kind
            )));
        }
    }
    flags.options.put(&mut object)?;
    config.json.add_provisioner(object.clone()).map_err(wrong)?;
    config.write(setting)?;
    setting.voice.json(&object)?;
    DONE
}

fn update(flags: &UpdateFlags, setting: &Setting<'_>) -> Outcome {
    let mut config = Config::read(flags.ca_config.as_deref(), setting)?;
    let kind = flags.kind.as_deref();
    // Everything is prepared on a copy, so that an error changes nothing.
    let mut object = config.json.provisioner_object(&flags.name, kind).map_err(wrong)?.clone();
    if flags.key.names_a_key() {
        flags.key.put_key(&mut object)?;
    }
    if let Some(path) = &flags.key.x5c_roots {
        object.insert("roots".into(), x5c_roots(path)?.into());
    }
    if let Some(name) = &flags.name_to {
        object.insert("name".into(), name.clone().into());
    }
    flags.options.put(&mut object)?;
    let changed = object.clone();
    config.json.update_provisioner(&flags.name, kind, |old| *old = object).map_err(wrong)?;
    config.write(setting)?;
    setting.voice.json(&changed)?;
    DONE
}

fn remove(flags: &OneFlags, setting: &Setting<'_>) -> Outcome {
    let mut config = Config::read(flags.ca_config.as_deref(), setting)?;
    let removed = config.json.remove_provisioner(&flags.name, flags.kind.as_deref()).map_err(wrong)?;
    config.write(setting)?;
    setting.voice.json(&json!({"removed": removed}))?;
    DONE
}

impl KeySourceFlags {
    fn names_a_key(&self) -> bool {
        self.create || self.public_key.is_some() || self.private_key.is_some()
    }

    /// Sets `key` and, where there is a private half, `encryptedKey`.
    fn put_key(&self, object: &mut Map<String, Value>) -> Outcome<()> {
        if self.create && (self.public_key.is_some() || self.private_key.is_some()) {
            return Err(Failure::usage("flag '--create' is incompatible with '--public-key' and '--private-key'"));
        }
        object.shift_remove("encryptedKey");
        let (public, encrypted) = match (&self.public_key, &self.private_key) {
            (Some(path), None) => (provisioner_key::public(path)?, None),
            (Some(public), Some(private)) => {
                let public = provisioner_key::public(public)?;
                let (own, encrypted) = provisioner_key::import(private, &self.password()?)?;
                if !provisioner_key::is_same(&public, &own) {
                    return Err(Failure::usage(
                        "the keys of '--public-key' and '--private-key' do not belong together",
                    ));
                }
                (public, encrypted)
            }
            (None, Some(path)) => provisioner_key::import(path, &self.password()?)?,
            (None, None) => provisioner_key::create(&self.password()?)?,
        };
        object.insert("key".into(), public);
        if let Some(encrypted) = encrypted {
            object.insert("encryptedKey".into(), encrypted.into());
        }
        Ok(())
    }

    fn password(&self) -> Outcome<Zeroizing<Vec<u8>>> {
        match &self.password_file {
            Some(path) => passwords::from_file(path),
            None => {
                let question = "Please enter a password to encrypt the provisioner's key";
                prompt::password(question, "--password-file", None)
            }
        }
    }
}

impl OptionFlags {
    fn put(&self, object: &mut Map<String, Value>) -> Outcome<()> {
        for (flag, key, given) in [
            ("--x509-min-dur", "minTLSCertDuration", &self.x509_min_dur),
            ("--x509-max-dur", "maxTLSCertDuration", &self.x509_max_dur),
            ("--x509-default-dur", "defaultTLSCertDuration", &self.x509_default_dur),
            ("--ssh-user-min-dur", "minUserSSHCertDuration", &self.ssh_user_min_dur),
            ("--ssh-user-max-dur", "maxUserSSHCertDuration", &self.ssh_user_max_dur),
            ("--ssh-user-default-dur", "defaultUserSSHCertDuration", &self.ssh_user_default_dur),
            ("--ssh-host-min-dur", "minHostSSHCertDuration", &self.ssh_host_min_dur),
            ("--ssh-host-max-dur", "maxHostSSHCertDuration", &self.ssh_host_max_dur),
            ("--ssh-host-default-dur", "defaultHostSSHCertDuration", &self.ssh_host_default_dur),
        ] {
            if let Some(text) = given {
                inner(object, &["claims"])?.insert(key.into(), duration(flag, text)?.into());
            }
        }
        for (key, given) in [
            ("disableRenewal", self.disable_renewal),
            ("allowRenewalAfterExpiry", self.allow_renewal_after_expiry),
            ("disableSmallstepExtensions", self.disable_smallstep_extensions),
            ("enableSSHCA", self.ssh),
        ] {
            if let Some(flag) = given {
                inner(object, &["claims"])?.insert(key.into(), flag.into());
            }
        }
        let removed = |given: &Option<OsString>| given.as_ref().is_some_and(|path| path.is_empty());
        for (given, key) in [(&self.x509_template, "template"), (&self.x509_template_data, "templateData")] {
            if removed(given) {
                inner(object, &["options", "x509"])?.shift_remove(key);
            }
        }
        if let Some(path) = self.x509_template.as_deref().map(Path::new).filter(|path| !path.as_os_str().is_empty()) {
            let text = String::from_utf8(files::read(path)?)
                .or_usage(|| format!("the template {} is not text", path.display()))?;
            inner(object, &["options", "x509"])?.insert("template".into(), text.into());
        }
        let data = self.x509_template_data.as_deref().map(Path::new).filter(|path| !path.as_os_str().is_empty());
        if let Some(path) = data {
            let data: Value = serde_json::from_slice(&files::read(path)?)
                .or_usage(|| format!("the template data {} is not JSON", path.display()))?;
            inner(object, &["options", "x509"])?.insert("templateData".into(), data);
        }
        if let Some(what) = &self.after_rekey {
            inner(object, &["keywheel"])?.insert("afterRekey".into(), what.clone().into());
        }
        if let Some(text) = &self.overlap {
            inner(object, &["keywheel"])?.insert("overlap".into(), duration("--overlap", text)?.into());
        }
        Ok(())
    }
}

fn duration(flag: &str, text: &str) -> Outcome<String> {
    go_duration::parse(text)
        .map(go_duration::format)
        .map_err(|error| Failure::usage(format!("invalid value '{text}' for flag '{flag}'")).hint(error.to_string()))
}

/// The object at a path within another, made where it is absent.
fn inner<'a>(object: &'a mut Map<String, Value>, steps: &[&str]) -> Outcome<&'a mut Map<String, Value>> {
    let mut here = object;
    for step in steps {
        here = here.entry(*step).or_insert_with(|| Value::Object(Map::new())).as_object_mut().ok_or_else(|| {
            Failure::usage(format!("'{step}' of the provisioner is not an object; nothing was changed"))
        })?;
    }
    Ok(here)
}

/// As the reference keeps them: base64 of the PEM text.
fn x5c_roots(path: &Path) -> Outcome<String> {
    provisioner_key::roots(&files::read(path)?, path)
}

fn wrong(error: CaJsonError) -> Failure {
    Failure::of(Exit::Usage, error)
}
