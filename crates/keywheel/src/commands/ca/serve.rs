//! `ca serve`: serve the CA until it is told to stop.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use keywheel_engine::authority::{Authority, AuthorityError, AuthorityOptions, OpenError};
use keywheel_server::{Limits, Listeners, ServeError, Settings};
use keywheel_store::StoreError;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::config::Config;
use crate::commands::files::{self, Secrecy};
use crate::commands::{DONE, Setting, wait_for};
use crate::exit::Exit;
use crate::failure::{Classed, Failure, Outcome};
use crate::{passwords, prompt};

/// Flags of `ca serve`.
#[derive(Args, Debug)]
#[command(after_help = "Signals: SIGHUP reads the configuration again; SIGTERM and SIGINT finish what is in flight.

Examples:
  keywheel ca serve --password-file password.txt
  keywheel ca serve config/ca.json --password-file password.txt --pidfile /run/keywheel.pid
  keywheel ca serve --database postgres://ca@db/ca --metrics-address 127.0.0.1:9090 --log-format json")]
pub(crate) struct Flags {
    /// The configuration of the CA [default: config/ca.json]
    #[arg(value_name = "config")]
    config: Option<PathBuf>,
    /// The file with the password of the CA's key, or with the PIN of the token that holds it where ca.json names none
    #[arg(long, value_name = "file")]
    password_file: Option<PathBuf>,
    /// Write the number of the process into this file once it serves
    #[arg(long, value_name = "file")]
    pidfile: Option<PathBuf>,
    /// The database instead of the configured one: sqlite:<path> or postgres://<user>@<host>/<name>
    #[arg(long, value_name = "url")]
    database: Option<String>,
    /// Start with an empty database although the configuration names one that cannot be read; its revocations are lost
    #[arg(long)]
    fresh_database: bool,
    /// Serve Prometheus metrics there, such as 127.0.0.1:9090
    #[arg(long, value_name = "address")]
    metrics_address: Option<String>,
    /// How the log on stderr is written [default: that of the configuration, else text]
    #[arg(long, value_name = "format")]
    log_format: Option<LogFormat>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// JSON objects, one per line.
    Json,
}

/// What is to be served.
pub(crate) struct ServePlan {
    /// `ca.json`
    pub(crate) config: Config,
    /// Of the CA's key.
    pub(crate) password: Option<Zeroizing<Vec<u8>>>,
    /// Instead of the configured one.
    pub(crate) database: Option<String>,
    /// Whether an empty one will do.
    pub(crate) fresh_database: bool,
    /// Where the number of the process goes.
    pub(crate) pidfile: Option<PathBuf>,
    /// Where metrics are served.
    pub(crate) metrics_address: Option<String>,
}

/// A CA that serves.
pub(crate) struct Serving {
    authority: Authority,
    address: String,
    server: JoinHandle<Result<(), ServeError>>,
    shutdown: watch::Sender<bool>,
    pidfile: Option<PathBuf>,
}

pub(crate) fn run(flags: Flags, setting: &Setting<'_>) -> Outcome {
    let config = Config::read(flags.config.as_deref(), setting)?;
    start_log(flags.log_format, &config, setting);
    let plan = ServePlan {
        config,
        password: passwords::from_optional_file(flags.password_file.as_deref())?,
        database: flags.database,
        fresh_database: flags.fresh_database,
        pidfile: flags.pidfile,
        metrics_address: flags.metrics_address,
    };
    wait_for(async {
        let config = plan.config.path.clone();
        let serving = serve(plan).await?;
        let signals = Signals::listen()?;
        if setting.voice.speaks_json() {
            setting.voice.json_line(&json!({"address": serving.address, "config": config}))?;
        }
        serving.until_told_to_stop(signals).await?;
        DONE
    })
}

/// Opens the CA, binds its addresses, and serves in the background.
pub(crate) async fn serve(plan: ServePlan) -> Outcome<Serving> {
    let settings = plan.config.json.settings().or_usage(|| format!("{} is not right", plan.config.path.display()))?;
    // Bound before anything else is touched: two servers must not open one database by accident.
    let https = bind(&settings.address).await?;
    let http = bind_optional(settings.insecure_address.as_deref()).await?;
    let metrics_address = plan.metrics_address.as_deref().or(settings.metrics_address.as_deref());
    let metrics = bind_optional(metrics_address).await?;
    let authority = open(&plan).await?;

    let (shutdown, told) = watch::channel(false);
    let address = https.local_addr().map(|address| address.to_string()).unwrap_or(settings.address);
    let server_settings = Settings { version: env!("CARGO_PKG_VERSION").to_owned(), limits: Limits::default() };
    let server = tokio::spawn(keywheel_server::serve(
        authority.clone(),
        Listeners { https, http, metrics },
        server_settings,
        told,
    ));
    if let Some(path) = &plan.pidfile {
        files::replace(path, format!("{}\n", std::process::id()).as_bytes(), Secrecy::Public)?;
    }
    tracing::info!(address = address.as_str(), config = %plan.config.path.display(), "listening");
    // Not under systemd there is nobody to tell.
    let _unheard = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    Ok(Serving { authority, address, server, shutdown, pidfile: plan.pidfile })
}

/// The signals that a server obeys.
pub(crate) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they wait to be obeyed. To be called before the result is told: who reads it may send one at once.
    pub(crate) fn listen() -> Outcome<Self> {
        let listen = |kind| signal(kind).or_failed(|| "listen for signals".into());
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }
}

impl Serving {
    /// SIGHUP reads the configuration again; SIGTERM and SIGINT finish what is in flight, a second one does not wait.
    pub(crate) async fn until_told_to_stop(mut self, signals: Signals) -> Outcome<()> {
        let Signals { mut hangup, mut terminate, mut interrupt } = signals;
        let ended = loop {
            tokio::select! {
                _ = hangup.recv() => self.reload().await,
                _ = terminate.recv() => break None,
                _ = interrupt.recv() => break None,
                ended = &mut self.server => break Some(ended),
            }
        };
        let _unheard = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let ended = match ended {
            Some(ended) => ended,
            None => {
                tracing::info!("finishing what is in flight");
                let _ended_already = self.shutdown.send(true);
                tokio::select! {
                    ended = &mut self.server => ended,
                    _ = terminate.recv() => return self.finish(Err(Failure::failed("stopped without waiting"))),
                    _ = interrupt.recv() => return self.finish(Err(Failure::failed("stopped without waiting"))),
                }
            }
        };
        let outcome = match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::of(serve_exit(&error), error)),
            Err(error) => Err(Failure::of(Exit::Failed, error).context("serve")),
        };
        self.finish(outcome)
    }

    async fn reload(&self) {
        let _unheard = sd_notify::notify(&[sd_notify::NotifyState::Reloading]);
        if let Err(error) = self.authority.reload().await {
            let why = Failure::of(Exit::Usage, error).message();
            tracing::error!(why, "the configuration was not taken over; the earlier one stays");
        }
        let _unheard = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    }

    fn finish(&self, outcome: Outcome<()>) -> Outcome<()> {
        if let Some(path) = &self.pidfile {
            // A pid file that is left behind is a nuisance, not a failure.
            let _left_behind = std::fs::remove_file(path);
        }
        tracing::info!("stopped");
        outcome
    }
}

async fn open(plan: &ServePlan) -> Outcome<Authority> {
    let mut password = plan.password.clone();
    loop {
        let options = AuthorityOptions {
            config_file: plan.config.path.clone(),
            password: password.clone(),
            database: plan.database.clone(),
            fresh_database: plan.fresh_database,
        };
        match Authority::open(options, Timestamp::now()).await {
            Ok(authority) => return Ok(authority),
            Err(OpenError::PasswordRequired { path }) if password.is_none() && prompt::somebody_is_there() => {
                let question = format!("Please enter the password to decrypt {}", path.display());
                password = Some(prompt::password(&question, "--password-file", None)?);
            }
            Err(OpenError::PinRequired { token }) if password.is_none() && prompt::somebody_is_there() => {
                let question = format!("Please enter the PIN of the token '{token}'");
                password = Some(prompt::password(&question, "--password-file", None)?);
            }
            Err(error) => return Err(Failure::of(open_exit(&error), error)),
        }
    }
}

/// A database that does not answer now may do so later; all else must be put right by somebody.
pub(super) fn open_exit(error: &OpenError) -> Exit {
    match error {
        OpenError::Store(source) if source.downcast_ref::<StoreError>().is_some_and(StoreError::is_retryable) => {
            Exit::TryAgain
        }
        OpenError::Store(_) => Exit::Failed,
        _ => Exit::Usage,
    }
}

/// A disk that is full, a database and a token that are away may be well again at the next start.
fn serve_exit(error: &ServeError) -> Exit {
    match error {
        ServeError::OwnCertificate(source)
            if matches!(
                source.downcast_ref(),
                Some(AuthorityError::Busy { .. } | AuthorityError::Full { .. } | AuthorityError::KeyAway { .. })
            ) =>
        {
            Exit::TryAgain
        }
        _ => Exit::Failed,
    }
}

async fn bind_optional(address: Option<&str>) -> Outcome<Option<TcpListener>> {
    match address.filter(|address| !address.is_empty()) {
        Some(address) => bind(address).await.map(Some),
        None => Ok(None),
    }
}

/// Binds `host:port`, or `:port` for every address of the machine.
async fn bind(address: &str) -> Outcome<TcpListener> {
    let doing = || format!("listen on {address}");
    match address.strip_prefix(':') {
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Ok(listener) => Ok(listener),
            // A machine without IPv6.
            Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await.or_failed(doing),
        },
        None => TcpListener::bind(address).await.or_failed(doing),
    }
}

/// Starts the log on stderr. `KEYWHEEL_LOG` chooses what is in it, such as `debug` or `keywheel_server=trace`.
fn start_log(flag: Option<LogFormat>, config: &Config, setting: &Setting<'_>) {
    let configured = config.json.settings().ok().and_then(|settings| settings.logger_format);
    let format = flag.unwrap_or(match configured.as_deref() {
        Some("json") => LogFormat::Json,
        // Then everything on stderr is JSON.
        _ if setting.voice.speaks_json() => LogFormat::Json,
        _ => LogFormat::Text,
    });
    start_log_at("info", format);
}

/// The same with another level where `KEYWHEEL_LOG` names none.
pub(crate) fn start_log_at(level: &str, format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("KEYWHEEL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // Only a second call could fail, and then there is a log already.
    let _started_before = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}
