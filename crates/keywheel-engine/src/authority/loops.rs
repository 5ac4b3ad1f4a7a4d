//! What the authority does without being asked: revocation lists, revocation of superseded certificates, forgetting used tokens.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keywheel_signer::random;
use tokio::sync::watch;

use super::issue::not_stored;
use super::{Authority, AuthorityError, chain, crl};

/// How often the loops look at the clock. It is the wall clock, so that a suspended machine catches up at once.
const STEP: Duration = Duration::from_secs(1);

/// How long one node holds the loops after it last said so.
const LEASE: SignedDuration = SignedDuration::from_secs(15);

/// The lease is prolonged when less than this is left of it: not at each turn, since each time is a write.
const MARGIN: SignedDuration = SignedDuration::from_secs(8);

/// The lease on the loops.
const NAME: &str = "authority";

/// Runs until `shutdown` turns true. Of several nodes with one store, one works and the others stand by.
pub(super) async fn run(authority: &Authority, mut shutdown: watch::Receiver<bool>) {
    let mut node = Node { holder: holder(), held_until: Timestamp::MIN, asked: Timestamp::MIN, pruned: Timestamp::MIN };
    let mut tick = tokio::time::interval(STEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            _ = tick.tick() => {}
            () = authority.inner.list_wanted.notified() => {}
        }
        if let Err(error) = node.turn(authority, Timestamp::now()).await {
            tracing::warn!(error = chain(&error), "a turn of the authority's loops failed; the next one tries again");
            // The store that just failed is left alone for a moment.
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(STEP * 5) => {}
            }
        }
    }
    // Another node need not wait for the lease to end by itself.
    if let Err(error) = authority.inner.store.release_lease(NAME, &node.holder).await {
        tracing::debug!(%error, "the lease on the loops was not given back");
    }
}

struct Node {
    holder: String,
    held_until: Timestamp,
    asked: Timestamp,
    pruned: Timestamp,
}

impl Node {
    async fn turn(&mut self, authority: &Authority, now: Timestamp) -> Result<(), AuthorityError> {
        if !self.holds(authority, now).await? {
            return Ok(());
        }
        let store = &authority.inner.store;
        let settings = authority.settings();
        let mut list_due = authority.inner.list_due.swap(false, Ordering::Relaxed);
        if !store.due_supersessions(now).await.map_err(not_stored)?.is_empty() {
            for serial in store.apply_due_supersessions(now).await.map_err(not_stored)? {
                list_due = true;
                tracing::info!(%serial, "a superseded certificate was revoked");
            }
        }
        if settings.crl && (list_due || crl::is_due(store, &settings, now).await?) {
            let made = crl::make(store, &settings, now).await;
            if made.is_err() {
                authority.inner.list_due.store(true, Ordering::Relaxed);
            }
            made?;
        }
        if elapsed(self.pruned, now, SignedDuration::from_mins(5)) {
            store.prune_tokens(now).await.map_err(not_stored)?;
            self.pruned = now;
        }
        Ok(())
    }

    /// Whether this node has the lease; asks for it when it is time to.
    async fn holds(&mut self, authority: &Authority, now: Timestamp) -> Result<bool, AuthorityError> {
        let left = self.held_until.duration_since(now);
        if left > MARGIN && left <= LEASE {
            return Ok(true);
        }
        if self.held_until <= now && !elapsed(self.asked, now, SignedDuration::from_secs(3)) {
            return Ok(false);
        }
        self.asked = now;
        let lease = authority.inner.store.try_lease(NAME, &self.holder, now, LEASE).await.map_err(not_stored)?;
        self.held_until = lease.map_or(Timestamp::MIN, |lease| lease.expires_at);
        Ok(self.held_until > now)
    }
}

/// Whether `pause` has passed since `last`; a clock that was put back counts as passed.
fn elapsed(last: Timestamp, now: Timestamp, pause: SignedDuration) -> bool {
    last > now || now.duration_since(last) >= pause
}

/// A name of this node that no other has.
fn holder() -> String {
    let chance: [u8; 8] = random::bytes().unwrap_or_default();
    let hex: String = chance.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{}-{hex}", std::process::id())
}
