//! Where certificates, keys and what renews them are kept, as a rule.

use std::path::{Path, PathBuf};

/// Where certificates and keys are kept: what of it there is.
pub fn usual(step: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let mut all = vec![step.join("certs"), step.join("secrets")];
    if let Some(home) = home {
        all.extend([".acme.sh", ".lego", ".local/share/caddy", ".local/share/certmagic"].map(|name| home.join(name)));
    }
    let of_the_system = [
        "/etc/letsencrypt",
        "/etc/acme.sh",
        "/etc/lego",
        "/var/lib/lego",
        "/etc/caddy",
        "/var/lib/caddy/.local/share/caddy",
        "/etc/step",
        "/etc/step-ca",
        "/etc/keywheel",
        "/etc/ssl",
        "/etc/pki/tls",
    ];
    all.extend(of_the_system.map(PathBuf::from));
    there(all)
}

/// Where the system keeps its services and its cron jobs: what of it there is. The first one wins.
pub fn units(home: Option<&Path>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = [
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/etc/crontab",
        "/etc/cron.d",
        "/etc/cron.hourly",
        "/etc/cron.daily",
        "/etc/cron.weekly",
        "/etc/cron.monthly",
        "/var/spool/cron/crontabs",
        "/var/spool/cron/tabs",
        "/var/spool/cron",
    ]
    .map(PathBuf::from)
    .to_vec();
    all.extend(home.map(|home| home.join(".config/systemd/user")));
    there(all)
}

fn there(all: Vec<PathBuf>) -> Vec<PathBuf> {
    all.into_iter().filter(|path| path.exists()).collect()
}
