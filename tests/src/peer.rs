//! The real programs that judge ours: found where their installers put them, missed aloud.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder in which `go install` puts programs, if there is Go.
pub fn go_folder() -> Option<&'static PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let answer = Command::new("go").args(["env", "GOBIN", "GOPATH"]).output().ok()?;
            let text = String::from_utf8(answer.stdout).ok()?;
            let mut lines = text.lines();
            let (bin, path) = (lines.next()?, lines.next()?);
            Some(if bin.is_empty() { Path::new(path).join("bin") } else { bin.into() })
        })
        .as_ref()
}

/// The real `step`, or `None` after saying aloud what is skipped.
pub fn step() -> Option<PathBuf> {
    go_peer("step")
}

/// The real `step-ca`, or `None` after saying aloud what is skipped.
pub fn step_ca() -> Option<PathBuf> {
    go_peer("step-ca")
}

/// A `step-ca` that was built with PKCS#11, which its project's own is not.
pub fn step_ca_with_tokens() -> Option<PathBuf> {
    found("step-ca with PKCS#11", Some(crate::place::repository().join("target/step-ca-pkcs11/step-ca")))
}

/// The Python of the environment that `cargo xtask prepare` makes for pkilint.
pub fn pkilint(program: &str) -> Option<PathBuf> {
    python_peer("pkilint", program)
}

/// badkeys, in the environment that `cargo xtask prepare` makes for it.
pub fn badkeys() -> Option<PathBuf> {
    python_peer("badkeys", "badkeys")
}

/// check-jsonschema, in the environment that `cargo xtask prepare` makes for it.
pub fn check_jsonschema() -> Option<PathBuf> {
    python_peer("check-jsonschema", "check-jsonschema")
}

/// The program that makes tokens of SoftHSM.
pub fn softhsm() -> Option<PathBuf> {
    found("softhsm2-util", Some("/usr/bin/softhsm2-util".into()))
}

/// Java's own tool for key stores.
pub fn keytool() -> Option<PathBuf> {
    found("keytool", Some("/usr/bin/keytool".into()))
}

/// A program of certbot's environment, which `cargo xtask prepare` makes: `certbot`, or the `python` that knows its code.
pub fn certbot(program: &str) -> Option<PathBuf> {
    python_peer("certbot", program)
}

/// The library of faketime, which turns the clock of a program that is started with it.
pub fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found("faketime", libraries.find(|library| library.exists()))
}

fn python_peer(package: &str, program: &str) -> Option<PathBuf> {
    found(program, Some(crate::place::repository().join("target").join(package).join("bin").join(program)))
}

fn go_peer(name: &str) -> Option<PathBuf> {
    found(name, go_folder().map(|folder| folder.join(name)))
}

/// A missing peer is a failure where all peers are required, as in CI, and a loud skip elsewhere.
fn found(name: &str, path: Option<PathBuf>) -> Option<PathBuf> {
    let path = path.filter(|path| path.exists());
    if path.is_none() {
        let required = std::env::var_os("KEYWHEEL_REQUIRE_PEERS").is_some();
        assert!(!required, "{name} is not installed; `cargo xtask prepare` installs it");
        eprintln!("SKIPPED: {name} is not installed, so this is not judged by it; `cargo xtask prepare` installs it");
    }
    path
}
