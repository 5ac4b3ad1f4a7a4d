//! Keywheel's own settings of a `ca.json`, kept beside it: the reference's `step` drops what it does not know when it
//! rewrites that file, and with them would go the address of the database, and every revocation in it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// The name of the copy, beside `ca.json`.
const FILE: &str = "keywheel.json";
/// The member of `ca.json`, and of each provisioner in it, that is ours.
const OWN: &str = "keywheel";

/// The text of a `ca.json` with the settings of ours that it lost; `None` where it lost none.
///
/// A document that has lost them has no `keywheel` member at all, and there is a copy.
pub fn restored(config_file: &Path, text: &str) -> Option<String> {
    let mut document: Map<String, Value> = serde_json::from_str(text).ok()?;
    if document.contains_key(OWN) {
        return None;
    }
    let copy: Map<String, Value> = serde_json::from_slice(&std::fs::read(copy_of(config_file)).ok()?).ok()?;
    document.insert(OWN.to_owned(), copy.get(OWN)?.clone());
    let kept = copy.get("provisioners").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let provisioners = document
        .get_mut("authority")
        .and_then(|authority| authority.get_mut("provisioners"))
        .and_then(Value::as_array_mut);
    for provisioner in provisioners.into_iter().flatten().filter_map(Value::as_object_mut) {
        let same = |one: &&Value| ["name", "type"].iter().all(|member| one.get(member) == provisioner.get(*member));
        if let Some(settings) = kept.iter().find(same).and_then(|one| one.get(OWN)) {
            provisioner.entry(OWN).or_insert_with(|| settings.clone());
        }
    }
    serde_json::to_string_pretty(&document).ok()
}

/// Keeps a copy of our settings in a `ca.json`, where it has some and they are not kept yet.
///
/// A folder that cannot be written is no reason not to serve: nobody rewrites `ca.json` there either.
pub fn keep(config_file: &Path, text: &str) {
    let Some(copy) = copy(text) else { return };
    let path = copy_of(config_file);
    if std::fs::read(&path).is_ok_and(|there| there == copy.as_bytes()) {
        return;
    }
    let written =
        keywheel_reach::files::write::Target::resolve(&path, 0o600).and_then(|target| target.replace(copy.as_bytes()));
    if let Err(error) = written {
        tracing::debug!(%error, file = %path.display(), "no copy of keywheel's own settings was kept");
    }
}

fn copy(text: &str) -> Option<String> {
    let document: Map<String, Value> = serde_json::from_str(text).ok()?;
    let own = document.get(OWN)?;
    let provisioners: Vec<Value> = document
        .get("authority")
        .and_then(|authority| authority.get("provisioners")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(|one| Some(json!({"name": one.get("name")?, "type": one.get("type")?, OWN: one.get(OWN)?})))
        .collect();
    serde_json::to_string_pretty(&json!({OWN: own, "provisioners": provisioners})).ok()
}

fn copy_of(config_file: &Path) -> PathBuf {
    config_file.with_file_name(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = r#"{"address":":9000","authority":{"provisioners":[
        {"type":"JWK","name":"admin","keywheel":{"afterRekey":"stays"}},{"type":"JWK","name":"plain"}]},
        "keywheel":{"database":"postgres://ca@db/ca"}}"#;
    const REWRITTEN: &str = r#"{"address":":9001","authority":{"provisioners":[
        {"type":"JWK","name":"admin"},{"type":"JWK","name":"plain"},{"type":"X5C","name":"admin"}]}}"#;

    #[test]
    fn what_another_program_dropped_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("ca.json");
        assert_eq!(restored(&config, REWRITTEN), None, "there is no copy yet");
        keep(&config, OURS);
        assert_eq!(restored(&config, OURS), None, "nothing was lost");
        let text = restored(&config, REWRITTEN).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["keywheel"]["database"], "postgres://ca@db/ca");
        assert_eq!(document["address"], ":9001");
        let provisioners = &document["authority"]["provisioners"];
        assert_eq!(provisioners[0]["keywheel"]["afterRekey"], "stays");
        assert!(provisioners[1].get("keywheel").is_none());
        assert!(provisioners[2].get("keywheel").is_none(), "another type is another provisioner");
    }

    #[test]
    fn the_copy_follows_the_document() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("ca.json");
        keep(&config, OURS);
        keep(&config, &OURS.replace("postgres://ca@db/ca", "sqlite:/other.db"));
        let text = restored(&config, REWRITTEN).unwrap();
        assert!(text.contains("sqlite:/other.db"), "{text}");
        keep(&config, REWRITTEN);
        assert!(restored(&config, REWRITTEN).is_some(), "a document without our settings wiped the copy");
    }
}
