//! Values that were given out, in the forms in which they are known again: the last net under the worker's own log, where a
//! library's line or a panic might show one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use campanile_core::limits;
use campanile_core::scrub::Forms;

#[derive(Default)]
struct Kept {
    values: BTreeSet<String>,
    order: VecDeque<String>,
    forms: Forms,
}

/// Values of this process, shared by all who ask. Shows none.
#[derive(Clone, Default)]
pub struct Seen(Arc<RwLock<Kept>>);

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seen")
    }
}

impl Seen {
    /// What to look for.
    #[must_use]
    pub fn forms(&self) -> Forms {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.forms.clone()
    }

    /// Keeps values in mind; of very many the last ones.
    pub(super) fn note<'a>(&self, values: impl Iterator<Item = &'a str>) {
        let values: Vec<&str> = values.collect();
        {
            let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if values.iter().all(|value| kept.values.contains(*value)) {
                return;
            }
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for value in values {
            if kept.values.insert(value.to_owned()) {
                kept.order.push_back(value.to_owned());
            }
        }
        while kept.order.len() > limits::SECRET_RULES_MAX {
            if let Some(old) = kept.order.pop_front() {
                kept.values.remove(&old);
            }
        }
        kept.forms = Forms::of(kept.values.iter().map(String::as_str));
    }
}
