//! The page of the benchmark: tables, ratios and goals, written between the markers of `docs/reference/benchmark-ca.md`.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::contender::Contender;
use super::measure::{MANY, OPERATIONS, Part, Sample};
use super::process::median;
use crate::prepare;
use crate::run::{output, root};

const PAGE: &str = "docs/reference/benchmark-ca.md";
const BEGIN: &str = "<!-- written by cargo xtask bench ca -->";
const END: &str = "<!-- end of what is written by cargo xtask bench ca -->";

/// The medians of one kind of load, one sample for each contender in their order.
pub(super) struct Row {
    pub(super) connections: &'static str,
    pub(super) at_once: usize,
    pub(super) samples: Vec<Sample>,
}

/// What was found out about a contender beside its rekeys.
pub(super) struct Rest {
    pub(super) name: &'static str,
    /// Milliseconds until it is ready.
    pub(super) ready: f64,
    /// Resident bytes after twenty thousand rekeys, and at the end.
    pub(super) resident: (u64, u64),
    /// Bytes of its database for each certificate; none without a database.
    pub(super) stored: Option<f64>,
}

/// Everything that one run found.
pub(super) struct Findings {
    pub(super) rows: Vec<Row>,
    pub(super) rest: Vec<Rest>,
    /// Microseconds of each operation, in the order of [`OPERATIONS`], several times.
    pub(super) bound: Vec<Vec<f64>>,
    /// Milliseconds until ours is ready where the key of its CA has no password.
    pub(super) ready_without_password: f64,
}

/// Where ours with SQLite and step-ca with its default database stand among the contenders.
const OURS: usize = 0;
const REFERENCE: usize = 2;

/// The generated part of the page.
pub(super) fn text(findings: &Findings, contenders: &[Contender]) -> Result<String> {
    let mut text = machine()?;
    rekeys(&mut text, findings, contenders)?;
    ratios(&mut text, findings)?;
    bound(&mut text, findings)?;
    rest(&mut text, findings)?;
    goals(&mut text, findings)?;
    Ok(text)
}

/// Puts the generated part between the markers.
pub(super) fn write(text: &str) -> Result<()> {
    let path = root().join(PAGE);
    let page = std::fs::read_to_string(&path).with_context(|| format!("{PAGE} could not be read"))?;
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("{PAGE} has no marker: {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{PAGE} has no marker: {END}"))?;
    std::fs::write(&path, format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))?;
    println!("wrote {PAGE}");
    Ok(())
}

fn machine() -> Result<String> {
    let said = |program: &str, words: &[&str]| output(program, words).unwrap_or_default().trim().to_owned();
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let processors = file("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    // Built from its module, it does not know its own version; the program's build information does.
    let built = said("go", &["version", "-m", &prepare::go_bin()?.join("step-ca").to_string_lossy()]);
    let module = built.lines().find_map(|line| line.trim().strip_prefix("mod")).unwrap_or_default();
    let step_ca = module.split_whitespace().nth(1).unwrap_or_default();
    let load = file("/proc/loadavg");
    Ok(format!(
        "Run on {} with commit {}: {cores} cores of {model}, Linux {}, Debian {}; {}; step-ca {step_ca}; {}. \
         The load average was {} at the end, the load generator's own included.\n",
        said("date", &["-u", "+%Y-%m-%d"]),
        said("git", &["rev-parse", "--short", "HEAD"]),
        said("uname", &["-r"]),
        file("/etc/debian_version"),
        said("rustc", &["--version"]),
        said("/usr/lib/postgresql/15/bin/postgres", &["--version"]),
        load.split(' ').next().unwrap_or_default(),
    ))
}

fn rekeys(text: &mut String, findings: &Findings, contenders: &[Contender]) -> Result<()> {
    text.push_str("\n| connections | at once | CA | rekeys/s | p50 ms | p99 ms | server CPU µs per rekey |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for row in &findings.rows {
        for (contender, sample) in contenders.iter().zip(&row.samples) {
            let database = if sample.database > 0.0 {
                format!(" (and {:.0} of PostgreSQL)", sample.database)
            } else {
                String::new()
            };
            let Sample { per_second, p50, p99, cpu, .. } = sample;
            writeln!(
                text,
                "| {} | {} | {} | {per_second:.0} | {p50:.2} | {p99:.2} | {cpu:.0}{database} |",
                row.connections, row.at_once, contender.name
            )?;
        }
    }
    Ok(())
}

fn ratios(text: &mut String, findings: &Findings) -> Result<()> {
    text.push_str("\nkeywheel with SQLite beside step-ca with Badger, how many times better:\n\n");
    text.push_str("| connections | at once | rekeys per CPU second | rekeys/s | p99 |\n|---|---|---|---|---|\n");
    for row in &findings.rows {
        let [ours, reference] = pair(row)?;
        writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {:.2} |",
            row.connections,
            row.at_once,
            reference.cpu / ours.cpu,
            ours.per_second / reference.per_second,
            reference.p99 / ours.p99,
        )?;
    }
    Ok(())
}

fn bound(text: &mut String, findings: &Findings) -> Result<()> {
    text.push_str("\nThe cryptographic bound, each operation alone:\n\n| operation | µs |\n|---|---|\n");
    for ((_, name, _), costs) in OPERATIONS.iter().zip(&findings.bound) {
        writeln!(text, "| {name} | {:.1} |", median(costs.clone()))?;
    }
    let (new, kept) = bounds(findings);
    writeln!(
        text,
        "| **bound with a new connection** | **{new:.0}** |\n| **bound on a kept connection** | **{kept:.0}** |"
    )?;
    text.push_str(
        "\nDistance to it at 64 at once:\n\n| connections | keywheel, SQLite | step-ca, Badger |\n|---|---|---|\n",
    );
    for row in findings.rows.iter().filter(|row| row.at_once == 64) {
        let [ours, reference] = pair(row)?;
        let bound = if row.connections == "kept" { kept } else { new };
        writeln!(text, "| {} | {:.2} | {:.2} |", row.connections, ours.cpu / bound, reference.cpu / bound)?;
    }
    Ok(())
}

fn rest(text: &mut String, findings: &Findings) -> Result<()> {
    text.push_str("\n| CA | ready after ms | resident MB after 20,000 rekeys | at the end | bytes of database per certificate |\n");
    text.push_str("|---|---|---|---|---|\n");
    for Rest { name, ready, resident, stored } in &findings.rest {
        let stored = stored.map_or_else(|| "none".to_owned(), |bytes| format!("{bytes:.0}"));
        let (many, end) = (resident.0 as f64 / 1e6, resident.1 as f64 / 1e6);
        writeln!(text, "| {name} | {ready:.0} | {many:.1} | {end:.1} | {stored} |")?;
    }
    Ok(())
}

fn goals(text: &mut String, findings: &Findings) -> Result<()> {
    text.push_str("\n| goal | found | |\n|---|---|---|\n");
    let mut goal = |what: &str, found: String, met: bool| {
        writeln!(text, "| {what} | {found} | {} |", if met { "met" } else { "missed" })
    };
    for row in findings.rows.iter().filter(|row| row.at_once == 64 && row.connections.len() <= 4) {
        let [ours, reference] = pair(row)?;
        let connections = format!("{} connections, 64 at once", row.connections);
        let (cpu, speed, p99) =
            (reference.cpu / ours.cpu, ours.per_second / reference.per_second, ours.p99 / reference.p99);
        goal(
            &format!("{connections}: 3.5 times the rekeys per CPU second of step-ca"),
            format!("{cpu:.2}"),
            cpu >= 3.5,
        )?;
        goal(&format!("{connections}: 2.5 times its throughput"), format!("{speed:.2}"), speed >= 2.5)?;
        goal(&format!("{connections}: p99 under half of its"), format!("{p99:.2} of it"), p99 < 0.5)?;
        if row.connections == "new" {
            let distance = ours.cpu / bounds(findings).0;
            goal("new connections: within 1.8 times of the bound", format!("{distance:.2}"), distance <= 1.8)?;
        }
    }
    let ours = findings.rest.get(OURS).context("nothing was found out about ours")?;
    let resident = ours.resident.0 as f64 / 1e6;
    goal(&format!("under 40 MB resident after {MANY} rekeys"), format!("{resident:.1} MB"), resident < 40.0)?;
    let open = findings.ready_without_password;
    let ready = format!("{:.0} ms; {open:.0} ms where the CA's key has no password", ours.ready);
    goal("ready in under 50 ms", ready, ours.ready < 50.0)?;
    Ok(())
}

/// The bound in microseconds, with a new connection and on a kept one.
fn bounds(findings: &Findings) -> (f64, f64) {
    let of = |part: Part| -> f64 {
        let costs = OPERATIONS.iter().zip(&findings.bound).filter(|((.., own), _)| *own == part);
        costs.map(|(_, costs)| median(costs.clone())).sum()
    };
    (of(Part::Handshake) + of(Part::Rekey), of(Part::Rekey))
}

fn pair(row: &Row) -> Result<[Sample; 2]> {
    let one = |index: usize| row.samples.get(index).copied().context("a contender was not measured");
    Ok([one(OURS)?, one(REFERENCE)?])
}
