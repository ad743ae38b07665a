//! Mutants: the protocol with one guard off, or with two that stand behind each other. Each must break the property that
//! the table names, or survive for the reason that it states: a guard that nothing misses is either the second lock on a
//! door, or is there for something that the model has not got. The table is kept true by the test below it.

use std::collections::BTreeSet;

use stateright::{Checker as _, Expectation, HasDiscoveries, Model as _};

use super::bounds::{Fence, Guards};
use super::finish::finishable;
use super::properties as p;
use super::scenes;
use super::world::Scene;

pub enum Fate {
    /// This property is broken.
    Killed(&'static str),
    /// Nothing is broken, for this reason.
    Survives(&'static str),
}
use Fate::{Killed, Survives};

pub type Mutant = (&'static str, fn(&mut Guards), &'static [&'static str], Fate);

/// Guards of leaders: what it is, how it is made, the scenes that judge it, its fate.
const OF_LEADERS: &[Mutant] = &[
    (
        "leaders write without the fence",
        |g| g.fence = Fence::Off,
        &["change"],
        Killed(p::I3),
    ),
    (
        "the fence is a look at the time of the plan",
        |g| g.fence = Fence::Look,
        &["change"],
        Killed(p::I3),
    ),
    (
        "a term begins whatever the epoch is",
        |g| g.begin_demands_epoch = false,
        &["change"],
        Killed(p::I2),
    ),
    (
        "the lock is not verified before the bid",
        |g| g.lock_is_verified = false,
        &["elections", "change"],
        Survives(
            "the epoch that was read is demanded; the lock saves a needless change of leaders, no run",
        ),
    ),
    (
        "the fence compares the epoch alone",
        |g| g.holder_is_compared = false,
        &["change"],
        Survives(
            "epochs come back only when a database is restored, and no world here loses commits",
        ),
    ),
    (
        "due rows need not be there",
        |g| g.consume_demands_rows = false,
        &["change", "doubt", "skip"],
        Survives(
            "under the fence one leader plans at a time, from what it read after its own last commit",
        ),
    ),
    (
        "no fence, and due rows need not be there",
        |g| {
            g.fence = Fence::Off;
            g.consume_demands_rows = false;
        },
        &["change"],
        Killed(p::I1),
    ),
    (
        "a firing does not compare the edit counter",
        |g| g.firing_demands_edits = false,
        &["doubt"],
        Killed(p::EDITS),
    ),
    (
        "a pause leaves what was planned ahead",
        |g| g.pause_takes_back = false,
        &["pause", "pause and change"],
        Killed(p::I11),
    ),
    (
        "a leader ends a pause whatever its term is",
        |g| g.pause_ends_carry_the_term = false,
        &["pause until"],
        Killed(p::I3),
    ),
    (
        "a firing beside a hold does not compare the edit counter",
        |g| g.firing_demands_edits = false,
        &["hold", "hold and change"],
        Killed(p::HELD),
    ),
    (
        "a scan finds what is due while the cluster is held",
        |g| g.scans_regard_the_hold = false,
        &["hold", "hold and change"],
        Killed(p::HELD),
    ),
    (
        "a change of the schedule leaves what was planned ahead",
        |g| g.changes_take_back = false,
        &["edited", "edited and change"],
        Killed(p::ASKED),
    ),
    (
        "an edit does not carry where it saw the due row",
        |g| g.edits_carry_seen = false,
        &[
            "edited",
            "edited and change",
            "deleted",
            "deleted and change",
        ],
        Killed(p::I1),
    ),
    (
        "an edit does not look which of the next instants have a row",
        |g| g.edits_look_ahead = false,
        &["paused and cancelled"],
        Killed(p::I1),
    ),
    (
        "an edit leaves no row of what is overdue",
        |g| g.edits_leave_rows = false,
        &["edited", "deleted", "pause"],
        Killed(p::G2),
    ),
    (
        "a claim does not tell that the task is deleted",
        |g| g.claims_tell_deletions = false,
        &["deleted"],
        Killed(p::ASKED),
    ),
    (
        "a firing beside a pause does not compare the edit counter",
        |g| g.firing_demands_edits = false,
        &["pause"],
        Killed(p::EDITS),
    ),
    (
        "a firing writes no outbox row",
        |g| g.outbox_is_written = false,
        &["crash"],
        Killed(p::I9),
    ),
    (
        "an outbox row goes when its runs are published",
        |g| g.outbox_waits_for_claims = false,
        &["crash"],
        Killed(p::I9),
    ),
    (
        "a new leader does not read the outbox",
        |g| g.outbox_is_read = false,
        &["change"],
        Killed(p::I9_WORK),
    ),
    (
        "nothing is published again",
        |g| g.republish = false,
        &["crash"],
        Killed(p::I9_WORK),
    ),
    (
        "a commit in doubt does not end the term",
        |g| g.doubt_ends_term = false,
        &["doubt"],
        Killed(p::I9_WORK),
    ),
    (
        "marking does not look at the state",
        |g| g.mark_demands_state = false,
        &["retry"],
        Killed(p::I4),
    ),
    (
        "lost runs end without the fence",
        |g| g.lost_end_is_fenced = false,
        &["crash and change"],
        Killed(p::I3),
    ),
    (
        "evictions carry no fence",
        |g| g.eviction_is_fenced = false,
        &["crash and change"],
        Killed(p::I9_WORK),
    ),
    (
        "a move to other zone rules knows no term",
        |g| g.zone_moves_carry_the_term = false,
        &["zone rules"],
        Killed(p::I3),
    ),
    (
        "a move to other zone rules is not announced",
        |g| g.zone_moves_are_announced = false,
        &["zone rules"],
        Killed(p::ZONES),
    ),
    (
        "a lost run may start again whatever its task says",
        |g| g.lost_regards_start_mode = false,
        &["once"],
        Killed(p::I4),
    ),
];

/// Guards of workers.
const OF_WORKERS: &[Mutant] = &[
    (
        "a claim does not compare the attempt",
        |g| g.claim_demands_attempt = false,
        &["crash"],
        Killed(p::I4),
    ),
    (
        "a claim does not ask whether the cluster is held",
        |g| g.claims_refuse_the_held = false,
        &["hold", "hold and change"],
        Killed(p::HELD),
    ),
    (
        "a claim takes what is running",
        |g| g.claim_demands_waiting = false,
        &["crash"],
        Killed(p::I4),
    ),
    (
        "a claim does not look at the clock",
        |g| g.claim_demands_instant = false,
        &["early"],
        Killed(p::I6),
    ),
    (
        "the dead may claim",
        |g| g.claim_demands_living = false,
        &["zombie"],
        Killed(p::I9_WORK),
    ),
    (
        "a claim in doubt is not abandoned",
        |g| g.ambiguous_claim_is_abandoned = false,
        &["claims in doubt"],
        Killed(p::I9_WORK),
    ),
    (
        "a claim in doubt is given back only if it was committed",
        |g| g.abandonment_uses_attempt_up = false,
        &["late claims"],
        Killed(p::I9_WORK),
    ),
    (
        "the handler starts before the claim",
        |g| g.start_follows_claim = false,
        &["crash"],
        Killed(p::I4),
    ),
    (
        "an end does not compare the attempt",
        |g| g.end_demands_attempt = false,
        &["zombie", "retry"],
        Survives("a claim belongs to one attempt, and a requeue takes it out of the row"),
    ),
    (
        "an end does not compare the claim",
        |g| g.end_demands_claim = false,
        &["zombie", "retry"],
        Survives(
            "an attempt is claimed once; the claim covers numbers that come back after a restore",
        ),
    ),
    (
        "an end compares neither attempt nor claim",
        |g| {
            g.end_demands_attempt = false;
            g.end_demands_claim = false;
        },
        &["zombie"],
        Killed(p::I5_HOLDER),
    ),
    (
        "an end is written over an end",
        |g| g.end_demands_running = false,
        &["zombie"],
        Killed(p::I5),
    ),
    (
        "a requeue keeps the attempt",
        |g| g.requeue_bumps_attempt = false,
        &["retry"],
        Killed(p::I4),
    ),
    (
        "a refusal counts as a failure",
        |g| g.refusal_is_no_failure = false,
        &["refusal"],
        Killed(p::I13),
    ),
    (
        "a refusal counts as a failure of a run that may start once",
        |g| g.refusal_is_no_failure = false,
        &["refused once"],
        Killed(p::I13),
    ),
    (
        "a requeue puts no timer",
        |g| g.requeue_puts_timer = false,
        &["retry"],
        Killed(p::I9),
    ),
];

/// Guards of permits.
const OF_PERMITS: &[Mutant] = &[
    (
        "who waits its turn goes with who is replaced",
        |g| g.turns_are_kept = false,
        &["missed together, replace"],
        Killed(p::I12),
    ),
    (
        "who is blocked may be claimed",
        |g| g.claim_refuses_blocked = false,
        &["queue", "replace", "shared limit"],
        Survives("no message of a blocked attempt is ever sent; the refusal is the second lock"),
    ),
    (
        "a permit may have two holders",
        |g| g.permit_is_unique = false,
        &["skip", "queue", "exclusive and change"],
        Survives("the leader alone gives permits out, and under the fence there is one"),
    ),
    (
        "no fence, no due rows demanded, and a permit may have two holders",
        |g| {
            g.fence = Fence::Off;
            g.consume_demands_rows = false;
            g.permit_is_unique = false;
        },
        &["exclusive and change"],
        Killed(p::I8),
    ),
    (
        "a firing blocks though the permit is free by now",
        |g| g.park_demands_holders = false,
        &["queue", "shared limit"],
        Survives(
            "the leader's sweep wakes whoever is blocked behind nobody: it would wait for that, and not for ever",
        ),
    ),
    (
        "a firing blocks though the permit is free, and nobody looks for the stranded",
        |g| {
            g.park_demands_holders = false;
            g.stranded_are_woken = false;
        },
        &["queue"],
        Killed(p::I9_WORK),
    ),
    (
        "a permit given back wakes nobody",
        |g| g.release_hands_on = false,
        &["queue", "shared limit"],
        Survives("the same sweep"),
    ),
    (
        "a permit given back wakes nobody, and nobody looks for the stranded",
        |g| {
            g.release_hands_on = false;
            g.stranded_are_woken = false;
        },
        &["queue"],
        Killed(p::I9_WORK),
    ),
    (
        "nobody looks for the stranded",
        |g| g.stranded_are_woken = false,
        &["queue", "shared limit", "replace"],
        Survives(
            "every end hands on in its own transaction; the sweep is for what that leaves behind",
        ),
    ),
    (
        "a place is taken however its run has gone on",
        |g| g.replace_demands_state = false,
        &["replace"],
        Killed(p::I8_ONE),
    ),
    (
        "a permit is given to a run that was cancelled",
        |g| g.permits_demand_waiting = false,
        &["cancelled"],
        Killed(p::I8),
    ),
    (
        "an end keeps its permits",
        |g| g.end_releases = false,
        &["queue"],
        Killed(p::I8),
    ),
];

/// How many steps the shortest way takes to what kills it, and how many worlds were looked at.
fn kill(scene: &Scene, property: &'static str) -> Option<(usize, usize)> {
    let when = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = scene.clone().checker().finish_when(when).spawn_bfs().join();
    let path = checker.discovery(property)?;
    Some((path.into_actions().len(), checker.unique_state_count()))
}

/// What a mutant breaks in a scene, if anything, and how many worlds there are.
fn harm(scene: &Scene) -> (Option<String>, usize) {
    let when = HasDiscoveries::AnyFailures;
    let checker = scene
        .clone()
        .checker()
        .threads(2)
        .finish_when(when)
        .spawn_bfs()
        .join();
    let properties = checker.model().properties();
    let always = properties
        .iter()
        .filter(|p| p.expectation != Expectation::Sometimes);
    let found = checker.discoveries();
    let broken = always
        .map(|p| p.name)
        .find(|name| found.contains_key(name))
        .map(str::to_owned);
    if broken.is_some() || scene.bounds.terms > 1 {
        return (broken, checker.unique_state_count());
    }
    let (worlds, way) = finishable(scene);
    (way.map(|way| format!("I10: {way:?}")), worlds)
}

fn judge((name, make, judges, fate): &Mutant) {
    let mut guards = Guards::default();
    make(&mut guards);
    for scene in *judges {
        let model = Scene::new(scenes::find(scene), guards);
        match fate {
            Killed(property) => {
                let killed = kill(&model, property);
                let Some((steps, worlds)) = killed else {
                    panic!(
                        "`{name}` lives in `{scene}`: {property} holds; found: {:?}",
                        harm(&model)
                    );
                };
                eprintln!(
                    "mutant: {name}: killed by {property} ({scene}, {steps} steps, {worlds} states)"
                );
            }
            Survives(reason) => {
                let (broken, worlds) = harm(&model);
                assert_eq!(broken, None, "`{name}` does not survive `{scene}`");
                eprintln!("mutant: {name}: survives ({scene}, {worlds} states): {reason}");
            }
        }
    }
}

/// Judges all of a table, and tells how many were killed, as one line for machines.
pub fn judge_all(of: &str, mutants: &[Mutant]) {
    mutants.iter().for_each(judge);
    let killed = mutants.iter().filter(|m| matches!(m.3, Killed(_))).count();
    super::tell(&serde_json::json!({
        "record": "model", "part": format!("mutants of {of}"), "mutants": mutants.len(), "killed": killed,
        "explained": mutants.len() - killed,
    }));
}

#[test]
fn every_guard_of_leaders_is_missed_or_explained() {
    judge_all("leaders", OF_LEADERS);
}

#[test]
fn every_guard_of_workers_is_missed_or_explained() {
    judge_all("workers", OF_WORKERS);
}

#[test]
fn every_guard_of_permits_is_missed_or_explained() {
    judge_all("permits", OF_PERMITS);
}
