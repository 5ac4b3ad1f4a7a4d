//! What the agent tells about itself: as JSON over a socket that only its owner may use, and as metrics.

use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::keeper::{Keeper, Now};
use super::pairs::{Managed, State};
use super::timers::Slot;

/// A question is a short line.
const MAX_QUESTION: u64 = 64 * 1024;

/// So many ask at once; further ones wait.
const MAX_ASKERS: usize = 32;

/// So many certificates are told in one go, so that nobody waits long for the keeper.
const PAGE: Slot = 500;

/// Who says nothing, or does not read, is left.
const PATIENCE: Duration = Duration::from_secs(30);

/// What can be asked of a running agent.
#[derive(Debug)]
pub(super) enum Question {
    /// About the agent as a whole.
    Summary(oneshot::Sender<Value>),
    /// About the certificates from this slot on; the answer says where to go on, if there is more.
    Page(Slot, oneshot::Sender<(Vec<Value>, Option<Slot>)>),
    /// About one certificate.
    One(String, oneshot::Sender<Option<Value>>),
    /// Replace one now; the answer comes when it has ended, with what it came to.
    Rekey(String, oneshot::Sender<Value>),
    /// The metrics as text.
    Metrics(oneshot::Sender<String>),
}

/// Asks a running agent.
#[derive(Debug, Clone)]
pub struct Asker(pub(super) mpsc::Sender<Question>);

/// Why a running agent gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody listens there.
    #[error("no agent answers at {}; is it running, and as this user?", .socket.display())]
    Nobody {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What came is no answer.
    #[error("the answer of the agent cannot be understood")]
    Garbled(#[source] serde_json::Error),
    /// The agent says that it cannot.
    #[error("{0}")]
    Refused(String),
}

/// Asks the agent at a socket for its state; for one certificate, if a name is given.
pub async fn status(socket: &Path, name: Option<&str>) -> Result<Value, AskError> {
    ask(socket, &json!({"ask": "status", "name": name})).await
}

/// Asks the agent at a socket to replace a certificate and its key now, and waits until that has ended.
pub async fn rekey_now(socket: &Path, name: &str) -> Result<Value, AskError> {
    ask(socket, &json!({"ask": "rekey", "name": name})).await
}

async fn ask(socket: &Path, question: &Value) -> Result<Value, AskError> {
    let nobody = |source| AskError::Nobody { socket: socket.to_owned(), source };
    let mut stream = UnixStream::connect(socket).await.map_err(nobody)?;
    stream.write_all(format!("{question}\n").as_bytes()).await.map_err(nobody)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(nobody)?;
    let answer: Value = serde_json::from_slice(&answer).map_err(AskError::Garbled)?;
    match answer.get("refused").and_then(Value::as_str) {
        Some(refused) => Err(AskError::Refused(refused.to_owned())),
        None => Ok(answer),
    }
}

/// Listens where only the owner may ask. A socket that a dead agent left is taken over; one of a living agent is not.
pub(super) async fn listen(socket: &Path) -> io::Result<UnixListener> {
    match UnixStream::connect(socket).await {
        Ok(_) => return Err(io::Error::new(ErrorKind::AddrInUse, "another agent answers there")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(socket)?,
        Err(_) => {}
    }
    if let Some(folder) = socket.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until it is dropped.
pub(super) async fn serve(listener: UnixListener, asker: Asker) {
    let mut askers = JoinSet::new();
    loop {
        while askers.len() >= MAX_ASKERS {
            askers.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                askers.spawn(answer(stream, asker.clone()));
            }
            // No descriptor is free: one may be a little later.
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
        while askers.try_join_next().is_some() {}
    }
}

async fn answer(stream: UnixStream, asker: Asker) -> io::Result<()> {
    // The mode of the socket says the same; but it was set only after the socket was there.
    let caller = stream.peer_cred()?.uid();
    if caller != 0 && caller != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(MAX_QUESTION));
    let reading = read.read_line(&mut line);
    tokio::time::timeout(PATIENCE, reading).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
    let question: Value = serde_json::from_str(&line).unwrap_or_default();
    let name = question["name"].as_str();
    match (question["ask"].as_str(), name) {
        (Some("status"), None) => whole(&asker, &mut write).await,
        (Some("status"), Some(name)) => {
            let one = asker.ask(|answer| Question::One(name.to_owned(), answer)).await.flatten();
            let told = match (one, asker.ask(Question::Summary).await) {
                (Some(one), Some(agent)) => json!({"agent": agent, "certificates": [one]}),
                (_, None) => stopping(),
                (None, _) => unknown(name),
            };
            say(&mut write, &told).await
        }
        (Some("rekey"), Some(name)) => {
            let told = asker.ask(|answer| Question::Rekey(name.to_owned(), answer)).await;
            say(&mut write, &told.unwrap_or_else(stopping)).await
        }
        _ => say(&mut write, &json!({"refused": "this is no question that the agent knows"})).await,
    }
}

/// All certificates, page by page: however many they are, only one page is in memory.
async fn whole(asker: &Asker, write: &mut (impl AsyncWriteExt + Unpin)) -> io::Result<()> {
    let Some(summary) = asker.ask(Question::Summary).await else {
        return say(write, &stopping()).await;
    };
    let mut text = format!("{{\"agent\":{summary},\"certificates\":[");
    let (mut next, mut is_first) = (Some(0), true);
    while let Some(from) = next {
        let Some((page, more)) = asker.ask(|answer| Question::Page(from, answer)).await else { break };
        for one in page {
            let comma = if std::mem::replace(&mut is_first, false) { "" } else { "," };
            let _infallible = write!(text, "{comma}{one}");
        }
        write_all(write, &text).await?;
        text.clear();
        next = more;
    }
    text.push_str("]}\n");
    write_all(write, &text).await
}

async fn say(write: &mut (impl AsyncWriteExt + Unpin), value: &Value) -> io::Result<()> {
    write_all(write, &format!("{value}\n")).await
}

async fn write_all(write: &mut (impl AsyncWriteExt + Unpin), text: &str) -> io::Result<()> {
    let writing = write.write_all(text.as_bytes());
    tokio::time::timeout(PATIENCE, writing).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))?
}

impl Asker {
    async fn ask<A>(&self, question: impl FnOnce(oneshot::Sender<A>) -> Question) -> Option<A> {
        let (sender, answer) = oneshot::channel();
        self.0.send(question(sender)).await.ok()?;
        answer.await.ok()
    }

    /// The metrics in the text format of Prometheus.
    pub async fn metrics(&self) -> String {
        self.ask(Question::Metrics).await.unwrap_or_default()
    }
}

fn stopping() -> Value {
    json!({"refused": "the agent is stopping"})
}

pub(super) fn unknown(name: &str) -> Value {
    json!({"refused": format!("the agent manages no certificate '{name}'")})
}

/// What a page of certificates holds.
pub(super) fn page(keeper: &Keeper, from: Slot) -> (Vec<Value>, Option<Slot>) {
    let end = keeper.pairs.end();
    let until = from.saturating_add(PAGE).min(end);
    let managed = (from..until).filter_map(|slot| keeper.pairs.get(slot));
    let page = managed.filter(|managed| !managed.leaves).map(|managed| one(keeper, managed)).collect();
    (page, (until < end).then_some(until))
}

/// One certificate in JSON.
pub(super) fn one(keeper: &Keeper, managed: &Managed) -> Value {
    let known = |at: Timestamp| managed.is_known.then(|| at.to_string());
    let file = keeper.files.get(managed.file as usize).map(|file| file.path.display().to_string());
    json!({
        "name": &*managed.name,
        "kind": "x509",
        "certificate": managed.certificate.display().to_string(),
        "key": managed.key().display().to_string(),
        "ca_url": managed.profile.ca_url,
        "config": file,
        "state": word(managed),
        "not_before": known(managed.validity().not_before),
        "not_after": known(managed.not_after()),
        "next": if managed.state == State::Waits { known(managed.due_at()) } else { None },
        "last_rekey": managed.last_success().map(|at| at.to_string()),
        "failures": managed.failures,
        "error": managed.error.as_deref(),
    })
}

fn word(managed: &Managed) -> &'static str {
    match managed.state {
        State::UnderWay => "rekeying",
        State::Queued => "queued",
        State::Waits if !managed.is_known => "unreadable",
        State::Waits if managed.failures > 0 => "failing",
        State::Waits => "waiting",
    }
}

/// The agent as a whole in JSON.
pub(super) fn summary(keeper: &Keeper, since: Timestamp, now: Now) -> Value {
    let tally = Tally::of(keeper, now.wall);
    let broken = keeper.files.iter().filter_map(|file| file.error.as_ref());
    let authorities = keeper.authorities.iter().map(|authority| {
        let quiet = authority.pace.quiet_until(now.steady);
        let quiet = quiet.and_then(|until| now.wall.checked_add(until.saturating_sub(now.steady)).ok());
        json!({
            "ca_url": authority.url,
            "under_way": authority.pace.under_way(),
            "queued": authority.queued,
            "quiet_until": quiet.map(|until| until.to_string()),
        })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "since": since.to_string(),
        "certificates": tally.certificates,
        "waiting": tally.waiting,
        "queued": tally.queued,
        "under_way": tally.under_way,
        "failing": tally.failing,
        "unreadable": tally.unreadable,
        "expired": tally.expired,
        "rekeyed": keeper.counts.rekeyed,
        "failed": keeper.counts.failed,
        "not_taken": keeper.counts.not_taken,
        "earliest_not_after": tally.earliest.map(|at| at.to_string()),
        "files": keeper.files.iter().filter(|file| file.is_there).count(),
        "config_errors": broken.map(|error| json!({
            "file": error.file.display().to_string(), "line": error.line, "message": error.message,
        })).collect::<Vec<_>>(),
        "authorities": authorities.collect::<Vec<_>>(),
    })
}

#[derive(Debug, Default)]
struct Tally {
    certificates: usize,
    waiting: usize,
    queued: usize,
    under_way: usize,
    failing: usize,
    unreadable: usize,
    expired: usize,
    earliest: Option<Timestamp>,
}

impl Tally {
    fn of(keeper: &Keeper, now: Timestamp) -> Self {
        let mut tally = Self::default();
        for (_, managed) in keeper.pairs.iter().filter(|(_, managed)| !managed.leaves) {
            tally.certificates += 1;
            match word(managed) {
                "rekeying" => tally.under_way += 1,
                "queued" => tally.queued += 1,
                "unreadable" => tally.unreadable += 1,
                "failing" => tally.failing += 1,
                _ => tally.waiting += 1,
            }
            if managed.is_known {
                tally.expired += usize::from(managed.not_after() < now);
                tally.earliest =
                    Some(tally.earliest.map_or(managed.not_after(), |so_far| so_far.min(managed.not_after())));
            }
        }
        tally
    }
}

/// The metrics in the text format of Prometheus.
pub(super) fn metrics(keeper: &Keeper, now: Now) -> String {
    let tally = Tally::of(keeper, now.wall);
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, values: &[(&str, f64)]| {
        let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _infallible = writeln!(text, "{name}{labels} {value}");
        }
    };
    let states = [
        ("{state=\"waiting\"}", tally.waiting as f64),
        ("{state=\"queued\"}", tally.queued as f64),
        ("{state=\"rekeying\"}", tally.under_way as f64),
        ("{state=\"failing\"}", tally.failing as f64),
        ("{state=\"unreadable\"}", tally.unreadable as f64),
    ];
    add("keywheel_agent_certificates", "gauge", "Managed certificates by state", &states);
    add(
        "keywheel_agent_expired_certificates",
        "gauge",
        "Managed certificates that are over",
        &[("", tally.expired as f64)],
    );
    let counts = keeper.counts;
    add("keywheel_agent_rekeys_total", "counter", "Pairs replaced", &[("", counts.rekeyed as f64)]);
    add("keywheel_agent_failures_total", "counter", "Replacements that failed", &[("", counts.failed as f64)]);
    let help = "Pairs in place whose hook or proof failed";
    add("keywheel_agent_not_taken_total", "counter", help, &[("", counts.not_taken as f64)]);
    let broken = keeper.files.iter().filter(|file| file.error.is_some()).count();
    add(
        "keywheel_agent_config_errors",
        "gauge",
        "Files of the configuration that are not used",
        &[("", broken as f64)],
    );
    let quiet = keeper.authorities.iter().filter(|one| one.pace.quiet_until(now.steady).is_some()).count();
    add("keywheel_agent_quiet_authorities", "gauge", "Authorities that are left alone for now", &[("", quiet as f64)]);
    let earliest = tally.earliest.map_or(f64::INFINITY, |at| at.as_second() as f64);
    let earliest = if earliest.is_finite() { vec![("", earliest)] } else { Vec::new() };
    let help = "End of the managed certificate that ends first, Unix time";
    add("keywheel_agent_earliest_not_after_seconds", "gauge", help, &earliest);
    text
}
