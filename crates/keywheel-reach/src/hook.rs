//! What happens after a key has been turned: a signal to a process, then a command, both checked beforehand.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use jiff::SignedDuration;
use rustix::process::{Pid, Signal};

/// The signal that most servers take as "read your certificates again".
pub const SIGHUP: i32 = 1;

/// How long a command may take unless the caller says otherwise.
pub const DEFAULT_TIME_LIMIT: SignedDuration = SignedDuration::from_secs(60);

/// A command that is told to stop gets this long to do so.
const GRACE: Duration = Duration::from_secs(2);

/// A pid file holds one number; anything longer is something else.
const MAX_PID_FILE: u64 = 4096;

/// What the caller wants to happen.
#[derive(Debug, Clone)]
pub struct HookOptions {
    /// The process to signal.
    pub pid: Option<i64>,
    /// The file that names the process to signal; read again for every signal.
    pub pid_file: Option<PathBuf>,
    /// The number of the signal.
    pub signal: i32,
    /// The command, split as a shell splits words.
    pub exec: Option<String>,
    /// How long the command may take.
    pub time_limit: SignedDuration,
    /// Whether the process and the program must be there at the check already. A daemon looks at its start only: that a
    /// service is down when its key is due must not keep the old key in use.
    pub must_be_there: bool,
    /// Sends what the command prints to the standard error output, so that the standard output stays ours.
    pub output_to_stderr: bool,
}

impl Default for HookOptions {
    fn default() -> Self {
        Self {
            pid: None,
            pid_file: None,
            signal: SIGHUP,
            exec: None,
            time_limit: DEFAULT_TIME_LIMIT,
            must_be_there: true,
            output_to_stderr: false,
        }
    }
}

/// A hook that was found to be possible.
#[derive(Debug, Clone)]
pub struct Hook {
    process: Option<Process>,
    command: Option<Command>,
    output_to_stderr: bool,
}

/// One variable of the command's environment.
pub type Variable = (&'static str, OsString);

/// Why a hook cannot work, found before anything was done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookRefused {
    /// Two processes are named.
    #[error("flag '--pid' and flag '--pid-file' are mutually exclusive")]
    TwoProcesses,
    /// The number is no process id.
    #[error("invalid value '{0}' for flag '--pid'")]
    Pid(i64),
    /// The file does not name a process.
    #[error("invalid value '{}' for flag '--pid-file'", .file.display())]
    PidFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: PidFileError,
    },
    /// The number is no signal.
    #[error("invalid value '{0}' for flag '--signal'")]
    Signal(i32),
    /// The process cannot be signalled.
    #[error("process {pid} cannot be signalled")]
    Process {
        /// Its id.
        pid: i32,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The command is empty or its quotes are not closed.
    #[error("invalid value '{0}' for flag '--exec': it is empty or a quote is not closed")]
    Words(String),
    /// The program is not there.
    #[error("invalid value '{command}' for flag '--exec': the program {} does not exist or cannot be executed", .program.display())]
    Program {
        /// The whole command.
        command: String,
        /// Its first word.
        program: PathBuf,
    },
    /// The time limit is not positive.
    #[error("invalid time limit for flag '--exec': it must be longer than zero")]
    TimeLimit,
}

/// Why a pid file does not name a process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PidFileError {
    /// It cannot be read.
    #[error("the pid file cannot be read")]
    Read(#[source] std::io::Error),
    /// It holds no positive number.
    #[error("the pid file does not hold a process id")]
    Content,
}

/// Why a hook did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookFailed {
    /// The pid file stopped naming a process.
    #[error("nothing was signalled: the pid file {} names no process", .file.display())]
    PidFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: PidFileError,
    },
    /// The signal was not delivered.
    #[error("signal {signal} was not delivered to process {pid}")]
    Signal {
        /// The process.
        pid: i32,
        /// The signal.
        signal: i32,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The command could not be started.
    #[error("the command {program} could not be started")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The command could not be watched.
    #[error("the command {program} could not be waited for")]
    Wait {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The command said that it failed.
    #[error("the command {program} failed with {status}")]
    Status {
        /// The program.
        program: String,
        /// Its exit status, in words.
        status: String,
        /// Its exit code, where it exited by itself.
        code: Option<i32>,
    },
    /// The command took too long and was ended.
    #[error("the command {program} was ended because it took longer than {seconds} s")]
    TimeLimit {
        /// The program.
        program: String,
        /// The limit.
        seconds: i64,
    },
}

#[derive(Debug, Clone)]
struct Process {
    target: Target,
    number: i32,
    signal: Signal,
}

#[derive(Debug, Clone)]
enum Target {
    Fixed(i32),
    File(PathBuf),
}

#[derive(Debug, Clone)]
struct Command {
    words: Vec<String>,
    time_limit: Duration,
    time_limit_seconds: i64,
}

impl Hook {
    /// Finds out whether the hook could work now; nothing is signalled or run.
    pub fn check(options: &HookOptions) -> Result<Self, HookRefused> {
        Ok(Self {
            process: check_process(options)?,
            command: options.exec.as_deref().map(|command| check_command(command, options)).transpose()?,
            output_to_stderr: options.output_to_stderr,
        })
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.process.is_none() && self.command.is_none()
    }

    /// Signals, then runs the command with `environment` added to its own.
    pub async fn run(&self, environment: &[Variable]) -> Result<(), HookFailed> {
        if let Some(process) = &self.process {
            process.signal()?;
        }
        match &self.command {
            Some(command) => command.run(environment, self.output_to_stderr).await,
            None => Ok(()),
        }
    }
}

impl Process {
    fn signal(&self) -> Result<(), HookFailed> {
        let pid = match &self.target {
            Target::Fixed(pid) => *pid,
            // A service that was restarted has another id: only the file of this moment counts.
            Target::File(file) => {
                read_pid_file(file).map_err(|source| HookFailed::PidFile { file: file.clone(), source })?
            }
        };
        let failed = |source| HookFailed::Signal { pid, signal: self.number, source };
        let id = Pid::from_raw(pid).ok_or_else(|| failed(std::io::Error::from(std::io::ErrorKind::InvalidInput)))?;
        rustix::process::kill_process(id, self.signal).map_err(|error| failed(error.into()))
    }
}

impl Command {
    async fn run(&self, environment: &[Variable], output_to_stderr: bool) -> Result<(), HookFailed> {
        let program = self.words.first().cloned().unwrap_or_default();
        let mut command = tokio::process::Command::new(&program);
        command
            .args(self.words.iter().skip(1))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            // A group of its own, so that the whole of it can be ended; it has no terminal to read from then.
            .process_group(0)
            .stdin(Stdio::null());
        if output_to_stderr {
            command.stdout(std::io::stderr());
        }
        let mut child = command.spawn().map_err(|source| HookFailed::Start { program: program.clone(), source })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Ok(ended) = tokio::time::timeout(self.time_limit, child.wait()).await else {
            end_group(group, &mut child).await;
            return Err(HookFailed::TimeLimit { program, seconds: self.time_limit_seconds });
        };
        let status = ended.map_err(|source| HookFailed::Wait { program: program.clone(), source })?;
        if status.success() {
            return Ok(());
        }
        Err(HookFailed::Status { program, status: status.to_string(), code: status.code() })
    }
}

fn check_process(options: &HookOptions) -> Result<Option<Process>, HookRefused> {
    let signal = Signal::from_named_raw(options.signal).ok_or(HookRefused::Signal(options.signal))?;
    let (target, pid) = match (options.pid, &options.pid_file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(HookRefused::TwoProcesses),
        (Some(pid), None) => {
            let id = i32::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(HookRefused::Pid(pid))?;
            (Target::Fixed(id), id)
        }
        (None, Some(file)) if !options.must_be_there => {
            return Ok(Some(Process { target: Target::File(file.clone()), number: options.signal, signal }));
        }
        (None, Some(file)) => {
            let id = read_pid_file(file).map_err(|source| HookRefused::PidFile { file: file.clone(), source })?;
            (Target::File(file.clone()), id)
        }
    };
    if !options.must_be_there {
        return Ok(Some(Process { target, number: options.signal, signal }));
    }
    let refused = |source| HookRefused::Process { pid, source };
    let id = Pid::from_raw(pid).ok_or_else(|| refused(std::io::Error::from(std::io::ErrorKind::InvalidInput)))?;
    rustix::process::test_kill_process(id).map_err(|error| refused(error.into()))?;
    Ok(Some(Process { target, number: options.signal, signal }))
}

fn check_command(command: &str, options: &HookOptions) -> Result<Command, HookRefused> {
    let limit = options.time_limit;
    let words = shlex::split(command)
        .filter(|words| !words.is_empty())
        .ok_or_else(|| HookRefused::Words(command.to_owned()))?;
    let program = PathBuf::from(words.first().map_or("", String::as_str));
    if options.must_be_there && !can_be_executed(&program) {
        return Err(HookRefused::Program { command: command.to_owned(), program });
    }
    let time_limit = Duration::try_from(limit).ok().filter(|limit| !limit.is_zero()).ok_or(HookRefused::TimeLimit)?;
    Ok(Command { words, time_limit, time_limit_seconds: limit.as_secs() })
}

fn can_be_executed(program: &Path) -> bool {
    let executable =
        |path: &Path| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if program.as_os_str().is_empty() {
        return false;
    }
    // A name with a slash is a path; any other is looked for as execvp does.
    if program.as_os_str().as_encoded_bytes().contains(&b'/') {
        return executable(program);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| executable(&directory.join(program)))
}

fn read_pid_file(file: &Path) -> Result<i32, PidFileError> {
    let length = std::fs::metadata(file).map_err(PidFileError::Read)?.len();
    if length > MAX_PID_FILE {
        return Err(PidFileError::Content);
    }
    let text = std::fs::read_to_string(file).map_err(PidFileError::Read)?;
    text.trim().parse().ok().filter(|pid| *pid > 0).ok_or(PidFileError::Content)
}

async fn end_group(group: Option<Pid>, child: &mut tokio::process::Child) {
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, Signal::TERM);
        if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
            tracing::debug!("the command did not stop when asked to");
        }
        // Also what the command left behind in its group.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(command: &str) -> HookOptions {
        HookOptions { exec: Some(command.to_owned()), ..HookOptions::default() }
    }

    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[tokio::test]
    async fn a_command_is_split_as_a_shell_splits_words() {
        let directory = scratch();
        let out = directory.path().join("out");
        let command = format!(r#"sh -c 'printf "%s|" "$@" > {}' name 'hello world'  "a b" c\ d"#, out.display());
        Hook::check(&exec(&command)).unwrap().run(&[]).await.unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), "hello world|a b|c d|");
    }

    #[tokio::test]
    async fn the_command_is_told_what_changed() {
        let directory = scratch();
        let out = directory.path().join("out");
        let command = format!(r#"sh -c 'printf %s "$KEYWHEEL_SERIAL" > {}'"#, out.display());
        Hook::check(&exec(&command)).unwrap().run(&[("KEYWHEEL_SERIAL", "42".into())]).await.unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), "42");
    }

    #[tokio::test]
    async fn a_failing_command_is_a_failure_with_its_status() {
        let failed = Hook::check(&exec("sh -c 'exit 7'")).unwrap().run(&[]).await.unwrap_err();
        assert!(matches!(failed, HookFailed::Status { code: Some(7), .. }), "{failed:?}");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_with_its_children() {
        let directory = scratch();
        let child = directory.path().join("child");
        let command = format!("sh -c 'sleep 300 & echo $! > {}; wait'", child.display());
        let options = HookOptions { time_limit: SignedDuration::from_millis(700), ..exec(&command) };
        let failed = Hook::check(&options).unwrap().run(&[]).await.unwrap_err();
        assert!(matches!(failed, HookFailed::TimeLimit { .. }), "{failed:?}");
        let pid: i32 = std::fs::read_to_string(child).unwrap().trim().parse().unwrap();
        // Its adopted parent may need a moment to collect it.
        for _ in 0..100 {
            if !std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the child {pid} is still running");
    }

    #[tokio::test]
    async fn a_pid_file_is_read_again_for_every_signal() {
        let directory = scratch();
        let file = directory.path().join("pid");
        let mut first = sleeper();
        let mut second = sleeper();
        std::fs::write(&file, format!("{}\n", first.id())).unwrap();
        let options = HookOptions { pid_file: Some(file.clone()), signal: 15, ..HookOptions::default() };
        let hook = Hook::check(&options).unwrap();
        std::fs::write(&file, format!("  {} ", second.id())).unwrap();
        hook.run(&[]).await.unwrap();
        assert!(!second.wait().unwrap().success());
        assert!(first.try_wait().unwrap().is_none(), "the process of the old id was signalled");
        first.kill().unwrap();
        first.wait().unwrap();
    }

    #[tokio::test]
    async fn a_process_that_is_gone_is_a_failure() {
        let mut child = sleeper();
        let options = HookOptions { pid: Some(i64::from(child.id())), ..HookOptions::default() };
        let hook = Hook::check(&options).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(hook.run(&[]).await, Err(HookFailed::Signal { .. })));
        assert!(matches!(Hook::check(&options), Err(HookRefused::Process { .. })));
    }

    #[test]
    fn what_cannot_work_is_refused_beforehand() {
        let directory = scratch();
        let data = directory.path().join("data");
        std::fs::write(&data, "no number").unwrap();
        let options = HookOptions::default;
        assert!(matches!(Hook::check(&exec("")), Err(HookRefused::Words(_))));
        assert!(matches!(Hook::check(&exec("echo 'open")), Err(HookRefused::Words(_))));
        assert!(matches!(Hook::check(&exec("/no/such/program")), Err(HookRefused::Program { .. })));
        assert!(matches!(Hook::check(&exec("no-such-program-anywhere x")), Err(HookRefused::Program { .. })));
        assert!(matches!(Hook::check(&exec(data.to_str().unwrap())), Err(HookRefused::Program { .. })));
        assert!(matches!(Hook::check(&HookOptions { pid: Some(0), ..options() }), Err(HookRefused::Pid(0))));
        assert!(matches!(Hook::check(&HookOptions { pid: Some(-4), ..options() }), Err(HookRefused::Pid(-4))));
        assert!(matches!(Hook::check(&HookOptions { signal: 0, ..options() }), Err(HookRefused::Signal(0))));
        assert!(matches!(
            Hook::check(&HookOptions { pid_file: Some(data.clone()), ..options() }),
            Err(HookRefused::PidFile { .. })
        ));
        let two = HookOptions { pid: Some(1), pid_file: Some(data), ..options() };
        assert!(matches!(Hook::check(&two), Err(HookRefused::TwoProcesses)));
        assert!(matches!(
            Hook::check(&HookOptions { time_limit: SignedDuration::ZERO, ..exec("true") }),
            Err(HookRefused::TimeLimit)
        ));
    }

    fn sleeper() -> std::process::Child {
        std::process::Command::new("sleep").arg("300").spawn().unwrap()
    }
}
