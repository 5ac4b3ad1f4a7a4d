//! Decides: policy, schedules and state machines as pure functions, without clock, chance, file, socket or thread.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod claims;
pub mod doctor;
pub mod file_pair;
pub mod fingerprint;
pub mod go_duration;
pub mod key_blocklist;
pub mod key_strength;
pub mod lint;
pub mod names;
pub mod pace;
pub mod provisioner;
pub mod rekey;
pub mod revocation;
pub mod schedule;
pub mod serial;
pub mod token;
pub mod validity;
