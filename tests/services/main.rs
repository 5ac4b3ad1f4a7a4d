//! Real services with our certificates: nginx and HAProxy serve without one failed handshake while their keys are replaced under
//! load, and what does not use the new pair gets the old one back. Every kind of
//! `--verify` asks a real service.

mod haproxy;
mod load;
mod nginx;
mod rollback;
mod rotation;
mod starttls;
