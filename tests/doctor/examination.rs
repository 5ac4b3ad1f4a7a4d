//! One examination, which must leave everything as it was, and the making of the files that it examines.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use keywheel_tests::place::{Done, Place, keywheel};
use serde_json::Value;

/// What the doctor said.
pub struct Examination {
    pub code: i32,
    pub value: Value,
}

/// Examines these paths with the units and cron jobs of `units`, if that folder is there; nothing may be changed by it.
#[track_caller]
pub fn examine(place: &Place, paths: &[&str]) -> Examination {
    let mut command = place.command(keywheel());
    command.args(words(place, paths));
    examine_with(place, command)
}

/// The words for it.
pub fn words(place: &Place, paths: &[&str]) -> Vec<String> {
    let mut words = vec!["doctor".to_owned(), "--json".to_owned()];
    let units = ["units", "cron.d", "crontabs"].into_iter().filter(|folder| place.file(folder).is_dir());
    let units: Vec<&str> = units.collect();
    // Without a folder of its own, the units of this machine would be looked at.
    for folder in if units.is_empty() { vec!["."] } else { units } {
        words.extend(["--unit-path".to_owned(), folder.to_owned()]);
    }
    words.extend(paths.iter().map(|path| (*path).to_owned()));
    words
}

/// The same by another command line.
#[track_caller]
pub fn examine_with(place: &Place, mut command: Command) -> Examination {
    let before = tree(place.path());
    let done: Done = command.output().expect("it can be started").into();
    assert_eq!(tree(place.path()), before, "the doctor has changed something");
    let value: Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", done.stdout, done.stderr));
    let errors = value["errors"].as_u64().expect("errors are counted");
    assert_eq!(done.code, i32::from(errors > 0), "the exit code says something else: {}", done.stderr);
    for finding in value["findings"].as_array().expect("there is a list") {
        if let Some(fix) = finding["fix"].as_str() {
            let parsed = Command::new("sh").args(["-n", "-c", fix]).status();
            assert!(parsed.is_ok_and(|status| status.success()), "no shell takes this: {fix}");
        }
    }
    Examination { code: done.code, value }
}

impl Examination {
    /// The identifiers of all findings, in order.
    pub fn ids(&self) -> Vec<&str> {
        self.findings().iter().filter_map(|finding| finding["id"].as_str()).collect()
    }

    /// The identifiers of what is more than information.
    pub fn problems(&self) -> Vec<&str> {
        let real = self.findings().iter().filter(|finding| finding["severity"] != "info");
        real.filter_map(|finding| finding["id"].as_str()).collect()
    }

    /// The one finding of a kind.
    #[track_caller]
    pub fn one(&self, id: &str) -> &Value {
        let mut all = self.findings().iter().filter(|finding| finding["id"] == id);
        let first = all.next().unwrap_or_else(|| panic!("{id} was not found: {:#}", self.value));
        assert!(all.next().is_none(), "{id} was found twice: {:#}", self.value);
        first
    }

    /// The files of the one finding of a kind.
    #[track_caller]
    pub fn files(&self, id: &str) -> Vec<&str> {
        self.one(id)["files"].as_array().expect("a list").iter().filter_map(Value::as_str).collect()
    }

    /// What to type for the one finding of a kind.
    #[track_caller]
    pub fn fix(&self, id: &str) -> &str {
        self.one(id)["fix"].as_str().unwrap_or_else(|| panic!("{id} has no fix: {:#}", self.value))
    }

    fn findings(&self) -> &[Value] {
        self.value["findings"].as_array().expect("there is a list")
    }
}

/// Pastes a line into a shell. There is no systemd to be told here.
#[track_caller]
pub fn paste(place: &Place, line: &str) {
    place.run("sh", &["-ec", &format!("systemctl() {{ :; }}\n{line}")]).ok();
}

/// A key and a certificate of its own, by openssl, good for 90 days, with the names of the subject.
pub fn pair(place: &Place, subject: &str, certificate: &str, key: &str) {
    new_key(place, key);
    certify(place, subject, certificate, key, &[]);
}

/// A key on P-256.
pub fn new_key(place: &Place, key: &str) {
    make_folder(place, key);
    place.run("openssl", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key]).ok();
    set_mode(place, key, 0o600);
}

/// A certificate of a key that is there.
pub fn certify(place: &Place, subject: &str, certificate: &str, key: &str, more: &[&str]) {
    make_folder(place, certificate);
    let name = format!("/CN={subject}");
    let alternative = format!("subjectAltName=DNS:{subject}");
    let words = ["req", "-x509", "-new", "-key", key, "-out", certificate, "-subj", &name, "-addext", &alternative];
    // What a service shows is no CA.
    let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
    let days = if more.contains(&"-days") { &[][..] } else { &["-days", "90"] };
    place.run("openssl", &[&words[..], &leaf, days, more].concat()).ok();
}

/// A CA's certificate, to be the rest of a chain.
pub fn authority(place: &Place, certificate: &str) {
    make_folder(place, certificate);
    let words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "900"];
    place
        .run("openssl", &[&words[..], &["-keyout", "/dev/null", "-out", certificate, "-subj", "/CN=A CA"]].concat())
        .ok();
}

/// Sets the permission bits of a file.
pub fn set_mode(place: &Place, file: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(place.file(file), std::fs::Permissions::from_mode(mode)).expect("the mode can be set");
}

fn make_folder(place: &Place, file: &str) {
    let path = place.file(file);
    std::fs::create_dir_all(path.parent().expect("it stands in a folder")).expect("the folder can be made");
}

/// All that is below a folder: kind, mode, owner, times and content. Reading may change the time of the last access alone.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    collect(folder, &mut all);
    all
}

fn collect(path: &Path, all: &mut BTreeMap<String, String>) {
    let meta = path.symlink_metadata().expect("it is there");
    let mut hasher = DefaultHasher::new();
    if meta.is_file() {
        std::fs::read(path).expect("root reads everything").hash(&mut hasher);
    } else if meta.is_symlink() {
        std::fs::read_link(path).expect("a link says something").hash(&mut hasher);
    }
    let facts = format!(
        "{:o} {}:{} {} {}.{} {}.{} {:x}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.ino(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
        hasher.finish()
    );
    all.insert(path.display().to_string(), facts);
    // A CA that runs writes to its database at any time.
    if meta.is_dir() && !path.ends_with("step/db") {
        for entry in std::fs::read_dir(path).expect("it can be listed") {
            collect(&entry.expect("it can be listed").path(), all);
        }
    }
}
