//! The one hold of the cluster, as people see it, set it and end it.

use campanile_access::Right;
use campanile_access::audit::Deed;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::pauses::{check_until, told};
use crate::{Control, Editor, Error};
use campanile_core::decide::lead::hold::{Cause, Hold, WHY_CHARS_MAX};

/// Nothing starts in the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = HoldView))]
pub struct Held {
    /// `asked`, `start`, `lost-commits` or `move`.
    pub cause: String,
    /// Who set it.
    pub by: String,
    pub why: String,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
    /// When it ends by itself; null = somebody has to end it.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub until: Option<Timestamp>,
}

impl From<Hold> for Held {
    fn from(hold: Hold) -> Self {
        Self {
            cause: hold.cause.as_str().to_owned(),
            by: hold.by,
            why: hold.why,
            since: hold.since,
            until: hold.until,
        }
    }
}

impl Held {
    /// In a sentence without its full stop.
    #[must_use]
    pub fn told(&self) -> String {
        let until = self
            .until
            .map_or_else(|| "somebody ends it".to_owned(), |until| until.to_string());
        format!(
            "the cluster is held since {} by {} ({}): nothing starts until {until}; `campanile hold end` ends it",
            self.since, self.by, self.why
        )
    }
}

impl Control {
    /// The cluster's hold, if it is held.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn held(&self) -> Result<Option<Held>, Error> {
        Ok(self.leader_row().await?.hold.map(Held::from))
    }
}

impl Editor {
    /// The cluster's hold, if it is held.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn held(&self) -> Result<Option<Held>, Error> {
        self.may(Right::See)?;
        self.control.held().await
    }

    /// Holds the cluster: from the answer on no occurrence, timer or retry fires, nothing is published and nothing is
    /// claimed. What runs goes on. A hold that there is already is replaced.
    ///
    /// # Errors
    /// The field at fault.
    pub async fn hold(
        &self,
        cause: Cause,
        why: &str,
        until: Option<Timestamp>,
    ) -> Result<Held, Error> {
        self.may_everywhere(Right::Lead, "the hold of the cluster")?;
        let why = told("why", Some(why), WHY_CHARS_MAX)?
            .ok_or_else(|| Error::invalid("why", "is empty: say why, for those who will wonder"))?;
        let now = self.now().await?;
        check_until(until, now)?;
        let hold = Hold {
            cause,
            by: self.actor.name().to_owned(),
            why,
            since: now,
            until,
        };
        let after = json!({ "why": hold.why, "until": hold.until });
        let deed = Deed::new("hold.set", "cluster", "").changing(Value::Null, after);
        let by = self.because(Some(&hold.why)).actor.doing(deed);
        self.parts.store.hold(&by, Some(&hold)).await?;
        self.work();
        Ok(hold.into())
    }

    /// Ends the hold. Answers the one that there was.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn end_hold(&self) -> Result<Option<Held>, Error> {
        self.may_everywhere(Right::Lead, "the hold of the cluster")?;
        let held = self.held().await?;
        if held.is_some() {
            self.parts.store.hold(&self.actor, None).await?;
            self.work();
        }
        Ok(held)
    }
}
