//! Attempt, as a process meets it: slow, unreachable, contended, or committed without an answer.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use campanile_core::port::Written;
use campanile_core::port::attempt::{Append, Aside, AttemptStore, Claim, Claimed, Finish};
use campanile_core::port::store::Error;

use super::FaultyStore;

#[async_trait]
impl AttemptStore for FaultyStore {
    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        self.legible("claim", claim.runs.iter().map(|(run, _)| *run))?;
        let arrived = AtomicBool::new(false);
        let call = async {
            arrived.store(true, Ordering::Relaxed);
            let won = self.inner.claim(claim).await?;
            self.note_claimed(claim, &won);
            Ok(won)
        };
        let answer = self.write("claim", call).await;
        if matches!(answer, Err(Error::Ambiguous(_)) if !arrived.load(Ordering::Relaxed)) {
            self.maybe_arrive_late(claim);
        }
        answer
    }

    async fn finish(&self, ends: &[Finish]) -> Result<Vec<Written>, Error> {
        let unread = ends.iter().filter(|end| {
            let error = end.error.as_deref();
            error.is_some_and(|e| e.starts_with("the payload is not"))
        });
        let unread = unread.map(|end| end.run);
        self.link.net.ledger().unread.extend(unread);
        let call = async {
            let answers = self.inner.finish(ends).await?;
            self.note_finished(ends, &answers);
            Ok(answers)
        };
        if self.refuses_end(ends) {
            return self.refused("finish").await;
        }
        self.write("finish", call).await
    }

    async fn append(&self, logs: &[Append]) -> Result<Vec<Written>, Error> {
        self.write("append", self.inner.append(logs)).await
    }

    async fn set_aside(&self, aside: &Aside) -> Result<Written, Error> {
        let call = async {
            let answer = self.inner.set_aside(aside).await?;
            self.note_aside(aside, answer);
            Ok(answer)
        };
        self.write("set_aside", call).await
    }
}
