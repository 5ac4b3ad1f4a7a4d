//! Judged by others: the real `step` against our CA, our client against the real `step-ca`, OpenSSL and pkilint on all
//! that we sign, Java on what we pack, and badkeys on the keys that we refuse to sign.

mod administration;
mod blocklist;
mod foreign_home;
mod judges;
mod our_client_against_step_ca;
mod parity;
mod pkcs12;
mod step_against_our_ca;
