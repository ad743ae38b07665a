//! What is done to the broker: killed and started with what it had, or killed, emptied and started; paused.

use std::time::Duration;

use crate::scenes::chaos::campaign::{Campaign, lock, why};
use crate::scenes::chaos::dice::{Dice, Named};
use crate::scenes::chaos::ledger::Proof;
use crate::wall_ms;

#[derive(Debug, Clone, Copy)]
enum Card {
    Kill,
    Wipe,
    Pause,
}

const CARDS: [Named<Card>; 3] = [
    (Card::Kill, "broker kill -9 and restart", 1),
    (Card::Wipe, "broker killed, emptied and started", 1),
    (Card::Pause, "broker stopped", 2),
];

/// The kinds that [`act`] will try.
pub fn kinds() -> Vec<&'static str> {
    CARDS.iter().map(|(_, name, _)| *name).collect()
}

/// Breaks the broker until the campaign is over, and leaves it whole.
pub fn act(campaign: &Campaign<'_>) {
    campaign.act("broker", (6_000, 18_000), &CARDS, |card, dice| {
        ("broker".to_owned(), play(campaign, card, dice))
    });
}

fn play(campaign: &Campaign<'_>, card: Card, dice: &mut Dice) -> Proof {
    let broker = campaign.stand.servers.broker().map_err(why)?;
    let pid = broker.pid();
    match card {
        Card::Kill => {
            broker.kill9();
            if broker.is_accepting() {
                return Err("it still takes connections".to_owned());
            }
            campaign.rest(dice.ms(0, 2_000));
            revive(campaign, || broker.restart())?;
            Ok(format!("process {pid} died, {} came", broker.pid()))
        }
        Card::Wipe => {
            let kept = size(&broker.folder().join("data"));
            broker.kill9();
            lock(&campaign.wiped).push(wall_ms());
            revive(campaign, || broker.restart_empty())?;
            Ok(format!(
                "process {pid} died, {kept} bytes of its store are gone"
            ))
        }
        Card::Pause => {
            let time = dice.ms(300, 6_000);
            broker.pause();
            std::thread::sleep(time);
            broker.resume();
            Ok(format!("process {pid} stood for {} ms", time.as_millis()))
        }
    }
}

fn revive<E: std::fmt::Display>(
    campaign: &Campaign<'_>,
    start: impl Fn() -> Result<(), E>,
) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..3 {
        match start() {
            Ok(()) => return Ok(()),
            Err(error) => last = why(error),
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    campaign.broke(format!("the broker did not come back: {last}"));
    Err(last)
}

/// The bytes of all files below a folder.
fn size(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let kind = entry.metadata().ok()?;
            Some(if kind.is_dir() {
                size(&entry.path())
            } else {
                kind.len()
            })
        })
        .sum()
}
