//! The house rules that a machine can check: heads, lengths and names of files, and a map that does not lie.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::{output, root};
use crate::{generate, imports};

const LONGEST_FILE: usize = 800;
const DRAWERS: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "misc", "types", "shared", "manager", "base"];

/// Fails with every finding, one a line.
pub fn tidy() -> Result<()> {
    let mut found = imports::findings()?;
    let files = tracked()?;
    for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs")) {
        found.extend(rust_file(file, &read(file)?));
    }
    found.extend(map(&files)?);
    for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "md")) {
        found.extend(links(file, &read(file)?));
    }
    found.extend(generate::stale()?);
    if !found.is_empty() {
        bail!("tidy found {}:\n  {}", found.len(), found.join("\n  "));
    }
    println!("tidy: {} files, nothing found", files.len());
    Ok(())
}

/// The files of the repository, as git knows them: tracked, or new and not ignored.
fn tracked() -> Result<Vec<PathBuf>> {
    let list =
        output("git", &["ls-files", "--cached", "--others", "--exclude-standard"]).context("git ls-files failed")?;
    Ok(list.lines().map(PathBuf::from).filter(|path| root().join(path).is_file()).collect())
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(root().join(file)).with_context(|| format!("{} could not be read", file.display()))
}

fn rust_file(file: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let shown = file.display();
    if !text.starts_with("//!") && !text.starts_with("#!") {
        found.push(format!("{shown}: open the file with a `//!` sentence that says what it is for"));
    }
    let lines = text.lines().count();
    if lines > LONGEST_FILE && !file.starts_with("tests/tables") {
        found.push(format!("{shown}: {lines} lines, {LONGEST_FILE} at most; it wants to be two files"));
    }
    let names = file.components().filter_map(|part| Path::new(part.as_os_str()).file_stem());
    for name in names.filter_map(|name| name.to_str()).filter(|name| DRAWERS.contains(name)) {
        found.push(format!("{shown}: `{name}` is a drawer, not a name; say what is in it"));
    }
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let at = number + 1;
        if line.starts_with("fn test_") || line.starts_with("async fn test_") {
            found.push(format!("{shown}:{at}: name the test with a sentence"));
        }
        if line.starts_with(concat!("#[", "ignore")) {
            found.push(format!("{shown}:{at}: no test is ignored"));
        }
        let shared_name = line.starts_with("pub use keywheel_");
        if shared_name {
            found.push(format!("{shown}:{at}: a type has one address; no `pub use` across crates"));
        }
    }
    found
}

/// ARCHITECTURE.md names every crate, and nothing that is not there.
fn map(files: &[PathBuf]) -> Result<Vec<String>> {
    let text = read(Path::new("ARCHITECTURE.md"))?;
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.ends_with("Cargo.toml")) {
        let Some(folder) = file.parent().and_then(Path::file_name).and_then(|name| name.to_str()) else {
            continue;
        };
        if !text.contains(&format!("`{folder}`")) && !text.contains(&format!("/{folder}`")) {
            found.push(format!("ARCHITECTURE.md does not name the crate in {folder}/"));
        }
    }
    for path in quoted(&text).filter(|word| word.contains('/') && !word.contains(char::is_whitespace)) {
        let is_path = path.starts_with(|first: char| first.is_ascii_alphabetic() || first == '.')
            && !path.contains("://")
            && !path.contains(['{', '*', '$', '<']);
        if is_path && !root().join(path).exists() {
            found.push(format!("ARCHITECTURE.md names {path}, which does not exist"));
        }
    }
    Ok(found)
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Relative links of a page lead somewhere.
fn links(file: &Path, text: &str) -> Vec<String> {
    let folder = file.parent().unwrap_or(Path::new(""));
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
        .filter(|target| !root().join(folder).join(target).exists())
        .map(|target| format!("{}: the link to {target} leads nowhere", file.display()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_head_is_found() {
        assert_eq!(rust_file(Path::new("a.rs"), "fn main() {}").len(), 1);
    }

    #[test]
    fn a_drawer_is_found_in_any_part_of_the_path() {
        assert_eq!(rust_file(Path::new("crates/x/src/util/a.rs"), "//! A.\n").len(), 1);
        assert_eq!(rust_file(Path::new("crates/x/src/helpers.rs"), "//! A.\n").len(), 1);
    }

    #[test]
    fn a_test_that_is_not_a_sentence_is_found() {
        assert_eq!(rust_file(Path::new("a.rs"), "//! A.\n    fn test_a() {}\n").len(), 1);
    }

    #[test]
    fn a_dead_link_is_found() {
        assert_eq!(links(Path::new("README.md"), "[x](no-such-page.md) [y](Cargo.toml)").len(), 1);
    }
}
