//! A PostgreSQL server for one test: on a socket of its own, gone with the value or with the test process, however that ends.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The shell waits for the end of its input, which comes with the value or the test process; then it stops the server.
const SCRIPT: &str = r#"
set -eu
folder=$(mktemp -d /tmp/keywheel-postgres.XXXXXX)
trap 'rm -rf "$folder"' EXIT
initdb -D "$folder/data" -U keywheel -A trust -E UTF8 --no-locale -N >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
printf '%s\n' "unix_socket_directories = '$folder'" "listen_addresses = ''" "max_connections = 200" >>"$folder/data/postgresql.conf"
pg_ctl -D "$folder/data" -l "$folder/log" -w start </dev/null >/dev/null 2>&1 || { cat "$folder/log" >&2; exit 1; }
echo "$folder"
cat >/dev/null
pg_ctl -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
"#;

/// A running server.
pub struct Postgres {
    folder: String,
    shell: Child,
}

impl Postgres {
    /// Starts it, empty.
    pub fn start() -> Self {
        let mut shell = as_nobody("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is not for it: it cleans up when the test is gone.
            .process_group(0)
            .spawn()
            .expect("a shell can be started");
        let mut folder = String::new();
        let out = shell.stdout.take().expect("its output is ours");
        BufReader::new(out).read_line(&mut folder).expect("its output is text");
        if folder.is_empty() {
            let mut complaint = String::new();
            let _ = shell.stderr.take().map(|mut err| err.read_to_string(&mut complaint));
            panic!("the PostgreSQL server of the test did not start: {complaint}");
        }
        Self { folder: folder.trim().to_owned(), shell }
    }

    /// Makes an empty database and returns its address.
    pub fn database(&self, name: &str) -> String {
        let done = as_nobody("createdb").args(["-h", &self.folder, "-U", "keywheel", name]).status();
        assert!(done.is_ok_and(|status| status.success()), "createdb {name} failed");
        format!("postgres://keywheel@localhost/{name}?host={}", self.folder)
    }

    /// Ends the server as a failure of its machine would; its data stay.
    pub fn stop(&self) {
        self.control(&["-m", "immediate", "stop"]);
    }

    /// Starts the server again on the same data.
    pub fn resume(&self) {
        self.control(&["-w", "-l", &format!("{}/log", self.folder), "start"]);
    }

    fn control(&self, words: &[&str]) {
        let data = format!("{}/data", self.folder);
        let done =
            as_nobody("pg_ctl").args(["-D", &data]).args(words).stdin(Stdio::null()).stdout(Stdio::null()).status();
        assert!(done.is_ok_and(|status| status.success()), "pg_ctl {words:?} failed");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// A command of PostgreSQL; the server refuses to run as root.
fn as_nobody(program: &str) -> Command {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([binaries()].into_iter().chain(std::env::split_paths(&own)))
        .expect("folders of programs have no colon");
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", program]);
        command
    } else {
        Command::new(program)
    };
    command.env("PATH", path).current_dir("/");
    command
}

/// The folder of `initdb` and `postgres`: Debian keeps them out of PATH.
fn binaries() -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    folders.sort();
    folders.reverse();
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").exists() && folder.join("pg_ctl").exists())
        .expect("these tests need a PostgreSQL server: install the package \"postgresql\" (apt-get install postgresql)")
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}
