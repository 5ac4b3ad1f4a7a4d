//! The page of all findings, the code and this suite know the same kinds.

use keywheel_core::doctor::kind::Kind;
use keywheel_tests::place::repository;

fn text(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_page_names_every_kind_in_its_order_with_its_severity() {
    let page = text("docs/reference/doctor.md");
    let rows: Vec<(String, String)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split_once("` | "))
        .map(|(id, rest)| (id.to_owned(), rest.split(" | ").next().unwrap_or_default().to_owned()))
        // Other tables of the page are about other things.
        .filter(|(_, severity)| ["error", "warning", "info"].contains(&severity.as_str()))
        .collect();
    let wanted: Vec<(String, String)> =
        Kind::ALL.iter().map(|kind| (kind.id().to_owned(), kind.severity().word().to_owned())).collect();
    assert_eq!(rows, wanted);
}

#[test]
fn every_kind_is_shown_by_a_test_of_this_suite() {
    let mut sources = String::new();
    for file in std::fs::read_dir(repository().join("tests/doctor")).expect("the suite is there").flatten() {
        if file.path().extension().is_some_and(|kind| kind == "rs") {
            sources.push_str(&std::fs::read_to_string(file.path()).expect("sources are text"));
        }
    }
    let missing: Vec<&str> = Kind::ALL
        .iter()
        .filter(|kind| !sources.contains(&format!("\"{}\"", kind.id())))
        .map(|kind| kind.id())
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}
