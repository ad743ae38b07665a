//! The account of faults: each kind with how often it was tried, how often it was seen to happen, and what proved it the
//! last time. A fault without a proof does not count.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::scenes::report::Row;
use crate::wall_ms;

/// What one try came to: the proof that it happened, or why it did not.
pub type Proof = Result<String, String>;

#[derive(Debug, Default)]
pub struct Ledger {
    rows: Mutex<BTreeMap<String, Row>>,
    lines: Mutex<String>,
    not_run: Mutex<Vec<String>>,
}

impl Ledger {
    /// A kind that is to come; without one it would be missing from the account instead of standing at zero.
    pub fn expect(&self, kind: &str) {
        lock(&self.rows).entry(kind.to_owned()).or_default();
    }

    pub fn note(&self, kind: &str, victim: &str, proof: &Proof) {
        let (word, text) = match proof {
            Ok(text) => ("happened", text),
            Err(text) => ("did not happen", text),
        };
        let line = format!("{}\t{kind}\t{victim}\t{word}\t{text}\n", wall_ms());
        lock(&self.lines).push_str(&line);
        let mut rows = lock(&self.rows);
        let row = rows.entry(kind.to_owned()).or_default();
        row.tried += 1;
        if let Ok(text) = proof {
            row.happened += 1;
            row.proof = format!("{victim}: {text}");
        }
    }

    /// Notes a kind that this machine can't do.
    pub fn cannot(&self, what: String) {
        lock(&self.not_run).push(what);
    }

    pub fn rows(&self) -> BTreeMap<String, Row> {
        lock(&self.rows).clone()
    }

    /// What this machine could not do.
    pub fn not_run(&self) -> Vec<String> {
        lock(&self.not_run).clone()
    }

    /// Every try in its order, a line each, for people.
    pub fn lines(&self) -> String {
        lock(&self.lines).clone()
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_proved_counts() {
        let ledger = Ledger::default();
        ledger.expect("never tried");
        ledger.note("kill", "s1", &Ok("pid 7 is gone".to_owned()));
        ledger.note("kill", "s2", &Err("it lives".to_owned()));
        let rows = ledger.rows();
        assert_eq!((rows["kill"].tried, rows["kill"].happened), (2, 1));
        assert_eq!(rows["kill"].proof, "s1: pid 7 is gone");
        assert_eq!(rows["never tried"].happened, 0);
        assert_eq!(ledger.lines().lines().count(), 2);
    }
}
