//! `doctor` about the broker: who answers, whether it takes messages, what waits in the queues of this node and who
//! consumes them, and what this broker lacks. It makes no queue and leaves no message.

use campanile_adapters::amqp::{self, Inspection, Queues};
use campanile_adapters::capabilities::{Capabilities, Support};
use campanile_adapters::{open, stomp};
use campanile_core::causes;
use campanile_core::decide::publish::group::credit;
use campanile_core::decide::publish::message::{REPLY_QUEUE, destination, group_destination};
use campanile_core::port::broker::Error;
use campanile_core::system;

use super::{Finding, LIMIT, late};
use crate::config::Settings;

const WHAT: &str = "broker";

pub(super) async fn broker(settings: &Settings) -> Vec<Finding> {
    let url = &settings.cluster.broker;
    if open::is_in_memory(url) {
        return vec![Finding::ok(WHAT, "in this process's memory")];
    }
    if open::is_in_store(url) {
        let text = "the store itself: workers take what is offered from its table `campanile_offer`, and handlers that are \
                    `external` can't be reached";
        return vec![Finding::ok(WHAT, text)];
    }
    let asked = system::within(LIMIT, async {
        if open::is_amqp(url) {
            over_amqp(settings).await
        } else {
            over_stomp(settings).await
        }
    });
    match asked.await {
        None => vec![Finding::failed(WHAT, late("broker", url))],
        Some(Err(problem)) => vec![Finding::failed(WHAT, problem)],
        Some(Ok(mut findings)) => {
            findings.extend(prefetch(settings));
            findings
        }
    }
}

/// How much a worker takes ahead, and what becomes of it.
fn prefetch(settings: &Settings) -> Option<Finding> {
    let slots = usize::try_from(settings.node.slots).ok()?;
    let held = credit(slots, 1);
    settings.node.roles.worker.then(|| {
        Finding::ok(
            WHAT,
            format!(
                "with {slots} slots this worker holds at most {held} messages of a queue at once; what it has not \
                 acknowledged goes to another when its connection ends"
            ),
        )
    })
}

async fn over_stomp(settings: &Settings) -> Result<Vec<Finding>, String> {
    let broker = stomp::at(&settings.cluster.broker)?;
    let probe = broker
        .probe()
        .await
        .map_err(|e| unanswered(settings, &e, "STOMP"))?;
    let mut out = vec![who(&probe.server, &probe.address)];
    match probe.capabilities() {
        Some(capabilities) => out.extend(abilities(&capabilities)),
        None => out.push(Finding::warning(
            WHAT,
            "Campanile was never tested against this broker: see docs/guide/brokers.md for those that it was",
        )),
    }
    Ok(out)
}

async fn over_amqp(settings: &Settings) -> Result<Vec<Finding>, String> {
    let broker = amqp::at(&settings.cluster.broker)?;
    let of_queue = |queue| [destination(queue), group_destination(queue)];
    let own = settings.node.queues.iter().flat_map(of_queue);
    let names: Vec<String> = own.chain([REPLY_QUEUE.to_owned()]).collect();
    let found = broker
        .inspect(&names)
        .await
        .map_err(|e| unanswered(settings, &e, "AMQP 0-9-1"))?;
    let mut out = vec![who(&found.probe.server, &found.probe.address)];
    out.push(flow(&found));
    out.extend(queues(&names, &found));
    out.extend(abilities(&found.probe.queues.capabilities()));
    Ok(out)
}

fn who(server: &str, address: &str) -> Finding {
    Finding::ok(WHAT, format!("{server} at {address}"))
}

fn unanswered(settings: &Settings, error: &Error, protocol: &str) -> String {
    format!(
        "failed to {}: check the address, the user and that the broker listens for {protocol} ({})",
        causes(error),
        settings.cluster.broker
    )
}

fn flow(found: &Inspection) -> Finding {
    if found.takes_messages {
        return Finding::ok(WHAT, "it takes messages at once");
    }
    Finding::failed(
        WHAT,
        "it holds publishers back: no run is handed to a worker. Its memory or its disk is short: `rabbitmq-diagnostics \
         alarms` says which; free some, or give it more",
    )
}

/// What waits, who takes it, and whether it would survive the loss of a node.
fn queues(names: &[String], found: &Inspection) -> Vec<Finding> {
    let mut out = Vec::new();
    for (name, queue) in names.iter().zip(&found.queues) {
        let Some(queue) = queue else {
            out.push(Finding::ok(
                WHAT,
                format!("queue `{name}` is not there yet: it is made when it is needed"),
            ));
            continue;
        };
        let state = format!(
            "queue `{name}`: {} messages wait, {} consumers",
            queue.ready, queue.consumers
        );
        if queue.ready > 0 && queue.consumers == 0 {
            let remedy = match name.strip_prefix("campanile.") {
                Some(_) if name == REPLY_QUEUE => {
                    "start a node with the role `scheduler`".to_owned()
                }
                Some(short) => {
                    let queue = short.split('~').next().unwrap_or(short);
                    format!("start a worker with `--queues {queue}`")
                }
                None => "start whoever listens there".to_owned(),
            };
            out.push(Finding::warning(WHAT, format!("{state}; {remedy}")));
        } else if found.probe.queues == Queues::Quorum && !queue.is_quorum {
            out.push(Finding::warning(
                WHAT,
                format!(
                    "{state}; it is no quorum queue and lives on one node alone: delete it while nothing waits in it, and \
                     it is made again as one"
                ),
            ));
        } else {
            out.push(Finding::ok(WHAT, state));
        }
    }
    out
}

/// What the broker needs a setting for, and what it lacks.
fn abilities(capabilities: &Capabilities) -> Vec<Finding> {
    let told = capabilities.named().into_iter().filter_map(|(name, has)| {
        let text = match has {
            Support::Yes => return None,
            Support::Set(setting) => format!("{name}: only with {setting}"),
            Support::No(remedy) => format!("{name}: not with this broker; {remedy}"),
        };
        Some(Finding::ok(WHAT, text))
    });
    told.collect()
}
