//! The system calls of a rekey that change anything, seen by strace, and a rekey in which one of them is tampered with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::client::{Client, Ended};

/// Every system call that changes files.
const FILES: &[&str] = &[
    "chmod",
    "chown",
    "copy_file_range",
    "creat",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fdatasync",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fsync",
    "ftruncate",
    "lchown",
    "link",
    "linkat",
    "lsetxattr",
    "mkdir",
    "mkdirat",
    "openat",
    "pwrite64",
    "pwritev",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "setxattr",
    "symlink",
    "symlinkat",
    "sync_file_range",
    "syncfs",
    "truncate",
    "unlink",
    "unlinkat",
    "utimensat",
    "write",
];

/// Those that tell the certificate authority.
const SENDS: &[&str] = &["sendmmsg", "sendmsg", "sendto", "writev"];

/// One call of a whole run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// How many calls of this name its thread has made, itself included.
    pub number: usize,
    /// Whether it sends; those are made by any thread, the others by the main thread alone.
    pub sends: bool,
}

/// A call by what it does, however the calls before it are numbered in this run: name, files, and which time.
pub type Deed = (String, usize);

/// The calls of a run that nobody tampers with.
pub struct Calls {
    /// Where to tamper.
    pub points: Vec<Point>,
    /// What the calls on files do, each with its point.
    pub deeds: BTreeMap<Deed, Point>,
}

/// What came of tampering.
pub enum Came {
    /// The call was tampered with; on files, it was this deed.
    ToIt(Option<Deed>),
    /// There was no such call in this run, or it only woke another thread, which no disk can make fail.
    NotToIt,
}

/// Watches a whole run.
pub fn calls(client: &Client) -> Calls {
    let names = [FILES, SENDS].concat().join(",");
    let strace = ["-f", "-yy", "-qq", "-b", "execve", "-e", &format!("trace={names}")].map(String::from);
    let ended = client.run_traced(&strace, &client.words());
    assert_eq!(ended.code, Some(client.subject.exit_code()), "nothing was tampered with: {}", ended.said);
    let trace = std::fs::read_to_string(client.trace()).expect("strace has written");
    let seen: Vec<Line> = trace.lines().filter_map(|line| Line::read(line, true)).collect();
    let main = seen.first().expect("strace has seen a call").thread;
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut points = BTreeSet::new();
    let mut deeds = BTreeMap::new();
    let mut times = BTreeMap::new();
    for line in &seen {
        let number = counts.entry((line.thread, line.name)).or_default();
        *number += 1;
        let sends = SENDS.contains(&line.name);
        let point = Point { name: line.name.to_owned(), number: *number, sends };
        if sends && line.text.contains("<TCP") {
            points.insert(point);
        } else if let Some(deed) = line.deed(&client.folder, &mut times) {
            assert_eq!(line.thread, main, "a thread of its own changes files, where these tests do not look: {line:?}");
            points.insert(point.clone());
            deeds.insert(deed, point);
        } else if line.thread == main && !sends && line.speaks() {
            points.insert(point);
        }
    }
    Calls { points: points.into_iter().collect(), deeds }
}

/// A rekey in which one call is tampered with, in strace's words, such as `signal=SIGKILL` or `error=EIO`.
pub fn tamper(client: &Client, point: &Point, tampering: &str) -> (Ended, Came) {
    let Point { name, number, sends } = point;
    let mut strace: Vec<String> = ["-yy", "-qq", "-e"].map(String::from).into();
    strace.push(format!("trace={name}"));
    strace.extend(["-e".into(), format!("inject={name}:{tampering}:when={number}")]);
    if *sends {
        strace.extend(["-f", "-b", "execve"].map(String::from));
    }
    let ended = client.run_traced(&strace, &client.words());
    let trace = std::fs::read_to_string(client.trace()).unwrap_or_default();
    let mut times = BTreeMap::new();
    let mut last = None;
    for line in trace.lines().filter_map(|line| Line::read(line, *sends)) {
        let deed = line.deed(&client.folder, &mut times);
        if line.text.contains("(INJECTED)") && line.is_inner() {
            return (ended, Came::NotToIt);
        }
        if line.text.contains("(INJECTED)") {
            return (ended, Came::ToIt(deed));
        }
        last = deed;
    }
    let killed = ended.code.is_none() && !ended.hung;
    (ended, if killed { Came::ToIt(last) } else { Came::NotToIt })
}

/// A line of a trace.
#[derive(Debug)]
struct Line<'a> {
    thread: &'a str,
    name: &'a str,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// A call; nothing where the line tells of a signal or an end.
    fn read(line: &'a str, with_thread: bool) -> Option<Self> {
        let (thread, text) = if with_thread { line.split_once(' ')? } else { ("", line) };
        let text = text.trim_start();
        let (name, _) = text.split_once('(')?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then_some(Self { thread, name, text })
    }

    /// What it does in the folder, without the numbers that differ from run to run; `times` counts how often it was done.
    fn deed(&self, folder: &Path, times: &mut BTreeMap<String, usize>) -> Option<Deed> {
        let folder = folder.to_string_lossy();
        let call = self.text.split(") = ").next().and_then(|call| call.split(" <unfinished").next())?;
        // A relative name starts there.
        let call = call.replace(&format!("AT_FDCWD<{folder}>, \"/"), "\"/").replace("AT_FDCWD<", "<");
        if !call.contains(&*folder) {
            return None;
        }
        // What is written is new in every run.
        let call = if self.name.contains("write") { call.split(", ").next()? } else { &call };
        let mut what = String::new();
        for char in call.replace(&*folder, "").chars() {
            match char {
                '0'..='9' if what.ends_with('#') => {}
                '0'..='9' => what.push('#'),
                other => what.push(other),
            }
        }
        let time = times.entry(what.clone()).or_default();
        *time += 1;
        Some((what, *time))
    }

    /// Whether it writes to the terminal.
    fn speaks(&self) -> bool {
        self.name == "write" && (self.text.starts_with("write(1<") || self.text.starts_with("write(2<"))
    }

    /// Whether it only wakes another thread of the process.
    fn is_inner(&self) -> bool {
        self.text.contains("[eventfd]") || self.text.contains("<UNIX")
    }
}
