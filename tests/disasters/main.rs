//! What a certificate authority goes through and what it keeps: kills under load, nodes that go away, full disks, lost replies.
//!
//! Few rounds by themselves; the counts of the report with `KEYWHEEL_FULL=1` (`cargo xtask report crash`).

mod books;
mod chance;
mod disk;
mod full_disk;
mod kills;
mod load;
mod lost_replies;
mod nodes;
mod site;
