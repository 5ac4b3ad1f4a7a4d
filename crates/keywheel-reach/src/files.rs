//! Files that other programs read: written so that they see the old content or the new, never anything between.

pub mod combined;
pub mod conversion;
mod generations;
pub mod layout;
pub mod lock;
pub mod pair;
pub mod write;
