//! Names that meet nothing: a group without a limit, a limit without a task or a listener. Each is allowed, for the other
//! half may come later, and each is more often a slip of the pen. Chooses the words; asks nobody.

use std::collections::BTreeMap;

use campanile_core::decide::permits::{LimitKey, Rules};
use campanile_core::decide::publish::routing::Routes;
use campanile_core::misread::nearest;
use campanile_core::task::TaskSpec;

/// The groups of tasks: of each its first task and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups(BTreeMap<String, (String, usize)>);

impl Groups {
    /// Notes the group of a task.
    pub fn note(&mut self, spec: &TaskSpec) {
        if let Some(group) = &spec.group {
            let first = || (spec.name.clone(), 0);
            self.0.entry(group.clone()).or_insert_with(first).1 += 1;
        }
    }

    /// Whether no task has a group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Groups for which no limit is set, one sentence for each.
    #[must_use]
    pub fn without_limit(&self, rules: &Rules) -> Vec<String> {
        let limited = || {
            rules.limits.keys().filter_map(|key| match key {
                LimitKey::Group(name) => Some(name.as_str()),
                _ => None,
            })
        };
        let strays = self.0.iter().filter(|(group, _)| {
            let key = LimitKey::Group((*group).clone());
            !rules.limits.contains_key(&key)
        });
        let told = strays.map(|(group, (first, count))| {
            let tasks = match count {
                1 => format!("task `{first}`"),
                n => format!("task `{first}` and {} more", n - 1),
            };
            let meant = match nearest(group, limited()) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => format!(": `campanile limit set group:{group} N` sets one"),
            };
            format!(
                "{tasks}: no limit `group:{group}` is set, so runs of it are not limited{meant}"
            )
        });
        told.collect()
    }

    /// What a limit limits nothing for: no task is of its group, or nobody listens on its queue.
    #[must_use]
    pub fn without_use(&self, key: &LimitKey, routes: &Routes) -> Option<String> {
        match key {
            LimitKey::Queue(queue) if routes.listeners(queue) == 0 => {
                Some(routes.nobody_listens(queue).to_string())
            }
            LimitKey::Group(group) if !self.0.contains_key(group) => {
                let meant = nearest(group, self.0.keys().map(String::as_str))
                    .map(|near| format!("; did you mean `{near}`?"));
                let meant = meant.unwrap_or_default();
                Some(format!("no task is of group `{group}`{meant}"))
            }
            _ => None,
        }
    }
}
