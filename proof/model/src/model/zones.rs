//! The move of due rows to other zone rules, in the model: which rules each row stands by, what the setting says, and a
//! leader's way through it. Decisions are [`campanile_core::decide::lead::zones`]'. A scheduler's rules are those of its number.

use campanile_core::decide::lead::zones::{Kept, Step};
use campanile_core::port::lead::Term;

use super::bounds::Guards;
use super::store::Store;

/// Rows that stand by somebody's rules.
const ROWS: usize = 2;
/// The scheduler by whose rules they stand at first: not the one that leads first.
const FIRST_RULES: usize = 1;

/// What the store knows of zone rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Zones {
    pub kept: Kept,
    /// By whose rules each row stands; empty in scenes without zones.
    pub rows: Vec<usize>,
}

/// How far a leader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Duty {
    /// It reads the setting; whether it has announced the move.
    Look(bool),
    Announce,
    /// It moves this row next.
    Move(usize),
    Keep,
    Done,
}

impl Default for Duty {
    fn default() -> Self {
        Self::Look(false)
    }
}

fn name(rules: usize) -> String {
    rules.to_string()
}

impl Zones {
    /// As the world begins.
    pub fn begin() -> Self {
        Self {
            kept: Kept::By(name(FIRST_RULES)),
            rows: vec![FIRST_RULES; ROWS],
        }
    }

    /// Whether rules that are named are those of every row.
    pub fn is_whole(&self) -> bool {
        match &self.kept {
            Kept::By(rules) => self.rows.iter().all(|row| name(*row) == *rules),
            Kept::Unknown | Kept::MovingTo(_) => true,
        }
    }
}

/// The next step of a leader with these rules: what it does then, or `None` if its term is over.
pub fn step(
    duty: Duty,
    ours: usize,
    term: &Term,
    store: &mut Store,
    guards: &Guards,
) -> Option<Duty> {
    if let Duty::Look(announced) = duty {
        return Some(match store.zones.kept.next(&name(ours), announced) {
            Step::Done => Duty::Done,
            Step::Announce if guards.zone_moves_are_announced => Duty::Announce,
            Step::Announce | Step::Move => Duty::Move(0),
        });
    }
    if guards.zone_moves_carry_the_term && !store.holds(term, guards) {
        return None;
    }
    let zones = &mut store.zones;
    Some(match duty {
        Duty::Announce => {
            zones.kept = Kept::MovingTo(name(ours));
            Duty::Look(true)
        }
        Duty::Move(row) => {
            zones.rows[row] = ours;
            match row + 1 {
                ROWS => Duty::Keep,
                next => Duty::Move(next),
            }
        }
        Duty::Keep => {
            zones.kept = Kept::By(name(ours));
            Duty::Done
        }
        Duty::Look(_) | Duty::Done => duty,
    })
}
