//! Which instant is meant where the clocks are changed: a wall time that they leave out or show twice goes by the task's
//! own `dst`. Decides, and says so in a sentence.

use campanile_core::task::Task;
use campanile_schedule::instant::{Meant, show, shown_twice};
use campanile_schedule::time::Timestamp;
use campanile_schedule::{Gap, Repeat};

/// An instant that is asked about, and what the clocks have to do with it.
pub(super) struct Asked {
    pub(super) at: Timestamp,
    /// Whether it is a wall time that the task's rule drops.
    pub(super) dropped: bool,
    /// Said of the clocks.
    pub(super) told: Option<String>,
}

impl From<Timestamp> for Asked {
    fn from(at: Timestamp) -> Self {
        Self {
            at,
            dropped: false,
            told: None,
        }
    }
}

/// The instant by the task's rules for changes of the clocks.
pub(super) fn by_clocks(task: &Task, meant: Meant) -> Asked {
    let (zone, dst) = (&task.spec.timezone, task.spec.dst);
    match meant {
        Meant::One(at) => Asked::from(at),
        Meant::Twice(first, last) => {
            let (at, other, rule) = match dst.repeat {
                Repeat::First => (first, last, "first"),
                Repeat::Last => (last, first, "last"),
                Repeat::Both => (first, last, "both"),
            };
            let told = format!(
                "The clocks show that time twice: this is about {}, by `dst.repeat = \"{rule}\"`; the other one is {}.",
                show(at, zone),
                show(other, zone)
            );
            Asked {
                told: Some(told),
                ..Asked::from(at)
            }
        }
        Meant::LeftOut {
            next_valid,
            shifted,
        } => {
            let (at, what) = match dst.gap {
                Gap::NextValid => (next_valid, "`dst.gap = \"next-valid\"` puts it to"),
                Gap::Shift => (shifted, "`dst.gap = \"shift\"` puts it to"),
                Gap::Skip => (
                    shifted,
                    "`dst.gap = \"skip\"` drops it; without the change it would be",
                ),
            };
            let told = format!(
                "The clocks of {zone} leave that time out: {what} {}.",
                show(at, zone)
            );
            Asked {
                at,
                dropped: dst.gap == Gap::Skip,
                told: Some(told),
            }
        }
    }
}

/// For an instant that the task does not have: whether the clocks show its time twice, and the task takes the other one.
pub(super) fn other_of_two(task: &Task, at: Timestamp) -> Option<String> {
    let zone = &task.spec.timezone;
    let (first, last) = shown_twice(at, zone)?;
    let (other, rule) = match task.spec.dst.repeat {
        Repeat::First if at == last => (first, "first"),
        Repeat::Last if at == first => (last, "last"),
        _ => return None,
    };
    Some(format!(
        "The clocks show that time twice; by `dst.repeat = \"{rule}\"` a listed time is that of {}.",
        show(other, zone)
    ))
}
