//! What is done to a node: its links are broken in six ways, its process is killed, stopped and asked to end, its clock
//! is set; and now and then all nodes are asked to end one after another.

use std::time::Duration;

use xtask::proxy::{Direction, Fault, Proxy};
use xtask::servers::{Process, holds_within};

use crate::scenes::chaos::campaign::{Campaign, lock, why};
use crate::scenes::chaos::dice::{Deck, Dice};
use crate::scenes::chaos::ledger::Proof;
use crate::stand::node::{Node, Role, Server};

/// How long a node that was asked to end may take, with its servers broken.
const END_LIMIT: Duration = Duration::from_secs(60);
/// How soon a node's own view of its clock follows.
const CLOCK_LIMIT: Duration = Duration::from_secs(15);
/// Steps of a clock in seconds.
const STEPS_S: [i64; 6] = [30, -30, 3_600, -3_600, 86_400, -86_400];
/// The time between two rounds in which every node is ended and started.
const ROUND_MS: (usize, usize) = (60_000, 120_000);

/// How a link is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    Delay,
    Drop,
    HalfOpen,
    Reset,
    OneWay,
    Cut,
}

const BREAKS: [Break; 6] = [
    Break::Delay,
    Break::Drop,
    Break::HalfOpen,
    Break::Reset,
    Break::OneWay,
    Break::Cut,
];

impl Break {
    /// What this kind of fault has done on a link so far. What others do there meanwhile proves nothing: a connection
    /// that lost bytes stays half-open, and goes on losing them.
    fn done(self, proxy: &Proxy) -> u64 {
        let tally = proxy.tally();
        match self {
            Self::Delay => tally.delayed_bytes,
            Self::Drop | Self::OneWay => tally.lost_bytes,
            Self::HalfOpen => tally.stalled_looks,
            Self::Reset => tally.reset,
            Self::Cut => tally.cut,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Delay => "delayed",
            Self::Drop => "dropped both ways",
            Self::HalfOpen => "half-open",
            Self::Reset => "reset",
            Self::OneWay => "dropped one way",
            Self::Cut => "cut in the middle",
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Card {
    Link(Server, Break),
    Kill,
    Stop,
    End,
    Clock,
}

impl Card {
    fn name(self, node: &Node) -> String {
        let what = if node.role == Role::Worker {
            "worker"
        } else {
            "scheduler"
        };
        match self {
            Self::Link(server, way) => format!("link to {}: {}", server.word(), way.word()),
            Self::Kill => format!("{what} kill -9"),
            Self::Stop => format!("{what} stopped"),
            Self::End => format!("{what} ended and started"),
            Self::Clock => "clock of one node set".to_owned(),
        }
    }
}

fn deck(node: &Node) -> Deck<Card> {
    let mut cards = vec![(Card::Kill, 2), (Card::Stop, 2), (Card::End, 1)];
    for (server, _) in &node.links {
        cards.extend(BREAKS.map(|way| (Card::Link(*server, way), 1)));
    }
    if node.clock.is_some() {
        cards.push((Card::Clock, 3));
    }
    Deck::new(&cards)
}

/// The kinds that [`act`] will try on this node.
pub fn kinds(node: &Node) -> Vec<String> {
    let deck = deck(node);
    deck.cards().iter().map(|card| card.name(node)).collect()
}

/// Breaks one node until the campaign is over, and leaves it whole.
pub fn act(campaign: &Campaign<'_>, node: &Node) {
    let mut dice = Dice::new(campaign.seed, node.name);
    let mut deck = deck(node);
    while !campaign.over() {
        campaign.rest(dice.ms(200, 3_000));
        let Some(card) = deck.draw(&mut dice) else {
            return;
        };
        if campaign.over() {
            break;
        }
        let turn = lock(&node.turn);
        play(campaign, node, card, &mut dice);
        if !node.is_alive()
            && let Err(error) = node.start()
        {
            campaign.broke(format!("{}: {error}", node.name));
        }
        drop(turn);
    }
    let _turn = lock(&node.turn);
    node.heal();
}

fn play(campaign: &Campaign<'_>, node: &Node, card: Card, dice: &mut Dice) {
    let name = card.name(node);
    match card {
        Card::Link(server, way) => {
            let more = dice.chance(30).then(|| dice.one(&node.links)).flatten();
            let more = more.filter(|(other, _)| *other != server);
            let second = dice.one(&BREAKS).copied();
            let time = dice.ms(50, 3_000);
            let mut broken = Vec::new();
            let own = node.links.iter().find(|(other, _)| *other == server);
            for ((server, proxy), way) in own.map(|l| (l, way)).into_iter().chain(more.zip(second))
            {
                let kind = Card::Link(*server, way).name(node);
                broken.push((kind, way, proxy, way.done(proxy)));
                set(*server, proxy, way, dice);
            }
            std::thread::sleep(time);
            for (kind, way, proxy, before) in broken {
                let proof = felt(proxy, way, before, time);
                proxy.heal();
                campaign.note(&kind, node.name, &proof);
            }
        }
        Card::Kill => {
            let proof = kill(node);
            campaign.note(&name, node.name, &proof);
            campaign.rest(dice.ms(0, 4_000));
        }
        Card::Stop => {
            let ttl = usize::try_from(campaign.lock_ttl.as_millis()).unwrap_or(0);
            let proof = stop(node, dice.ms(ttl / 5, ttl * 3));
            campaign.note(&name, node.name, &proof);
        }
        Card::End => {
            let proof = end(node);
            campaign.note(&name, node.name, &proof);
        }
        Card::Clock => {
            let proof = set_clock(campaign, node, dice);
            campaign.note(&name, node.name, &proof);
        }
    }
}

fn set(server: Server, proxy: &Proxy, way: Break, dice: &mut Dice) {
    let directions = [Direction::Up, Direction::Down, Direction::Both];
    let any = dice.one(&directions).copied().unwrap_or(Direction::Both);
    let one = *dice.one(&directions[..2]).unwrap_or(&Direction::Up);
    match way {
        Break::Delay => proxy.set(Direction::Both, Fault::Delay(dice.ms(20, 900))),
        Break::Drop => proxy.set(Direction::Both, Fault::Blackhole),
        Break::HalfOpen => proxy.set(any, Fault::Stall),
        Break::Reset => proxy.reset(),
        Break::OneWay => proxy.set(one, Fault::Blackhole),
        Break::Cut => {
            // A lock's few words are soon said.
            let most = if server == Server::Lock { 120 } else { 3_000 };
            let bytes = u64::try_from(dice.below(most)).unwrap_or(0);
            proxy.set(any, Fault::CutAfter(bytes + 1));
        }
    }
}

/// What the fault did to the link: nothing on an idle one, and then it does not count.
fn felt(proxy: &Proxy, way: Break, before: u64, time: Duration) -> Proof {
    let felt = way.done(proxy) - before;
    if felt == 0 {
        return Err("nothing was on its way".to_owned());
    }
    let what = match way {
        Break::Delay => "bytes delayed",
        Break::Drop | Break::OneWay => "bytes lost",
        Break::HalfOpen => "looks found bytes waiting",
        Break::Reset => "connections reset",
        Break::Cut => "connections cut",
    };
    Ok(format!("{felt} {what} in {} ms", time.as_millis()))
}

fn kill(node: &Node) -> Proof {
    let pid = node.with(|process| {
        process.kill9();
        process.pid()
    });
    let pid = pid.map_err(why)?;
    if node.is_alive() {
        return Err(format!("process {pid} lives"));
    }
    Ok(format!("process {pid} is gone"))
}

fn stop(node: &Node, time: Duration) -> Proof {
    let pid = node.with(Process::pid).map_err(why)?;
    node.with(Process::sigstop).map_err(why)?;
    let stopped = holds_within(Duration::from_secs(2), || state(pid) == Some('T'));
    std::thread::sleep(time);
    node.with(Process::sigcont).map_err(why)?;
    if !stopped {
        return Err(format!("process {pid} did not stop"));
    }
    Ok(format!("process {pid} stood for {} ms", time.as_millis()))
}

/// The kernel's letter for what a process does.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

fn end(node: &Node) -> Proof {
    let began = std::time::Instant::now();
    node.with(Process::sigterm).map_err(why)?;
    let status = node.with(|process| process.wait_exit(END_LIMIT));
    let ms = began.elapsed().as_millis();
    match status.map_err(why)? {
        Some(status) => Ok(format!("it ended with {status} after {ms} ms")),
        None => {
            node.with(Process::kill9).map_err(why)?;
            Err(format!("it had not ended after {ms} ms and was killed"))
        }
    }
}

fn set_clock(campaign: &Campaign<'_>, node: &Node, dice: &mut Dice) -> Proof {
    let file = node.clock.as_ref().ok_or("no clock of its own")?;
    let step = dice.one(&STEPS_S).copied().unwrap_or(30);
    std::fs::write(file, format!("{step:+}\n")).map_err(why)?;
    let mut skew_s = 0;
    let skewed = holds_within(CLOCK_LIMIT, || {
        let metrics = node.metrics().unwrap_or_default();
        let skew = metrics.iter().find(|(n, _)| n == "clock_skew_milliseconds");
        skew_s = skew.map_or(0, |(_, ms)| *ms as i64 / 1_000);
        (skew_s - step).abs() <= 5
    });
    campaign.rest(dice.ms(500, 4_000));
    std::fs::write(file, "+0\n").map_err(why)?;
    if !skewed {
        return Err(format!("set by {step} s, and the node says {skew_s} s"));
    }
    Ok(format!("set by {step} s, and the node says {skew_s} s"))
}

/// The name of [`rounds`] in the account.
pub const ROUND: &str = "rolling restart of all nodes";

/// Ends and starts every node, one after another, again and again.
pub fn rounds(campaign: &Campaign<'_>) {
    let mut dice = Dice::new(campaign.seed, "rounds");
    loop {
        campaign.rest(dice.ms(ROUND_MS.0 / 3, ROUND_MS.1 / 3));
        if campaign.over() {
            return;
        }
        let mut proofs = Vec::new();
        for node in &campaign.stand.nodes {
            let _turn = lock(&node.turn);
            proofs.push(end(node));
            if let Err(error) = node.start() {
                campaign.broke(format!("{}: {error}", node.name));
            }
        }
        let ended: Result<Vec<String>, String> = proofs.into_iter().collect();
        let proof = ended.map(|all| format!("{} nodes ended and started", all.len()));
        campaign.note(ROUND, "all", &proof);
        campaign.rest(dice.ms(ROUND_MS.0, ROUND_MS.1));
    }
}
