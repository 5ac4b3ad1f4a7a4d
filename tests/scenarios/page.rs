//! The page about this suite and the suite tell of the same tests.

use std::collections::BTreeSet;

use keywheel_tests::place::repository;

/// The names of all tests in the sources of this suite.
fn tests_in_the_sources() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let folder = repository().join("tests/scenarios");
    for file in std::fs::read_dir(folder).expect("the suite is there").flatten() {
        let text = std::fs::read_to_string(file.path()).expect("sources are text");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.trim() != concat!("#[", "test]") {
                continue;
            }
            let head = lines.next().unwrap_or_default().trim();
            let name = head.strip_prefix("fn ").and_then(|rest| rest.split_once('(')).map(|(name, _)| name);
            found.insert(name.unwrap_or_else(|| panic!("{head:?} heads no test")).to_owned());
        }
    }
    found
}

#[test]
fn every_test_of_this_suite_stands_on_the_page_and_every_name_on_the_page_is_a_test() {
    let page = repository().join("docs/reference/reference-scenarios.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let mut on_the_page = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let Some(cell) = cells.get(1) else { continue };
        let names = cell.split('`').skip(1).step_by(2);
        let names: Vec<&str> = names.filter(|name| name.contains('_')).collect();
        let result = cells.get(2).map_or("", |cell| cell.trim());
        let promised = result.starts_with("same") || result.starts_with("better") || result.starts_with("ours");
        assert_eq!(promised, !names.is_empty(), "a result stands on a test, and a test has a result: {row}");
        on_the_page.extend(names.into_iter().map(str::to_owned));
    }
    let in_the_sources = tests_in_the_sources();
    let missing: Vec<_> = in_the_sources.difference(&on_the_page).collect();
    assert!(missing.is_empty(), "not on the page: {missing:#?}");
    let invented: Vec<_> = on_the_page.difference(&in_the_sources).collect();
    assert!(invented.is_empty(), "no such test: {invented:#?}");
}
