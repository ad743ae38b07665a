//! People at work: they edit tasks, pause and resume them, trigger them and cancel what they triggered, over whichever
//! scheduler node they happen to ask. They remember what they were told, because that must be kept.

use crate::load::{Kind, Task};
use crate::scenes::chaos::campaign::{Campaign, lock, why};
use crate::scenes::chaos::dice::{Dice, Named};
use crate::scenes::chaos::ledger::Proof;
use crate::scenes::chaos::load;
use crate::{http, wall_ms};

#[derive(Debug, Clone, Copy)]
enum Card {
    Edit,
    Pause,
    Trigger,
    Cancel,
}

const CARDS: [Named<Card>; 4] = [
    (Card::Edit, "task edited", 3),
    (Card::Pause, "task paused and resumed", 2),
    (Card::Trigger, "task triggered", 3),
    (Card::Cancel, "run cancelled", 2),
];

/// The kinds that [`act`] will try.
pub fn kinds() -> Vec<&'static str> {
    CARDS.iter().map(|(_, name, _)| *name).collect()
}

/// Asks for things until the campaign is over.
pub fn act(campaign: &Campaign<'_>) {
    let theirs = campaign.tasks.iter();
    let theirs: Vec<&Task> = theirs.filter(|t| t.kind == Kind::People).collect();
    campaign.act("people", (200, 2_500), &CARDS, |card, dice| {
        let task = theirs[dice.below(theirs.len())];
        (task.name.clone(), play(campaign, card, task, dice))
    });
}

fn play(campaign: &Campaign<'_>, card: Card, task: &Task, dice: &mut Dice) -> Proof {
    let nodes: Vec<u16> = campaign.stand.schedulers().map(|node| node.port).collect();
    let port = *dice.one(&nodes).ok_or("there is no scheduler node")?;
    let path = format!("/api/v1/tasks/{}", task.name);
    match card {
        Card::Edit => {
            let edition = u64::try_from(dice.below(1_000_000)).unwrap_or(0);
            let spec = load::edition(task, edition).definition;
            let (status, body) = http::send(port, "PUT", &path, &spec.to_string()).map_err(why)?;
            taken(status, 200, &body)?;
            Ok(format!("edition {edition} was taken"))
        }
        Card::Pause => pause(campaign, task, port, dice),
        Card::Trigger => trigger(campaign, port, &path),
        Card::Cancel => {
            let id = trigger_id(campaign, port, &path)?;
            std::thread::sleep(dice.ms(0, 600));
            let path = format!("/api/v1/runs/{id}/cancel");
            let (status, body) = http::send(port, "POST", &path, "").map_err(why)?;
            taken(status, 200, &body)?;
            Ok(format!("of run {id} the API said {body}"))
        }
    }
}

fn taken(status: u16, wanted: u16, body: &str) -> Result<(), String> {
    if status == wanted {
        return Ok(());
    }
    Err(format!("the API said {status}: {body:.200}"))
}

fn trigger(campaign: &Campaign<'_>, port: u16, path: &str) -> Proof {
    let id = trigger_id(campaign, port, path)?;
    Ok(format!("run {id} was accepted"))
}

fn trigger_id(campaign: &Campaign<'_>, port: u16, path: &str) -> Proof {
    let path = format!("{path}/trigger");
    let (status, body) = http::send(port, "POST", &path, "{}").map_err(why)?;
    taken(status, 201, &body)?;
    let answer: serde_json::Value = serde_json::from_str(&body).map_err(why)?;
    let id = answer["id"].as_str().ok_or("an answer without an id")?;
    lock(&campaign.people).accepted.push(id.to_owned());
    Ok(id.to_owned())
}

fn pause(campaign: &Campaign<'_>, task: &Task, port: u16, dice: &mut Dice) -> Proof {
    let path = |verb: &str| format!("/api/v1/tasks/{}/{verb}", task.name);
    let (status, body) = http::send(port, "POST", &path("pause"), "").map_err(why)?;
    taken(status, 200, &body)?;
    let paused = wall_ms();
    campaign.rest(dice.ms(500, 6_000));
    let asked = wall_ms();
    lock(&campaign.people)
        .rests
        .push((task.name.clone(), paused, asked));
    // Whoever can't resume it now does so at the end.
    let (status, body) = http::send(port, "POST", &path("resume"), "").map_err(why)?;
    taken(status, 200, &body)?;
    Ok(format!("it rested for {} ms", asked - paused))
}
