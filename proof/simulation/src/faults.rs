//! The faults that the world itself has in store: deaths, pauses, cuts, wrong clocks, services that forget. Each strikes
//! one process or one service; which, and for how long, is the dice's choice.

use campanile_core::decide::lead::clock::UNSEEN_MAX;
use campanile_core::port::broker::{Broker, Message};

use crate::net::{HOME, Service};
use crate::plan::{between, pick};
use crate::tally::Fault;
use crate::world::{Act, World};

/// The queues that hold our messages.
const QUEUES: [&str; 2] = ["campanile.default", "campanile.other"];

/// Strikes once.
pub fn strike(world: &mut World) {
    if world.plan.faults.is_empty() {
        return;
    }
    let fault = pick(&world.dice, &world.plan.faults);
    let count = u64::try_from(world.processes.len()).unwrap_or(1);
    let node = usize::try_from(world.dice.below(count)).unwrap_or(0);
    match fault {
        Fault::Crash => {
            if world.processes[node].is_up() {
                world.net.fault(node, fault, String::new);
                world.crash(node);
            }
        }
        Fault::Pause => {
            let length = between(&world.dice, 50, 3_000);
            pause(world, node, fault, length);
        }
        Fault::PausePastLease => {
            let patience = world.plan.patience_ms;
            let length = between(&world.dice, patience + 500, patience * 4);
            pause(world, node, fault, length);
        }
        Fault::ClockStep => step_clock(world, node),
        Fault::StoreClockStep => step_store_clock(world),
        Fault::Restart => world.at(0, Act::Stop(node)),
        Fault::RollingRestart => {
            world.net.fault(HOME, fault, String::new);
            for (n, place) in (0..world.processes.len()).zip(0..) {
                world.at(place * 7_000, Act::Stop(n));
            }
        }
        Fault::StepDown => {
            world.net.fault(node, fault, String::new);
            world.processes[node].step_down();
        }
        Fault::LockForgotten => {
            world.net.fault(HOME, fault, String::new);
            world.services.lock.forget();
        }
        Fault::LockCut => cut(world, Service::Lock, node, fault),
        Fault::StoreCut => cut(world, Service::Store, node, fault),
        Fault::BrokerCut => {
            let until = world.net.time.now_ms() + between(&world.dice, 500, 20_000);
            world.net.fault(HOME, fault, || format!("until {until}"));
            for n in 0..world.processes.len() {
                world.net.cut(Service::Broker, n, until);
            }
        }
        Fault::BrokerWiped => wipe(world),
        _ => foreign(world),
    }
}

fn pause(world: &mut World, node: usize, fault: Fault, length: u64) {
    let process = &mut world.processes[node];
    if process.is_up() && !process.paused {
        process.paused = true;
        world.net.fault(node, fault, || format!("for {length} ms"));
        world.at(length, Act::Wake(node));
    }
}

fn step_clock(world: &World, node: usize) {
    const HOUR_MS: i64 = 3_600_000;
    let near = i64::try_from(world.dice.below(60_000)).unwrap_or(0) - 30_000;
    let mut skew = pick(&world.dice, &[near, HOUR_MS, -HOUR_MS, 87_600 * HOUR_MS, 0]);
    // One that has read nothing yet believes two clocks that agree, though both are wrong. Not by years: what that plans
    // has too many instants to judge.
    if world.processes[node].is_starting() && world.store_clock.skew_ms() > HOUR_MS {
        skew = skew.min(HOUR_MS);
    }
    world
        .net
        .fault(node, Fault::ClockStep, || format!("to {skew} ms ahead"));
    world.processes[node].step_clock(skew);
}

/// For less than the time after which a step is followed. Between two steps it is right for long enough that nobody who
/// reads it all the time can take them for one.
fn step_store_clock(world: &mut World) {
    const MINUTE_MS: i64 = 60_000;
    let right_ms = world.net.time.now_ms() - world.store_right_ms;
    let is_early =
        world.store_right_ms > 0 && right_ms <= u64::try_from(UNSEEN_MAX.as_millis()).unwrap_or(0);
    if !world.store_clock.is_right() || is_early {
        return;
    }
    let mut ahead = pick(
        &world.dice,
        &[2 * MINUTE_MS, 60 * MINUTE_MS, 5_256_000 * MINUTE_MS],
    );
    // As above.
    let mut starting = world.processes.iter().filter(|p| p.is_starting());
    if starting.any(|p| p.clock_ms() > 60 * MINUTE_MS) {
        ahead = ahead.min(60 * MINUTE_MS);
    }
    let length = between(&world.dice, 500, 8_000);
    let detail = || format!("{ahead} ms ahead for {length} ms");
    world.net.fault(HOME, Fault::StoreClockStep, detail);
    world.store_clock.step(ahead);
    world.at(length, Act::StoreClockRight);
}

/// For longer than the time after which a step is followed: what is planned in it has to be taken back.
pub fn jump_store_clock(world: &mut World) {
    const MINUTE_MS: i64 = 60_000;
    let pause = between(&world.dice, 5_000, 40_000);
    if world.net.is_calm() || !world.store_clock.is_right() {
        return world.at(pause, Act::StoreClockJump);
    }
    let ahead = pick(&world.dice, &[2 * MINUTE_MS, 5 * MINUTE_MS, 20 * MINUTE_MS]);
    let length = between(&world.dice, 11_000, 60_000);
    let detail = || format!("{ahead} ms ahead for {length} ms");
    world.net.fault(HOME, Fault::StoreClockJump, detail);
    world.store_clock.step(ahead);
    world.net.set_ahead(ahead);
    world.at(length, Act::StoreClockRight);
    world.at(length + pause, Act::StoreClockJump);
}

fn cut(world: &World, service: Service, node: usize, fault: Fault) {
    let until = world.net.time.now_ms() + between(&world.dice, 500, 20_000);
    world.net.fault(node, fault, || format!("until {until}"));
    world.net.cut(service, node, until);
}

/// All messages that nobody has been given yet are gone.
fn wipe(world: &World) {
    world.net.fault(HOME, Fault::BrokerWiped, String::new);
    let drained = world.home.block_on(async {
        for queue in QUEUES {
            let mut consumer = world.services.broker.consume(queue, 100_000).await?;
            let got = tokio::select! {
                biased;
                got = consumer.receive() => got?,
                () = std::future::ready(()) => continue,
            };
            let tokens: Vec<u64> = got.iter().map(|d| d.token).collect();
            consumer.ack(&tokens).await?;
        }
        Ok::<(), campanile_core::port::broker::Error>(())
    });
    if let Err(error) = drained {
        world
            .net
            .violation(format!("the broker was not wiped: {error}"));
    }
}

/// A message that is none of ours: nothing may start by it.
fn foreign(world: &World) {
    let body = match world.dice.below(4) {
        0 => String::new(),
        1 => "[".repeat(2_000),
        2 => r#"{"v":1,"run":"00m3c9v7q8e01","attempt":1,"queue":"default"}"#.to_owned(),
        _ => "\u{0}<script>".to_owned(),
    };
    let message = Message {
        destination: pick(&world.dice, &QUEUES).to_owned(),
        body,
        correlation_id: String::new(),
        reply_to: String::new(),
        priority: 4,
        properties: vec![("campanile_sig", "00".repeat(32))],
    };
    world.net.fault(HOME, Fault::ForeignMessage, String::new);
    if let Err(error) = world
        .home
        .block_on(world.services.broker.publish(&[message]))
    {
        world
            .net
            .violation(format!("the foreign message was not taken: {error}"));
    }
}
