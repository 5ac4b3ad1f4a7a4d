//! What the authority does without being asked: revocation lists, revocation of superseded certificates, forgetting used tokens.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use keywheel_signer::random;
use tokio::sync::watch;

use super::issue::not_stored;
use super::settings::Settings;
use super::{Authority, AuthorityError, chain, crl};

/// How often the loops look at the clock. It is the wall clock, so that a suspended machine catches up at once.
const STEP: Duration = Duration::from_secs(1);

/// How long one node holds the loops after it last said so.
const LEASE: SignedDuration = SignedDuration::from_secs(15);

/// The lease is prolonged when less than this is left of it: not at each turn, since each time is a write.
const MARGIN: SignedDuration = SignedDuration::from_secs(8);

/// How long a used token is remembered beyond its end: the clock of another node may be behind, or this one be put back.
const CLOCKS: SignedDuration = SignedDuration::from_hours(1);

/// The shortest time between two lists.
const LIST_PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// The lease on the loops.
const NAME: &str = "authority";

/// Runs until `shutdown` turns true. Of several nodes with one store, one works and the others stand by.
pub(super) async fn run(authority: &Authority, mut shutdown: watch::Receiver<bool>) {
    let mut node = Node {
        holder: holder(),
        held_until: Timestamp::MIN,
        asked: Timestamp::MIN,
        pruned: Timestamp::MIN,
        listed: Timestamp::MIN,
        list_pause: LIST_PAUSE,
    };
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
    listed: Timestamp,
    list_pause: SignedDuration,
}

impl Node {
    async fn turn(&mut self, authority: &Authority, now: Timestamp) -> Result<(), AuthorityError> {
        let store = &authority.inner.store;
        let settings = authority.settings();
        let holds = self.holds(authority, now).await?;
        if holds && !store.due_supersessions(now).await.map_err(not_stored)?.is_empty() {
            for serial in store.apply_due_supersessions(now).await.map_err(not_stored)? {
                authority.inner.list_due.store(true, Ordering::Relaxed);
                tracing::info!(%serial, "a superseded certificate was revoked");
            }
        }
        if settings.crl {
            self.list(authority, &settings, holds, now).await?;
        }
        if !holds {
            return Ok(());
        }
        // A limited number at each turn, until none is left: a busy CA uses more tokens than one turn forgets.
        if elapsed(self.pruned, now, SignedDuration::from_mins(5))
            && store.prune_tokens(now.saturating_sub(CLOCKS).unwrap_or(Timestamp::MIN)).await.map_err(not_stored)? == 0
        {
            self.pruned = now;
        }
        Ok(())
    }

    /// Makes a list when one is due by its age, which is for the holder of the lease to see to, or when this node has
    /// revoked something; not so often that large lists take up more than a small part of the time.
    async fn list(
        &mut self,
        authority: &Authority,
        settings: &Settings,
        holds: bool,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        // Somebody who asks for the list may be making it right now.
        let _alone = authority.inner.making_list.lock().await;
        let store = &authority.inner.store;
        let revoked = elapsed(self.listed, now, self.list_pause) && authority.inner.list_due.load(Ordering::Relaxed);
        let aged = holds && crl::is_due(store, settings, now).await?;
        if !revoked && !aged {
            return Ok(());
        }
        authority.inner.list_due.store(false, Ordering::Relaxed);
        let started = Instant::now();
        if let Err(error) = crl::make(store, settings, now).await {
            authority.inner.list_due.store(true, Ordering::Relaxed);
            return Err(error);
        }
        self.listed = now;
        self.list_pause = SignedDuration::try_from(started.elapsed() * 20).unwrap_or(LIST_PAUSE).max(LIST_PAUSE);
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
