//! Makes a fleet of pairs for `cargo xtask bench agent`.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use keywheel_tests::fleet::{self, Failure, Model};

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, count, template, issuing_key, password, age, left] = words.as_slice() else {
        return Err(
            "usage: fleet <folder> <count> <template> <issuing key> <password> <seconds of age> <seconds left>".into(),
        );
    };
    let now = Timestamp::now();
    let model = Model {
        template: template.into(),
        issuing_key: issuing_key.into(),
        password: password.clone(),
        not_before: now - SignedDuration::from_secs(age.parse()?),
        not_after: now + SignedDuration::from_secs(left.parse()?),
    };
    fleet::make(&model, Path::new(folder), count.parse()?)
}
