//! When one process asks the table of offers, and for what: at once where there may be something, and once a second for
//! everything that its consumers wait for. Owns what is known to be empty; asks nobody, and knows no clock. Pure, so that a
//! test counts what an idle worker asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use campanile_core::time::Monotonic;

/// Without any hint, what is offered is found within this time: an idle process asks this often.
pub const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Hints of other processes make this one ask for the same destination at most this often, if it finds nothing.
pub const HINT_PERIOD: Duration = Duration::from_millis(50);
/// Destinations that are remembered; past this all are forgotten, and asked for once more.
const KNOWN_MAX: usize = 1_000;

/// What a consumer waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which consumer.
    pub seat: u64,
    /// Of which destination.
    pub destination: String,
    /// How many offers it has room for.
    pub most: usize,
}

/// What is known of a destination.
#[derive(Debug, Default)]
struct Known {
    /// The last one who asked found less than it had room for, and nobody has told of more since.
    empty: bool,
    /// Somebody told of more since the last one who asked began.
    stirred: bool,
    /// Until when the hints of others make nobody ask.
    quiet_until: Monotonic,
    /// Another process told of something while it was quiet.
    told: bool,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Take these offers.
    Take(Wish),
    /// Ask which of these have any.
    Look(Vec<String>),
    /// Nothing before this moment, or before something changes.
    Wait(Option<Monotonic>),
}

/// The wishes of one process's consumers.
#[derive(Debug, Default)]
pub struct Desk {
    wishes: BTreeMap<u64, Wish>,
    known: BTreeMap<String, Known>,
    look_at: Monotonic,
    /// Whose turn it was last: consumers of one destination take turns.
    last: u64,
}

impl Desk {
    /// A consumer begins to wait.
    pub fn wish(&mut self, wish: Wish) {
        self.wishes.insert(wish.seat, wish);
    }

    /// A consumer waits no more.
    pub fn withdraw(&mut self, seat: u64) {
        self.wishes.remove(&seat);
    }

    /// What to do now.
    pub fn next(&mut self, now: Monotonic) -> Next {
        if self.wishes.is_empty() {
            return Next::Wait(None);
        }
        let behind = self.wishes.range(self.last.saturating_add(1)..);
        let in_turn = behind.chain(self.wishes.range(..=self.last));
        let mut first = None;
        let mut until = self.look_at;
        for (_, wish) in in_turn {
            let known = self.known.get(&wish.destination);
            if let Some(known) = known.filter(|known| known.empty) {
                let soon = Some(known.quiet_until).filter(|_| known.told);
                if soon.is_none_or(|at| at > now) {
                    until = soon.map_or(until, |at| until.min(at));
                    continue;
                }
            }
            first = Some(wish.clone());
            break;
        }
        if let Some(wish) = first {
            self.last = wish.seat;
            if self.known.len() >= KNOWN_MAX {
                self.known.clear();
            }
            let known = self.known.entry(wish.destination.clone()).or_default();
            (known.stirred, known.told) = (false, false);
            return Next::Take(wish);
        }
        if now < self.look_at {
            return Next::Wait(Some(until));
        }
        self.look_at = now.plus(LOOK_PERIOD);
        let all: BTreeSet<&String> = self.wishes.values().map(|w| &w.destination).collect();
        Next::Look(all.into_iter().cloned().collect())
    }

    /// So many offers were taken for a wish.
    pub fn took(&mut self, wish: &Wish, count: usize, now: Monotonic) {
        if count > 0 {
            self.wishes.remove(&wish.seat);
        }
        if let Some(known) = self.known.get_mut(&wish.destination) {
            known.empty = count < wish.most && !known.stirred;
            known.quiet_until = if count == 0 {
                now.plus(HINT_PERIOD)
            } else {
                Monotonic::default()
            };
        }
    }

    /// A look found something of these.
    pub fn found(&mut self, destinations: &[String]) {
        for destination in destinations {
            self.stir(destination);
        }
    }

    /// This process offers something, or gives it back: whoever waits for it asks at once.
    pub fn stir(&mut self, destination: &str) {
        if let Some(known) = self.known.get_mut(destination) {
            (known.empty, known.stirred) = (false, true);
        }
    }

    /// Another process tells that it offers something: whoever waits for it asks soon.
    pub fn told(&mut self, destination: &str) {
        if let Some(known) = self.known.get_mut(destination) {
            known.told = true;
        }
    }

    /// Nobody knows what others have told meanwhile: everything is looked at.
    pub fn missed(&mut self) {
        self.look_at = Monotonic::default();
    }

    /// The table did not answer: those who wait are told, and ask again by themselves.
    pub fn failed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.wishes).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: usize = 0;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_ms(10_000 + ms)
    }

    fn wish(seat: u64, destination: &str) -> Wish {
        Wish {
            seat,
            destination: destination.to_owned(),
            most: 8,
        }
    }

    /// Answers what is asked with nothing, from one moment to another; says what was asked, and when.
    fn idle(desk: &mut Desk, from: u64, until: u64) -> Vec<(u64, Next)> {
        let (mut now, mut asked) = (from, Vec::new());
        while now < until {
            match desk.next(at(now)) {
                Next::Wait(Some(next)) => now = next.as_ms() - 10_000,
                Next::Wait(None) => break,
                Next::Take(wish) => {
                    desk.took(&wish, NOTHING, at(now));
                    asked.push((now, Next::Take(wish)));
                }
                look @ Next::Look(_) => asked.push((now, look)),
            }
        }
        asked
    }

    #[test]
    fn an_idle_process_asks_once_a_second_for_all_of_its_queues() {
        let mut desk = Desk::default();
        let queues: Vec<String> = (0..20).map(|n| format!("q{n:02}")).collect();
        for (seat, queue) in (0..).zip(&queues) {
            desk.wish(wish(seat, queue));
        }
        let first = idle(&mut desk, 0, 1);
        let takes = first.iter().filter(|(_, n)| matches!(n, Next::Take(_)));
        assert_eq!(takes.count(), 20, "each is asked for once at the start");
        let asked = idle(&mut desk, 1, 60_001);
        assert_eq!(asked.len(), 60, "{asked:?}");
        assert!(asked.iter().all(|(_, n)| *n == Next::Look(queues.clone())));
    }

    #[test]
    fn who_waits_again_without_having_got_anything_does_not_ask_again() {
        let mut desk = Desk::default();
        let mut asked = 0;
        for n in 0..10_000 {
            desk.wish(wish(n, "q"));
            asked += idle(&mut desk, n, n + 1).len();
            desk.withdraw(n);
        }
        assert!((10..=12).contains(&asked), "{asked}");
    }

    #[test]
    fn what_is_offered_here_is_asked_for_at_once_and_what_is_told_soon() {
        let mut desk = Desk::default();
        desk.wish(wish(1, "q"));
        idle(&mut desk, 0, 10);
        desk.stir("q");
        assert_eq!(desk.next(at(10)), Next::Take(wish(1, "q")));
        desk.took(&wish(1, "q"), NOTHING, at(10));
        for _ in 0..100 {
            desk.told("q");
        }
        let told = idle(&mut desk, 11, 500);
        assert_eq!(told, [(60, Next::Take(wish(1, "q")))]);
        desk.told("other");
        assert_eq!(idle(&mut desk, 501, 700), []);
    }

    #[test]
    fn a_hint_that_comes_while_the_table_is_asked_counts() {
        let mut desk = Desk::default();
        desk.wish(wish(1, "q"));
        assert_eq!(desk.next(at(0)), Next::Take(wish(1, "q")));
        desk.stir("q");
        desk.took(&wish(1, "q"), NOTHING, at(1));
        assert_eq!(desk.next(at(1)), Next::Take(wish(1, "q")));
    }

    #[test]
    fn who_got_all_that_he_had_room_for_asks_again_at_once_and_who_did_not_waits() {
        let mut desk = Desk::default();
        for (got, again) in [(8, true), (3, false)] {
            desk.stir("q");
            desk.wish(wish(1, "q"));
            assert_eq!(desk.next(at(0)), Next::Take(wish(1, "q")));
            desk.took(&wish(1, "q"), got, at(0));
            assert_eq!(desk.next(at(0)), Next::Wait(None));
            desk.wish(wish(1, "q"));
            let next = desk.next(at(0));
            assert_eq!(next == Next::Take(wish(1, "q")), again, "{got}: {next:?}");
        }
    }

    #[test]
    fn consumers_take_turns_and_one_queue_does_not_hold_up_another() {
        let mut desk = Desk::default();
        for seat in 1..=3 {
            desk.wish(wish(seat, "q"));
        }
        let mut turns = Vec::new();
        for _ in 0..6 {
            let Next::Take(taken) = desk.next(at(0)) else {
                break;
            };
            desk.took(&taken, 8, at(0));
            desk.wish(taken.clone());
            turns.push(taken.seat);
        }
        assert_eq!(turns, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn a_look_that_finds_something_is_followed_by_a_take() {
        let mut desk = Desk::default();
        for (seat, queue) in [(1, "a"), (2, "b")] {
            desk.wish(wish(seat, queue));
        }
        idle(&mut desk, 0, 10);
        let look = desk.next(at(1_100));
        assert_eq!(look, Next::Look(vec!["a".to_owned(), "b".to_owned()]));
        desk.found(&["b".to_owned()]);
        assert_eq!(desk.next(at(1_100)), Next::Take(wish(2, "b")));
        desk.took(&wish(2, "b"), 1, at(1_100));
        assert!(matches!(desk.next(at(1_100)), Next::Wait(Some(_))));
        desk.missed();
        assert_eq!(desk.next(at(1_101)), Next::Look(vec!["a".to_owned()]));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut desk = Desk::default();
        for n in 0..5_000 {
            desk.wish(wish(1, &format!("q{n}")));
            idle(&mut desk, n, n + 1);
        }
        assert!(desk.known.len() <= KNOWN_MAX);
    }
}
