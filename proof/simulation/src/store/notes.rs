//! What is noted of the answers on their way back, and of claims that arrive when nobody waits for them any more.

use super::*;
use campanile_core::port::attempt::AttemptStore as _;
use campanile_core::port::lead::LeadStore as _;

impl FaultyStore {
    /// The network may have held a claim back: it reaches the store when nobody waits for it any more.
    pub(super) fn maybe_arrive_late(&self, claim: &Claim) {
        let net = Arc::clone(&self.link.net);
        if !self.link.hit(LATE_CLAIMS, Fault::ClaimLate, "claim") {
            return;
        }
        // Often before the message has come again: then it is the first to arrive.
        let longest = [LATE_MS_SOON, SLOW_MS_MAX][usize::from(net.dice.below(2) == 1)];
        let wait = 1 + net.dice.below(longest);
        let (inner, claim) = (Arc::clone(&self.inner), claim.clone());
        if let Some(home) = net.home.get().cloned() {
            home.spawn(async move {
                net.time.pass(wait).await;
                let _ = inner.claim(&claim).await;
            });
        }
    }

    pub(super) fn note(&self, what: &'static str, detail: impl FnOnce() -> String) {
        self.link.net.event(self.link.node, what, detail);
    }

    /// A leader's write: refused because another term began, or I3 has to hold.
    pub(super) async fn judge_term(
        &self,
        term: &Term,
        refused: bool,
        what: &str,
    ) -> Result<(), Error> {
        // Nobody else's call comes between the write and this look: the memory adapter never waits.
        let row = self.inner.leader().await?;
        let leads = row.epoch == term.epoch && row.holder.as_ref() == Some(&term.holder);
        let deposed = usize::from(refused && !leads);
        self.link
            .seen(Seen::DeposedWriteRefused, deposed, || what.to_owned());
        if !refused && !leads {
            let (wrote, now) = (term.epoch, row.epoch);
            let net = &self.link.net;
            net.violation(format!(
                "I3: `{what}` of term {wrote} was committed in term {now}"
            ));
        }
        Ok(())
    }

    pub(super) fn note_fired(&self, firing: &Firing, fired: Fired) {
        let refused = usize::from(fired == Fired::Edited);
        self.link.seen(Seen::FiringRefused, refused, String::new);
        if fired != Fired::Applied {
            return;
        }
        self.note("fired", || describe(firing));
        let blocked = firing.blocked.iter().map(|p| p.run);
        self.link.net.ledger().blocked.extend(blocked);
        self.link
            .seen(Seen::Blocked, firing.blocked.len(), String::new);
        let blocked = firing.blocked.iter().filter(|p| p.key.is_ability()).count();
        self.link.seen(Seen::Unserved, blocked, String::new);
        let late = |r: &&Run| firing.at.as_ms() - r.due_at.as_ms() > CAUGHT_UP_MS;
        let caught_up = firing.runs.iter().filter(late).count();
        self.link.seen(Seen::CaughtUp, caught_up, String::new);
    }

    pub(super) fn note_claimed(&self, claim: &Claim, won: &[Claimed]) {
        let refused = claim.runs.len() - won.len();
        self.link.seen(Seen::StaleClaimRefused, refused, || {
            format!("{:?}", claim.runs)
        });
        for run in won {
            self.note("claimed", || format!("{}:{}", run.run, run.attempt));
            let waited = self.link.net.ledger().blocked.remove(&run.run);
            let id = || run.run.to_string();
            self.link.seen(Seen::HandedOn, usize::from(waited), id);
        }
    }
}
