//! The CAs under test: each is made, started with its usual log, and measured as one or more processes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::postgres::Postgres;
use super::process::{self, programs};
use crate::prepare;
use crate::run::{output, root};

const PASSWORD: &str = "benchmark";

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A CA that runs.
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) home: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    server: Child,
    postgres: Option<Postgres>,
    /// What its database held before the first rekey.
    empty: u64,
    /// Rekeys that it has answered.
    pub(super) rekeys: usize,
    /// Resident memory after the first twenty thousand of them.
    pub(super) resident: Option<u64>,
}

/// Every CA that is compared, running, with a client certificate.
pub(super) fn all(folder: &Path) -> Result<Vec<Contender>> {
    std::fs::write(folder.join("password"), PASSWORD)?;
    Ok(vec![
        ours(folder, "keywheel, SQLite", None)?,
        ours(folder, "keywheel, PostgreSQL", Some(Postgres::start()?))?,
        reference(folder, "step-ca, Badger", true)?,
        reference(folder, "step-ca, no database", false)?,
    ])
}

impl Contender {
    /// Where it serves.
    pub(super) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// A file of its home.
    pub(super) fn file(&self, name: &str) -> String {
        self.home.join(name).to_string_lossy().into_owned()
    }

    /// Seconds of CPU so far: of the server, and of a database server of its own.
    pub(super) fn cpu(&self) -> Result<(f64, f64)> {
        let database = self.postgres.as_ref().map_or(Ok(0.0), Postgres::cpu)?;
        Ok((process::cpu(self.server.id())?, database))
    }

    /// Resident memory now, in bytes.
    pub(super) fn resident(&self) -> Result<u64> {
        process::resident(self.server.id())
    }

    /// Stops it and starts it again; answers the milliseconds until it accepted and answered `/health`.
    pub(super) fn restart(&mut self) -> Result<f64> {
        self.stop()?;
        let (server, ready) = start(&self.program, &self.arguments, &self.url(), &self.file("certs/root_ca.crt"))?;
        self.server = server;
        Ok(ready)
    }

    /// Lets the key of its CA stand without a password until [`Contender::lock_key`]; answers the key as it was.
    pub(super) fn open_key(&self) -> Result<Vec<u8>> {
        let key = self.file("secrets/intermediate_ca_key");
        let locked = std::fs::read(&key)?;
        let password = format!("file:{}", text(&self.home.with_file_name("password")));
        let open = self.file("secrets/open");
        quiet(Command::new("openssl").args(["pkey", "-in", &key, "-passin", &password, "-out", &open]))?;
        std::fs::rename(open, key)?;
        Ok(locked)
    }

    /// Puts the key of its CA back as it was.
    pub(super) fn lock_key(&self, locked: &[u8]) -> Result<()> {
        Ok(std::fs::write(self.file("secrets/intermediate_ca_key"), locked)?)
    }

    /// Stops it, and answers the bytes that its database has gained.
    pub(super) fn finish(&mut self) -> Result<u64> {
        self.stop()?;
        Ok(self.stored()?.saturating_sub(self.empty))
    }

    fn stop(&mut self) -> Result<()> {
        let server = self.server.id().to_string();
        output("kill", &["-TERM", &server]).context("the server could not be told to stop")?;
        let began = Instant::now();
        while self.server.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                bail!("{} does not stop", self.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// What its database holds on disk.
    fn stored(&self) -> Result<u64> {
        match &self.postgres {
            Some(postgres) => postgres.bytes(),
            None => Ok(bytes(&self.home.join("db"))),
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // It is gone where it was stopped before.
        let _ended = self.server.kill();
        let _ended = self.server.wait();
    }
}

fn ours(folder: &Path, name: &'static str, postgres: Option<Postgres>) -> Result<Contender> {
    let home = folder.join(if postgres.is_some() { "ours-postgres" } else { "ours-sqlite" });
    let program = programs().join("keywheel");
    let port = free_port()?;
    let password = text(&folder.join("password"));
    let address = format!("127.0.0.1:{port}");
    let home_text = text(&home);
    let mut words = vec!["ca", "init", "--home", &home_text, "--name", "Bench", "--dns", "localhost"];
    words.extend(["--address", &address, "--provisioner", "admin", "--password-file", &password]);
    quiet(Command::new(&program).args(words))?;
    // The same client certificate asks again and again, which the reference always lets it do.
    let configuration = home.join("config/ca.json");
    let stays = std::fs::read_to_string(&configuration)?.replace("revokeWhenSuccessorSeen", "stays");
    std::fs::write(&configuration, stays)?;
    let mut arguments = vec!["ca", "serve", "--home", &home_text, "--password-file", &password];
    let database = postgres.as_ref().map(Postgres::url).unwrap_or_default();
    if postgres.is_some() {
        arguments.extend(["--database", &database]);
    }
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let mut contender = started(name, home, program.clone(), arguments, port, postgres)?;
    let (certificate, key) = (contender.file("client.crt"), contender.file("client.key"));
    let mut words = vec!["ca", "certificate", "--home", &home_text, "--provisioner-password-file", &password];
    words.extend(["client.local", &certificate, &key]);
    quiet(Command::new(&program).args(words))?;
    contender.empty = contender.stored()?;
    Ok(contender)
}

fn reference(folder: &Path, name: &'static str, database: bool) -> Result<Contender> {
    let home = folder.join(if database { "badger" } else { "memory" });
    let port = free_port()?;
    let password = text(&folder.join("password"));
    let bin = prepare::go_bin()?;
    let step = |words: &[&str]| quiet(Command::new(bin.join("step")).args(words).env("STEPPATH", &home));
    let address = format!("127.0.0.1:{port}");
    let mut words = vec!["ca", "init", "--name", "Bench", "--dns", "localhost", "--address", &address];
    words.extend(["--provisioner", "admin", "--password-file", &password, "--deployment-type", "standalone"]);
    if !database {
        words.push("--no-db");
    }
    step(&words)?;
    let arguments = vec![text(&home.join("config/ca.json")), "--password-file".to_owned(), password.clone()];
    let mut contender = started(name, home.clone(), bin.join("step-ca"), arguments, port, None)?;
    let (certificate, key) = (contender.file("client.crt"), contender.file("client.key"));
    step(&["ca", "certificate", "--provisioner-password-file", &password, "client.local", &certificate, &key])?;
    contender.empty = contender.stored()?;
    Ok(contender)
}

fn started(
    name: &'static str,
    home: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    postgres: Option<Postgres>,
) -> Result<Contender> {
    let root_certificate = text(&home.join("certs/root_ca.crt"));
    let (server, _) = start(&program, &arguments, &format!("https://localhost:{port}"), &root_certificate)?;
    Ok(Contender { name, home, program, arguments, port, server, postgres, empty: 0, rekeys: 0, resident: None })
}

/// Starts a server; answers it and the milliseconds until it accepted and answered `/health`. Who asks for that waits already.
fn start(program: &Path, arguments: &[String], url: &str, root_certificate: &str) -> Result<(Child, f64)> {
    let mut asking = Command::new(programs().join("load"))
        .args(["ready", url, root_certificate])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut says = BufReader::new(asking.stdout.take().context("its output is ours")?).lines();
    says.next().context("the load generator does not ask")??;
    let began = Instant::now();
    let server = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let ready = says.next();
    let milliseconds = began.elapsed().as_secs_f64() * 1000.0;
    let well = asking.wait()?.success();
    match ready {
        Some(Ok(_)) if well => Ok((server, milliseconds)),
        _ => bail!("{} does not get ready", program.display()),
    }
}

fn quiet(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The octets of the files in a folder, as they count on disk: Badger makes its files larger than what is in them.
fn bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let kept = |name: &str| name.ends_with("-reserve");
    entries
        .filter(|entry| !kept(&entry.file_name().to_string_lossy()))
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len().min(metadata.blocks() * 512))
        .sum()
}

/// The folder of everything that a run makes, empty.
pub(super) fn folder() -> Result<PathBuf> {
    let folder = root().join("target/bench");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
