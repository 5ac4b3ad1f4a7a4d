//! What is kept fresh and how, as TOML says it; what is wrong is refused with its file and its line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use keywheel_core::go_duration;
use keywheel_core::pace::Limits;
use keywheel_core::schedule::Timing;
use keywheel_reach::files::layout::Layout;
use keywheel_reach::hook::{Hook, HookOptions};
use keywheel_reach::probe::{Endpoint, Proof};
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use crate::client::access::{CaAccess, DEFAULT_TIME_LIMIT};
use crate::client::afterwards::Afterwards;
use crate::client::key_choice::KeyChoice;

/// A longer file wants to be several.
pub(super) const MAX_FILE: u64 = 2 << 20;

/// A longer text is no name, path or command.
const MAX_TEXT: usize = 4096;

/// What every certificate has unless its entry says otherwise, from outside the files.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The authority, where no file names one.
    pub ca_url: Option<String>,
    /// Its roots, where no file names them.
    pub root: PathBuf,
    /// Where systemd puts credentials (`$CREDENTIALS_DIRECTORY`).
    pub credentials: Option<PathBuf>,
}

/// The `[agent]` table: how the agent itself works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where questions about its state are answered.
    pub socket: Option<PathBuf>,
    /// Where metrics are served.
    pub metrics_address: Option<String>,
    /// Replacements under way at once.
    pub at_once: u32,
    /// What each authority is asked at most.
    pub limits: Limits,
    /// How often everything is looked at, besides being told of changes.
    pub rescan: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: None,
            metrics_address: None,
            at_once: 16,
            limits: Limits { at_once: 8, per_second: 50 },
            rescan: Duration::from_secs(600),
        }
    }
}

/// One certificate that is kept fresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) certificate: PathBuf,
    /// The same where one file holds both.
    pub(super) key: PathBuf,
    pub(super) profile: Profile,
    pub(super) line: usize,
}

/// All that many entries have in common; kept once however many they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Profile {
    pub(super) ca_url: String,
    root: PathBuf,
    mtls: bool,
    time_limit: SignedDuration,
    kty: Option<String>,
    curve: Option<String>,
    size: Option<u32>,
    lead: Option<SignedDuration>,
    pub(super) period: Option<SignedDuration>,
    pub(super) jitter: Option<SignedDuration>,
    layout: Option<String>,
    exec: Option<String>,
    exec_time_limit: SignedDuration,
    pid_file: Option<PathBuf>,
    signal: i32,
    verify: Vec<String>,
    verify_time_limit: Option<Duration>,
    rollback: bool,
    pub(super) password_file: Option<PathBuf>,
}

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) settings: Option<Settings>,
    pub(super) defaults: Option<Defaults>,
    pub(super) entries: Vec<Entry>,
}

/// The `[defaults]` table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Defaults(Raw);

/// Why a file is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {message}", .file.display())]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    agent: Option<RawAgent>,
    defaults: Option<Spanned<Raw>>,
    #[serde(default)]
    certificate: Vec<Spanned<Raw>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawAgent {
    socket: Option<Text>,
    metrics_address: Option<Text>,
    at_once: Option<Count>,
    at_once_per_ca: Option<Count>,
    rekeys_per_second: Option<Count>,
    rescan: Option<Time>,
}

/// The keys of `[[certificate]]`; those of `[defaults]` are the same without the first few.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    name: Option<Text>,
    certificate: Option<Text>,
    key: Option<Text>,
    combined: Option<Text>,
    kind: Option<Kind>,
    layout: Option<LayoutName>,
    ca_url: Option<Text>,
    root: Option<Text>,
    mtls: Option<bool>,
    timeout: Option<Time>,
    kty: Option<Text>,
    curve: Option<Text>,
    size: Option<u32>,
    expires_in: Option<Time>,
    rekey_period: Option<Time>,
    jitter: Option<Time>,
    exec: Option<Text>,
    exec_timeout: Option<Time>,
    pid_file: Option<Text>,
    signal: Option<i32>,
    verify: Option<Vec<Text>>,
    verify_timeout: Option<Time>,
    rollback: Option<bool>,
    password_file: Option<Text>,
    credential: Option<Text>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    X509,
    Ssh,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LayoutName {
    Flat,
    Generations,
}

/// Text that is not empty and not endless.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text(String);

/// A time longer than none, such as `8h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time(SignedDuration);

/// A number from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count(u32);

impl Content {
    /// Understands a file; its relative paths start where the file is.
    pub(super) fn parse(
        file: &Path,
        text: &str,
        defaults: Option<&Defaults>,
        surroundings: &Surroundings,
    ) -> Result<Self, ConfigError> {
        let ends: Vec<usize> = text.match_indices('\n').map(|(offset, _)| offset).collect();
        let line = |offset: usize| if offset > text.len() { 0 } else { ends.partition_point(|end| *end < offset) + 1 };
        let at = |offset: usize, message: String| ConfigError { file: file.to_owned(), line: line(offset), message };
        let raw: RawFile = toml::from_str(text).map_err(|error: toml::de::Error| {
            at(error.span().map_or(usize::MAX, |span| span.start), error.message().to_owned())
        })?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let within = |path: &Text| folder.join(&path.0);
        let own = match raw.defaults {
            Some(own) => {
                let offset = own.span().start;
                let own = own.into_inner();
                if own.name.is_some() || own.certificate.is_some() || own.key.is_some() || own.combined.is_some() {
                    let message =
                        "'name', 'certificate', 'key' and 'combined' belong into a [[certificate]]".to_owned();
                    return Err(at(offset, message));
                }
                Some(Defaults(own))
            }
            None => None,
        };
        let fallback = own.clone().or_else(|| defaults.cloned()).unwrap_or_default().0;
        let entries = raw.certificate.into_iter().map(|entry| {
            let offset = entry.span().start;
            let refused = |message| at(offset, message);
            entry.into_inner().entry(&fallback, line(offset), &within, surroundings).map_err(refused)
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let settings = raw.agent.map(|agent| agent.settings(&within));
        Ok(Self { settings, defaults: own, entries })
    }
}

impl RawAgent {
    fn settings(self, within: &dyn Fn(&Text) -> PathBuf) -> Settings {
        let usual = Settings::default();
        let count = |given: Option<Count>, usual: u32| given.map_or(usual, |count| count.0);
        Settings {
            socket: self.socket.as_ref().map(within),
            metrics_address: self.metrics_address.map(|address| address.0),
            at_once: count(self.at_once, usual.at_once),
            limits: Limits {
                at_once: count(self.at_once_per_ca, usual.limits.at_once),
                per_second: count(self.rekeys_per_second, usual.limits.per_second),
            },
            rescan: self.rescan.map_or(usual.rescan, Time::unsigned),
        }
    }
}

impl Raw {
    fn entry(
        self,
        fallback: &Self,
        line: usize,
        within: &dyn Fn(&Text) -> PathBuf,
        surroundings: &Surroundings,
    ) -> Result<Entry, String> {
        let name = self.name.clone().ok_or("the entry has no 'name'")?.0;
        let refused = |message: &str| format!("certificate '{name}': {message}");
        if name.chars().any(char::is_control) {
            return Err("a name has no control characters".to_owned());
        }
        if self.kind.or(fallback.kind) == Some(Kind::Ssh) {
            return Err(refused("kind = \"ssh\" is not there yet; only \"x509\" is"));
        }
        let (certificate, key) = match (&self.certificate, &self.key, &self.combined) {
            (Some(certificate), Some(key), None) if certificate != key => (within(certificate), within(key)),
            (None, None, Some(both)) => (within(both), within(both)),
            (Some(_), Some(_), None) => {
                return Err(refused("'certificate' and 'key' are one file; say combined = \"…\" instead"));
            }
            _ => return Err(refused("name 'certificate' and 'key', or 'combined' for one file that holds both")),
        };
        let profile = self.profile(fallback, within, surroundings).map_err(|message| refused(&message))?;
        Ok(Entry { name, certificate, key, profile, line })
    }

    fn profile(
        self,
        fallback: &Self,
        within: &dyn Fn(&Text) -> PathBuf,
        surroundings: &Surroundings,
    ) -> Result<Profile, String> {
        let text = |own: &Option<Text>, fallback: &Option<Text>| own.clone().or_else(|| fallback.clone());
        let time = |own: Option<Time>, fallback: Option<Time>| own.or(fallback).map(|time| time.0);
        if self.expires_in.is_some() && self.rekey_period.is_some() {
            return Err("'expires-in' and 'rekey-period' exclude each other".to_owned());
        }
        if self.password_file.is_some() && self.credential.is_some() {
            return Err("'password-file' and 'credential' exclude each other".to_owned());
        }
        // What an entry says itself takes the place of what the defaults say instead of it.
        let own_times = self.expires_in.is_some() || self.rekey_period.is_some();
        let times = if own_times { &self } else { fallback };
        let own_password = self.password_file.is_some() || self.credential.is_some();
        let password = if own_password { &self } else { fallback };
        let own_key = self.kty.is_some() || self.curve.is_some() || self.size.is_some();
        let kind = if own_key { &self } else { fallback };
        let ca_url = text(&self.ca_url, &fallback.ca_url).map(|url| url.0).or_else(|| surroundings.ca_url.clone());
        let root = text(&self.root, &fallback.root).map_or_else(|| surroundings.root.clone(), |root| within(&root));
        let words = |text: &Option<Text>| text.as_ref().map(|text| text.0.clone());
        let layout = self.layout.or(fallback.layout).filter(|_| self.combined.is_none());
        let hook = HookOptions::default();
        let profile = Profile {
            ca_url: ca_url.ok_or("there is no 'ca-url'")?,
            root,
            mtls: self.mtls.or(fallback.mtls).unwrap_or(true),
            time_limit: time(self.timeout, fallback.timeout).unwrap_or(DEFAULT_TIME_LIMIT),
            kty: words(&kind.kty),
            curve: words(&kind.curve),
            size: kind.size,
            lead: times.expires_in.map(|time| time.0),
            period: times.rekey_period.map(|time| time.0),
            jitter: time(self.jitter, fallback.jitter),
            layout: layout.map(|layout| layout.layout().name().to_owned()),
            exec: words(&text(&self.exec, &fallback.exec)),
            exec_time_limit: time(self.exec_timeout, fallback.exec_timeout).unwrap_or(hook.time_limit),
            pid_file: text(&self.pid_file, &fallback.pid_file).map(|file| within(&file)),
            signal: self.signal.or(fallback.signal).unwrap_or(hook.signal),
            verify: self
                .verify
                .as_ref()
                .or(fallback.verify.as_ref())
                .map(|all| all.iter().map(|one| one.0.clone()).collect())
                .unwrap_or_default(),
            verify_time_limit: self.verify_timeout.or(fallback.verify_timeout).map(Time::unsigned),
            rollback: self.rollback.or(fallback.rollback).unwrap_or(false),
            password_file: password_file(password, within, surroundings)?,
        };
        profile.check()?;
        Ok(profile)
    }
}

impl Profile {
    /// Everything that can be judged without the files that it names.
    fn check(&self) -> Result<(), String> {
        self.access()?;
        self.key_choice().check().map_err(|error| in_words_of_toml(&error))?;
        let afterwards = self.afterwards()?;
        Hook::check(&afterwards.hook).map_err(|error| in_words_of_toml(&error))?;
        if self.rollback && self.exec.is_none() && self.pid_file.is_none() && self.verify.is_empty() {
            return Err("'rollback' needs something that can fail: 'exec', 'pid-file' or 'verify'".to_owned());
        }
        Ok(())
    }

    pub(super) fn access(&self) -> Result<CaAccess, String> {
        let access = CaAccess::new(&self.ca_url, self.root.clone()).map_err(|error| in_words_of_toml(&error))?;
        Ok(access.with_time_limit(self.time_limit))
    }

    pub(super) fn mtls(&self) -> bool {
        self.mtls
    }

    pub(super) fn key_choice(&self) -> KeyChoice {
        KeyChoice { kty: self.kty.clone(), curve: self.curve.clone(), size: self.size }
    }

    /// How the files lie; nothing where they stay as they are.
    pub(super) fn layout(&self) -> Option<Layout> {
        [Layout::Flat, Layout::Generations].into_iter().find(|layout| self.layout.as_deref() == Some(layout.name()))
    }

    pub(super) fn timing(&self) -> Timing {
        match (self.period, self.lead) {
            (Some(period), _) => Timing::Every(period),
            (None, Some(lead)) => Timing::BeforeExpiry(lead),
            (None, None) => Timing::LastThird,
        }
    }

    /// A time that cannot work with a certificate that lives as long as `whole`.
    pub(super) fn impossible_time(&self, whole: SignedDuration) -> Option<String> {
        let (key, value) = match (self.period, self.lead) {
            (Some(period), _) if period >= whole => ("rekey-period", period),
            (None, Some(lead)) if lead >= whole => ("expires-in", lead),
            _ => return None,
        };
        Some(format!(
            "{key} = \"{}\" is not shorter than the life of the certificate ({})",
            go_duration::format(value),
            go_duration::format(whole)
        ))
    }

    pub(super) fn afterwards(&self) -> Result<Afterwards, String> {
        let endpoint = |text: &String| Endpoint::parse(text).map_err(|error| format!("verify = \"{text}\": {error}"));
        let usual = Proof::default();
        Ok(Afterwards {
            hook: HookOptions {
                pid_file: self.pid_file.clone(),
                signal: self.signal,
                exec: self.exec.clone(),
                time_limit: self.exec_time_limit,
                must_be_there: false,
                ..HookOptions::default()
            },
            verify: self.verify.iter().map(endpoint).collect::<Result<_, _>>()?,
            proof: Proof { time_limit: self.verify_time_limit.unwrap_or(usual.time_limit), ..usual },
            rollback: self.rollback,
            ..Afterwards::default()
        })
    }
}

fn password_file(
    raw: &Raw,
    within: &dyn Fn(&Text) -> PathBuf,
    surroundings: &Surroundings,
) -> Result<Option<PathBuf>, String> {
    if raw.password_file.is_some() && raw.credential.is_some() {
        return Err("'password-file' and 'credential' exclude each other".to_owned());
    }
    let Some(credential) = &raw.credential else {
        return Ok(raw.password_file.as_ref().map(within));
    };
    let name = credential.0.as_str();
    if name.contains('/') || name.starts_with('.') {
        return Err(format!("credential = \"{name}\" is no name of a credential"));
    }
    match &surroundings.credentials {
        Some(folder) => Ok(Some(folder.join(name))),
        None => Err(format!(
            "credential = \"{name}\" needs $CREDENTIALS_DIRECTORY, which systemd sets for LoadCredential={name}:…"
        )),
    }
}

/// The same message where there are keys instead of flags.
fn in_words_of_toml(error: &dyn std::error::Error) -> String {
    error.to_string().replace("flag '--", "'").replace("'crv'", "'curve'")
}

impl LayoutName {
    fn layout(self) -> Layout {
        match self {
            Self::Flat => Layout::Flat,
            Self::Generations => Layout::Generations,
        }
    }
}

impl Time {
    fn unsigned(self) -> Duration {
        Duration::try_from(self.0).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.trim().is_empty() {
            return Err(de::Error::custom("it is empty"));
        }
        if text.len() > MAX_TEXT || text.contains('\0') {
            return Err(de::Error::custom(format!("it is longer than {MAX_TEXT} octets, or holds a zero")));
        }
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let time = go_duration::parse(&text).map_err(de::Error::custom)?;
        if !time.is_positive() {
            return Err(de::Error::custom(format!("'{text}' is not longer than no time")));
        }
        Ok(Self(time))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u32::deserialize(from)? {
            0 => Err(de::Error::custom("it must be at least 1")),
            count => Ok(Self(count)),
        }
    }
}

#[cfg(test)]
mod tests;
