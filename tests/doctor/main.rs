//! `keywheel doctor` on estates that real tools made: each thing that is wrong is found, nothing else is, nothing is changed,
//! and what it says to type mends it.

mod acme_tools;
mod certbot;
mod examination;
mod hostile;
mod openssl;
mod ours;
mod page;
mod units;
