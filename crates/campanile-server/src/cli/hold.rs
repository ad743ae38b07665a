//! `hold …`: nothing starts in the whole cluster, why, and the end of that.

use campanile_ask::Held;
use serde_json::json;

use super::Failure;
use super::args;
use super::args::HoldVerb;
use super::client::Client;
use super::instants::typed_or_none;
use super::out::Out;
use crate::api::hold::Hold;

/// `hold …`
pub async fn run(client: &Client, hold: &args::Hold, out: Out) -> Result<(), Failure> {
    match &hold.verb {
        Some(HoldVerb::Show) => show(client, out).await,
        Some(HoldVerb::End) => {
            let ended: Hold = client.delete_telling("/hold").await?;
            out.show(&ended, |out, ended| match &ended.hold {
                None => out.line("the cluster was not held"),
                Some(held) => out.line(format!(
                    "the hold of {} ({}) is ended: what became due meanwhile follows each task's `misfire`",
                    held.by, held.why
                )),
            });
            Ok(())
        }
        None => {
            let until = typed_or_none("--until", hold.until.as_ref(), out)?;
            let body = json!({ "why": hold.why, "until": until });
            client.put("/hold", &body).await?;
            show(client, out).await
        }
    }
}

async fn show(client: &Client, out: Out) -> Result<(), Failure> {
    let hold: Hold = client.get("/hold").await?;
    out.show(&hold, |out, hold| match &hold.hold {
        None => out.line("the cluster is not held"),
        Some(held) => out.line(told(out, held)),
    });
    Ok(())
}

/// A hold in a sentence, on the wall that was asked for.
pub(super) fn told(out: Out, held: &Held) -> String {
    let until = held.until.map_or_else(
        || "somebody ends it".to_owned(),
        |until| out.at(until, None),
    );
    format!(
        "held since {} by {} ({}): nothing starts until {until}",
        out.at(held.since, None),
        held.by,
        held.why
    )
}
