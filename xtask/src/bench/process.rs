//! What a process has cost so far, from `/proc`, and the middle of several measurements.

use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::run::root;

/// Where cargo puts the optimised programs.
pub(crate) fn programs() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join("release")
}

/// Seconds of CPU that a process has used, in user and system mode.
pub(crate) fn cpu(process: u32) -> Result<f64> {
    seconds(process, 11..13)
}

/// The same with what its children had used when they ended.
pub(super) fn cpu_with_ended_children(process: u32) -> Result<f64> {
    seconds(process, 11..15)
}

/// The sum of some fields of `/proc/<process>/stat` that count ticks, the first field after the name being 0.
fn seconds(process: u32, wanted: Range<usize>) -> Result<f64> {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = line.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: f64 =
        fields.get(wanted).context("an odd stat line")?.iter().filter_map(|tick| tick.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

/// Resident memory in bytes.
pub(crate) fn resident(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no resident size")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
