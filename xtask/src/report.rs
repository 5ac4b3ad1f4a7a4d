//! The crash report: the suites with their full counts, and docs/reference/crash-report.md made of what they recorded.

mod machine;
mod page;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use page::{PARTS, Part};
use serde_json::Value;

use crate::bench::process::programs;
use crate::prepare;
use crate::run::{output, root, run, run_with};

const PAGE: &str = "docs/reference/crash-report.md";

/// Beside the records: what they were measured on.
const MEASURED_ON: &str = "measured-on.txt";

/// Runs the suites of all parts, or of one, and renews its tables on the page after each suite.
///
/// With `KEYWHEEL_BINARY` that program is measured, otherwise a release build.
pub fn crash(only: Option<&str>) -> Result<()> {
    let parts = chosen(only)?;
    prepare::prepare()?;
    let given = std::env::var_os("KEYWHEEL_BINARY").map(PathBuf::from);
    if given.is_none() {
        run("cargo", &["build", "--release", "--locked", "-p", "keywheel"])?;
    }
    let binary = given.unwrap_or_else(|| programs().join("keywheel"));
    let mut failed = Vec::new();
    for part in parts {
        if let Err(error) = measure(part, &binary) {
            failed.push(format!("{}: {error:#}", part.name));
        }
    }
    if !failed.is_empty() {
        bail!("these parts were not measured to their end: {}", failed.join("; "));
    }
    Ok(())
}

/// Writes the page again from what was recorded before, in target/report.
pub fn render(only: Option<&str>) -> Result<()> {
    chosen(only)?.into_iter().filter(|part| folder_of(part).is_dir()).try_for_each(write)
}

fn chosen(only: Option<&str>) -> Result<Vec<&'static Part>> {
    let parts: Vec<&Part> = PARTS.iter().filter(|part| only.is_none_or(|only| only == part.name)).collect();
    if parts.is_empty() {
        let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        bail!("there is no part {}; there are {}", only.unwrap_or_default(), names.join(", "));
    }
    Ok(parts)
}

fn folder_of(part: &Part) -> PathBuf {
    root().join("target/report").join(part.name)
}

/// What takes an hour works on copies: programs that are built anew meanwhile are not what is measured.
fn measure(part: &Part, binary: &Path) -> Result<()> {
    let folder = folder_of(part);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let binary = copy(binary, &folder)?;
    let mut suites = Vec::new();
    for (suite, filter) in part.suites {
        suites.push((copy(&suite_program(suite)?, &folder)?, filter));
    }
    std::fs::write(folder.join(MEASURED_ON), machine::description())?;
    for (program, filter) in suites {
        let environment = [
            ("KEYWHEEL_FULL", "1"),
            ("KEYWHEEL_REPORT", &*folder.to_string_lossy()),
            ("KEYWHEEL_BINARY", &*binary.to_string_lossy()),
            ("KEYWHEEL_REQUIRE_PEERS", "1"),
        ];
        run_with(&program.to_string_lossy(), filter, &environment)?;
        write(part)?;
    }
    Ok(())
}

fn copy(program: &Path, folder: &Path) -> Result<PathBuf> {
    let to = folder.join(program.file_name().context("a program has a name")?);
    std::fs::copy(program, &to).with_context(|| format!("{} cannot be copied", program.display()))?;
    Ok(to)
}

/// Builds the program of a suite and says where it is.
fn suite_program(suite: &str) -> Result<PathBuf> {
    let words = ["test", "--locked", "-p", "keywheel-tests", "--test", suite, "--no-run", "--message-format", "json"];
    let messages = output("cargo", &words).with_context(|| format!("the suite {suite} does not compile"))?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = messages.filter(|message| message["target"]["name"] == suite);
    let program = built.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    program.with_context(|| format!("cargo does not say where the suite {suite} is"))
}

/// What each suite recorded so far, in the order of the page; nothing where it did not.
fn records(part: &Part, folder: &Path) -> Result<Vec<Value>> {
    let read = |name: &str| {
        let path = folder.join(name).with_extension("json");
        let Ok(text) = std::fs::read_to_string(&path) else { return Ok(Value::Null) };
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
    };
    part.tables.iter().map(|table| read(table.name)).collect()
}

fn write(part: &Part) -> Result<()> {
    let folder = folder_of(part);
    let machine = std::fs::read_to_string(folder.join(MEASURED_ON))
        .with_context(|| format!("{} does not say what it was measured on", folder.display()))?;
    let tables = records(part, &folder)?;
    let path = root().join(PAGE);
    let there = std::fs::read_to_string(&path).with_context(|| format!("{PAGE} cannot be read"))?;
    let text = page::with_part(&there, part, &part.rendered(&tables, machine.trim()))?;
    std::fs::write(&path, text).with_context(|| format!("{PAGE} cannot be written"))?;
    println!("wrote the part {} of {PAGE}", part.name);
    Ok(())
}
