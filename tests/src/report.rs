//! The counts that a suite reached: few in CI, many for the report, which keeps them as JSON.
//!
//! `cargo xtask report crash` sets `KEYWHEEL_FULL=1` and `KEYWHEEL_REPORT=<folder>`, and makes a page of what the suites recorded.

use serde_json::Value;

/// Whether the full counts are wanted instead of the short ones of CI.
pub fn full() -> bool {
    std::env::var_os("KEYWHEEL_FULL").is_some_and(|value| value == "1")
}

/// How often something is done: `short` in CI, `long` for the report.
pub fn count(short: usize, long: usize) -> usize {
    if full() { long } else { short }
}

/// The seed of all chance in a suite: `KEYWHEEL_SEED`, or a fresh one. It is printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let given = std::env::var("KEYWHEEL_SEED").ok().map(|text| text.parse().expect("KEYWHEEL_SEED is a number"));
    let seed = given.unwrap_or_else(|| {
        let since = std::time::UNIX_EPOCH.elapsed().expect("the clock stands after 1970");
        u64::from(since.subsec_nanos()) ^ since.as_secs().rotate_left(16)
    });
    println!("to repeat this: KEYWHEEL_SEED={seed}");
    seed
}

/// Keeps a result for the report: one object, or a list of them, whose members become the columns of a table in their order.
///
/// Does nothing where no report is made. A suite records after its judgement: what failed leaves no record.
pub fn record(name: &str, rows: &Value) {
    let Some(folder) = std::env::var_os("KEYWHEEL_REPORT") else { return };
    let path = std::path::Path::new(&folder).join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(rows).expect("JSON can be written");
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
