//! Somebody who can write to the broker and is no friend: sends messages that are made up, broken, doubled or old.
//! What he has to start from are real messages, as the nodes' proxies remember them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::effects::FORGED;
use crate::scenes::chaos::campaign::{Campaign, why};
use crate::scenes::chaos::dice::{Dice, Named};
use crate::scenes::chaos::ledger::Proof;
use crate::stand::node::Server;

const LIMIT: Duration = Duration::from_secs(5);
/// How old a message is that counts as old.
const OLD: Duration = Duration::from_secs(30);
const OLD_MAX: usize = 500;
/// Only our own queues: a listener that existed before has no way to know a forged message.
const OURS: &str = "/queue/campanile.";

#[derive(Debug, Clone, Copy)]
enum Card {
    Forged,
    Malformed,
    Doubled,
    Old,
}

const CARDS: [Named<Card>; 4] = [
    (Card::Forged, "forged messages", 2),
    (Card::Malformed, "malformed messages", 2),
    (Card::Doubled, "messages sent ten times more", 2),
    (Card::Old, "old messages sent again", 1),
];

/// The kinds that [`act`] will try.
pub fn kinds() -> Vec<&'static str> {
    CARDS.iter().map(|(_, name, _)| *name).collect()
}

/// A message as it went to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its headers as they were spelled, without those that belong to one sending.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Whole messages to our own queues among `bytes`, which may begin and end anywhere and hold several connections'.
pub fn read(bytes: &[u8]) -> Vec<Sent> {
    let starts = bytes.windows(5).enumerate();
    let starts = starts.filter(|(_, window)| *window == b"SEND\n");
    starts
        .filter_map(|(at, _)| read_one(&bytes[at + 5..]))
        .collect()
}

fn read_one(bytes: &[u8]) -> Option<Sent> {
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let headers = head.lines().filter_map(|line| line.split_once(':'));
    let mut headers: Vec<(String, String)> = headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let value = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v);
    let length: usize = value("content-length")?.parse().ok()?;
    if !value("destination")?.starts_with(OURS) || value("campanile_sig").is_none() {
        return None;
    }
    let body = bytes.get(end + 2..end + 2 + length)?.to_vec();
    // Two connections' bytes may lie in each other: then the body is no envelope.
    serde_json::from_slice::<serde_json::Value>(&body).ok()?;
    headers
        .retain(|(name, _)| !matches!(name.as_str(), "transaction" | "receipt" | "content-length"));
    Some(Sent { headers, body })
}

impl Sent {
    fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(n, _)| n != name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A message that the workers must refuse: its body, its signature or its queue is not what was signed.
pub fn forge(real: &Sent, dice: &mut Dice) -> Sent {
    let mut forged = real.clone();
    let made_up = format!("\"payload\":\"{FORGED}\"");
    match dice.below(5) {
        // Another run's number under this one's signature.
        0 => {
            let text = forged.text();
            let digit = text.find("\"run\":\"").map_or(0, |at| at + 7 + 12);
            if let Some(byte) = forged.body.get_mut(digit) {
                *byte = if *byte == b'0' { b'1' } else { b'0' };
            }
        }
        1 => {
            let put = format!("{made_up},\"was\":");
            let text = forged.text().replacen("\"payload\":", &put, 1);
            forged.body = text.into_bytes();
        }
        2 => forged.set("campanile_sig", &"ab".repeat(32)),
        3 => forged.headers.retain(|(name, _)| name != "campanile_sig"),
        _ => {
            let other = if forged
                .headers
                .iter()
                .any(|(_, v)| v == "/queue/campanile.slow")
            {
                "/queue/campanile.default"
            } else {
                "/queue/campanile.slow"
            };
            forged.set("destination", other);
        }
    }
    forged
}

/// A message that can't be read.
pub fn spoil(real: &Sent, dice: &mut Dice) -> Sent {
    let mut spoiled = real.clone();
    spoiled.body = match dice.below(7) {
        0 => Vec::new(),
        1 => real.body[..real.body.len() / 2].to_vec(),
        2 => [&real.body[..1], b"\0\0", &real.body[1..]].concat(),
        3 => vec![b'['; 60_000],
        4 => vec![0xff; 300],
        5 => real.text().replacen("\"v\":1", "\"v\":999", 1).into_bytes(),
        _ => vec![b' '; 700_000],
    };
    spoiled
}

/// Sends bad messages until the campaign is over.
pub fn act(campaign: &Campaign<'_>) {
    let mut old: BTreeMap<Instant, Sent> = BTreeMap::new();
    campaign.act("forger", (500, 4_000), &CARDS, |card, dice| {
        let fresh = remembered(campaign);
        if let Some(one) = dice.one(&fresh) {
            old.insert(Instant::now(), one.clone());
        }
        while old.len() > OLD_MAX {
            old.pop_first();
        }
        (
            "broker".to_owned(),
            play(campaign, card, &fresh, &old, dice),
        )
    });
}

/// What schedulers have sent last.
fn remembered(campaign: &Campaign<'_>) -> Vec<Sent> {
    let links = campaign.stand.schedulers().flat_map(|node| &node.links);
    let links = links.filter(|(server, _)| *server == Server::Broker);
    links
        .flat_map(|(_, proxy)| read(&proxy.remembered()))
        .collect()
}

fn play(
    campaign: &Campaign<'_>,
    card: Card,
    fresh: &[Sent],
    old: &BTreeMap<Instant, Sent>,
    dice: &mut Dice,
) -> Proof {
    let real = dice
        .one(fresh)
        .ok_or("nothing was sent that could be copied")?;
    let mut messages = Vec::new();
    match card {
        Card::Forged => messages.extend((0..5).map(|_| forge(real, dice))),
        Card::Malformed => messages.extend((0..5).map(|_| spoil(real, dice))),
        Card::Doubled => {
            // The newest are the likeliest to be still under way.
            let last = fresh.iter().rev().take(5);
            messages.extend(last.flat_map(|sent| std::iter::repeat_n(sent.clone(), 10)));
        }
        Card::Old => {
            let aged = old.iter().filter(|(at, _)| at.elapsed() >= OLD);
            messages.extend(aged.map(|(_, sent)| sent.clone()).take(20));
            if messages.is_empty() {
                return Err("nothing is old enough yet".to_owned());
            }
        }
    }
    let broker = campaign.stand.servers.broker().map_err(why)?;
    let taken = send(broker.stomp_port(), &messages).map_err(why)?;
    Ok(format!("the broker took {taken} of them"))
}

/// Sends them over a connection of its own; gives how many the broker confirmed.
fn send(port: u16, messages: &[Sent]) -> Outcome<usize> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut bytes = b"CONNECT\naccept-version:1.2\nhost:localhost\nheart-beat:0,0\n\n\0".to_vec();
    for (at, message) in messages.iter().enumerate() {
        bytes.extend(frame(message, at));
    }
    stream.write_all(&bytes)?;
    let mut heard = Vec::new();
    let last = format!("receipt-id:{}\n", messages.len() - 1);
    let mut chunk = [0; 4_096];
    while !String::from_utf8_lossy(&heard).contains(&last) {
        match stream.read(&mut chunk)? {
            0 => break,
            length => heard.extend(&chunk[..length]),
        }
    }
    let heard = String::from_utf8_lossy(&heard);
    match heard.matches("RECEIPT\n").count() {
        0 => Err(format!("the broker confirmed none: {heard:.200}").into()),
        taken => Ok(taken),
    }
}

fn frame(message: &Sent, receipt: usize) -> Vec<u8> {
    let mut frame = b"SEND\n".to_vec();
    for (name, value) in &message.headers {
        frame.extend(format!("{name}:{value}\n").as_bytes());
    }
    let length = message.body.len();
    frame.extend(format!("receipt:{receipt}\ncontent-length:{length}\n\n").as_bytes());
    frame.extend(&message.body);
    frame.push(0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real() -> Sent {
        let body = r#"{"v":1,"run":"0123456789abc","payload":{}}"#;
        let text = format!(
            "\0SEND\ndestination:/queue/campanile.default\ncampanile_sig:00ff\ntransaction:t1\n\
             content-length:{}\n\n{body}\0",
            body.len()
        );
        let mut read = read(text.as_bytes());
        assert_eq!(read.len(), 1);
        read.remove(0)
    }

    #[test]
    fn messages_are_found_among_other_bytes() {
        let sent = real();
        assert_eq!(sent.headers.len(), 2);
        let again = frame(&sent, 7);
        assert_eq!(read(&again), [sent]);
        // Cut short, to another queue, or without an envelope: not one of ours.
        assert!(read(&again[..again.len() - 3]).is_empty());
        let text = String::from_utf8(again).unwrap();
        assert!(read(text.replace("campanile.default", "legacy").as_bytes()).is_empty());
        assert!(read(text.replace("{\"v\"", "x\"v\"").as_bytes()).is_empty());
    }

    #[test]
    fn nothing_forged_or_spoiled_is_what_it_was() {
        let mut dice = Dice::new(5, "forger");
        for _ in 0..50 {
            assert_ne!(forge(&real(), &mut dice), real());
            assert_ne!(spoil(&real(), &mut dice).body, real().body);
        }
    }
}
