//! Every command has a schema, and every schema a command.

use std::collections::BTreeSet;
use std::path::PathBuf;

use keywheel_tests::place::repository;

/// Schemas that others refer to.
pub const PARTS: [&str; 2] = ["certificate-summary", "provisioner"];

/// Schemas of what is not the result of one command.
const STREAMS: [&str; 4] = ["agent-event", "daemon-event", "error", "warning"];

/// Commands that all answer the same; the schema has the name of the family.
const FAMILIES: [&str; 1] = ["ca policy authority"];

/// Where the schemas are.
pub fn folder() -> PathBuf {
    repository().join("docs/reference/schemas")
}

/// The names of all schemas.
pub fn schemas() -> BTreeSet<String> {
    std::fs::read_dir(folder())
        .expect("the schemas are there")
        .map(|entry| {
            let name = entry.expect("it can be listed").file_name().into_string().expect("it is text");
            name.strip_suffix(".json").unwrap_or_else(|| panic!("{name} is no schema")).to_owned()
        })
        .collect()
}

#[test]
fn every_command_has_a_schema_and_every_schema_a_command() {
    let mut wanted: BTreeSet<String> = leaves().iter().map(|command| schema_of(command)).collect();
    wanted.extend(PARTS.iter().chain(&STREAMS).map(|name| (*name).to_owned()));
    assert_eq!(schemas(), wanted);
}

#[test]
fn the_page_about_json_names_every_schema() {
    let page = std::fs::read_to_string(repository().join("docs/reference/json.md")).expect("the page is there");
    let missing: Vec<String> =
        schemas().into_iter().filter(|name| !page.contains(&format!("(schemas/{name}.json)"))).collect();
    assert!(missing.is_empty(), "docs/reference/json.md does not name {missing:?}");
}

/// The commands without subcommands, by the page that is generated from the program's help.
fn leaves() -> Vec<String> {
    let page = std::fs::read_to_string(repository().join("docs/reference/commands.md")).expect("the page is there");
    let all: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## keywheel ")).collect();
    assert!(all.len() > 40, "the page has changed its form: {all:?}");
    let is_leaf = |command: &&&str| !all.iter().any(|other| other.starts_with(&format!("{command} ")));
    all.iter().filter(is_leaf).map(|command| (*command).to_owned()).collect()
}

fn schema_of(command: &str) -> String {
    let family = FAMILIES.into_iter().find(|family| command.starts_with(&format!("{family} ")));
    family.unwrap_or(command).replace(' ', "-")
}
