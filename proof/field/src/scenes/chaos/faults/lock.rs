//! What is done to the lock: all keys dropped, the lock deleted, its value replaced, the server paused, the server killed
//! and started empty.

use std::time::Duration;

use crate::scenes::chaos::campaign::{Campaign, why};
use crate::scenes::chaos::dice::{Dice, Named};
use crate::scenes::chaos::ledger::Proof;
use crate::stand::servers::Lock;

/// The lock's key, as every node of a cluster of the default name has it.
const KEY: &str = "{campanile:campanile}:lock";

#[derive(Debug, Clone, Copy)]
enum Card {
    Flush,
    Delete,
    Replace,
    Pause,
    Kill,
}

const CARDS: [Named<Card>; 5] = [
    (Card::Flush, "Redis FLUSHALL", 2),
    (Card::Delete, "lock deleted", 2),
    (Card::Replace, "lock given to somebody else", 2),
    (Card::Pause, "Redis CLIENT PAUSE", 2),
    (Card::Kill, "Redis kill -9, back empty", 1),
];

/// The kinds that [`act`] will try.
pub fn kinds() -> Vec<&'static str> {
    CARDS.iter().map(|(_, name, _)| *name).collect()
}

/// Breaks the lock until the campaign is over, and leaves it whole.
pub fn act(campaign: &Campaign<'_>) {
    campaign.act("lock", (1_000, 7_000), &CARDS, |card, dice| {
        ("Redis".to_owned(), play(campaign, card, dice))
    });
}

fn play(campaign: &Campaign<'_>, card: Card, dice: &mut Dice) -> Proof {
    let Lock::Redis(redis) = &campaign.stand.servers.lock else {
        return Err("the lock is no Redis".to_owned());
    };
    let ms = dice.ms(300, 4_000).as_millis().to_string();
    match card {
        Card::Flush => {
            let keys = redis.cli(&["DBSIZE"]).map_err(why)?;
            let said = redis.cli(&["FLUSHALL"]).map_err(why)?;
            Ok(format!("{said}, {keys} keys were there"))
        }
        Card::Delete => match redis.cli(&["DEL", KEY]).map_err(why)?.as_str() {
            "1" => Ok("it was there, and is gone".to_owned()),
            said => Err(format!("DEL said {said}: nobody held it")),
        },
        Card::Replace => {
            let set = ["SET", KEY, "somebody-else", "XX", "PX", &ms];
            match redis.cli(&set).map_err(why)?.as_str() {
                "OK" => Ok(format!("somebody else had it for {ms} ms")),
                said => Err(format!("SET XX said {said:?}: nobody held it")),
            }
        }
        Card::Pause => {
            let said = redis.cli(&["CLIENT", "PAUSE", &ms]).map_err(why)?;
            Ok(format!("{said}, for {ms} ms"))
        }
        Card::Kill => {
            redis.kill9();
            if redis.cli(&["PING"]).is_ok() {
                return Err("it still answers".to_owned());
            }
            campaign.rest(dice.ms(0, 3_000));
            for _ in 0..3 {
                if redis.restart().is_ok() {
                    return Ok("it was gone, and came back empty".to_owned());
                }
                std::thread::sleep(Duration::from_secs(1));
            }
            campaign.broke("Redis did not come back".to_owned());
            Err("it did not come back".to_owned())
        }
    }
}
