//! The step API and its files: messages, errors, tokens, `ca.json` and `defaults.json`.

pub mod ca_json;
pub mod defaults_json;
pub mod error;
pub mod messages;
pub mod token;
