//! What a run's attempts wrote, while they run and afterwards: from any place on, with how much is missing. What is kept, and
//! where, is [`campanile_core::decide::attempt::log`]'s.

use std::collections::{HashMap, HashSet};

use crate::runs::attempt_word;
use crate::tasks::bad_cursor;
use crate::{Control, Editor, Error};
use campanile_core::decide::attempt::log::{Joined, join};
use campanile_core::id::{NodeId, RunId};
use campanile_core::port::ask::RunRecord;
use campanile_core::port::attempt::Chunk;
use campanile_core::run::{Run, State};
use campanile_core::task::mask::Masks;

/// Chunks of one page: as many as an attempt has at the most, so that every page holds one whole.
pub(super) const PAGE_CHUNKS_MAX: usize = 320;

/// Of a line that is read in pieces so much is remembered.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// Which part of a run's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// Of this attempt; `None` = of all.
    pub attempt: Option<u32>,
    /// From this byte of what the attempt wrote on.
    pub from: u64,
}

/// What one attempt wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptLog {
    pub attempt: u32,
    /// `running`, or how it ended: as the run, or (`failed-attempt`, `lost` …) as the timeline calls it.
    pub state: &'static str,
    /// Who ran it.
    pub worker: Option<String>,
    pub log: Joined,
}

/// What attempts wrote, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogPage {
    pub items: Vec<AttemptLog>,
    /// Where the next page begins; `None` = this was the last.
    pub next_cursor: Option<String>,
}

impl Editor {
    /// What a run's attempts wrote so far; attempts that wrote nothing are missing, unless they were asked for.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`]; a place without its attempt, a cursor that is none of ours.
    pub async fn logs(
        &self,
        id: RunId,
        query: LogQuery,
        cursor: Option<&str>,
    ) -> Result<LogPage, Error> {
        if query.attempt.is_none() && query.from > 0 {
            let message = "is a place in one attempt's log: name the attempt too";
            return Err(Error::invalid("from", message));
        }
        let first = match (query.attempt, cursor) {
            (Some(attempt), None) => attempt,
            (Some(_), Some(_)) => {
                let message = "leads through all attempts: leave it out, or name no attempt";
                return Err(Error::invalid("cursor", message));
            }
            (None, cursor) => cursor
                .map(|c| c.parse().map_err(|_| bad_cursor(c)))
                .transpose()?
                .unwrap_or(0),
        };
        let record = self.record_with_data(id).await?;
        let store = &self.parts.store;
        // With what stands before the place in its line, by which is known what is masked behind it.
        let from = query.from.saturating_sub(1);
        let mut chunks = store.log(id, first, from, PAGE_CHUNKS_MAX).await?;
        let mut next_cursor = None;
        if let Some(attempt) = query.attempt {
            chunks.retain(|(of, _)| *of == attempt);
        } else if chunks.len() == PAGE_CHUNKS_MAX {
            // The last one of a full page may go on.
            let last = chunks.last().map_or(first, |(attempt, _)| *attempt);
            if chunks.iter().any(|(attempt, _)| *attempt != last) {
                chunks.retain(|(attempt, _)| *attempt != last);
                next_cursor = Some(last.to_string());
            } else {
                next_cursor = last.checked_add(1).map(|next| next.to_string());
            }
        }
        let workers = self.workers_of(&[&record]).await?;
        let log = |attempt, chunks: &[(u32, Chunk)]| {
            let chunks: Vec<Chunk> = chunks.iter().map(|(_, chunk)| chunk.clone()).collect();
            let mut log = join(query.from, &chunks);
            mask(&mut log, &line_before(query.from, &chunks), self.masks());
            attempt_log(&record, &workers, attempt, log)
        };
        let by_attempt = chunks.chunk_by(|(one, _), (other, _)| one == other);
        let mut items: Vec<AttemptLog> = by_attempt
            .filter_map(|of_one| Some(log(of_one.first()?.0, of_one)))
            .collect();
        if let Some(attempt) = query.attempt.filter(|_| items.is_empty())
            && (1..=record.run.attempt).contains(&attempt)
        {
            items.push(log(attempt, &[]));
        }
        Ok(LogPage { items, next_cursor })
    }
}

impl Control {
    /// What those are or were called who ran anything of these runs.
    pub(super) async fn workers_of(
        &self,
        records: &[&RunRecord],
    ) -> Result<HashMap<NodeId, String>, Error> {
        let of_run = records.iter().filter_map(|record| record.run.worker);
        let of_attempts = records.iter().flat_map(|record| &record.attempts);
        let of_attempts = of_attempts.filter_map(|attempt| attempt.worker);
        self.names_of(of_run.chain(of_attempts).collect()).await
    }

    /// The same of runs without their attempts.
    pub(super) async fn workers_of_rows(
        &self,
        runs: &[Run],
    ) -> Result<HashMap<NodeId, String>, Error> {
        self.names_of(runs.iter().filter_map(|run| run.worker).collect())
            .await
    }

    async fn names_of(&self, nodes: HashSet<NodeId>) -> Result<HashMap<NodeId, String>, Error> {
        if nodes.is_empty() {
            return Ok(HashMap::new());
        }
        let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
        nodes.sort_unstable();
        Ok(self.parts.store.node_names(&nodes).await?)
    }
}

/// The beginning of the line in which a place lies, as far as these chunks have it.
pub(super) fn line_before(place: u64, chunks: &[Chunk]) -> String {
    let before = chunks.iter().filter(|chunk| chunk.at < place);
    let text: String = before
        .map(|chunk| {
            let most = usize::try_from(place - chunk.at).unwrap_or(usize::MAX);
            let end = chunk.text.floor_char_boundary(most.min(chunk.text.len()));
            &chunk.text[..end]
        })
        .collect();
    last_line(&text)
}

/// The last line of a text, if it has no end yet.
pub(super) fn last_line(text: &str) -> String {
    let line = text.rsplit('\n').next().unwrap_or_default();
    line[line.ceil_char_boundary(line.len().saturating_sub(LINE_BYTES_MAX))..].to_owned()
}

/// Masks what stands behind hidden names, also where the name, or a part of the value, stands before this.
pub(super) fn mask(log: &mut Joined, before: &str, masks: &Masks) {
    let whole = format!("{before}{}", log.head);
    let (whole, known) = (masks.text(&whole), masks.text(before));
    let same = whole
        .char_indices()
        .zip(known.chars())
        .find(|((_, one), other)| one != other);
    let from = same.map_or(known.len().min(whole.len()), |((at, _), _)| at);
    log.head = whole[from..].to_owned();
    log.tail = masks.text(&log.tail).into_owned();
}

/// What is said of one attempt's log.
pub(super) fn attempt_log(
    record: &RunRecord,
    workers: &HashMap<NodeId, String>,
    attempt: u32,
    log: Joined,
) -> AttemptLog {
    let (state, worker) = standing(record, attempt);
    let name = |id: NodeId| workers.get(&id).cloned().unwrap_or_else(|| id.to_string());
    AttemptLog {
        attempt,
        state,
        worker: worker.map(name),
        log,
    }
}

/// How an attempt stands, and who runs or ran it.
pub(super) fn standing(record: &RunRecord, attempt: u32) -> (&'static str, Option<NodeId>) {
    let run = &record.run;
    if attempt == run.attempt && (run.state == State::Running || run.state.is_terminal()) {
        return (run.state.as_str(), run.worker);
    }
    let ended = record.attempts.iter().find(|end| end.attempt == attempt);
    match ended {
        Some(end) => (attempt_word(end.reason), end.worker),
        None if attempt < run.attempt => ("given-back", None),
        None => (run.state.as_str(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However a text is cut, and read piece by piece or from any place on, what is masked in the whole is masked.
    #[test]
    fn no_cut_shows_what_is_masked() {
        let text = "a\nlogin: x --password=hunter2 done\napi_key: \"abcdef\" é\nend\n";
        let masks = Masks::default();
        let whole = masks.text(text);
        assert!(!whole.contains("hunter2") && !whole.contains("abcdef"));
        for at in (1..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let chunk = |at: usize, text: &str| Chunk {
                at: u64::try_from(at).unwrap(),
                text: text.to_owned(),
            };
            for chunks in [
                vec![chunk(0, text)],
                vec![chunk(0, &text[..at]), chunk(at, &text[at..])],
            ] {
                let place = u64::try_from(at).unwrap();
                let mut rest = join(place, &chunks);
                mask(&mut rest, &line_before(place, &chunks), &masks);
                assert!(whole.ends_with(&rest.head), "{at}: {}", rest.head);
            }
        }
    }
}
