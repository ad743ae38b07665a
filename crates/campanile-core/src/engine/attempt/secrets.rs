//! The secrets of one attempt: asked for before it starts, put into what its handler is given, and taken out of all that
//! it says. What a run brings of its own names none, whatever it holds.

use serde_json::Value;

use crate::engine::attempt::Worker;
use crate::engine::attempt::running::Attempt;
use crate::port::secrets::{Values, Wanted};
use crate::scrub::Forms;
use crate::task::{HandlerSpec, secret};

/// What an attempt is given where its definition names secrets.
#[derive(Default)]
pub struct Given {
    /// The handler with the values in their places; `None` = as it is.
    pub handler: Option<HandlerSpec>,
    /// The payload likewise.
    pub payload: Option<Value>,
    /// The values, to be found in what the attempt says.
    pub forms: Forms,
}

/// Asks for the secrets that the definition names.
///
/// # Errors
/// Why this worker does not give one of them, for people.
pub async fn give(worker: &Worker, attempt: &Attempt) -> Result<Given, String> {
    let own = attempt.claimed.spec.as_ref();
    let handler = own
        .is_none_or(|own| own.handler.is_none())
        .then(|| attempt.handler());
    let payload = own
        .is_none_or(|own| own.payload.is_none())
        .then_some(&attempt.spec.payload);
    let names = secret::names_of(handler, payload);
    let values = if names.is_empty() {
        Values::default()
    } else {
        let secrets = worker.shared.parts.handlers.its_secrets().ok_or_else(|| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!(
                "this worker has no secrets, and the task names `{}`",
                names.join("`, `")
            )
        })?;
        let wanted = Wanted {
            task: &attempt.task_name,
            owner: attempt.spec.owner.as_deref(),
            handler: attempt.handler(),
            names: &names,
        };
        secrets.values(wanted).await?
    };
    let find = |name: &str| values.get(name).map(str::to_owned);
    Ok(Given {
        handler: handler
            .filter(|handler| secret::has_templates(handler))
            .map(|handler| secret::fill_handler(handler, &find))
            .transpose()?,
        payload: payload
            .map(|payload| secret::fill_payload(payload, &find))
            .transpose()?,
        forms: Forms::of(values.all()),
    })
}
