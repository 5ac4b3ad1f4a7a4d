//! Signals as commands, for programs that stay.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::failure::{Classed, Outcome};

/// Sends `hangup` for every SIGHUP, and `end` for SIGTERM and SIGINT, until nobody listens any more.
pub(crate) fn listen<C: Copy + Send + 'static>(sender: &mpsc::Sender<C>, hangup: C, end: C) -> Outcome<()> {
    for (kind, command) in
        [(SignalKind::hangup(), hangup), (SignalKind::terminate(), end), (SignalKind::interrupt(), end)]
    {
        let mut signals = signal(kind).or_failed(|| "listen for signals".into())?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if sender.send(command).await.is_err() {
                    break;
                }
            }
        });
    }
    Ok(())
}
