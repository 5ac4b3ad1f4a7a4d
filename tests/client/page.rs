//! The page about the reference's defects and this suite tell of the same tests.

use std::collections::BTreeMap;

use keywheel_tests::place::repository;

/// The reference's defects are numbered from 1 to this.
const DEFECTS: u32 = 21;

/// The names of all tests in the sources of this suite.
fn tests_in_the_sources() -> Vec<String> {
    let mut found = Vec::new();
    let folder = repository().join("tests/client");
    for file in std::fs::read_dir(folder).expect("the suite is there").flatten() {
        let text = std::fs::read_to_string(file.path()).expect("sources are text");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.trim() == concat!("#[", "test]") {
                let head = lines.next().unwrap_or_default().trim();
                let name = head.strip_prefix("fn ").and_then(|rest| rest.split_once('(')).map(|(name, _)| name);
                found.push(name.unwrap_or_else(|| panic!("{head:?} heads no test")).to_owned());
            }
        }
    }
    found
}

#[test]
fn every_defect_has_its_row_and_every_row_its_tests() {
    let page = repository().join("docs/reference/defects-of-the-reference.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let mut rows: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for row in page.lines().filter_map(|line| line.strip_prefix("| D")) {
        let cells: Vec<&str> = row.trim_end_matches('|').split(" | ").collect();
        let [number, defect, answer, tests] = cells[..] else { panic!("a row has four cells: {row}") };
        assert!(!defect.trim().is_empty() && !answer.trim().is_empty(), "D{number} says nothing");
        let tests: Vec<String> = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let number = number.trim().parse().expect("a defect has a number");
        assert!(rows.insert(number, tests).is_none(), "D{number} stands there twice");
    }
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=DEFECTS).collect::<Vec<_>>());
    let tests = tests_in_the_sources();
    for (number, named) in &rows {
        let mut expected: Vec<&String> = tests.iter().filter(|name| name.starts_with(&format!("d{number}_"))).collect();
        expected.sort();
        let mut named: Vec<&String> = named.iter().collect();
        named.sort();
        assert!(!expected.is_empty(), "no test shows D{number}");
        assert_eq!(named, expected, "D{number}: the page and the sources name different tests");
    }
}
