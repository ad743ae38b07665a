//! A gate before the statements of a store, for tests that decide which of several sessions may go on. A store that is
//! opened without one (every store of the program) pays a look at an empty option for each statement and nothing more.
//! It sees the calls of the ports; migrations, the check of the settings and the store's lock do not pass it.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::statement::Text;

/// What stands before each statement, `BEGIN`, `COMMIT` and `ROLLBACK` included. Given with [`super::Options::gate`].
#[async_trait]
pub trait Gate: Debug + Send + Sync {
    /// Awaited before the statement is sent. What it answers is sent in its place, with the same parameters; `None` =
    /// the statement as it is.
    async fn pass(&self, sql: &str) -> Option<String>;
}

/// A store's gate, if it has one.
pub(super) type MaybeGate = Option<Arc<dyn Gate>>;

/// Lets a statement pass.
pub(super) async fn admit<'t>(gate: &MaybeGate, text: &'t Text) -> Cow<'t, Text> {
    let Some(gate) = gate else {
        return Cow::Borrowed(text);
    };
    gate.pass(&text.sql)
        .await
        .map_or(Cow::Borrowed(text), |sql| {
            Cow::Owned(Text {
                sql: Arc::from(sql),
                params: text.params.clone(),
                then: text.then.clone(),
            })
        })
}

/// Lets a statement without parameters pass.
pub(super) async fn admit_raw<'t>(gate: &MaybeGate, sql: &'t str) -> Cow<'t, str> {
    let Some(gate) = gate else {
        return Cow::Borrowed(sql);
    };
    gate.pass(sql).await.map_or(Cow::Borrowed(sql), Cow::Owned)
}
