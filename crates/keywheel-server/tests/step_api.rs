//! The step API from outside: a CA in this process, asked over the network.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails here fails the test, and clippy does not see that helpers of tests are tests"
)]

#[path = "step_api/asking.rs"]
mod asking;
#[path = "step_api/bad_input.rs"]
mod bad_input;
#[path = "step_api/issuing.rs"]
mod issuing;
#[path = "step_api/judging.rs"]
mod judging;
#[path = "step_api/replacing.rs"]
mod replacing;
#[path = "step_api/revoking.rs"]
mod revoking;
#[path = "step_api/running.rs"]
mod running;
