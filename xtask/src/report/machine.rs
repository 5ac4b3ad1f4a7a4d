//! What a measurement was made on: without it, nobody can say what it is worth.

use crate::prepare;
use crate::run::output;

/// The day, the sources, the machine and the peers, in a sentence.
pub fn description() -> String {
    let line = |program: &str, words: &[&str]| {
        output(program, words).and_then(|text| text.lines().next().map(str::trim).map(String::from)).unwrap_or_default()
    };
    let commit = line("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed = output("git", &["status", "--porcelain", "crates", "tests"]).is_some_and(|list| !list.is_empty());
    let with_changes = if changed { " with changes that were not committed" } else { "" };
    format!(
        "Measured on {} at commit {commit}{with_changes} on {} × {}, {} of memory, Linux {}; strace \
         {}, OpenSSL {}, step {}.",
        line("date", &["-u", "+%Y-%m-%d"]),
        line("nproc", &[]),
        processor(),
        memory(),
        line("uname", &["-r"]),
        line("strace", &["--version"]).rsplit(' ').next().unwrap_or_default(),
        line("openssl", &["version"]).split(' ').nth(1).unwrap_or_default(),
        step_version(),
    )
}

/// As the Go client noted it in the program.
fn step_version() -> String {
    let program =
        prepare::go_bin().map(|folder| folder.join("step").to_string_lossy().into_owned()).unwrap_or_default();
    let text = output("go", &["version", "-m", &program]).unwrap_or_default();
    let line = text.lines().find(|line| line.trim_start().starts_with("mod"));
    line.and_then(|line| line.split_whitespace().nth(2)).unwrap_or("not installed").to_owned()
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| "unknown processor".into(), |(_, name)| name.trim().to_owned())
}

fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.and_then(|number| number.parse().ok()).unwrap_or_default();
    format!("{} GB", kilobytes / 1_000_000)
}
