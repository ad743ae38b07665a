//! Who paused a task, why, and until when: what is said of a pause beside the definition. It never ends one.

use campanile_schedule::time::Timestamp;

/// How long the reason of a pause may be.
pub const REASON_CHARS_MAX: usize = 500;

/// What is known of a task's pause beside that it is paused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pause {
    /// Who paused it.
    pub by: String,
    /// Why, if he said so.
    pub reason: Option<String>,
    /// When this was said.
    pub since: Timestamp,
    /// When it ends by itself; `None` = somebody has to resume the task.
    pub until: Option<Timestamp>,
}

impl Pause {
    /// As of when the pause ends, if its end has come, by the store's time. Instants behind that are the schedule's again,
    /// however late somebody looks: they were missed, and not paused.
    #[must_use]
    pub fn ended_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.until.filter(|until| *until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_as_of_its_end_however_late_somebody_looks() {
        let at = Timestamp::from_ms;
        let pause = |until| Pause {
            by: "ada".to_owned(),
            reason: None,
            since: at(0),
            until,
        };
        assert_eq!(pause(None).ended_at(at(i64::MAX)), None);
        assert_eq!(pause(Some(at(10))).ended_at(at(9)), None);
        assert_eq!(pause(Some(at(10))).ended_at(at(10)), Some(at(10)));
        assert_eq!(pause(Some(at(10))).ended_at(at(999)), Some(at(10)));
    }
}
