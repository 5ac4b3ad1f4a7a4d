//! What every suite needs to judge the product from outside: the real binary, a place to work in, a running CA, the peers.

pub mod ca;
pub mod fleet;
pub mod https;
pub mod lossy;
pub mod page;
pub mod peer;
pub mod place;
pub mod postgres;
pub mod provisioner;
pub mod report;
pub mod softhsm;
pub mod step_ca;
