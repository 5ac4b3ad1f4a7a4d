//! `agent`: keep many pairs fresh in one process, and ask it how they are.

mod check;
mod question;
mod teller;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use keywheel_engine::client::agent::config::Surroundings;
use keywheel_engine::client::agent::{Agent, AgentError, AgentOptions, Command};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use self::teller::Teller;
use crate::commands::{DONE, Setting, wait_for};
use crate::exit::Exit;
use crate::failure::{Classed, Failure, Outcome};
use crate::signals;

/// Where the agent of the system answers, as its unit says.
const OF_THE_SYSTEM: &str = "/run/keywheel-agent/agent.sock";

/// Flags of `agent`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    long_about = "Keep many pairs of certificate and key fresh in one process.\n\n\
        A TOML file, or a directory of them, says which and how. They may be changed at any time: the agent sees it and \
        adds, changes or drops what they say. Each certificate is replaced together with its key when its time has come, as by \
        'ca rekey'; many that are due together are spread, and no CA is asked more than it is to be.",
    after_help = "Signals: SIGHUP reads the files again; SIGTERM and SIGINT finish what is in flight.

Examples:
  keywheel agent
  keywheel agent --config /etc/keywheel/agent.d
  keywheel agent check --config /etc/keywheel/agent.d
  keywheel agent status
  keywheel agent rekey web"
)]
pub(crate) struct Flags {
    #[command(subcommand)]
    words: Option<Words>,
    #[command(flatten)]
    run: RunFlags,
}

/// What can be done besides running it.
#[derive(Debug, Subcommand)]
enum Words {
    /// Check the files, and say what an agent would keep fresh
    #[command(after_help = "Examples:
  keywheel agent check
  keywheel agent check --config /etc/keywheel/agent.d")]
    Check(RunFlags),
    /// Ask a running agent how its certificates are
    #[command(after_help = "Examples:
  keywheel agent status
  keywheel agent status web
  keywheel agent status --json --socket /run/keywheel-agent/agent.sock")]
    Status(question::StatusFlags),
    /// Let a running agent replace one certificate and its key now, and wait until it has
    #[command(after_help = "Examples:
  keywheel agent rekey web")]
    Rekey(question::RekeyFlags),
}

/// What is kept fresh.
#[derive(Args, Clone, Debug, Default)]
struct RunFlags {
    /// The TOML file, or the directory of TOML files, that says what to keep fresh [default: config/agent.toml]
    #[arg(long, value_name = "path")]
    config: Option<PathBuf>,
    /// The URL of the CA, where the files name none
    #[arg(long, value_name = "URI")]
    ca_url: Option<String>,
    /// The PEM file with the roots of that CA, where the files name none [default: certs/root_ca.crt]
    #[arg(long, value_name = "file")]
    root: Option<PathBuf>,
}

pub(crate) fn run(flags: Flags, setting: &Setting<'_>) -> Outcome {
    match flags.words {
        None => keep(&flags.run, setting),
        Some(Words::Check(flags)) => check::run(&flags, setting),
        Some(Words::Status(flags)) => question::status(&flags, setting),
        Some(Words::Rekey(flags)) => question::rekey(&flags, setting),
    }
}

fn keep(flags: &RunFlags, setting: &Setting<'_>) -> Outcome {
    let options = AgentOptions {
        config: flags.config(setting),
        surroundings: flags.surroundings(setting),
        socket: own_socket(setting),
        beat: sd_notify::watchdog_enabled(),
        output_to_stderr: setting.voice.speaks_json(),
    };
    wait_for(async {
        let agent = Agent::open(options).await.map_err(failure)?;
        let (stop, told) = watch::channel(false);
        let metrics = match &agent.settings().metrics_address {
            Some(address) => {
                let listener = TcpListener::bind(address).await.or_failed(|| format!("listen on {address}"))?;
                let asker = agent.asker();
                let text = move || {
                    let asker = asker.clone();
                    async move { asker.metrics().await }
                };
                Some(tokio::spawn(keywheel_server::serve_metrics(listener, text, told)))
            }
            None => None,
        };
        let (sender, commands) = mpsc::channel(4);
        signals::listen(&sender, Command::Reload, Command::Stop)?;
        let mut teller = Teller::new(*setting.voice);
        // Not under systemd there is nobody to tell.
        let _unheard = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        agent.run(commands, |event| teller.tell(event)).await;
        let _nobody = stop.send(true);
        if let Some(metrics) = metrics {
            let _ended = metrics.await;
        }
        DONE
    })
}

impl RunFlags {
    fn config(&self, setting: &Setting<'_>) -> PathBuf {
        self.config.clone().unwrap_or_else(|| setting.home.path().join("config").join("agent.toml"))
    }

    fn surroundings(&self, setting: &Setting<'_>) -> Surroundings {
        Surroundings {
            ca_url: self.ca_url.clone().filter(|url| !url.trim().is_empty()),
            root: self.root.clone().unwrap_or_else(|| setting.home.root_certificate()),
            credentials: variable("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        }
    }
}

/// Where an agent answers unless its files say otherwise.
fn own_socket(setting: &Setting<'_>) -> PathBuf {
    match variable("RUNTIME_DIRECTORY") {
        // Several directories stand behind one another; the first is ours.
        Some(folders) => Path::new(folders.split(':').next().unwrap_or_default()).join("agent.sock"),
        None => setting.home.path().join("agent.sock"),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn failure(error: AgentError) -> Failure {
    let exit = match &error {
        AgentError::Config(_) => Exit::Usage,
        _ => Exit::Failed,
    };
    let hint = matches!(error, AgentError::Config(_)).then(|| "see 'keywheel agent check'".to_owned());
    let failure = Failure::of(exit, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
