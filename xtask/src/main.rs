//! Chores, in Rust, so that a newcomer needs no second tool: `cargo xtask test` is all that CI runs.

mod bench;
mod bench_agent;
mod generate;
mod imports;
mod prepare;
mod report;
mod run;
mod suite;
mod tidy;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask <chore>

  test       install what the tests need, then run every check and every test (what CI runs)
  check      format, lints, tidy, docs and supply chain, without the tests
  tidy       the house rules: import table, file heads, names, the map
  prepare    install what the tests need, and nothing else
  bench ca   measure our CA beside the real step-ca
  bench agent  measure our agent beside daemons of the real step
  report crash [--render] [--only client|ca|services]
             kill and refuse everything with the full counts, and write docs/reference/crash-report.md;
             with --render: write it from what was recorded before
  generate   write the generated reference pages in docs/reference";

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => suite::test(),
        ["check"] => suite::check(),
        ["tidy"] => tidy::tidy(),
        ["prepare"] => prepare::prepare(),
        ["bench", "ca"] => bench::ca(),
        ["bench", "agent"] => bench_agent::agent(),
        ["report", "crash"] => report::crash(None),
        ["report", "crash", "--only", part] => report::crash(Some(part)),
        ["report", "crash", "--render"] => report::render(None),
        ["report", "crash", "--render", "--only", part] => report::render(Some(part)),
        ["generate"] => generate::write(),
        _ => bail!("{USAGE}"),
    }
}
