//! What tasks share: calendars, limits of queues and groups, settings of the cluster; and what an edit does beside its
//! tasks.

use campanile_core::port::edit::Edit;
use campanile_core::port::fire::DueKey;
use campanile_schedule::time::Timestamp;

use crate::sql::connection::Tx;
use crate::sql::error::Failure;
use crate::sql::jumps::answer;
use crate::sql::permits::look_again;
use crate::sql::rows::to_json;
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::tasks::{DROP_DUE, for_ids};

/// Puts a calendar; its version grows.
static PUT_CALENDAR: Statement = Statement::new(
    "INSERT INTO campanile_calendar AS calendar (name, version, definition, updated_at) VALUES (:name, 1, :definition, :at)
     ON CONFLICT (name) DO UPDATE SET version = calendar.version + 1, definition = excluded.definition,
     updated_at = excluded.updated_at",
);

/// Deletes a calendar.
static DROP_CALENDAR: Statement =
    Statement::new("DELETE FROM campanile_calendar WHERE name = :name");

/// Sets a limit.
static PUT_LIMIT: Statement = Statement::new(
    "INSERT INTO campanile_concurrency_limit (limit_key, max_running) VALUES (:key, :most)
     ON CONFLICT (limit_key) DO UPDATE SET max_running = excluded.max_running",
);

/// Lifts a limit.
static DROP_LIMIT: Statement =
    Statement::new("DELETE FROM campanile_concurrency_limit WHERE limit_key = :key");

/// Writes a setting.
static PUT_SETTING: Statement = Statement::new(
    "INSERT INTO campanile_setting (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
);

impl Store {
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
        answer(tx, &edit.answered).await?;
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
