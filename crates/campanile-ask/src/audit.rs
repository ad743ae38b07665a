//! The audit, as people ask for it: lines by filter, all lines in their order, and whether the chain that they form is
//! whole. Here are the deeds, too, of which the store writes a line with each act: definitions in them are masked as they
//! are wherever they are shown, and bounded.

use std::collections::HashMap;

use campanile_access::audit::{Chain, Deed, Filter, Head, ITEM_BYTES_MAX, Kept, Line, Link, fit};
use campanile_access::{Actor, Kind, Right, Rights};
use campanile_core::decide::permits::LimitKey;
use campanile_core::id::TaskId;
use campanile_core::limits;
use campanile_core::port::edit::Edit;
use campanile_core::task::{Task, TaskSpec};
use campanile_schedule::calendar::CalendarSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::tasks::{bad_cursor, check_limit};
use crate::{Control, Editor, Error};

/// Lines that one verification walks over; whoever asked goes on from there.
const VERIFY_LINES_MAX: usize = 100_000;

/// A page of the audit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AuditPage {
    /// Newest first.
    pub items: Vec<Line>,
    /// Where the next page begins; `None` = this was the last.
    pub next_cursor: Option<String>,
}

/// A place in the chain of lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditPlace {
    /// The number of a line; 0 = before the first.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
}

impl From<Link> for AuditPlace {
    fn from(link: Link) -> Self {
        Self {
            seq: link.seq,
            hash: link.hash,
        }
    }
}

/// What was found of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditVerified {
    /// Whether nothing is wrong, as far as it was looked at.
    pub whole: bool,
    /// The first thing that is wrong, in words; null = nothing.
    pub fault: Option<String>,
    /// How many lines were looked at.
    pub lines: u64,
    /// Behind which line it began: what was pruned ends there, or what was asked for.
    pub from: AuditPlace,
    /// The last line that was found good. Note it elsewhere: a later look can begin there.
    pub to: AuditPlace,
    /// Whether there is more: ask again from `to`.
    pub more: bool,
}

/// What was, of all that an edit of many things changes.
#[derive(Debug, Default)]
pub(super) struct Was {
    pub(super) tasks: HashMap<TaskId, TaskSpec>,
    pub(super) calendars: Map<String, Value>,
    pub(super) limits: Map<String, Value>,
}

impl Was {
    /// The calendar of this name was this, or there was none.
    pub(super) fn calendar(&mut self, name: &str, spec: Option<&CalendarSpec>) {
        self.calendars.insert(name.to_owned(), calendar_item(spec));
    }

    /// This many were to run at once, or as many as there are.
    pub(super) fn limit(&mut self, key: &LimitKey, most: Option<u32>) {
        self.limits.insert(key.to_string(), json!(most));
    }
}

/// A calendar as one thing of many; null = none.
fn calendar_item(spec: Option<&CalendarSpec>) -> Value {
    let spec = serde_json::to_value(spec).unwrap_or_default();
    fit(spec, ITEM_BYTES_MAX)
}

impl Editor {
    /// Lines of the audit, newest first.
    ///
    /// # Errors
    /// [`Error::Denied`]; a cursor that is none of ours, a limit out of range.
    pub async fn audit(
        &self,
        filter: &Filter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<AuditPage, Error> {
        self.may_everywhere(Right::Audit, "the audit")?;
        check_limit(limit)?;
        let before: Option<i64> = cursor
            .map(|text| text.parse().map_err(|_| bad_cursor(text)))
            .transpose()?;
        let kept = self.parts.store.audit(filter, before, limit).await?;
        let last = kept.last().filter(|_| kept.len() == limit);
        Ok(AuditPage {
            next_cursor: last.map(|line| line.seq.to_string()),
            items: kept.iter().filter_map(Kept::line).collect(),
        })
    }

    /// All lines with numbers above `seq`, oldest first, as they are kept.
    ///
    /// # Errors
    /// [`Error::Denied`]; a limit out of range.
    pub async fn audit_behind(&self, seq: i64, limit: usize) -> Result<Vec<Kept>, Error> {
        self.may_everywhere(Right::Audit, "the audit")?;
        check_limit(limit)?;
        Ok(self.parts.store.audit_behind(seq, limit).await?)
    }

    /// Walks over the chain: from where it begins, or from a place that was good before.
    ///
    /// # Errors
    /// [`Error::Denied`]; [`Error::Unavailable`].
    pub async fn verify_audit(&self, from: Option<AuditPlace>) -> Result<AuditVerified, Error> {
        self.may_everywhere(Right::Audit, "the audit")?;
        let store = &self.parts.store;
        let head: Head = store.audit_head().await?;
        let begin = from.map_or_else(
            || head.anchor.clone(),
            |place| Link {
                seq: place.seq,
                hash: place.hash,
            },
        );
        let mut chain = Chain::behind(begin.clone());
        let (mut lines, mut found, mut more) = (0_usize, Ok(()), true);
        while more && found.is_ok() && lines < VERIFY_LINES_MAX {
            let seq = chain.place().seq;
            let page = store.audit_behind(seq, limits::PAGE_ROWS_MAX).await?;
            // What came after this walk began is another's.
            let old: Vec<&Kept> = page.iter().filter(|l| l.seq <= head.last.seq).collect();
            more = !old.is_empty();
            lines += old.len();
            found = old.into_iter().try_for_each(|line| chain.take(line));
        }
        if found.is_ok() && !more {
            found = chain.end(&head);
        }
        Ok(AuditVerified {
            whole: found.is_ok(),
            more: more && found.is_ok(),
            fault: found.err(),
            lines: u64::try_from(lines).unwrap_or(u64::MAX),
            from: begin.into(),
            to: chain.place().clone().into(),
        })
    }

    /// A definition as the audit holds it.
    pub(super) fn masked(&self, spec: &TaskSpec) -> Value {
        let mut spec = spec.clone();
        self.masks().task(&mut spec);
        serde_json::to_value(spec).unwrap_or_default()
    }

    /// What a change of one task is.
    pub(super) fn deed_on_task(
        &self,
        act: &'static str,
        old: Option<&TaskSpec>,
        new: Option<&TaskSpec>,
    ) -> Deed {
        let name = new.or(old).map_or("", |spec| spec.name.as_str());
        let told = |spec: Option<&TaskSpec>| spec.map_or(Value::Null, |spec| self.masked(spec));
        Deed::new(act, "task", name).changing(told(old), told(new))
    }

    /// What an edit of one task is: with the definition as it is kept, not as it was asked for.
    pub(super) fn deed_of_one(&self, act: &'static str, old: Option<&Task>, edit: &Edit) -> Deed {
        let old = old.map(|old| &old.spec);
        let kept = edit.upserts.first().map(|upsert| &upsert.spec);
        self.deed_on_task(act, old, kept.or(old))
    }

    /// What a change of many tasks, calendars and limits is: one line, with what was and is of each that changes.
    pub(super) fn deed_on_many(
        &self,
        act: &'static str,
        owner: Option<&str>,
        edit: &Edit,
        was: &Was,
    ) -> Deed {
        let item = |spec: &TaskSpec| fit(self.masked(spec), ITEM_BYTES_MAX);
        let (mut before, mut after) = (Map::new(), Map::new());
        for upsert in &edit.upserts {
            let old = was.tasks.get(&upsert.id).map_or(Value::Null, item);
            before.insert(upsert.spec.name.clone(), old);
            after.insert(upsert.spec.name.clone(), item(&upsert.spec));
        }
        for spec in edit.deletes.iter().filter_map(|d| was.tasks.get(&d.task)) {
            before.insert(spec.name.clone(), item(spec));
            after.insert(spec.name.clone(), Value::Null);
        }
        let calendars = edit.calendars.iter();
        let calendars = calendars.map(|(name, spec)| (name.clone(), calendar_item(spec.as_ref())));
        let limits = edit
            .limits
            .iter()
            .map(|(key, most)| (key.to_string(), json!(most)));
        let before = json!({ "tasks": before, "calendars": was.calendars, "limits": was.limits });
        let after = json!({
            "tasks": after,
            "calendars": calendars.collect::<Map<_, _>>(),
            "limits": limits.collect::<Map<_, _>>(),
        });
        let count = edit.deed().count;
        Deed::new(act, "tasks", owner.unwrap_or_default())
            .changing(before, after)
            .of_many(count)
    }
}

impl Control {
    /// Writes down that somebody was refused, or did not get in: `act` says which, `what` of what, `told` why.
    /// Whether that is done too often is the caller's to say.
    pub async fn note_refusal(
        &self,
        actor: &Actor,
        act: &'static str,
        what: &str,
        told: &str,
        count: u64,
    ) -> Result<(), Error> {
        let deed = Deed::new(act, "request", what)
            .changing(Value::Null, json!({ "refused": told }))
            .of_many(count);
        Ok(self.parts.store.note(&actor.doing(deed)).await?)
    }
}

/// Who tried to come in from an address.
#[must_use]
pub fn stranger(address: &str) -> Actor {
    Actor::of(Kind::Stranger, address, address, Rights::all())
}
