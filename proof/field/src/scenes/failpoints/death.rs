//! How a process of a scene ends: the first one with runs in its hands, the armed one at its point, or it stands there until
//! others took over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use campanile_core::failpoint::Failpoint;
use serde_json::Value;
use xtask::servers::Process;

use super::facts;
use super::people::ask_first;
use super::scene::{Fate, PATIENCE, Scene, holds};
use crate::stand::node::Role;
use crate::{Outcome as Result, wall_ms};

/// How much longer a stopped process stands when others have taken over: every lease and every session of it is over.
const STOPPED: Duration = Duration::from_secs(4);
const LEADS: &str = "leading: term";

impl Scene {
    /// The first process holds two runs when it is killed: one that may start again, one that may not. A third one it
    /// refuses, and a fourth one waits for somebody who can do it.
    pub(super) fn die_with_runs_in_hand(&mut self) -> Result<BTreeMap<&'static str, String>> {
        let stand = &self.stand;
        let asked = ask_first(&|method: &str, path: &str, body: Option<&Value>| {
            stand.ask(method, path, body, &|| false)
        })?;
        if !holds(PATIENCE, || self.is_one(facts::BLOCKED)) {
            return Err("what nobody can do was never blocked".into());
        }
        let begun = self.tasks.iter().map(|t| t.anchor_ms).min().unwrap_or(0) + 1_000;
        let is_held = || {
            let starts = stand.effects.all();
            let held = |name: &str| starts.iter().any(|e| e.task == name);
            held("hold") && held("hold-once") && held("tick") && wall_ms() > begun
        };
        if !holds(PATIENCE, is_held) {
            return Err("the first process never held its runs".into());
        }
        if !holds(PATIENCE, || self.is_one(facts::ZONES_KEPT)) {
            return Err("the first leader never kept its zone rules".into());
        }
        for node in stand.living() {
            node.with(Process::kill9)?;
        }
        Ok(asked)
    }

    /// Starts the armed process, and keeps people asking until it is dead, or stands.
    pub(super) fn die_at_the_point(&mut self) -> Result<()> {
        let (armed, workers) = (Some(self.plan), self.plan.is_workers());
        let name = match (self.cluster, workers) {
            (false, _) => "n1",
            (true, true) => "w1",
            (true, false) => "s1",
        };
        if self.cluster {
            self.start("s1", Role::Scheduler, armed.filter(|_| !workers))?;
            self.start("w1", Role::Worker, armed.filter(|_| workers))?;
        } else {
            self.start(name, Role::All, armed)?;
        }
        let mut asked_to_end = false;
        let deadline = Instant::now() + PATIENCE;
        while self.stand.node(name)?.is_alive() {
            if Instant::now() > deadline {
                let (point, wish) = (self.plan.point.name(), self.people.wish());
                let state = facts::state(&self.book);
                let what = format!("{point} was never reached; people wish {wish}; {state}");
                return Err(what.into());
            }
            if self.stands(name) {
                return self.wake_later(name);
            }
            self.successor_waits()?;
            self.ask_on(name);
            if self.people.is_content() && self.plan.is_at_the_end() && !asked_to_end {
                self.stand.node(name)?.with(Process::sigterm)?;
                asked_to_end = true;
            }
            let needs_an_end = [Failpoint::TermEnded, Failpoint::LockReleased];
            if self.people.is_content() && needs_an_end.contains(&self.plan.point) {
                self.people.resign_again();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let node = self.stand.node(name)?;
        let status = node.with(|process| process.wait_exit(Duration::from_secs(5)))?;
        let killed = status.is_some_and(|s| {
            use std::os::unix::process::ExitStatusExt as _;
            s.signal() == Some(9)
        });
        if !killed || !self.is_reached(node) {
            return Err(format!("{name} did not die at its point: {status:?}").into());
        }
        Ok(())
    }

    /// Whether it is to stop, and stands at its point.
    fn stands(&self, name: &str) -> bool {
        let node = self.stand.node(name);
        self.plan.fate == Fate::Stops && node.is_ok_and(|node| self.is_reached(node))
    }

    /// Lets people ask; a process that stands does not answer, which must not be waited for.
    pub(super) fn ask_on(&mut self, name: &str) {
        let mut people = std::mem::take(&mut self.people);
        people.step(&|method: &str, path: &str, body: Option<&Value>| {
            self.stand.ask(method, path, body, &|| self.stands(name))
        });
        self.people = people;
    }

    /// In a cluster a second scheduler waits for the lock, once the first one leads. If it gets the lead before the first
    /// one has reached its point (a leader was asked to resign, or was slow), it is ended: the lead goes back.
    fn successor_waits(&mut self) -> Result<()> {
        if !self.cluster || self.plan.is_workers() {
            return Ok(());
        }
        match self.stand.node("s2") {
            Err(_) if self.stand.node("s1")?.says(LEADS) => self.start("s2", Role::Scheduler, None),
            Ok(s2) if s2.says(LEADS) => s2.with(Process::kill9),
            _ => Ok(()),
        }
    }

    /// A stopped process stays so until others took over what was its own; then it goes on where it stood.
    fn wake_later(&mut self, name: &str) -> Result<()> {
        let stopped = wall_ms();
        let workers = self.plan.is_workers();
        if !workers && !self.stand.living().any(|n| n.name == "s2") {
            self.start("s2", Role::Scheduler, None)?;
        }
        let fact = if workers {
            "node `w1` was silent for its lease"
        } else {
            LEADS
        };
        let took_over = || {
            let mut others = self.stand.living().filter(|n| n.name != name);
            others.any(|n| (n.name == "s2" || workers) && n.says(fact))
        };
        if !holds(PATIENCE, took_over) {
            return Err(format!("nobody took over from {name}, which stands").into());
        }
        if !workers {
            self.takeover_ms = wall_ms() - stopped;
        }
        std::thread::sleep(STOPPED);
        self.stand.node(name)?.with(Process::sigcont)
    }
}
