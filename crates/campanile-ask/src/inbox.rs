//! What strangers left in the inbox and became no run, as people see it.

use campanile_access::Right;

use crate::{Editor, Error};
use campanile_core::decide::edit::inbox::Settled;

impl Editor {
    /// Rows of the inbox that became no run, newest first, with numbers below `before`.
    ///
    /// # Errors
    /// [`Error::Denied`]; a limit out of range.
    pub async fn unfulfilled(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Settled>, Error> {
        self.may_everywhere(Right::See, "the inbox")?;
        crate::tasks::check_limit(limit)?;
        Ok(self.parts.store.unfulfilled(before, limit).await?)
    }
}
