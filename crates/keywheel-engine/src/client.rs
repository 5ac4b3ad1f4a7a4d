//! What a machine does that owns certificates: checks first, then asks the authority, then replaces files and says so.

pub mod access;
pub mod afterwards;
pub mod agent;
mod ask;
pub mod bootstrap;
pub mod certificate;
pub mod daemon;
pub mod error;
pub mod first_in_token;
pub mod in_token;
pub mod key_choice;
pub mod layout;
mod load;
mod local;
mod place;
pub mod rekey;
pub mod renew;
pub mod revoke;
pub mod sign;
pub mod token;

#[cfg(test)]
mod tests;
