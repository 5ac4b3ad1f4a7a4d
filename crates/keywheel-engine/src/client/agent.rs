//! Many pairs kept fresh by one process: it knows of each when it is due, and lets no authority be overrun.

pub mod config;
mod job;
mod keeper;
mod pairs;
mod sources;
pub mod status;
mod timers;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keywheel_reach::watch::Watch;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinHandle, JoinSet};
use tokio::time::Instant;

use self::config::{ConfigError, Settings, Surroundings};
use self::job::Done;
use self::keeper::{Keeper, Now};
use self::sources::{Facts, Loader, Look, Scan};
use self::status::{Asker, Question};
use self::timers::Slot;
use crate::client::error::ClientError;
use crate::client::rekey::{self, RekeyReport};

/// After a change of the files more may come: editors write several times.
const SETTLE: Duration = Duration::from_millis(150);

/// Who keeps changing files is heard after this long.
const LONGEST_SETTLE: Duration = Duration::from_secs(2);

/// What an agent is started with.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// A TOML file, or a directory of them.
    pub config: PathBuf,
    /// What holds where they say nothing.
    pub surroundings: Surroundings,
    /// Where questions are answered, unless the files name another place.
    pub socket: PathBuf,
    /// How often it must be said that all is well, for a watchdog.
    pub beat: Option<Duration>,
    /// Sends what hooks print to the standard error output, so that the standard output stays ours.
    pub output_to_stderr: bool,
}

/// What the agent is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Read the files again (SIGHUP).
    Reload,
    /// End (SIGTERM, SIGINT); what is in flight is finished.
    Stop,
}

/// What a look at the files has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loading {
    /// Files that are there.
    pub files: usize,
    /// Certificates that are managed.
    pub certificates: usize,
    /// New ones.
    pub added: usize,
    /// Ones with other settings.
    pub changed: usize,
    /// Ones that are managed no more.
    pub removed: usize,
}

/// What the agent tells.
#[derive(Debug)]
pub enum Event {
    /// All is well.
    Alive,
    /// The files are read again.
    Reloading,
    /// The files were read because that was asked for.
    Reloaded,
    /// What the files say is different.
    Loaded(Loading),
    /// A file cannot be used; what it said before holds.
    ConfigBroken {
        /// Why.
        error: ConfigError,
    },
    /// Changes of the files are seen only at the next look.
    NotWatched {
        /// Why.
        message: String,
    },
    /// A pair was replaced.
    Rekeyed {
        /// Its name.
        name: Arc<str>,
        /// What was done.
        report: Box<RekeyReport>,
        /// When it is due again.
        next: Timestamp,
    },
    /// A pair was replaced, but the hook or the proof failed.
    NotTaken {
        /// Its name.
        name: Arc<str>,
        /// Why.
        error: ClientError,
        /// When it is due again.
        next: Timestamp,
    },
    /// It failed; the old pair stays.
    Failed {
        /// Its name.
        name: Arc<str>,
        /// Why.
        error: ClientError,
        /// How often in a row.
        attempt: u32,
        /// In how long it is tried again.
        retry_after: SignedDuration,
    },
    /// A certificate or its key cannot be read.
    Unreadable {
        /// Its name.
        name: Arc<str>,
        /// Why.
        message: String,
        /// In how long it is tried again.
        retry_after: SignedDuration,
    },
    /// What is asked for cannot be done as it is asked.
    Odd {
        /// The name of the certificate.
        name: Arc<str>,
        /// What is done instead.
        message: String,
    },
    /// Something else changed the files of a pair; its time was set anew.
    FilesChanged {
        /// Its name.
        name: Arc<str>,
        /// When it is due.
        next: Timestamp,
    },
    /// A certificate has expired; it is still tried.
    Expired {
        /// Its name.
        name: Arc<str>,
        /// When it did.
        not_after: Timestamp,
    },
    /// It ends, as soon as what is under way has ended.
    Stopping {
        /// How many are under way.
        under_way: usize,
    },
    /// The end.
    Stopped,
}

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// Nothing of the configuration can be used.
    #[error("{0}")]
    Config(ConfigError),
    /// Questions cannot be answered.
    #[error("cannot listen for questions at {}", .socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The threads of the program end.
    #[error("the agent was ended from within")]
    Ended,
}

/// What a configuration says, and what is wrong with it.
#[derive(Debug)]
pub struct Checked {
    /// The certificates, each with the words of its status.
    pub certificates: Vec<Value>,
    /// What cannot be used.
    pub errors: Vec<ConfigError>,
    /// What is odd about single certificates.
    pub notes: Vec<(Arc<str>, String)>,
    /// How the agent itself would work.
    pub settings: Settings,
}

/// An agent that has read its files.
pub struct Agent {
    options: AgentOptions,
    keeper: Keeper,
    loader: Option<Loader>,
    listener: UnixListener,
    socket: PathBuf,
    first: Vec<Event>,
    start: Instant,
    asker: Asker,
    questions: mpsc::Receiver<Question>,
}

/// Reads a configuration as an agent would, and checks everything that can be known without an authority.
pub async fn check(config: PathBuf, surroundings: Surroundings) -> Result<Checked, AgentError> {
    let check = move || {
        let mut loader = Loader::new(absolute(config), surroundings);
        let mut keeper = Keeper::new(false, chance);
        let now = Now { wall: Timestamp::now(), steady: Duration::ZERO };
        let applied = keeper.apply(loader.scan(), now);
        let (mut errors, mut notes) = (Vec::new(), Vec::new());
        for event in applied.events {
            match event {
                Event::ConfigBroken { error } => errors.push(error),
                Event::Unreadable { name, message, .. } | Event::Odd { name, message } => notes.push((name, message)),
                _ => {}
            }
        }
        for (slot, managed) in keeper.pairs.iter().filter(|(_, managed)| managed.is_known) {
            let job = job::Job {
                slot,
                certificate: managed.certificate.to_path_buf(),
                key: managed.key().to_owned(),
                profile: managed.profile.clone(),
                output_to_stderr: false,
            };
            if let Err(error) = job::check(&job) {
                notes.push((managed.name.clone(), crate::client::place::with_causes(&error)));
            }
        }
        let certificates = keeper.pairs.iter().map(|(_, managed)| status::one(&keeper, managed)).collect();
        Checked { certificates, errors, notes, settings: keeper.settings }
    };
    tokio::task::spawn_blocking(check).await.map_err(|_| AgentError::Ended)
}

impl Agent {
    /// Reads the files and listens for questions. Files that cannot be used are told of, unless there is no other.
    pub async fn open(options: AgentOptions) -> Result<Self, AgentError> {
        let start = Instant::now();
        let options = AgentOptions { config: absolute(options.config), ..options };
        let loader = Loader::new(options.config.clone(), options.surroundings.clone());
        let (mut loader, scan) = load(loader).await.map_err(|_| AgentError::Ended)?;
        let mut keeper = Keeper::new(options.output_to_stderr, chance);
        let applied = keeper.apply(scan, now(start));
        for file in &applied.refused {
            loader.read_again(file);
        }
        let mut first = applied.events;
        if applied.loading.certificates == 0 {
            let broken = first.iter().position(|event| matches!(event, Event::ConfigBroken { .. }));
            if let Some(Event::ConfigBroken { error }) = broken.map(|at| first.swap_remove(at)) {
                return Err(AgentError::Config(error));
            }
        }
        first.insert(0, Event::Loaded(applied.loading));
        let socket = keeper.settings.socket.clone().unwrap_or_else(|| options.socket.clone());
        let listener =
            status::listen(&socket).await.map_err(|source| AgentError::Socket { socket: socket.clone(), source })?;
        let (sender, questions) = mpsc::channel(64);
        let asker = Asker(sender);
        Ok(Self { options, keeper, loader: Some(loader), listener, socket, first, start, asker, questions })
    }

    /// What the files say about the agent itself.
    pub fn settings(&self) -> &Settings {
        &self.keeper.settings
    }

    /// Asks this agent once it runs.
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Where questions are answered.
    pub fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// Runs until it is told to stop; what is in flight then is finished.
    pub async fn run(self, mut commands: mpsc::Receiver<Command>, mut events: impl FnMut(Event)) {
        let Self { options, keeper, loader, listener, socket, first, start, asker, mut questions } = self;
        let server = tokio::spawn(status::serve(listener, asker));
        let (told, mut changes) = mpsc::channel(1);
        let mut running = Running {
            keeper,
            start,
            since: Timestamp::now(),
            jobs: JoinSet::new(),
            slots: HashMap::new(),
            waiters: HashMap::new(),
            loader,
            loading: None,
            load_again: false,
            reload_asked: false,
            looking: None,
            settle: None,
            next_scan: start,
            watch: None,
        };
        first.into_iter().for_each(&mut events);
        match Watch::start(&options.config, told) {
            Ok(watch) => running.watch = Some(watch),
            Err(error) => events(Event::NotWatched { message: crate::client::place::with_causes(&error) }),
        }
        running.next_scan = Instant::now() + running.keeper.settings.rescan;
        // What changed between the reading and the watching is seen by this.
        running.load(&mut events, false);
        let mut stopping = false;
        let mut beaten = Instant::now();
        loop {
            if let Some(beat) = options.beat
                && beaten.elapsed() >= beat / 2
                && !running.keeper.is_wedged(now(start))
            {
                beaten = Instant::now();
                events(Event::Alive);
            }
            if stopping && running.jobs.is_empty() {
                break;
            }
            let sleep = running.step(stopping, &mut events).min(options.beat.map_or(Duration::MAX, |beat| beat / 2));
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                command = commands.recv() => match command {
                    Some(Command::Reload) => {
                        events(Event::Reloading);
                        running.load(&mut events, true);
                    }
                    // Nobody can tell us to stop any more: that is the end.
                    Some(Command::Stop) | None if !stopping => {
                        stopping = true;
                        events(Event::Stopping { under_way: running.jobs.len() });
                    }
                    Some(Command::Stop) | None => tokio::time::sleep(SETTLE).await,
                },
                Some(()) = changes.recv() => running.changed(),
                Some(question) = questions.recv() => running.answer(question),
                Some(ended) = running.jobs.join_next_with_id() => running.ended(ended, &mut events),
                Some(loaded) = finished(&mut running.loading) => running.loaded(loaded, &mut events),
                Some(seen) = finished(&mut running.looking) => running.seen(seen, &mut events),
            }
        }
        server.abort();
        // Another one may have taken the place of a socket that was removed under us; then it is not ours to remove.
        let _left_behind = std::fs::remove_file(&socket);
        events(Event::Stopped);
    }
}

type Loaded = (Loader, Scan);
type Seen = Vec<(Look, Result<Facts, String>)>;

/// An agent at work: the keeper, and all that runs beside it.
struct Running {
    keeper: Keeper,
    start: Instant,
    since: Timestamp,
    jobs: JoinSet<Done>,
    slots: HashMap<Id, Slot>,
    /// Who asked for a replacement and waits for its end.
    waiters: HashMap<Slot, Vec<oneshot::Sender<Value>>>,
    /// Lent to the thread that reads while it does.
    loader: Option<Loader>,
    loading: Option<JoinHandle<Loaded>>,
    load_again: bool,
    reload_asked: bool,
    looking: Option<JoinHandle<Seen>>,
    /// The first change since the last reading, and the last one.
    settle: Option<(Instant, Instant)>,
    next_scan: Instant,
    watch: Option<Watch>,
}

impl Running {
    fn now(&self) -> Now {
        now(self.start)
    }

    /// Starts what is due; how long nothing needs to be done.
    fn step(&mut self, stopping: bool, events: &mut impl FnMut(Event)) -> Duration {
        if stopping {
            return Duration::from_secs(1);
        }
        let at = self.now();
        let to_do = self.keeper.tick(at);
        to_do.events.into_iter().for_each(&mut *events);
        for job in to_do.jobs {
            let slot = job.slot;
            let runtime = tokio::runtime::Handle::current();
            let task = self.jobs.spawn_blocking(move || runtime.block_on(job::run(job)));
            self.slots.insert(task.id(), slot);
        }
        if self.looking.is_none() && !to_do.looks.is_empty() {
            self.looking = Some(tokio::task::spawn_blocking(move || sources::news(to_do.looks)));
        }
        let settled = self.settle.map(|(first, last)| (last + SETTLE).min(first + LONGEST_SETTLE));
        let scan_at = settled.map_or(self.next_scan, |settled| settled.min(self.next_scan));
        let until_scan = scan_at.saturating_duration_since(Instant::now());
        if until_scan.is_zero() {
            self.load(events, false);
        }
        self.keeper.sleep(at).min(until_scan.max(Duration::from_millis(1)))
    }

    /// The files changed; more changes may come.
    fn changed(&mut self) {
        let at = Instant::now();
        self.settle = Some((self.settle.map_or(at, |(first, _)| first), at));
    }

    /// Reads the files, unless that is going on; then once more afterwards.
    fn load(&mut self, events: &mut impl FnMut(Event), wanted: bool) {
        self.settle = None;
        self.reload_asked |= wanted;
        self.next_scan = Instant::now() + self.keeper.settings.rescan;
        let Some(loader) = self.loader.take() else {
            self.load_again = true;
            return;
        };
        if let Some(watch) = &mut self.watch
            && let Err(error) = watch.rearm()
            && wanted
        {
            events(Event::NotWatched { message: crate::client::place::with_causes(&error) });
        }
        self.loading = Some(load(loader));
    }

    fn loaded(&mut self, (mut loader, scan): Loaded, events: &mut impl FnMut(Event)) {
        let at = self.now();
        let applied = self.keeper.apply(scan, at);
        for file in &applied.refused {
            loader.read_again(file);
        }
        self.loader = Some(loader);
        let loading = applied.loading;
        applied.events.into_iter().for_each(&mut *events);
        if loading.added + loading.changed + loading.removed > 0 {
            events(Event::Loaded(loading));
        }
        if std::mem::take(&mut self.load_again) {
            self.load(events, false);
        } else if std::mem::take(&mut self.reload_asked) {
            events(Event::Reloaded);
        }
    }

    fn seen(&mut self, seen: Seen, events: &mut impl FnMut(Event)) {
        let at = self.now();
        for (look, facts) in seen {
            self.keeper.looked_at(&look, facts, at).into_iter().for_each(&mut *events);
        }
    }

    fn ended(&mut self, ended: Result<(Id, Done), tokio::task::JoinError>, events: &mut impl FnMut(Event)) {
        let at = self.now();
        let (slot, told) = match ended {
            Ok((id, done)) => {
                self.slots.remove(&id);
                (Some(done.slot), self.keeper.ended(done, at))
            }
            Err(error) => {
                let slot = self.slots.remove(&error.id());
                (slot, slot.map(|slot| self.keeper.crashed(slot, at)).unwrap_or_default())
            }
        };
        for waiter in slot.and_then(|slot| self.waiters.remove(&slot)).into_iter().flatten() {
            // Who asked may have gone.
            let _gone = waiter.send(outcome(&told));
        }
        told.into_iter().for_each(&mut *events);
    }

    fn answer(&mut self, question: Question) {
        // Who asked may have gone.
        match question {
            Question::Summary(answer) => {
                let _gone = answer.send(status::summary(&self.keeper, self.since, self.now()));
            }
            Question::Page(from, answer) => {
                let _gone = answer.send(status::page(&self.keeper, from));
            }
            Question::One(name, answer) => {
                let slot = self.keeper.pairs.find(&name);
                let managed = slot.and_then(|slot| self.keeper.pairs.get(slot)).filter(|managed| !managed.leaves);
                let _gone = answer.send(managed.map(|managed| status::one(&self.keeper, managed)));
            }
            Question::Rekey(name, answer) => match self.keeper.rekey_now(&name) {
                Some(slot) => self.waiters.entry(slot).or_default().push(answer),
                None => {
                    let _gone = answer.send(status::unknown(&name));
                }
            },
            Question::Metrics(answer) => {
                let _gone = answer.send(status::metrics(&self.keeper, self.now()));
            }
        }
    }
}

/// What came of a replacement that somebody asked for.
fn outcome(events: &[Event]) -> Value {
    for event in events {
        match event {
            Event::Rekeyed { report, next, .. } => {
                return json!({"rekeyed": true, "serial": report.new.serial, "not_after": report.new.not_after.to_string(),
                    "next": next.to_string(), "warnings": report.warnings});
            }
            Event::NotTaken { error, next, .. } => {
                return json!({"rekeyed": true, "next": next.to_string(), "failed": told(error), "fault": fault(error)});
            }
            Event::Failed { error, .. } => {
                return json!({"rekeyed": false, "failed": told(error), "fault": fault(error)});
            }
            Event::FilesChanged { next, .. } => return json!({"rekeyed": false, "next": next.to_string()}),
            _ => {}
        }
    }
    json!({"rekeyed": false, "failed": "the certificate is not managed any more", "fault": "failed"})
}

fn told(error: &ClientError) -> String {
    crate::client::place::with_causes(error)
}

fn fault(error: &ClientError) -> &'static str {
    use crate::client::error::Fault;
    match error.fault() {
        Fault::Failed => "failed",
        Fault::Usage => "usage",
        Fault::Refused => "refused",
        Fault::Unreachable => "try-again",
        Fault::NotTaken => "hook-failed",
    }
}

fn load(mut loader: Loader) -> JoinHandle<Loaded> {
    tokio::task::spawn_blocking(move || {
        let scan = loader.scan();
        (loader, scan)
    })
}

/// Waits for a task that is there; never ends where there is none.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    let Some(running) = task else { return std::future::pending().await };
    let ended = running.await;
    *task = None;
    ended.ok()
}

fn now(start: Instant) -> Now {
    Now { wall: Timestamp::now(), steady: start.elapsed() }
}

fn chance() -> u64 {
    rekey::seed().unwrap_or_default()
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
