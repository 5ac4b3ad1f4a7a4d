//! The reference's own test scenarios, asked of the real binary, and what Keywheel promises beyond them: several nodes, the fate
//! of old certificates, and signals. The page docs/reference/reference-scenarios.md lists every test of this suite.

mod client;
mod lab;
mod nodes;
mod old_certificate;
mod page;
mod public_routes;
mod rekey;
mod renew;
mod renewal_rules;
mod serving;
mod sign;
