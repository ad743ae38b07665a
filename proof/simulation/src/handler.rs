//! The one handler of all simulated tasks, under two names: what it does is in its payload. It writes its starts and ends into the ledger,
//! outside the system under test, and complains at once when it was started too early.

use std::sync::Arc;

use campanile_core::decide::invariants::Start;
use campanile_core::port::handler::{Context, Failure, Handler};
use serde::{Deserialize, Serialize};

use crate::net::{Ended, Link};
use crate::tally::Fault;

/// What a payload asks for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Work {
    /// How long it takes.
    pub ms: u64,
    /// How many attempts in a hundred fail.
    pub fails: u64,
    /// Whether a failing attempt panics instead.
    pub panics: bool,
    /// Whether it takes its worker with it.
    pub kills: bool,
    /// Whether it goes on when it is told to stop.
    pub stubborn: bool,
}

/// From which length on a handler counts as slow.
pub const SLOW_MS: u64 = 3_000;

/// The handler, as one worker has it.
pub struct Worker(pub Link);

/// The same under another name, which not every worker has at every start: what needs it must find one that does.
pub struct Rare(pub Worker);

impl Handler for Rare {
    const NAME: &'static str = "rare";
    type Args = Work;
    type Output = ();

    async fn run(&self, context: Context, work: Work) -> Result<(), Failure> {
        self.0.run(context, work).await
    }
}

impl Handler for Worker {
    const NAME: &'static str = "work";
    type Args = Work;
    type Output = ();

    async fn run(&self, context: Context, work: Work) -> Result<(), Failure> {
        let (link, net) = (&self.0, Arc::clone(&self.0.net));
        let id = format!("{}:{}", context.run, context.attempt);
        let clock = net.time.wall().as_ms().max(net.furthest_ms());
        if clock < context.due_at.as_ms() {
            net.violation(format!(
                "I6: {id} of {} started before {}",
                context.task, context.due_at
            ));
        }
        net.ledger().starts.push(Start {
            run: context.run,
            attempt: context.attempt,
        });
        net.event(link.node, "started", || format!("{id} of {}", context.task));
        context.log(format!("{id} started"));
        if work.kills {
            net.fault(link.node, Fault::PoisonRun, || id.clone());
            link.die().await;
        }
        if work.ms >= SLOW_MS {
            net.fault(link.node, Fault::SlowHandler, || id.clone());
        }
        if work.stubborn {
            net.fault(link.node, Fault::StubbornHandler, || id.clone());
            net.time.pass(work.ms).await;
        } else {
            tokio::select! {
                biased;
                () = context.stop.cancelled() => return Err(Failure::retry("stopped")),
                () = net.time.pass(work.ms) => {}
            }
        }
        // The same answer for the same attempt, in whatever order attempts end.
        let lot = u64::try_from(context.run.as_i64() & 0xffff).unwrap_or(0)
            + u64::from(context.attempt) * 7_919;
        let lot = lot.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        if lot < work.fails * (u64::from(u32::MAX) / 100) {
            return Err(fail(link, &work, &id));
        }
        context.log(format!("{id} ended"));
        net.ledger().ended_well.insert(Ended {
            run: context.run,
            attempt: context.attempt,
        });
        Ok(())
    }
}

fn fail(link: &Link, work: &Work, id: &str) -> Failure {
    if work.panics {
        link.net
            .fault(link.node, Fault::HandlerPanicked, || id.to_owned());
        // As `panic!` does, without the message on standard error.
        std::panic::resume_unwind(Box::new("simulated"));
    }
    link.net
        .fault(link.node, Fault::HandlerFailed, || id.to_owned());
    Failure::retry("simulated")
}
