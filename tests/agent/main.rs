//! `keywheel agent` from outside: real files, a real CA, signals, sockets, clocks, and the units of the package.

mod authority;
mod clock;
mod fleet;
mod keeping;
mod service;
mod site;
