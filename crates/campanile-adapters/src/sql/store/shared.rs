//! What tasks share: calendars, limits of queues and groups, settings of the cluster; and what an edit does beside its
//! tasks.

use std::collections::HashMap;
use std::sync::Arc;

use campanile::port::store::Error;
use campanile::protocol::permits::{LimitKey, Rules};
use campanile::protocol::work::{DueKey, Edit};
use campanile_schedule::calendar::Calendar;
use campanile_schedule::time::Timestamp;

use super::super::connection::Tx;
use super::super::error::Failure;
use super::super::statement::Statement;
use super::Store;
use super::permits::look_again;
use super::rows::{from_json, small, to_json};
use super::tasks::{DROP_DUE, for_ids};

/// All calendars.
pub(super) static CALENDARS: Statement =
    Statement::new("SELECT name, version, definition FROM calendar ORDER BY name");

/// All limits of queues and groups.
pub(super) static LIMITS: Statement =
    Statement::new("SELECT limit_key, max_running FROM concurrency_limit ORDER BY limit_key");

/// Puts a calendar; its version grows.
static PUT_CALENDAR: Statement = Statement::new(
    "INSERT INTO calendar (name, version, definition, updated_at) VALUES (:name, 1, :definition, :at)
     ON CONFLICT (name) DO UPDATE SET version = calendar.version + 1, definition = excluded.definition,
     updated_at = excluded.updated_at",
);

/// Deletes a calendar.
static DROP_CALENDAR: Statement = Statement::new("DELETE FROM calendar WHERE name = :name");

/// Sets a limit.
static PUT_LIMIT: Statement = Statement::new(
    "INSERT INTO concurrency_limit (limit_key, max_running) VALUES (:key, :most)
     ON CONFLICT (limit_key) DO UPDATE SET max_running = excluded.max_running",
);

/// Lifts a limit.
static DROP_LIMIT: Statement =
    Statement::new("DELETE FROM concurrency_limit WHERE limit_key = :key");

/// A setting of the cluster.
static SETTING: Statement = Statement::new("SELECT value FROM setting WHERE name = :name");

/// Writes a setting.
static PUT_SETTING: Statement = Statement::new(
    "INSERT INTO setting (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
);

/// A calendar as tasks use it, or why it can't be read.
pub(super) fn calendar_of(definition: &str, version: i64) -> Result<Calendar, String> {
    let spec = from_json(definition, "calendar").map_err(|error| error.to_string())?;
    Calendar::compile(spec, version).map_err(|error| error.to_string())
}

impl Store {
    pub(super) async fn all_rules(&self) -> Result<Rules, Error> {
        let pool = &self.pools.leader_reader;
        let mut calendars = HashMap::new();
        for mut row in pool.rows(&CALENDARS, &[]).await? {
            let (name, version) = (row.text("calendar")?, row.int("calendar")?);
            match calendar_of(&row.text("calendar")?, version) {
                Ok(calendar) => {
                    calendars.insert(name, Arc::new(calendar));
                }
                // Valid when it was stored: a newer version's fields, or another zone database. Tasks that name it wait.
                Err(error) => {
                    self.pools.main.space.unread();
                    tracing::error!(calendar = %name, %error, "calendar `{name}` can't be read here: {error}");
                }
            }
        }
        let mut limits = HashMap::new();
        for mut row in pool.rows(&LIMITS, &[]).await? {
            let text = row.text("concurrency_limit")?;
            let Ok(key) = text.parse::<LimitKey>() else {
                self.pools.main.space.unread();
                tracing::error!(limit = %text, "limit `{text}` can't be read here: it limits nothing");
                continue;
            };
            // One that can't be read is kept as narrow as a limit can be, so that nothing runs that it would have kept back.
            let most = self
                .noted(small(row.int("concurrency_limit")?))
                .unwrap_or(1);
            limits.insert(key, most);
        }
        Ok(Rules { calendars, limits })
    }

    pub(super) async fn setting_of(&self, name: &str) -> Result<Option<String>, Error> {
        let args = [("name", name.into())];
        let rows = self.pools.reader.rows(&SETTING, &args).await?;
        let value = rows.into_iter().next();
        value.map(|mut row| row.text("setting")).transpose()
    }

    /// What an edit does beside its tasks.
    pub(super) async fn edit_shared(
        &self,
        tx: &mut Tx,
        edit: &Edit,
        at: Timestamp,
    ) -> Result<(), Failure> {
        let moved: Vec<i64> = edit.moves.iter().map(|m| m.task.as_i64()).collect();
        for_ids(tx, &DROP_DUE, &moved, at).await?;
        let put: Vec<DueKey> = edit.moves.iter().filter_map(|m| m.next.clone()).collect();
        self.put_due(tx, &put).await?;
        for (name, spec) in &edit.calendars {
            let Some(spec) = spec else {
                let args = [("name", name.as_str().into())];
                tx.write(&DROP_CALENDAR, &args).await?;
                continue;
            };
            let args = [
                ("name", name.as_str().into()),
                ("definition", to_json(spec)?.as_str().into()),
                ("at", at.as_ms().into()),
            ];
            tx.write(&PUT_CALENDAR, &args).await?;
        }
        for (key, most) in &edit.limits {
            let key = ("key", key.to_string().as_str().into());
            match most {
                Some(most) => {
                    let args = [key, ("most", i64::from(*most).into())];
                    tx.write(&PUT_LIMIT, &args).await?;
                }
                None => {
                    tx.write(&DROP_LIMIT, &[key]).await?;
                }
            }
        }
        put_settings(tx, &edit.settings).await?;
        self.insert_skips(tx, &edit.skipped).await?;
        look_again(tx, &edit.limit_keys()).await
    }
}

/// Writes settings of the cluster.
pub(super) async fn put_settings(
    tx: &mut Tx,
    settings: &[(&'static str, String)],
) -> Result<(), Failure> {
    for (name, value) in settings {
        let args = [("name", (*name).into()), ("value", value.as_str().into())];
        tx.write(&PUT_SETTING, &args).await?;
    }
    Ok(())
}
