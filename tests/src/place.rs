//! A temporary folder with an environment of its own, and commands that run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// A folder that goes away with the value, used as working directory, `HOME` and `STEPPATH` parent of every command.
pub struct Place {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

/// What a command did: its exit code, standard output and standard error.
#[derive(Debug)]
pub struct Done {
    /// The exit code; 128 plus the number where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Place {
    /// A fresh, empty place.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { folder, environment: Vec::new() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sets a variable for every later command.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.push((name.into(), value.into()));
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("the folder can be made");
        }
        std::fs::write(&path, content).expect("the file can be written");
        path
    }

    /// Reads a file as text.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A command that will run here: no standard input, nothing of the caller's environment that could change what it does.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", self.path())
            .env("STEPPATH", self.file("step"))
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs `keywheel` with these words.
    pub fn keywheel(&self, words: &[&str]) -> Done {
        self.run(keywheel(), words)
    }

    /// Runs any program with these words, at most two minutes.
    pub fn run(&self, program: impl AsRef<std::ffi::OsStr>, words: &[&str]) -> Done {
        let mut bounded = self.command("timeout");
        bounded.args(["--kill-after=5", "120"]).arg(program).args(words);
        bounded.output().expect("the command can be started").into()
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        Self {
            code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default()),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Done {
    /// Panics with all that was said unless the command succeeded; returns itself for more questions.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "the command failed\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Panics unless the command failed with this exit code and said this.
    #[track_caller]
    pub fn fails(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code, code, "another exit code was expected\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert!(self.stderr.contains(says), "standard error should say {says:?}; it says: {}", self.stderr);
        self
    }
}

/// The binary under test: that of `KEYWHEEL_BINARY`, or one as the sources are now, which `cargo test` alone would not build again.
pub fn keywheel() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("KEYWHEEL_BINARY") {
            return PathBuf::from(given);
        }
        // The whole workspace, so that features are the same as those of the tests and nothing is built twice.
        let words = ["build", "--workspace", "--quiet"];
        let built = Command::new(env!("CARGO")).args(words).current_dir(repository()).status();
        assert!(built.is_ok_and(|status| status.success()), "cargo build --workspace failed");
        target().join("keywheel")
    })
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the repository")
}

/// The folder of the built programs, such as `target/debug`.
fn target() -> PathBuf {
    let own = std::env::current_exe().expect("the test knows its own path");
    own.parent().and_then(Path::parent).expect("a test binary stands in target/<profile>/deps").to_path_buf()
}

/// The search path of every command: our binary first, then the peers of the Go client, then the system's.
fn search_path() -> String {
    let ours = keywheel().parent().expect("the binary stands in a folder");
    let mut folders = vec![ours.display().to_string()];
    folders.extend(crate::peer::go_folder().map(|folder| folder.display().to_string()));
    folders.extend(["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(String::from));
    folders.join(":")
}
