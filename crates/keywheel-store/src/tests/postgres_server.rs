//! A PostgreSQL server for this test process: started at the first need, gone with the process, however that ends.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

/// The shell waits for the end of its input, which comes when the test process is gone; then it stops the server.
const SCRIPT: &str = r#"
set -eu
folder=$(mktemp -d /tmp/keywheel-postgres.XXXXXX)
trap 'rm -rf "$folder"' EXIT
initdb -D "$folder/data" -U keywheel -A trust -E UTF8 --no-locale -N >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
postgres -D "$folder/data" -k "$folder" -c listen_addresses= -c max_connections=400 </dev/null >>"$folder/log" 2>&1 &
server=$!
echo "$folder"
cat >/dev/null
kill -INT "$server"
wait "$server" || true
"#;

struct Server {
    folder: String,
    /// Holds the shell's input open.
    _shell: Child,
}

static SERVER: OnceCell<Server> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Makes an empty database; answers its address.
pub(crate) async fn new_database() -> String {
    let server = SERVER.get_or_init(start).await;
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&server.address("postgres")).await.unwrap();
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    admin.close().await.unwrap();
    server.address(&name)
}

impl Server {
    fn address(&self, database: &str) -> String {
        format!("postgres://keywheel@localhost/{database}?host={}", self.folder)
    }
}

async fn start() -> Server {
    let path = std::env::join_paths(
        [binaries()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )
    .unwrap();
    let mut command = if is_root() {
        // PostgreSQL refuses to run as root.
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", SCRIPT]);
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]);
        command
    };
    let mut shell = command
        .env("PATH", path)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C at the terminal is not for it: it cleans up when the tests are gone.
        .process_group(0)
        .spawn()
        .unwrap();
    let mut folder = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut folder).unwrap();
    if folder.is_empty() {
        let mut complaint = String::new();
        shell.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        panic!("the PostgreSQL server of the tests did not start: {complaint}");
    }
    let server = Server { folder: folder.trim().to_owned(), _shell: shell };
    for _ in 0..600 {
        if PgConnection::connect(&server.address("postgres")).await.is_ok() {
            return server;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the PostgreSQL server of the tests does not answer after a minute; see {}/log", server.folder);
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
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
        .expect("these tests need a PostgreSQL server: install the package \"postgresql\" (apt-get install postgresql)")
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}
