//! What the settings of certbot, acme.sh, lego and Caddy say about certificates and their keys.

use std::path::Path;

use keywheel_core::doctor::Setting;
use serde_json::Value;

use super::walk::Name;

/// The settings in a file, if it is one of them.
pub(super) fn of(name: &Name, bytes: &[u8]) -> Vec<Setting> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Vec::new() };
    if name.extension() == Some("toml") { agent(name, text) } else { foreign(name, text).into_iter().collect() }
}

fn foreign(name: &Name, text: &str) -> Option<Setting> {
    let file_name = name.file_name();
    match name.extension() {
        Some("conf") => certbot(name, text).or_else(|| acme_sh(name, text)),
        Some("json") if text.contains("reuse_private_keys") => reuse(name, text, "\"reuse_private_keys\": true"),
        Some("json") => lego(name, text),
        Some("yml" | "yaml") if file_name.starts_with(".lego.") => reuse(name, text, "reuseKey: true"),
        _ if file_name == "Caddyfile" || file_name.ends_with(".caddyfile") => reuse(name, text, "reuse_private_keys"),
        _ => None,
    }
}

/// `ROOT/renewal/NAME.conf`
fn certbot(name: &Name, text: &str) -> Option<Setting> {
    let (folder, file) = name.path.rsplit_once('/')?;
    let (root, kind) = folder.rsplit_once('/').unwrap_or((".", folder));
    let is_one = kind == "renewal" && values(text).any(|(key, _)| key == "privkey");
    is_one.then(|| Setting::Certbot {
        file: name.path.clone(),
        root: root.to_owned(),
        name: file.trim_end_matches(".conf").to_owned(),
        reuse_key: values(text).any(|(key, value)| key == "reuse_key" && value.eq_ignore_ascii_case("true")),
    })
}

/// `DOMAIN/DOMAIN.conf`, a shell script of assignments.
fn acme_sh(name: &Name, text: &str) -> Option<Setting> {
    let value = |wanted: &str| {
        values(text)
            .find(|(key, _)| *key == wanted)
            .map(|(_, value)| value.to_owned())
            .filter(|value| !value.is_empty())
    };
    let copies = ["Le_RealCertPath", "Le_RealFullChainPath"];
    Some(Setting::AcmeSh {
        file: name.path.clone(),
        domain: value("Le_Domain")?,
        new_key: value("Le_ForceNewDomainKey").is_some_and(|value| value == "1"),
        certificates: copies.into_iter().filter_map(value).collect(),
        key: value("Le_RealKeyPath"),
    })
}

/// `certificates/NAME.json`
fn lego(name: &Name, text: &str) -> Option<Setting> {
    let parent = name.path.rsplit('/').nth(1)?;
    let value: Value = serde_json::from_str(text).ok()?;
    let domain = value.get("domain").and_then(Value::as_str).or_else(|| {
        // Version 5 has a list.
        value.get("domains")?.as_array()?.first()?.as_str()
    });
    let is_one = parent == "certificates" && value.get("certUrl").is_some();
    is_one.then_some(Setting::Lego { file: name.path.clone(), domain: domain?.to_owned() })
}

/// `[[certificate]]` of our agent; relative paths start where the file is.
fn agent(name: &Name, text: &str) -> Vec<Setting> {
    let Ok(table) = text.parse::<toml::Table>() else { return Vec::new() };
    let folder = Path::new(&name.real).parent().unwrap_or(Path::new("/"));
    let pairs = table.get("certificate").and_then(toml::Value::as_array).into_iter().flatten();
    let setting = |pair: &toml::Value| {
        let path = |field: &str| {
            let path = pair.get(field)?.as_str()?;
            Some(folder.join(path).to_string_lossy().into_owned())
        };
        let both = path("combined");
        let (certificate, key) = (path("certificate").or(both.clone())?, path("key").or(both)?);
        Some(Setting::Agent { file: name.path.clone(), certificate, key })
    };
    pairs.filter_map(setting).collect()
}

/// A line that holds this and is no comment.
fn reuse(name: &Name, text: &str, wanted: &str) -> Option<Setting> {
    let line = text.lines().find(|line| line.contains(wanted) && !line.trim_start().starts_with(['#', '/']))?;
    Some(Setting::Reuse { file: name.path.clone(), line: line.trim().to_owned() })
}

/// `key = value` or `key='value'` in each line.
fn values(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        Some((key.trim(), value.trim().trim_matches(['\'', '"'])))
    })
}
