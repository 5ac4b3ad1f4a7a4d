//! Carries out: load, let core decide, record the intent, do, record the result.

pub mod authority;
pub mod client;
pub mod doctor;
pub mod home;
