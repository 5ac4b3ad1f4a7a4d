//! Installs what the tests need and a new machine lacks: Debian packages where root, the peers by name and version.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::{output, root, run, run_with};

/// A program that must be on the machine, and the Debian package that brings it.
const DEBIAN: &[(&str, &str)] = &[
    ("/usr/bin/gcc", "gcc"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/ssh-keygen", "openssh-client"),
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/python3", "python3-venv"),
    ("/usr/bin/strace", "strace"),
    ("/usr/bin/faketime", "faketime"),
    ("/usr/bin/mandoc", "mandoc"),
    ("/usr/bin/systemd-analyze", "systemd"),
    ("/usr/bin/keytool", "default-jre-headless"),
    ("/usr/sbin/nginx", "nginx-light"),
    ("/usr/sbin/haproxy", "haproxy"),
    ("/usr/lib/dovecot/imap", "dovecot-imapd"),
    ("/usr/lib/dovecot/pop3", "dovecot-pop3d"),
    ("/usr/lib/dovecot/lmtp", "dovecot-lmtpd"),
    ("/usr/lib/dovecot/managesieve", "dovecot-managesieved"),
    ("/usr/sbin/postfix", "postfix"),
    ("/usr/sbin/vsftpd", "vsftpd"),
    ("/usr/sbin/slapd", "slapd"),
    ("/usr/sbin/mariadbd", "mariadb-server-core"),
    ("/usr/bin/prosody", "prosody"),
    ("/usr/lib/softhsm/libsofthsm2.so", "softhsm2"),
    ("/usr/lib/postgresql/15/bin/postgres", "postgresql-15"),
];

const CARGO_DENY: &str = "0.20.2";
const PKILINT: &str = "0.13.3";
/// Looks keys up in lists of known ones, as our CA does.
const BADKEYS: &str = "0.0.21";
/// Judges what is said in JSON by the published schemas.
const CHECK_JSONSCHEMA: &str = "0.39.0";
/// Makes, and breaks, the files that the doctor examines.
const CERTBOT: &str = "5.1.0";
/// The reference's client and CA: test peers, by name and version.
pub const STEP: &str = "github.com/smallstep/cli/cmd/step@v0.30.6";
const STEP_CA: &str = "github.com/smallstep/certificates/cmd/step-ca@v0.30.2";

/// Installs what is missing; what is there in the right version is left alone.
pub fn prepare() -> Result<()> {
    debian_packages()?;
    rust_components()?;
    cargo_deny()?;
    go_peer("step", STEP)?;
    go_peer("step-ca", STEP_CA)?;
    step_ca_with_tokens()?;
    python_peer("pkilint", PKILINT)?;
    python_peer("badkeys", BADKEYS)?;
    python_peer("check-jsonschema", CHECK_JSONSCHEMA)?;
    python_peer("certbot", CERTBOT)
}

fn debian_packages() -> Result<()> {
    let missing: Vec<&str> =
        DEBIAN.iter().filter(|(program, _)| !on_machine(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let root_user = output("id", &["-u"]).is_some_and(|id| id.trim() == "0");
    if !root_user {
        bail!("the tests need Debian packages that are missing; type: sudo apt-get install {}", missing.join(" "));
    }
    run("apt-get", &["update", "-q"])?;
    let mut words = vec!["install", "-q", "-y", "--no-install-recommends"];
    words.extend(missing);
    run_with("apt-get", &words, &[("DEBIAN_FRONTEND", "noninteractive")])
}

/// Whether a program is there, by its Debian path or anywhere on the search path.
fn on_machine(program: &str) -> bool {
    let path = PathBuf::from(program);
    let name = path.file_name().unwrap_or_default().to_os_string();
    path.exists()
        || std::env::var_os("PATH")
            .is_some_and(|all| std::env::split_paths(&all).any(|folder| folder.join(&name).exists()))
}

fn rust_components() -> Result<()> {
    let ready = output("cargo", &["fmt", "--version"]).is_some() && output("cargo", &["clippy", "--version"]).is_some();
    if ready {
        return Ok(());
    }
    run("rustup", &["component", "add", "rustfmt", "clippy"])
}

fn cargo_deny() -> Result<()> {
    if output("cargo", &["deny", "--version"]).is_some_and(|line| line.contains(CARGO_DENY)) {
        return Ok(());
    }
    // Unoptimised: it runs once, and compiles in a third of the time.
    run("cargo", &["install", "cargo-deny", "--version", CARGO_DENY, "--locked", "--debug"])
}

fn go_peer(name: &str, package: &str) -> Result<()> {
    if output("go", &["version"]).is_none() {
        println!("{name}: NOT INSTALLED, there is no Go on this machine; the suites that need it will fail");
        return Ok(());
    }
    if is_built(&go_bin()?.join(name), package)? {
        return Ok(());
    }
    // Without cgo step-ca needs no smart-card library.
    run_with("go", &["install", package], &[("CGO_ENABLED", "0")])
}

/// The step-ca that its own project builds knows no PKCS#11 tokens; this one does.
fn step_ca_with_tokens() -> Result<()> {
    let folder = root().join("target/step-ca-pkcs11");
    if output("go", &["version"]).is_none() || is_built(&folder.join("step-ca"), STEP_CA)? {
        return Ok(());
    }
    // YubiKeys need another library, and are not what is tested.
    let environment = [("CGO_ENABLED", "1"), ("GOBIN", &*folder.to_string_lossy())];
    run_with("go", &["install", "-tags", "noyubikey", STEP_CA], &environment)
}

/// Whether a program of Go is there in the version of its package.
fn is_built(program: &Path, package: &str) -> Result<bool> {
    let (_, version) = package.split_once("@v").context("a peer is named package@vVERSION")?;
    let module = output("go", &["version", "-m", &program.to_string_lossy()]).unwrap_or_default();
    Ok(module.lines().any(|line| line.trim_start().starts_with("mod") && line.contains(&format!("v{version}"))))
}

/// Where `go install` puts programs; the tests look there too.
pub fn go_bin() -> Result<PathBuf> {
    let answer = output("go", &["env", "GOBIN", "GOPATH"]).context("go env failed")?;
    let mut lines = answer.lines();
    let (bin, path) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    Ok(if bin.is_empty() { PathBuf::from(path).join("bin") } else { PathBuf::from(bin) })
}

/// Each program of PyPI lives in an environment of its own, so that no Python of the machine is changed.
fn python_peer(name: &str, version: &str) -> Result<()> {
    let home = root().join("target").join(name);
    let python = home.join("bin/python");
    let wanted = format!("{name}=={version}");
    let python_name = python.to_string_lossy().into_owned();
    if output(&python_name, &["-m", "pip", "freeze"]).is_some_and(|list| list.lines().any(|line| line == wanted)) {
        return Ok(());
    }
    run("python3", &["-m", "venv", &home.to_string_lossy()])?;
    run(&python_name, &["-m", "pip", "install", "-q", "--disable-pip-version-check", &wanted])
}
