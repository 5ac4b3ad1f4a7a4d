//! The import table: which room may import which, and which outside crates belong to one room alone.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::run::{output, root};

/// The rooms, and the rooms of ours that each may import.
const ROOMS: &[(&str, &[&str])] = &[
    ("keywheel-core", &[]),
    ("keywheel-wire", &["keywheel-core"]),
    ("keywheel-store", &["keywheel-core"]),
    ("keywheel-signer", &["keywheel-core", "keywheel-wire"]),
    ("keywheel-reach", &["keywheel-core", "keywheel-wire"]),
    ("keywheel-engine", &["keywheel-core", "keywheel-wire", "keywheel-store", "keywheel-signer", "keywheel-reach"]),
    ("keywheel-server", &["keywheel-core", "keywheel-wire", "keywheel-store", "keywheel-engine"]),
    (
        "keywheel",
        &[
            "keywheel-core",
            "keywheel-wire",
            "keywheel-store",
            "keywheel-signer",
            "keywheel-reach",
            "keywheel-engine",
            "keywheel-server",
        ],
    ),
];

/// Outside crates that only the named rooms may import. What is not listed here is open to every room but core.
const OWNED: &[(&str, &[&str])] = &[
    ("axum", &["keywheel-server"]),
    ("base64ct", &["keywheel-core", "keywheel-wire"]),
    ("clap", &["keywheel"]),
    ("clap_complete", &["keywheel"]),
    ("clap_mangen", &["keywheel"]),
    ("cryptoki", &["keywheel-signer"]),
    ("der", &["keywheel-wire"]),
    ("gotmpl", &["keywheel-wire"]),
    ("http-body-util", &["keywheel-server"]),
    ("hyper", &["keywheel-server"]),
    ("hyper-util", &["keywheel-server"]),
    ("md-5", &["keywheel-wire"]),
    ("metrics", &["keywheel-server"]),
    ("metrics-exporter-prometheus", &["keywheel-server"]),
    ("notify", &["keywheel-reach"]),
    ("num-bigint", &["keywheel-core"]),
    ("pkcs1", &["keywheel-wire"]),
    ("pkcs8", &["keywheel-wire"]),
    ("reqwest", &["keywheel-reach"]),
    ("rusqlite", &["keywheel-store"]),
    ("rustls-pki-types", &["keywheel-wire", "keywheel-reach", "keywheel-engine", "keywheel-server"]),
    ("sec1", &["keywheel-wire"]),
    ("shlex", &["keywheel-reach", "keywheel-engine"]),
    ("sqlx", &["keywheel-store"]),
    ("toml", &["keywheel-engine"]),
    ("tower", &["keywheel-server"]),
];

/// What core may import from outside: calendars, arithmetic and error texts, all without an operating system.
const CORE_OUTSIDE: &[&str] = &["base64ct", "jiff", "num-bigint", "thiserror"];

/// Rooms that know no runtime.
const WITHOUT_TOKIO: &[&str] = &["keywheel-core", "keywheel-wire", "keywheel-signer"];

/// Every edge between crates that the table does not allow, as a sentence each.
pub fn findings() -> Result<Vec<String>> {
    let metadata = output("cargo", &["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .context("cargo metadata failed; is Cargo.lock up to date?")?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let rooms: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(allowed) = rooms.get(name) else {
            let outside = ["keywheel-tests", "xtask"].contains(&name);
            if !outside {
                found.push(format!("crate {name} is in no row of the import table (xtask/src/imports.rs)"));
            }
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            // What only tests use is not an edge of the house.
            if dependency["kind"].as_str() == Some("dev") {
                continue;
            }
            let wanted = dependency["name"].as_str().unwrap_or_default();
            if let Some(sentence) = refusal(name, wanted, allowed) {
                found.push(sentence);
            }
        }
    }
    let core = std::fs::read_to_string(root().join("crates/keywheel-core/src/lib.rs"))?;
    if !core.contains("#![no_std]") {
        found.push("keywheel-core must be no_std: that keeps clock, files and sockets out of it".into());
    }
    Ok(found)
}

fn refusal(room: &str, wanted: &str, allowed: &[&str]) -> Option<String> {
    let ours = ROOMS.iter().any(|(name, _)| *name == wanted) || ["keywheel-tests", "xtask"].contains(&wanted);
    if ours {
        return (!allowed.contains(&wanted)).then(|| format!("{room} may not import {wanted}"));
    }
    if room == "keywheel-core" && !CORE_OUTSIDE.contains(&wanted) {
        return Some(format!("keywheel-core may not import {wanted}: it knows no clock, chance, I/O or serialisation"));
    }
    if wanted == "tokio" && WITHOUT_TOKIO.contains(&room) {
        return Some(format!("{room} may not import tokio"));
    }
    let (_, owners) = OWNED.iter().find(|(name, _)| *name == wanted)?;
    (!owners.contains(&room)).then(|| format!("{room} may not import {wanted}: it belongs to {}", owners.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_may_not_reach_out() {
        assert!(refusal("keywheel-store", "keywheel-reach", &["keywheel-core"]).is_some());
    }

    #[test]
    fn core_may_not_import_serde() {
        assert!(refusal("keywheel-core", "serde", &[]).is_some());
    }

    #[test]
    fn only_the_store_speaks_sql() {
        assert!(refusal("keywheel-engine", "sqlx", &[]).is_some());
        assert!(refusal("keywheel-store", "sqlx", &[]).is_none());
    }

    #[test]
    fn the_rooms_of_this_workspace_keep_to_the_table() {
        assert_eq!(findings().expect("cargo metadata runs"), Vec::<String>::new());
    }
}
