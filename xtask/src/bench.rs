//! Side by side in one run: our CA and the real step-ca under the same load, on the same machine, in the same minutes.

pub(crate) mod process;

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::prepare;
use crate::run::{output, root, run};
use process::{cpu, median, programs, resident};

/// How many clients ask at once.
const AT_ONCE: &[usize] = &[1, 8, 64];

/// Rekeys in each measurement; fewer where one client asks alone.
const REKEYS: usize = 8_000;

/// Each measurement is made this often, the CAs taking turns; the median is shown.
const ROUNDS: usize = 3;

const PASSWORD: &str = "benchmark";

/// A CA under test.
struct Contender {
    name: &'static str,
    home: PathBuf,
    port: u16,
    server: Child,
    ready: Duration,
}

/// One measurement.
struct Sample {
    per_second: f64,
    p50: f64,
    p99: f64,
    /// Microseconds of the server's CPU for one rekey.
    cpu: f64,
}

/// `/rekey` of our CA beside step-ca's: throughput, latency, CPU, memory, start, bytes on disk.
pub fn ca() -> Result<()> {
    prepare::prepare()?;
    run("cargo", &["build", "--release", "--locked", "-p", "keywheel", "-p", "keywheel-tests", "--bins"])?;
    let folder = root().join("target/bench");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("password"), PASSWORD)?;
    let mut contenders = vec![
        ours(&folder)?,
        reference(&folder, "step-ca, Badger", true)?,
        reference(&folder, "step-ca, no database", false)?,
    ];
    let mut text = String::from(
        "| connections | at once | CA | rekeys/s | p50 ms | p99 ms | server CPU µs per rekey |\n|---|---|---|---|---|---|---|\n",
    );
    for connections in ["new", "kept"] {
        for &at_once in AT_ONCE {
            let rekeys = if at_once == 1 { REKEYS / 4 } else { REKEYS };
            let mut samples: Vec<Vec<Sample>> = contenders.iter().map(|_| Vec::new()).collect();
            for _ in 0..ROUNDS {
                for (contender, samples) in contenders.iter().zip(&mut samples) {
                    samples.push(measure(contender, connections, at_once, rekeys)?);
                }
            }
            for (contender, samples) in contenders.iter().zip(&samples) {
                let median = |of: fn(&Sample) -> f64| median(samples.iter().map(of).collect());
                writeln!(
                    text,
                    "| {connections} | {at_once} | {} | {:.0} | {:.2} | {:.2} | {:.0} |",
                    contender.name,
                    median(|sample| sample.per_second),
                    median(|sample| sample.p50),
                    median(|sample| sample.p99),
                    median(|sample| sample.cpu),
                )?;
            }
        }
    }
    text.push_str("\n| CA | ready after ms | resident MB at the end | bytes on disk |\n|---|---|---|---|\n");
    for contender in &mut contenders {
        writeln!(
            text,
            "| {} | {} | {:.1} | {} |",
            contender.name,
            contender.ready.as_millis(),
            resident(contender.server.id())? as f64 / 1e6,
            bytes(&contender.home.join("db")),
        )?;
    }
    println!("{text}");
    for contender in &mut contenders {
        contender.server.kill()?;
        contender.server.wait()?;
    }
    Ok(())
}

fn measure(contender: &Contender, connections: &str, at_once: usize, rekeys: usize) -> Result<Sample> {
    let home = &contender.home;
    let before = cpu(contender.server.id())?;
    let report = output(
        &programs().join("load").to_string_lossy(),
        &[
            &format!("https://localhost:{}", contender.port),
            &home.join("certs/root_ca.crt").to_string_lossy(),
            &home.join("client.crt").to_string_lossy(),
            &home.join("client.key").to_string_lossy(),
            connections,
            &at_once.to_string(),
            &rekeys.to_string(),
        ],
    )
    .with_context(|| format!("the load on {} failed", contender.name))?;
    let spent = cpu(contender.server.id())? - before;
    let report: Value = serde_json::from_str(&report)?;
    let number = |name: &str| report[name].as_f64().with_context(|| format!("no {name}"));
    Ok(Sample {
        per_second: number("per_second")?,
        p50: number("p50_ms")?,
        p99: number("p99_ms")?,
        cpu: spent * 1e6 / rekeys as f64,
    })
}

fn ours(folder: &Path) -> Result<Contender> {
    let home = folder.join("ours");
    let program = programs().join("keywheel").to_string_lossy().into_owned();
    let port = free_port()?;
    let password = folder.join("password");
    let (home_text, password) = (home.to_string_lossy(), password.to_string_lossy());
    let address = format!("127.0.0.1:{port}");
    run(
        &program,
        &[
            "ca",
            "init",
            "--home",
            &home_text,
            "--name",
            "Bench",
            "--dns",
            "localhost",
            "--address",
            &address,
            "--provisioner",
            "admin",
            "--password-file",
            &password,
        ],
    )?;
    // The same client certificate asks again and again, which the reference always lets it do.
    let configuration = home.join("config/ca.json");
    let text = std::fs::read_to_string(&configuration)?.replace("revokeWhenSuccessorSeen", "stays");
    std::fs::write(&configuration, text)?;
    let mut command = Command::new(&program);
    command.args(["ca", "serve", "--home", &home_text, "--password-file", &password]).env("KEYWHEEL_LOG", "warn");
    let (server, ready) = start(command, port)?;
    let contender = Contender { name: "keywheel, SQLite FULL", home: home.clone(), port, server, ready };
    let (certificate, key) = (home.join("client.crt"), home.join("client.key"));
    run(
        &program,
        &[
            "ca",
            "certificate",
            "--home",
            &home_text,
            "--provisioner-password-file",
            &password,
            "client.local",
            &certificate.to_string_lossy(),
            &key.to_string_lossy(),
        ],
    )?;
    Ok(contender)
}

fn reference(folder: &Path, name: &'static str, database: bool) -> Result<Contender> {
    let home = folder.join(if database { "badger" } else { "memory" });
    let port = free_port()?;
    let password = folder.join("password");
    let password = password.to_string_lossy();
    let bin = prepare::go_bin()?;
    let (step, step_ca) = (bin.join("step"), bin.join("step-ca"));
    let step = |words: &[&str]| -> Result<()> {
        let status = Command::new(&step)
            .args(words)
            .env("STEPPATH", &home)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        if status.success() { Ok(()) } else { bail!("step {} failed", words.join(" ")) }
    };
    let address = format!("127.0.0.1:{port}");
    let mut words = vec!["ca", "init", "--name", "Bench", "--dns", "localhost", "--address", &address];
    words.extend(["--provisioner", "admin", "--password-file", &password, "--deployment-type", "standalone"]);
    if !database {
        words.push("--no-db");
    }
    step(&words)?;
    let mut command = Command::new(step_ca);
    command.arg(home.join("config/ca.json")).args(["--password-file", &password]);
    let (server, ready) = start(command, port)?;
    let (certificate, key) = (home.join("client.crt"), home.join("client.key"));
    let (certificate, key) = (certificate.to_string_lossy(), key.to_string_lossy());
    step(&["ca", "certificate", "--provisioner-password-file", &password, "client.local", &certificate, &key])?;
    Ok(Contender { name, home, port, server, ready })
}

/// Starts a server and waits until it accepts connections.
fn start(mut command: Command, port: u16) -> Result<(Child, Duration)> {
    let began = Instant::now();
    let server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if began.elapsed() > Duration::from_secs(30) {
            bail!("the server does not listen");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((server, began.elapsed()))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}
