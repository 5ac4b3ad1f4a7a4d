//! README.md, every page of docs/ and every script of tests/scripts/, typed line by line against the real binary.

use std::path::{Path, PathBuf};

use keywheel_tests::page;
use keywheel_tests::place::repository;
use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let mut pages = vec![repository().join("README.md")];
    for folder in ["docs", "tests/scripts"] {
        collect(&repository().join(folder), &mut pages);
    }
    pages.sort();
    assert!(!pages.is_empty(), "there are no pages");
    let trials = pages.into_iter().map(|path| {
        let name = path.strip_prefix(repository()).unwrap_or(&path).display().to_string();
        Trial::test(name, move || page::run(&path).map_err(Into::into))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn collect(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, pages);
        } else if path.extension().is_some_and(|kind| kind == "md") {
            pages.push(path);
        }
    }
}
