//! The order of the checks and tests: cheap ones first, so that a mistake is seen early.

use anyhow::Result;

use crate::run::{run, run_with};
use crate::{prepare, tidy};

/// Everything that CI runs.
pub fn test() -> Result<()> {
    prepare::prepare()?;
    checks()?;
    run("cargo", &["build", "--workspace", "--locked"])?;
    // A peer that is missing is a failure here, never a silent skip.
    run_with("cargo", &["test", "--workspace", "--locked"], &[("KEYWHEEL_REQUIRE_PEERS", "1")])
}

/// Everything but the tests.
pub fn check() -> Result<()> {
    prepare::prepare()?;
    checks()
}

fn checks() -> Result<()> {
    run("cargo", &["fmt", "--all", "--check"])?;
    tidy::tidy()?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    // Libraries only: what stands above a flag of the binary is its help text, not Markdown.
    run_with("cargo", &["doc", "--workspace", "--lib", "--no-deps", "--locked"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    supply_chain()
}

/// Bans, licences and sources always; advisories where their database can be reached.
fn supply_chain() -> Result<()> {
    run("cargo", &["deny", "--all-features", "check", "bans", "licenses", "sources"])?;
    if run("cargo", &["deny", "--all-features", "fetch", "db"]).is_ok() {
        run("cargo", &["deny", "--all-features", "check", "advisories"])
    } else {
        println!("advisories: NOT CHECKED, their database cannot be reached from this machine");
        Ok(())
    }
}
