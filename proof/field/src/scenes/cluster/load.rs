//! What runs during the test: 109 tasks that fire 105 times a second, their instants spread over it.

use crate::effects::{Effects, WELL};
use crate::load::{Kind, LEGACY_QUEUE, SHELL, Task};

/// An effect that takes a while: what a worker holds when it dies.
const SLOW: (u16, u64) = (200, 2_000);

/// All tasks, in the order of their names.
pub fn tasks(start_ms: i64, effects: &Effects, script: &str) -> Vec<Task> {
    let every = |name: &str, kind, period_s, phase_ms| {
        Task::new(name, kind, Some(period_s), start_ms + phase_ms)
    };
    let mut tasks = Vec::new();
    for n in 0..100 {
        let task = every(&format!("effect-{n:02}"), Kind::Well, 1, n * 10);
        tasks.push(if n % 10 == 0 {
            task.http(effects, "slow", SLOW, SLOW)
        } else {
            task.http(effects, "default", WELL, WELL)
        });
    }
    for n in 0..3 {
        let task = every(&format!("once-{n}"), Kind::Once, 1, n * 333);
        tasks.push(task.http(effects, "slow", SLOW, SLOW));
    }
    tasks.push(every("order", Kind::Order, 1, 500).order(LEGACY_QUEUE));
    for n in 0..5 {
        let task = every(&format!("program-{n}"), Kind::Program, 5, n * 1_000);
        tasks.push(task.program("programs", &[SHELL, script]));
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_phases_are_spread() {
        let folder = xtask::servers::TempDir::new("load").unwrap();
        let effects = Effects::start(&folder.join("effects.tsv")).unwrap();
        let tasks = tasks(0, &effects, "program.sh");
        let names: std::collections::BTreeSet<_> = tasks.iter().map(|t| &t.name).collect();
        assert_eq!((names.len(), tasks.len()), (109, 109));
        let phases: std::collections::BTreeSet<_> = tasks.iter().map(|t| t.anchor_ms).collect();
        assert!(phases.len() > 100);
    }
}
