//! Which tool keeps a certificate, and how one asks that tool for another: the commands to paste.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::scene::{Scene, join, split};
use super::{Certificate, File, Setting, words};

/// Commands, one after the other.
pub(super) type Steps = Vec<Vec<String>>;

/// The tool that keeps a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Manager {
    /// certbot, with the folder of `live`, and the name of the lineage.
    Certbot { root: String, name: String },
    /// acme.sh, with the domain's settings.
    AcmeSh { settings: String, domain: String },
    /// lego, with the folder above `certificates`.
    Lego { root: String, domain: String },
    /// Caddy, with the folder of the site.
    Caddy { site: String },
    /// A step CA's client, or nobody.
    Plain,
}

/// What an order is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The pair cannot be used: another certificate with another key.
    Again,
    /// The pair works: a new key for it.
    NewKey,
    /// The pair works, its key is weak.
    StrongKey,
    /// The certificate is nearly over.
    Renew,
}

impl Manager {
    /// Finds out by the names of files, and by the settings beside them.
    pub(super) fn of(scene: &Scene<'_>, file: &File) -> Self {
        Self::certbot(scene, file)
            .or_else(|| Self::by_settings(scene, file))
            .or_else(|| Self::caddy(file))
            .unwrap_or(Self::Plain)
    }

    /// The commands for an order; none where no command can do it.
    pub(super) fn order(&self, order: Order, certificate: &File, key: &File) -> Option<Steps> {
        match self {
            Self::Certbot { root, name } => {
                let mut all = words(["certbot", "renew", "--cert-name", name, "--force-renewal"]);
                match order {
                    Order::NewKey => all.push("--no-reuse-key".into()),
                    Order::StrongKey => all.extend(words(["--new-key", "--key-type", "ecdsa"])),
                    Order::Again | Order::Renew => {}
                }
                if root != "/etc/letsencrypt" {
                    all.extend(words(["--config-dir", root]));
                }
                Some(vec![all])
            }
            Self::AcmeSh { settings, domain } => Some(acme_sh(order, settings, domain)),
            Self::Lego { root, domain } => {
                let mut all = words(["lego", "--path", root, "--domains", domain, "--http"]);
                match order {
                    Order::Again => all.push("run".into()),
                    _ => all.extend(words(["renew", "--days", "10000"])),
                }
                Some(vec![all])
            }
            // Caddy reads its store at the start only, and fetches what is not there.
            Self::Caddy { site } => {
                let aside = format!("{site}.broken");
                Some(vec![words(["mv", "-T", "--", site, &aside]), words(["systemctl", "restart", "caddy"])])
            }
            Self::Plain => plain(order, certificate, key),
        }
    }

    fn certbot(scene: &Scene<'_>, file: &File) -> Option<Self> {
        let (above, name) = split(file.folder());
        let (root, kind) = split(above);
        if !["live", "archive"].contains(&kind) || !file.name().ends_with(".pem") {
            return None;
        }
        let known = |setting: &Setting| matches!(setting, Setting::Certbot { root: own, name: lineage, .. } if own == root && lineage == name);
        let link = join(&join(&join(root, "live"), name), "privkey.pem");
        let linked = scene.file(&link).is_some_and(|link| link.link.is_some());
        let known = linked || scene.estate.settings.iter().any(known);
        known.then(|| Self::Certbot { root: root.into(), name: name.into() })
    }

    fn by_settings(scene: &Scene<'_>, file: &File) -> Option<Self> {
        scene.estate.settings.iter().find_map(|setting| match setting {
            Setting::AcmeSh { file: settings, domain, certificates, key, .. } => {
                let copied = certificates.iter().chain(key).any(|copy| *copy == file.path || *copy == file.real);
                let kept = file.folder() == split(settings).0;
                (kept || copied).then(|| Self::AcmeSh { settings: settings.clone(), domain: domain.clone() })
            }
            Setting::Lego { file: resource, domain } => {
                let (folder, name) = split(resource);
                let stem = name.strip_suffix(".json")?;
                let kept = file.folder() == folder && file.name().strip_prefix(stem)?.starts_with('.');
                kept.then(|| Self::Lego { root: split(folder).0.into(), domain: domain.clone() })
            }
            Setting::Certbot { .. } | Setting::Agent { .. } | Setting::Reuse { .. } => None,
        })
    }

    fn caddy(file: &File) -> Option<Self> {
        let (stem, extension) = file.name().rsplit_once('.')?;
        let (issuers, site) = split(file.folder());
        let (store, _issuer) = split(issuers);
        let fits = site == stem && ["crt", "key"].contains(&extension) && split(store).1 == "certificates";
        fits.then(|| Self::Caddy { site: file.folder().into() })
    }
}

fn acme_sh(order: Order, settings: &str, domain: &str) -> Steps {
    let folder = split(settings).0;
    let (home, name) = split(folder);
    let mut steps = Vec::new();
    if matches!(order, Order::NewKey | Order::StrongKey | Order::Again) {
        steps.push(new_key_setting(settings));
    }
    if order == Order::StrongKey && !name.ends_with("_ecc") {
        steps.push(words(["sed", "-i", "s/^Le_Keylength=.*/Le_Keylength='3072'/", settings]));
    }
    let mut renew = words(["acme.sh", "--renew", "--force", "--domain", domain]);
    if name.ends_with("_ecc") {
        renew.push("--ecc".into());
    }
    if !home.ends_with("/.acme.sh") {
        renew.extend(words(["--config-home", home]));
    }
    steps.push(renew);
    steps
}

/// acme.sh makes a new key for each certificate only where its settings say so.
pub(super) fn new_key_setting(settings: &str) -> Vec<String> {
    let line = "$a Le_ForceNewDomainKey='1'";
    words(["sed", "-i", "-e", "/^Le_ForceNewDomainKey=/d", "-e", line, settings])
}

fn plain(order: Order, certificate: &File, key: &File) -> Option<Steps> {
    let leaf = certificate.leaf();
    // A CA is not turned by a command that asks a CA.
    if leaf.is_some_and(|leaf| leaf.is_ca) {
        return None;
    }
    let both = if certificate.path == key.path {
        vec!["--combined".into(), operand(&key.path)]
    } else {
        vec![operand(&certificate.path), operand(&key.path)]
    };
    let mut all = match order {
        Order::Again if certificate.path == key.path => return None,
        Order::Again => again(leaf, certificate),
        Order::StrongKey => words(["keywheel", "ca", "rekey", "--force", "--kty", "EC", "--crv", "P-256"]),
        Order::NewKey | Order::Renew => words(["keywheel", "ca", "rekey", "--force"]),
    };
    all.extend(both);
    Some(vec![all])
}

/// A certificate for the same names; where they cannot be read any more, for the name of the file.
fn again(leaf: Option<&Certificate>, certificate: &File) -> Vec<String> {
    let mut all = words(["keywheel", "ca", "certificate", "--force"]);
    let Some(leaf) = leaf else {
        let name = certificate.name();
        all.push(name.rsplit_once('.').map_or(name, |(stem, _)| stem).into());
        return all;
    };
    if leaf.names != [leaf.subject.clone()] {
        for name in &leaf.names {
            all.extend(words(["--san", name]));
        }
    }
    all.push(operand(&leaf.subject));
    all
}

/// A file that no tool takes for a flag.
pub(super) fn operand(path: &str) -> String {
    if path.starts_with('-') { format!("./{path}") } else { path.into() }
}
