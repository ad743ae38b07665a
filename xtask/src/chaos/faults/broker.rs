//! What is done to the broker: killed and started with what it had, or killed, emptied and started; paused.

use std::time::Duration;

use crate::chaos::campaign::{Campaign, lock, why};
use crate::chaos::dice::{Deck, Dice};
use crate::chaos::ledger::Proof;
use crate::field::wall_ms;

#[derive(Debug, Clone, Copy)]
enum Card {
    Kill,
    Wipe,
    Pause,
}

const CARDS: [(Card, usize); 3] = [(Card::Kill, 1), (Card::Wipe, 1), (Card::Pause, 2)];

const fn name(card: Card) -> &'static str {
    match card {
        Card::Kill => "broker kill -9 and restart",
        Card::Wipe => "broker killed, emptied and started",
        Card::Pause => "broker stopped",
    }
}

/// The kinds that [`act`] will try.
pub fn kinds() -> Vec<&'static str> {
    CARDS.iter().map(|(card, _)| name(*card)).collect()
}

/// Breaks the broker until the campaign is over, and leaves it whole.
pub fn act(campaign: &Campaign<'_>) {
    let mut dice = Dice::new(campaign.seed, "broker");
    let mut deck = Deck::new(&CARDS);
    while !campaign.over() {
        campaign.rest(dice.ms(6_000, 18_000));
        let Some(card) = deck.draw(&mut dice) else {
            return;
        };
        if campaign.over() {
            return;
        }
        let proof = play(campaign, card, &mut dice);
        campaign.note(name(card), "broker", &proof);
    }
}

fn play(campaign: &Campaign<'_>, card: Card, dice: &mut Dice) -> Proof {
    let broker = &campaign.stand.broker;
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
