//! What must have come of what attempts wrote, whoever was paused, fenced or evicted meanwhile.

use std::collections::HashSet;

use campanile_core::decide::invariants::Start;
use campanile_core::id::RunId;

/// Each attempt's log holds what that attempt wrote and nothing else, in its order and once, whoever was paused, fenced or evicted
/// while he wrote it; and only what was started wrote anything.
///
/// # Errors
/// A log that holds something else.
pub fn are_their_attempts(logs: &[(RunId, u32, String)], starts: &[Start]) -> Result<(), String> {
    let started: HashSet<(RunId, u32)> = starts.iter().map(|s| (s.run, s.attempt)).collect();
    for (run, attempt, text) in logs {
        let whole = format!("{run}:{attempt} started\n{run}:{attempt} ended\n");
        if !whole.starts_with(text) {
            return Err(format!(
                "the log of {run}:{attempt} holds what it did not write: {text:?}"
            ));
        }
        if !started.contains(&(*run, *attempt)) {
            return Err(format!(
                "{run}:{attempt} was not started, and wrote {text:?}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_holds_what_its_attempt_wrote() {
        let run = RunId::from_i64(9);
        let log = |attempt, text: String| [(run, attempt, text)];
        let starts = [Start { run, attempt: 2 }];
        let judge = |log: &[(RunId, u32, String)]| are_their_attempts(log, &starts);
        for good in ["started\n", "started\n{id} ended\n"] {
            let text = format!("{{id}} {good}").replace("{id}", &format!("{run}:2"));
            assert_eq!(judge(&log(2, text)), Ok(()));
        }
        let first = format!("{run}:1 started\n");
        assert!(judge(&log(2, first.clone())).is_err(), "another attempt's");
        assert!(
            judge(&log(1, first.clone())).is_err(),
            "of an attempt that was not started"
        );
        assert!(
            judge(&log(2, first.repeat(2).replace(":1", ":2"))).is_err(),
            "twice"
        );
    }
}
