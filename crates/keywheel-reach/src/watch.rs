//! Being told that a file or a directory changed, also when it is replaced as a whole.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Watches one path. It tells only that something changed, never what: who is told looks for themselves.
///
/// The kernel may lose events, and some file systems send none; so who needs to be sure also looks now and then.
#[derive(Debug)]
pub struct Watch {
    watcher: RecommendedWatcher,
    path: PathBuf,
    armed: Vec<PathBuf>,
}

/// Why nothing is watched.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be watched for changes", .path.display())]
pub struct WatchError {
    path: PathBuf,
    #[source]
    source: notify::Error,
}

impl Watch {
    /// Watches the path from now on; `told` gets one mark for any number of changes.
    pub fn start(path: &Path, told: mpsc::Sender<()>) -> Result<Self, WatchError> {
        let watched = path.to_owned();
        let hear = move |event: Result<Event, notify::Error>| {
            // An error is news too: events may have been lost.
            if event.is_ok_and(|event| !is_news(&event, &watched)) {
                return;
            }
            // A mark that waits already says the same.
            let _waits_already = told.try_send(());
        };
        let watcher = notify::recommended_watcher(hear).map_err(|source| failed(path, source))?;
        let mut watch = Self { watcher, path: path.to_owned(), armed: Vec::new() };
        watch.rearm()?;
        Ok(watch)
    }

    /// Watches what stands at the path now: a directory that was swapped for another is another one to the kernel.
    pub fn rearm(&mut self) -> Result<(), WatchError> {
        for old in std::mem::take(&mut self.armed) {
            // What is gone is not watched any more.
            let _gone = self.watcher.unwatch(&old);
        }
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A file is watched by its directory: editors replace files rather than write them.
        let mut wanted = vec![parent.to_owned()];
        if self.path.is_dir() {
            wanted.push(self.path.clone());
        }
        for path in wanted {
            self.watcher.watch(&path, RecursiveMode::NonRecursive).map_err(|source| failed(&path, source))?;
            self.armed.push(path);
        }
        Ok(())
    }
}

/// Whether an event is about the path and says that something is different now. That it was read is not.
fn is_news(event: &Event, path: &Path) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) => return false,
        _ => {}
    }
    event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(|at| at.starts_with(path))
}

fn failed(path: &Path, source: notify::Error) -> WatchError {
    WatchError { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn told(receiver: &mut mpsc::Receiver<()>) -> bool {
        tokio::time::timeout(Duration::from_secs(10), receiver.recv()).await.is_ok_and(|mark| mark.is_some())
    }

    async fn is_quiet(receiver: &mut mpsc::Receiver<()>) -> bool {
        tokio::time::timeout(Duration::from_millis(200), receiver.recv()).await.is_err()
    }

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_removed_is_told_of_and_one_that_is_read_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, "a").unwrap();
        let (sender, mut receiver) = mpsc::channel(1);
        let _watch = Watch::start(&file, sender).unwrap();
        std::fs::read(&file).unwrap();
        std::fs::write(folder.path().join("another"), "b").unwrap();
        assert!(is_quiet(&mut receiver).await);
        std::fs::write(&file, "b").unwrap();
        assert!(told(&mut receiver).await);
        while !is_quiet(&mut receiver).await {}
        std::fs::rename(folder.path().join("another"), &file).unwrap();
        assert!(told(&mut receiver).await);
        while !is_quiet(&mut receiver).await {}
        std::fs::remove_file(&file).unwrap();
        assert!(told(&mut receiver).await);
    }

    #[tokio::test]
    async fn a_directory_that_was_swapped_is_watched_again() {
        let folder = tempfile::tempdir().unwrap();
        let (live, next) = (folder.path().join("agent.d"), folder.path().join("next.d"));
        std::fs::create_dir(&live).unwrap();
        std::fs::create_dir(&next).unwrap();
        let (sender, mut receiver) = mpsc::channel(1);
        let mut watch = Watch::start(&live, sender).unwrap();
        std::fs::rename(&live, folder.path().join("old.d")).unwrap();
        std::fs::rename(&next, &live).unwrap();
        assert!(told(&mut receiver).await);
        watch.rearm().unwrap();
        while !is_quiet(&mut receiver).await {}
        std::fs::write(live.join("web.toml"), "").unwrap();
        assert!(told(&mut receiver).await);
    }
}
