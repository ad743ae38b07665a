//! The real SQL stores, stepped: sessions meet on one database, and a driver decides which of them may send its next
//! statement (`docs/contribute/interleavings.md`). Every interleaving's answers and rows must be those of the store in
//! memory after the same operations one after another.
//!
//! `CAMPANILE_STEP_ROUNDS` (interleavings by dice of each scene of three) and `CAMPANILE_STEP_SEED` make it longer or
//! repeat it; `cargo xtask step` sets them.

mod choose;
mod content;
mod counts;
mod driver;
mod engines;
mod fixture;
mod gate;
mod maria;
mod mutants;
mod ops;
mod reference;
mod scenes;

use std::sync::Arc;

use campanile_adapters::sql;
use campanile_core::system::Random;

use choose::{Chooser, Tree};
use driver::Stand;
use engines::Engine;
use gate::Turnstile;
use scenes::Scene;

/// Interleavings by dice of each scene of three, without a wish.
const ROUNDS: u64 = 15;
/// The first seed, without a wish.
const SEED: u64 = 1;
/// Interleavings of a pair that are walked one by one; one that has more is walked by dice as well.
const EVERY_MAX: u64 = 100;

async fn open(url: &str, named: Option<(String, Arc<Turnstile>)>) -> Arc<sql::Store> {
    let mut options = sql::Options::default();
    if let Some((name, gate)) = named {
        options.node_name = name;
        options.gate = Some(gate);
    }
    sql::open(url, options).await.unwrap()
}

/// Prints a line of the account.
fn say(line: &str) {
    println!("{line}");
}

fn wish(name: &str, otherwise: u64) -> u64 {
    std::env::var_os(name).map_or(otherwise, |text| {
        let number = text.to_str().and_then(|text| text.parse().ok());
        number.unwrap_or_else(|| panic!("{name} must be a number"))
    })
}

/// Walks a scene: every interleaving up to a number, or by dice from a seed on. The first that nothing explains is
/// told. Answers whether every interleaving was walked.
async fn walk(stand: &mut Stand, scene: &Scene, how: How) -> Result<bool, String> {
    let before = stand.set_up(scene).await;
    let may_reorder = scene.may_reorder(stand.engine.name());
    let mut walked = 0;
    let mut chooser = how.chooser(walked);
    loop {
        let history = stand.walk(scene, &mut chooser).await;
        walked += 1;
        match reference::judge(scene, &before, &history, may_reorder).await {
            Ok(order) => stand.counts.explained(order),
            Err(why) => {
                let trace = history.trace.join("\n");
                let name = stand.engine.name();
                let how = how.told(walked);
                return Err(format!("{name}: {}: {how}: {why}\n{trace}", scene.name));
            }
        }
        match (&mut chooser, how) {
            (Chooser::Every(tree), How::Every { most }) => {
                let more = tree.next();
                if !more || walked >= most {
                    stand.counts.diverged += tree.diverged;
                    return Ok(!more);
                }
            }
            (_, How::Dice { rounds, .. }) if walked >= rounds => return Ok(false),
            _ => chooser = how.chooser(walked),
        }
    }
}

/// A pair's interleavings one by one, and by dice what they are too many for; threes by dice.
async fn walk_as_it_is(stand: &mut Stand, scene: &Scene, wishes: Wishes) -> Result<bool, String> {
    let Wishes { rounds, seed, most } = wishes;
    let dice = How::Dice { seed, rounds };
    if scene.sessions.len() > 2 {
        return walk(stand, scene, dice).await;
    }
    Ok(walk(stand, scene, How::Every { most }).await? || walk(stand, scene, dice).await?)
}

#[derive(Debug, Clone, Copy)]
struct Wishes {
    rounds: u64,
    seed: u64,
    most: u64,
}

/// The ordinary run's, or those of the environment. Whoever wants more rounds wants more of the one by one as well.
fn wishes() -> Wishes {
    let rounds = wish("CAMPANILE_STEP_ROUNDS", ROUNDS);
    Wishes {
        rounds,
        seed: wish("CAMPANILE_STEP_SEED", SEED),
        most: EVERY_MAX.max(EVERY_MAX * rounds / ROUNDS),
    }
}

#[derive(Debug, Clone, Copy)]
enum How {
    Every { most: u64 },
    Dice { seed: u64, rounds: u64 },
}

impl How {
    /// How to see one walk again.
    fn told(self, walked: u64) -> String {
        match self {
            Self::Every { .. } => format!("walk {walked} of all"),
            Self::Dice { seed, .. } => format!("seed {}", seed + walked - 1),
        }
    }

    fn chooser(self, walked: u64) -> Chooser {
        match self {
            Self::Every { .. } => Chooser::Every(Tree::default()),
            Self::Dice { seed, .. } => Chooser::Dice(Box::new(Random::from_seed(seed + walked))),
        }
    }
}

fn all_scenes() -> Vec<Scene> {
    let mut scenes = scenes::pairs();
    scenes.extend(scenes::threes());
    scenes
}

async fn every_scene_is_explained(engine: Option<impl Engine + 'static>) {
    let Some(engine) = engine else { return };
    let mut stand = Stand::new(Box::new(engine)).await;
    let name = stand.engine.name();
    let deadlocks = stand.engine.deadlocks().await;
    let mut wrong = Vec::new();
    for scene in &all_scenes() {
        let before = stand.counts.sums();
        let verdict = walk_as_it_is(&mut stand, scene, wishes()).await;
        stand.counts.scenes += 1;
        stand.counts.whole += u64::from(verdict == Ok(true));
        match (verdict, scene.open_on.contains(&name)) {
            (Err(why), false) => wrong.push(why),
            (Err(why), true) => {
                stand.counts.open += 1;
                say(&format!("known to be wrong: {why}"));
            }
            (Ok(_), true) => wrong.push(format!(
                "{name}: {} is explained: take it off the list",
                scene.name
            )),
            (Ok(_), false) => {}
        }
        let [walks, waits, reordered] = stand.counts.sums();
        say(&format!(
            "{name}: {}: {} interleavings, {} waits, {} in another order",
            scene.name,
            walks - before[0],
            waits - before[1],
            reordered - before[2],
        ));
    }
    stand.counts.deadlocks = stand.engine.deadlocks().await - deadlocks;
    say(&stand.counts.line(name));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    stand.counts.are_of_interest();
}

async fn every_mutant_is_noticed(engine: Option<impl Engine + 'static>) {
    let Some(engine) = engine else { return };
    let mut stand = Stand::new(Box::new(engine)).await;
    let scenes = all_scenes();
    let wishes = Wishes {
        rounds: ROUNDS,
        seed: SEED,
        most: EVERY_MAX,
    };
    let mut wrong = Vec::new();
    let own = if stand.engine.name() == "MariaDB" {
        mutants::ON_MARIADB
    } else {
        &[]
    };
    let all: Vec<&mutants::Mutant> = mutants::ALL.iter().chain(own).collect();
    for mutant in &all {
        let scene = scenes.iter().find(|scene| scene.name == mutant.scene);
        let scene = scene.unwrap_or_else(|| panic!("no scene `{}`", mutant.scene));
        let before = stand.rewritten();
        stand.mutate(Some(**mutant));
        let verdict = walk_as_it_is(&mut stand, scene, wishes).await;
        stand.mutate(None);
        let rewritten = stand.rewritten() - before;
        let name = stand.engine.name();
        let noticed = verdict
            .as_ref()
            .err()
            .map(|why| why.lines().nth(1).unwrap_or(why));
        say(&format!(
            "{name}: {}: {rewritten} statements, {noticed:?}",
            mutant.name
        ));
        if verdict.is_err() != mutant.killed_on.contains(&name) {
            wrong.push(format!("{name}: {}: {verdict:?}", mutant.name));
        }
        if rewritten == 0 && verdict.is_err() {
            wrong.push(format!("{name}: {} changed no statement", mutant.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let name = stand.engine.name();
    let killed = all.iter().filter(|m| m.killed_on.contains(&name));
    let line = serde_json::json!({
        "record": "stepping", "part": format!("weaker statements, {name}"), "mutants": all.len(),
        "mutants noticed": killed.count(),
    });
    say(&line.to_string());
}

/// One line for each database.
macro_rules! stepping {
    ($($name:ident => $engine:expr),* $(,)?) => { $(
        mod $name {
            #[tokio::test]
            async fn every_scene_is_explained() {
                super::every_scene_is_explained($engine.await).await;
            }

            #[tokio::test]
            async fn every_mutant_is_noticed() {
                super::every_mutant_is_noticed($engine.await).await;
            }
        }
    )* };
}

stepping! {
    sqlite => super::engines::Sqlite::start(),
    postgres => super::engines::Pg::start(),
    mariadb => super::maria::Maria::start(),
}
