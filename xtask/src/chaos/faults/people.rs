//! People at work: they edit tasks, pause and resume them, trigger them and cancel what they triggered, over whichever
//! scheduler node they happen to ask. They remember what they were told, because that must be kept.

use crate::chaos::campaign::{Campaign, lock, why};
use crate::chaos::dice::{Deck, Dice};
use crate::chaos::ledger::Proof;
use crate::chaos::load::{self, Kind, Task};
use crate::chaos::node::TOKEN;
use crate::field::{http, wall_ms};

#[derive(Debug, Clone, Copy)]
enum Card {
    Edit,
    Pause,
    Trigger,
    Cancel,
}

const CARDS: [(Card, usize); 4] = [
    (Card::Edit, 3),
    (Card::Pause, 2),
    (Card::Trigger, 3),
    (Card::Cancel, 2),
];

const fn name(card: Card) -> &'static str {
    match card {
        Card::Edit => "task edited",
        Card::Pause => "task paused and resumed",
        Card::Trigger => "task triggered",
        Card::Cancel => "run cancelled",
    }
}

/// The kinds that [`act`] will try.
pub fn kinds() -> Vec<&'static str> {
    CARDS.iter().map(|(card, _)| name(*card)).collect()
}

/// Asks for things until the campaign is over.
pub fn act(campaign: &Campaign<'_>) {
    let mut dice = Dice::new(campaign.seed, "people");
    let mut deck = Deck::new(&CARDS);
    let theirs: Vec<&Task> = campaign
        .tasks
        .iter()
        .filter(|task| task.kind == Kind::People)
        .collect();
    while !campaign.over() {
        campaign.rest(dice.ms(200, 2_500));
        let (Some(card), Some(task)) = (deck.draw(&mut dice), dice.one(&theirs)) else {
            return;
        };
        if campaign.over() {
            return;
        }
        let proof = play(campaign, card, task, &mut dice);
        campaign.note(name(card), &task.name, &proof);
    }
}

fn play(campaign: &Campaign<'_>, card: Card, task: &Task, dice: &mut Dice) -> Proof {
    let nodes: Vec<u16> = campaign.stand.schedulers().map(|node| node.port).collect();
    let port = *dice.one(&nodes).ok_or("there is no scheduler node")?;
    let path = format!("/api/v1/tasks/{}", task.name);
    match card {
        Card::Edit => {
            let edition = u64::try_from(dice.below(1_000_000)).unwrap_or(0);
            let script = campaign.stand.script.display().to_string();
            let spec = load::definition(task, &campaign.stand.effects, &script, edition);
            let (status, body) =
                http::send(port, "PUT", &path, TOKEN, &spec.to_string()).map_err(why)?;
            taken(status, 200, &body)?;
            Ok(format!("edition {edition} was taken"))
        }
        Card::Pause => pause(campaign, task, port, dice),
        Card::Trigger => trigger(campaign, port, &path),
        Card::Cancel => {
            let id = trigger_id(campaign, port, &path)?;
            std::thread::sleep(dice.ms(0, 600));
            let path = format!("/api/v1/runs/{id}/cancel");
            let (status, body) = http::send(port, "POST", &path, TOKEN, "").map_err(why)?;
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
    let (status, body) = http::send(port, "POST", &path, TOKEN, "{}").map_err(why)?;
    taken(status, 201, &body)?;
    let answer: serde_json::Value = serde_json::from_str(&body).map_err(why)?;
    let id = answer["id"].as_str().ok_or("an answer without an id")?;
    lock(&campaign.people).accepted.push(id.to_owned());
    Ok(id.to_owned())
}

fn pause(campaign: &Campaign<'_>, task: &Task, port: u16, dice: &mut Dice) -> Proof {
    let path = |verb: &str| format!("/api/v1/tasks/{}/{verb}", task.name);
    let (status, body) = http::send(port, "POST", &path("pause"), TOKEN, "").map_err(why)?;
    taken(status, 200, &body)?;
    let paused = wall_ms();
    campaign.rest(dice.ms(500, 6_000));
    let asked = wall_ms();
    lock(&campaign.people)
        .rests
        .push((task.name.clone(), paused, asked));
    // Whoever can't resume it now does so at the end.
    let (status, body) = http::send(port, "POST", &path("resume"), TOKEN, "").map_err(why)?;
    taken(status, 200, &body)?;
    Ok(format!("it rested for {} ms", asked - paused))
}
