//! A PostgreSQL server of the benchmark's own: on a socket in a folder of its own, gone with the value or with this process.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::process;
use crate::run::output;

const BINARIES: &str = "/usr/lib/postgresql/15/bin";

/// As delivered, which is durable: fsync and synchronous_commit are on. The shell waits for the end of its input; then it stops
/// the server.
const SCRIPT: &str = r#"
set -eu
folder=$(mktemp -d /tmp/keywheel-bench.XXXXXX)
trap 'rm -rf "$folder"' EXIT
initdb -D "$folder/data" -U keywheel -A trust -E UTF8 --no-locale >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
printf '%s\n' "unix_socket_directories = '$folder'" "listen_addresses = ''" >>"$folder/data/postgresql.conf"
pg_ctl -D "$folder/data" -l "$folder/log" -w start </dev/null >/dev/null 2>&1 || { cat "$folder/log" >&2; exit 1; }
createdb -h "$folder" -U keywheel ca
head -n 1 "$folder/data/postmaster.pid"
echo "$folder"
cat >/dev/null
pg_ctl -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
"#;

/// A running server with one empty database.
pub(super) struct Postgres {
    shell: Child,
    folder: String,
    server: u32,
}

impl Postgres {
    pub(super) fn start() -> Result<Self> {
        let mut shell = as_nobody("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("a shell could not be started")?;
        let mut lines = BufReader::new(shell.stdout.take().context("its output is ours")?).lines();
        let (Some(Ok(server)), Some(Ok(folder))) = (lines.next(), lines.next()) else {
            let mut complaint = String::new();
            shell.stderr.take().map(|mut said| said.read_to_string(&mut complaint));
            bail!("PostgreSQL did not start: {complaint}");
        };
        Ok(Self { shell, folder: folder.trim().to_owned(), server: server.trim().parse()? })
    }

    /// The address of its database.
    pub(super) fn url(&self) -> String {
        format!("postgres://keywheel@localhost/ca?host={}", self.folder)
    }

    /// Seconds of CPU of the server and all its processes so far.
    pub(super) fn cpu(&self) -> Result<f64> {
        let mut seconds = process::cpu_with_ended_children(self.server)?;
        let server = self.server.to_string();
        let children = output("pgrep", &["-P", &server]).context("PostgreSQL has no processes")?;
        for child in children.lines() {
            // One that has ended meanwhile is counted with the server the next time.
            seconds += process::cpu(child.trim().parse()?).unwrap_or_default();
        }
        Ok(seconds)
    }

    /// The size of its database.
    pub(super) fn bytes(&self) -> Result<u64> {
        let asked = as_nobody("psql")
            .args(["-h", &self.folder, "-U", "keywheel", "-Atc", "SELECT pg_database_size('ca')", "ca"])
            .output()?;
        Ok(String::from_utf8_lossy(&asked.stdout).trim().parse()?)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ended = self.shell.wait();
    }
}

/// A command of PostgreSQL; its server refuses to run as root.
fn as_nobody(program: &str) -> Command {
    let path = format!("{BINARIES}:{}", std::env::var("PATH").unwrap_or_default());
    let is_root = output("id", &["-u"]).is_some_and(|id| id.trim() == "0");
    let mut command = if is_root { Command::new("setpriv") } else { Command::new(program) };
    if is_root {
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", program]);
    }
    command.env("PATH", path).current_dir("/");
    command
}
