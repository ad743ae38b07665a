//! What every fault needs: the cluster, the views of it from outside, and the waits on facts. Owns the account of one
//! fault (when, what proved that it happened, how long service was away); never breaks anything itself.

use std::time::{Duration, Instant};

use super::facts::{self, Leader};
use super::terms::Terms;
use crate::book::Book;
use crate::effects::Effects;
use crate::stand::Stand;
use crate::stand::node::Node;
use crate::{Outcome, http, wall_ms};

/// How long any recovery may take before the test gives up.
pub const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
/// An effect that starts this soon after its instant is in time.
const IN_TIME_MS: i64 = 700;
/// So many effects in a row must be in time before service counts as steady: about half a second's.
const STEADY_EFFECTS: usize = 60;
const POLL: Duration = Duration::from_millis(5);

/// The cluster and its views.
pub struct Scene<'a> {
    pub stand: &'a Stand,
    pub book: Book,
    pub effects: &'a Effects,
    pub terms: &'a Terms,
    /// The ids of workers that were killed.
    pub killed: Vec<i64>,
    /// Claims that were refused to processes that have ended since.
    pub refused_before: u64,
}

/// A change of the lead.
#[derive(Debug, Clone)]
pub struct Handover {
    pub from: String,
    /// The node that leads now.
    pub to: String,
    /// From the fault to the new term, in milliseconds.
    pub gap_ms: i64,
    /// From the fault to the first effect after the new term began, in milliseconds.
    pub first_effect_ms: i64,
}

/// One fault and what came of it.
#[derive(Debug, Clone)]
pub struct Fault {
    pub name: &'static str,
    pub at_ms: i64,
    /// From the fault until service was steady again, in milliseconds.
    pub steady_ms: i64,
    /// Who took over, if the lead changed.
    pub handover: Option<Handover>,
    /// The longest time without any effect around the fault, in milliseconds.
    pub gap_ms: i64,
    /// The latest start around the fault, in milliseconds after its instant.
    pub latest_ms: i64,
    /// What proves that the fault happened, and what else was seen.
    pub seen: Vec<String>,
    pub wrong: Vec<String>,
}

impl Fault {
    /// A fault that happens now.
    pub fn now(name: &'static str) -> Self {
        Self {
            name,
            at_ms: wall_ms(),
            steady_ms: 0,
            handover: None,
            gap_ms: 0,
            latest_ms: 0,
            seen: Vec::new(),
            wrong: Vec::new(),
        }
    }

    pub fn saw(&mut self, what: impl Into<String>) {
        self.seen.push(what.into());
    }

    /// What it cost, in a line.
    pub fn figures(&self) -> String {
        let lead = self.handover.as_ref().map_or_else(String::new, |h| {
            let Handover {
                from,
                to,
                gap_ms,
                first_effect_ms,
            } = h;
            format!("{from} to {to}: new term {gap_ms} ms, first effect {first_effect_ms} ms, ")
        });
        format!(
            "{lead}longest gap {} ms, latest start {} ms, steady after {} ms",
            self.gap_ms, self.latest_ms, self.steady_ms
        )
    }

    /// Notes `what` as seen, or as wrong.
    pub fn demand(&mut self, holds: bool, what: impl Into<String>) {
        if holds {
            self.seen.push(what.into());
        } else {
            self.wrong.push(format!("NOT: {}", what.into()));
        }
    }
}

impl<'a> Scene<'a> {
    pub fn node(&self, name: &str) -> Outcome<&'a Node> {
        self.stand.node(name)
    }

    /// Waits for a term after `epoch`.
    pub fn next_term(&mut self, epoch: i64) -> Outcome<Leader> {
        let mut found = None;
        until("another term begins", RECOVERY_LIMIT, || {
            found = Some(facts::leader(&self.book)?).filter(|leader| leader.epoch > epoch);
            Ok(found.is_some())
        })?;
        found.ok_or_else(|| "no other term began".into())
    }

    /// Waits until due runs start in time for a stretch that begins after `after_ms`; gives the stretch's begin.
    pub fn steady(&mut self, after_ms: i64) -> Outcome<i64> {
        let mut since = after_ms;
        until("due runs start in time again", RECOVERY_LIMIT, || {
            let now = wall_ms();
            let last = self.effects.last(STEADY_EFFECTS);
            let Some(first) = last.first() else {
                return Ok(false);
            };
            since = first.at_ms;
            let in_time = |due: Option<i64>, at| due.is_some_and(|due| at - due < IN_TIME_MS);
            Ok(last.len() == STEADY_EFFECTS
                && since > after_ms.max(now - 2_000)
                && last.iter().all(|e| in_time(e.due_ms(), e.at_ms))
                && facts::unclaimed(&self.book, now - 2_000)? == 0)
        })?;
        Ok(since)
    }

    /// Waits until service is steady and adds up the fault's account.
    pub fn settle(&mut self, fault: &mut Fault, from: &Leader) -> Outcome<()> {
        let steady_at = self.steady(wall_ms())?;
        fault.steady_ms = steady_at - fault.at_ms;
        let mut effects = self.effects.all();
        effects.sort_by_key(|e| e.at_ms);
        let around = fault.at_ms - 500..=steady_at;
        effects.retain(|e| around.contains(&e.at_ms));
        let gaps = effects.windows(2).map(|w| w[1].at_ms - w[0].at_ms);
        fault.gap_ms = gaps.max().unwrap_or(0);
        // What was due a while before the fault may have suffered from it: it was running then.
        let due_from = fault.at_ms - 3_000;
        let due = effects.iter().filter_map(|e| Some((e.due_ms()?, e.at_ms)));
        let late = due.filter(|(due, _)| *due >= due_from);
        fault.latest_ms = late.map(|(due, at)| at - due).max().unwrap_or(0);
        let now = facts::leader(&self.book)?;
        if now.epoch == from.epoch {
            return Ok(());
        }
        let mut later = self.terms.all();
        later.retain(|t| t.epoch > from.epoch);
        // Once is enough; more is no harm to a run, but somebody should ask why.
        for more in later.iter().skip(1) {
            let after = more.since_ms - fault.at_ms;
            fault.saw(format!(
                "one more term: {} led from {after} ms on",
                more.node
            ));
        }
        let next = later.into_iter().next().unwrap_or(now);
        let first = effects.iter().find(|e| e.at_ms > next.since_ms);
        fault.handover = Some(Handover {
            from: from.node.clone(),
            to: next.node,
            gap_ms: next.since_ms - fault.at_ms,
            first_effect_ms: first.map_or(0, |e| e.at_ms - fault.at_ms),
        });
        Ok(())
    }

    /// What the API says of the leader must be what the store says.
    pub fn api_agrees(&mut self, fault: &mut Fault) -> Outcome<()> {
        let port = self.stand.api_port()?;
        let mut said = String::new();
        let (book, wanted) = (&self.book, &mut String::new());
        let agreed = until("the API names the leader", Duration::from_secs(5), || {
            *wanted = facts::leader(book)?.node;
            said = http::ask(port, "GET", "/api/v1/leader")?;
            Ok(said.contains(&format!("\"{wanted}\"")))
        });
        if agreed.is_err() {
            fault.saw(format!("the API says of the leader: {said}"));
        }
        fault.demand(agreed.is_ok(), format!("the API names the leader {wanted}"));
        Ok(())
    }
}

/// Looks at `condition` until it holds; an error of the look ends the wait.
pub fn until(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Outcome<bool>,
) -> Outcome<()> {
    let end = Instant::now() + limit;
    loop {
        if condition()? {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(format!("waited {limit:?} in vain until {what}").into());
        }
        std::thread::sleep(POLL);
    }
}
