//! Which files running processes hold locks on: the kernel says so, and no lock has to be tried for it.

use std::collections::BTreeSet;

/// The inodes of all files that are locked.
pub(super) fn held() -> BTreeSet<u64> {
    // Without the kernel's list every lock seems free; that is said as information only.
    inodes(&std::fs::read_to_string("/proc/locks").unwrap_or_default())
}

/// A line is `1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`.
fn inodes(list: &str) -> BTreeSet<u64> {
    list.lines()
        .filter_map(|line| {
            line.split_whitespace().find(|word| word.matches(':').count() == 2)?.rsplit(':').next()?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_process_is_told_like_a_holding_one() {
        let list =
            "1: POSIX  ADVISORY  WRITE 709 00:19:1234 0 EOF\n1: -> FLOCK  ADVISORY  READ 7 08:01:99 0 EOF\nrubbish\n";
        assert_eq!(inodes(list), BTreeSet::from([1234, 99]));
    }
}
