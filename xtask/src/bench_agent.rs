//! What one agent costs for 1 to 100,000 certificates, beside one `step ca renew --daemon` for each; and 10,000 that are due in
//! the same minute at a real CA.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bench::process::{cpu, programs, resident};
use crate::prepare;
use crate::run::{output, root, run};

/// So many certificates are managed, one after the other.
const COUNTS: &[usize] = &[1, 1_000, 10_000, 100_000];

/// So many daemons of the reference.
const DAEMONS: usize = 20;

/// So many are due in the same minute.
const BURST: usize = 10_000;

/// How long an idle process is watched.
const IDLE: Duration = Duration::from_secs(30);

const PASSWORD: &str = "benchmark";
const PAGE: &str = "docs/reference/benchmark-agent.md";
const BEGIN: &str = "<!-- begin: cargo xtask bench agent -->";
const END: &str = "<!-- end: cargo xtask bench agent -->";

/// A process that is ended with the value.
struct Running(Child);

/// What a process holds and uses.
struct Cost {
    resident: u64,
    private: u64,
    /// Seconds of CPU in an hour of idleness.
    cpu_per_hour: f64,
}

/// The CA and the folder that everything happens in.
struct Site {
    folder: PathBuf,
    home: PathBuf,
    port: u16,
}

/// Measures, prints, and writes the page.
pub fn agent() -> Result<()> {
    prepare::prepare()?;
    let words = [
        "build",
        "--release",
        "--locked",
        "-p",
        "keywheel",
        "-p",
        "keywheel-tests",
        "--bin",
        "keywheel",
        "--bin",
        "fleet",
    ];
    run("cargo", &words)?;
    let folder = root().join("target/bench-agent");
    let _absent = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let (site, _ca) = Site::start(folder)?;
    let mut text = machine();
    text.push_str(
        "One process each, idle; the CPU is measured over half a minute. Every certificate has a key and a serial number of its own.\n\n\
         | certificates | agent ready after s | resident MB | private MB | private bytes per certificate more | CPU seconds per idle hour |\n\
         |---|---|---|---|---|---|\n",
    );
    let mut alone = None;
    for &count in COUNTS {
        let place = site.fleet(&format!("idle-{count}"), count, 60, 86_400)?;
        let (agent, ready) = site.agent(&place)?;
        let cost = cost(&[agent.0.id()])?;
        let base = *alone.get_or_insert(cost.private);
        let each = cost.private.saturating_sub(base) as f64 / count as f64;
        writeln!(
            text,
            "| {count} | {:.2} | {:.1} | {:.1} | {} | {:.1} |",
            ready.as_secs_f64(),
            megabytes(cost.resident),
            megabytes(cost.private),
            if count == 1 { "".to_owned() } else { format!("{each:.0}") },
            cost.cpu_per_hour,
        )?;
        println!("{count} certificates: done");
        drop(agent);
        std::fs::remove_dir_all(&place)?;
    }
    let daemons = site.daemons()?;
    writeln!(
        text,
        "| {DAEMONS}, each with a `step ca renew --daemon` | | {:.1} each | {:.1} each | {:.0} | {:.1} each |\n",
        megabytes(daemons.resident) / DAEMONS as f64,
        megabytes(daemons.private) / DAEMONS as f64,
        daemons.private as f64 / DAEMONS as f64,
        daemons.cpu_per_hour / DAEMONS as f64,
    )?;
    text.push_str(&site.burst()?);
    println!("{text}");
    write_page(&text)
}

impl Site {
    fn start(folder: PathBuf) -> Result<(Self, Running)> {
        let (home, port) = (folder.join("home"), free_port()?);
        let password = folder.join("password");
        std::fs::write(&password, PASSWORD)?;
        let (home_text, password) = (text(&home), text(&password));
        let address = format!("127.0.0.1:{port}");
        let mut words = vec!["ca", "init", "--home", &home_text, "--name", "Bench", "--dns", "localhost"];
        words.extend(["--address", &address, "--provisioner", "admin", "--password-file", &password]);
        run(&program(), &words)?;
        let mut command = Command::new(program());
        command.args(["ca", "serve", "--home", &home_text, "--password-file", &password]).env("KEYWHEEL_LOG", "warn");
        let ca = Running::start(command)?;
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("the CA does not listen");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let site = Self { folder, home, port };
        site.certificate("template")?;
        Ok((site, ca))
    }

    fn certificate(&self, name: &str) -> Result<()> {
        let (home, password) = (text(&self.home), text(&self.folder.join("password")));
        let (certificate, key) = (self.folder.join(format!("{name}.crt")), self.folder.join(format!("{name}.key")));
        let mut words = vec!["ca", "certificate", "--home", &home, "--provisioner-password-file", &password];
        let (certificate, key) = (text(&certificate), text(&key));
        words.extend(["localhost", &certificate, &key]);
        output(&program(), &words).context("a certificate was not issued").map(|_| ())
    }

    /// Makes pairs of a certain age, in seconds, with a certain time left.
    fn fleet(&self, name: &str, count: usize, age: u32, left: u32) -> Result<PathBuf> {
        let place = self.folder.join(name);
        let (template, key) = (self.folder.join("template.crt"), self.home.join("secrets/intermediate_ca_key"));
        let maker = text(&programs().join("fleet"));
        let (count, age, left) = (count.to_string(), age.to_string(), left.to_string());
        run(&maker, &[&text(&place), &count, &text(&template), &text(&key), PASSWORD, &age, &left])?;
        Ok(place)
    }

    /// Starts an agent; how long it took until it had read everything.
    fn agent(&self, place: &Path) -> Result<(Running, Duration)> {
        let log = std::fs::File::create(place.join("agent.log"))?;
        let mut command = Command::new(program());
        command.args(["agent", "--json", "--home", &text(&self.home), "--config", &text(&place.join("agent.d"))]);
        let ca_url = format!("https://localhost:{}", self.port);
        command.args(["--ca-url", &ca_url]).stdout(log).stderr(Stdio::null());
        let begun = Instant::now();
        let mut agent = Running(command.stdin(Stdio::null()).spawn()?);
        while !std::fs::read_to_string(place.join("agent.log"))?.contains("\"event\":\"loaded\"") {
            if agent.0.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(120) {
                bail!("the agent did not start");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok((agent, begun.elapsed()))
    }

    /// One daemon of the reference for each certificate.
    fn daemons(&self) -> Result<Cost> {
        let step = prepare::go_bin()?.join("step");
        let mut daemons = Vec::new();
        for number in 0..DAEMONS {
            let name = format!("daemon-{number}");
            self.certificate(&name)?;
            let (certificate, key) = (self.folder.join(format!("{name}.crt")), self.folder.join(format!("{name}.key")));
            let mut command = Command::new(&step);
            command.args(["ca", "renew", "--daemon", "--force"]).arg(certificate).arg(key).env("STEPPATH", &self.home);
            daemons.push(Running::start(command)?);
        }
        // Until all of them sleep.
        std::thread::sleep(Duration::from_secs(5));
        let processes: Vec<u32> = daemons.iter().map(|daemon| daemon.0.id()).collect();
        cost(&processes)
    }

    /// Certificates that are due in the same minute, at a CA that is asked for each.
    fn burst(&self) -> Result<String> {
        // Of an hour's life a third is left in a minute from now; that minute is what they may come earlier by chance.
        let place = self.fleet("burst", BURST, 2_400 - 90, 1_200 + 90)?;
        let port = free_port()?;
        let settings = format!("[agent]\nmetrics-address = \"127.0.0.1:{port}\"\n[defaults]\njitter = \"1m\"\n");
        std::fs::write(place.join("agent.d/agent.toml"), settings)?;
        let (agent, _) = self.agent(&place)?;
        let (mut first, mut last, mut busiest, mut most, mut before) = (None, Instant::now(), 0.0_f64, 0.0_f64, 0.0);
        let begun = Instant::now();
        let used = cpu(agent.0.id())?;
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let done = metric(port, "keywheel_agent_rekeys_total")?;
            most = most.max(metric(port, "keywheel_agent_certificates{state=\"rekeying\"}")?);
            busiest = busiest.max(done - before);
            if done > before {
                first.get_or_insert(last);
                last = Instant::now();
            }
            before = done;
            if done >= BURST as f64 {
                break;
            }
            if begun.elapsed() > Duration::from_secs(900) {
                bail!("only {done} were replaced");
            }
        }
        let failed = metric(port, "keywheel_agent_failures_total")?;
        let expired = metric(port, "keywheel_agent_expired_certificates")?;
        let earliest = metric(port, "keywheel_agent_earliest_not_after_seconds")?;
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs_f64();
        let spread = first.map_or(0.0, |first| (last - first).as_secs_f64());
        let each = (cpu(agent.0.id())? - used) * 1000.0 / BURST as f64;
        let held = resident(agent.0.id())?;
        let log = std::fs::read_to_string(place.join("agent.log"))?;
        let busy = log.lines().filter(|line| {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            event["message"].as_str().is_some_and(|message| message.contains("cannot answer now"))
        });
        Ok(format!(
            "{BURST} certificates of this CA, all due in the same minute, by the limits that hold without further settings (8 at once, 50 a second):\n\n\
             | replaced | failed tries | answers 429 or 503 | expired meanwhile | spread over s | most in one second | most at once | CPU ms of the agent each | resident MB then |\n\
             |---|---|---|---|---|---|---|---|---|\n\
             | {before:.0} | {failed:.0} | {} | {expired:.0} | {spread:.0} | {busiest:.0} | {most:.0} | {each:.1} | {:.1} |\n\n\
             Afterwards the certificate that ends first had {:.1} hours left. The CA ran on the same machine.\n",
            busy.count(),
            megabytes(held),
            (earliest - now) / 3600.0,
        ))
    }
}

impl Running {
    fn start(mut command: Command) -> Result<Self> {
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What has ended already is as it should be.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// What some processes hold, and use while nothing is to be done.
fn cost(processes: &[u32]) -> Result<Cost> {
    let used = |all: &[u32]| all.iter().map(|process| cpu(*process)).sum::<Result<f64>>();
    // Until what the start needed is done.
    std::thread::sleep(Duration::from_secs(2));
    let before = used(processes)?;
    std::thread::sleep(IDLE);
    let spent = used(processes)? - before;
    let mut cost = Cost { resident: 0, private: 0, cpu_per_hour: spent * 3600.0 / IDLE.as_secs_f64() };
    for process in processes {
        cost.resident += resident(*process)?;
        cost.private += private(*process)?;
    }
    Ok(cost)
}

/// The memory that a process shares with nobody, in bytes.
fn private(process: u32) -> Result<u64> {
    let map = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let kilobytes =
        map.lines().filter(|line| line.starts_with("Private_")).filter_map(|line| line.split_whitespace().nth(1));
    Ok(kilobytes.filter_map(|number| number.parse::<u64>().ok()).sum::<u64>() * 1024)
}

fn metric(port: u16, name: &str) -> Result<f64> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    write!(connection, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.with_context(|| format!("no {name}"))?.parse().context("no number")
}

/// The machine in a sentence.
fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or("0 kB");
    let gigabytes = memory.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1e6;
    let step = prepare::STEP.rsplit('/').next().unwrap_or(prepare::STEP);
    format!(
        "Measured on: {} cores ({}), {gigabytes:.0} GB of memory; {step}.\n\n",
        cores,
        model.trim_start_matches([' ', '\t', ':'])
    )
}

fn write_page(text: &str) -> Result<()> {
    let path = root().join(PAGE);
    let page = std::fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(BEGIN).context("the page has no first mark")?;
    let (_, after) = rest.split_once(END).context("the page has no second mark")?;
    std::fs::write(&path, format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", text.trim()))?;
    println!("wrote {PAGE}");
    Ok(())
}

fn program() -> String {
    text(&programs().join("keywheel"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
