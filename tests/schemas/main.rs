//! What every command says with `--json`, judged by the published schemas of docs/reference/schemas.

mod agent;
mod client;
mod commands;
mod judge;
mod seen;
mod server;
mod tools;

use std::thread;

use seen::Seen;

/// The runs are apart from the verdict: one CA serves many commands, and a schema that no run was judged by is noticed.
#[test]
fn every_output_is_as_its_schema_says_and_no_schema_goes_unused() {
    let Some(judge) = judge::Judge::strict() else { return };
    let mut seen = Seen::default();
    let runs: [fn(&mut Seen); 6] =
        [agent::keeps, client::asks, client::turns_keys, server::runs, tools::looks, tools::edits];
    thread::scope(|scope| {
        let started: Vec<_> = runs
            .into_iter()
            .map(|run| {
                scope.spawn(move || {
                    let mut seen = Seen::default();
                    run(&mut seen);
                    seen
                })
            })
            .collect();
        for run in started {
            match run.join() {
                Ok(more) => seen.add(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    judge.judges(&seen);
    let unused: Vec<String> = commands::schemas()
        .into_iter()
        .filter(|name| !commands::PARTS.contains(&name.as_str()) && !seen.has(name))
        .collect();
    assert!(unused.is_empty(), "no output was judged by {unused:?}");
}
