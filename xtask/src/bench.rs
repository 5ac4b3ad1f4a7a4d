//! Side by side in one run: our CA and the real step-ca under the same load, on the same machine, in the same minutes.

mod contender;
mod measure;
mod page;
mod postgres;
pub(crate) mod process;

use anyhow::{Context, Result};

use crate::prepare;
use crate::run::run;
use contender::Contender;
use measure::{Load, Sample, bound, measure, medians};
use page::{Findings, Rest, Row};
use process::median;

/// Each measurement is made this often, the CAs taking turns; the median is shown.
const ROUNDS: usize = 3;

/// How often each server is started to see how soon it is ready.
const STARTS: usize = 5;

/// The loads: how the clients come, and how many at once.
const LOADS: &[(&str, Load)] = &[
    ("new", Load { new: true, hybrid: false, at_once: 1, rekeys: 800 }),
    ("new", Load { new: true, hybrid: false, at_once: 8, rekeys: 2_500 }),
    ("new", Load { new: true, hybrid: false, at_once: 64, rekeys: 4_000 }),
    ("kept", Load { new: false, hybrid: false, at_once: 1, rekeys: 1_200 }),
    ("kept", Load { new: false, hybrid: false, at_once: 8, rekeys: 5_000 }),
    ("kept", Load { new: false, hybrid: false, at_once: 64, rekeys: 8_000 }),
    ("new, X25519MLKEM768", Load { new: true, hybrid: true, at_once: 64, rekeys: 4_000 }),
];

/// `/rekey` of our CA beside step-ca's: throughput, latency, CPU, memory, start, bytes on disk, and the bound.
pub fn ca() -> Result<()> {
    prepare::prepare()?;
    run("cargo", &["build", "--release", "--locked", "-p", "keywheel", "-p", "keywheel-tests", "--bins"])?;
    let folder = contender::folder()?;
    let mut contenders = contender::all(&folder)?;
    let ready = starts(&mut contenders)?;
    let ready_without_password = open_starts(&mut contenders)?;
    let mut times = vec![Vec::new(); measure::OPERATIONS.len()];
    let mut rows = Vec::new();
    for (connections, load) in LOADS {
        for (all, time) in times.iter_mut().zip(bound()?) {
            all.push(time);
        }
        rows.push(Row { connections, at_once: load.at_once, samples: compare(&mut contenders, *load)? });
        println!("{connections}, {} at once: done", load.at_once);
    }
    let mut rest = Vec::new();
    for (contender, ready) in contenders.iter_mut().zip(ready) {
        let end = contender.resident()?;
        let gained = contender.finish()?;
        let stored = (gained > 0).then(|| gained as f64 / contender.rekeys as f64);
        rest.push(Rest { name: contender.name, ready, resident: (contender.resident.unwrap_or(end), end), stored });
    }
    let text = page::text(&Findings { rows, rest, bound: times, ready_without_password }, &contenders)?;
    println!("{text}");
    page::write(&text)
}

/// The medians of the starts, in milliseconds.
fn starts(contenders: &mut [Contender]) -> Result<Vec<f64>> {
    let mut all = vec![Vec::new(); contenders.len()];
    for _ in 0..STARTS {
        for (contender, times) in contenders.iter_mut().zip(&mut all) {
            times.push(contender.restart()?);
        }
    }
    Ok(all.into_iter().map(median).collect())
}

/// The same of ours alone, while the key of its CA has no password: what is left is the start itself.
fn open_starts(contenders: &mut [Contender]) -> Result<f64> {
    let ours = contenders.first_mut().context("there is no CA")?;
    let locked = ours.open_key()?;
    let times: Result<Vec<f64>> = (0..STARTS).map(|_| ours.restart()).collect();
    ours.lock_key(&locked)?;
    Ok(median(times?))
}

/// The medians under one load, one for each contender; they take turns.
fn compare(contenders: &mut [Contender], load: Load) -> Result<Vec<Sample>> {
    let mut all: Vec<Vec<Sample>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (contender, samples) in contenders.iter_mut().zip(&mut all) {
            samples.push(measure(contender, load)?);
        }
    }
    Ok(all.iter().map(|samples| medians(samples)).collect())
}
