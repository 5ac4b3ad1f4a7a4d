//! `ca rekey` from outside, by the real binary: the defects of the reference, every flag and example of its page, the daemon,
//! the files, expired certificates and lost replies. The page docs/reference/defects-of-the-reference.md lists the tests of
//! `defects` and `defects_of_the_ca`.

mod bench;
mod clock;
mod daemon;
mod defects;
mod defects_of_the_ca;
mod defects_of_the_files;
mod encodings;
mod examples;
mod expired;
mod files;
mod flags;
mod full_disk;
mod hook;
mod interrupted;
mod layers;
mod layouts;
mod lost_reply;
mod page;
mod prompts;
mod proxy;
mod validation;
