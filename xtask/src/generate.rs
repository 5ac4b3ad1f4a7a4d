//! The generated reference pages, and the check that they are fresh.

use anyhow::Result;

/// Writes the generated pages.
pub fn write() -> Result<()> {
    Ok(())
}

/// Pages that differ from what would be generated now.
pub fn stale() -> Result<Vec<String>> {
    Ok(Vec::new())
}
