//! The crash report: the suites with their full counts, and docs/reference/crash-report.md made of what they recorded.

mod machine;
mod page;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use page::{PARTS, Part};
use serde_json::Value;

use crate::bench::process::programs;
use crate::prepare;
use crate::run::{root, run, run_with};

const PAGE: &str = "docs/reference/crash-report.md";

/// Runs the suites of all parts, or of one, and renews its tables on the page. A part whose suite fails keeps its old tables.
pub fn crash(only: Option<&str>) -> Result<()> {
    let parts: Vec<&Part> = PARTS.iter().filter(|part| only.is_none_or(|only| only == part.name)).collect();
    if parts.is_empty() {
        bail!("there is no part {}; there are {}", only.unwrap_or_default(), names());
    }
    prepare::prepare()?;
    run("cargo", &["build", "--release", "--locked", "-p", "keywheel"])?;
    let binary = programs().join("keywheel");
    let mut failed = Vec::new();
    for part in parts {
        match measure(part, &binary) {
            Ok(tables) => write(part, &tables)?,
            Err(error) => failed.push(format!("{}: {error:#}", part.name)),
        }
    }
    if !failed.is_empty() {
        bail!("these parts failed, their old tables stay: {}", failed.join("; "));
    }
    Ok(())
}

/// Names of the parts, for people.
pub fn names() -> String {
    PARTS.iter().map(|part| part.name).collect::<Vec<_>>().join(", ")
}

/// Runs the suites of a part; what each recorded, in the order of the page.
fn measure(part: &Part, binary: &Path) -> Result<Vec<Value>> {
    let folder: PathBuf = root().join("target/report").join(part.name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let (folder_text, binary) = (folder.to_string_lossy(), binary.to_string_lossy());
    let environment = [
        ("KEYWHEEL_FULL", "1"),
        ("KEYWHEEL_REPORT", &*folder_text),
        ("KEYWHEEL_BINARY", &*binary),
        ("KEYWHEEL_REQUIRE_PEERS", "1"),
    ];
    for suite in part.suites {
        let mut words = vec!["test", "--locked", "-p", "keywheel-tests", "--test"];
        words.extend(suite.iter());
        run_with("cargo", &words, &environment)?;
    }
    part.tables
        .iter()
        .map(|table| {
            let path = folder.join(table.name).with_extension("json");
            // What no suite recorded is shown as such.
            let Ok(text) = std::fs::read_to_string(&path) else { return Ok(Value::Null) };
            serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
        })
        .collect()
}

fn write(part: &Part, tables: &[Value]) -> Result<()> {
    let path = root().join(PAGE);
    let there = std::fs::read_to_string(&path).with_context(|| format!("{PAGE} cannot be read"))?;
    let text = page::with_part(&there, part, &part.rendered(tables, &machine::description()))?;
    std::fs::write(&path, text).with_context(|| format!("{PAGE} cannot be written"))?;
    println!("wrote the part {} of {PAGE}", part.name);
    Ok(())
}
