//! Reaches out: every effect outside this process: files, hooks, and other certificate authorities over HTTP.

pub mod files;
pub mod hook;
pub mod probe;
pub mod step_client;
pub mod tls;
pub mod watch;
