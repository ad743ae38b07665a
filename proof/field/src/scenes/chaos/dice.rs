//! The dice of a campaign: which fault comes next, on whom, for how long. Each actor has dice of its own from the
//! campaign's seed, so that one actor's luck does not depend on how fast another one is. Pure.

use std::time::Duration;

/// A stream of random numbers (splitmix64): small, seeded, and good enough to choose faults.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The dice of one actor.
    pub fn new(seed: u64, actor: &str) -> Self {
        let mixed = actor
            .bytes()
            .fold(seed ^ 0x9e37_79b9_7f4a_7c15, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mut dice = Self { state: mixed };
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// Whether something that happens in `percent` of all cases happens now.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A time between two numbers of milliseconds, the upper one left out.
    pub fn ms(&mut self, from: usize, to: usize) -> Duration {
        let ms = from + self.below(to.saturating_sub(from));
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    /// One of several; `None` of none.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

/// A card with the name of its kind, and how often it is in a deck.
pub type Named<C> = (C, &'static str, usize);

/// Cards of which each is drawn as often as it is in the deck before any comes again: so nothing is left out for long,
/// and nobody knows what comes next.
#[derive(Debug, Clone)]
pub struct Deck<T> {
    cards: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    /// A deck with each card this often.
    pub fn new(cards: &[(T, usize)]) -> Self {
        let cards = cards
            .iter()
            .flat_map(|(card, times)| std::iter::repeat_n(*card, *times));
        Self {
            cards: cards.collect(),
            left: Vec::new(),
        }
    }

    /// The next card; `None` of an empty deck.
    pub fn draw(&mut self, dice: &mut Dice) -> Option<T> {
        if self.left.is_empty() {
            self.left.clone_from(&self.cards);
        }
        if self.left.is_empty() {
            return None;
        }
        let at = dice.below(self.left.len());
        Some(self.left.swap_remove(at))
    }

    /// Every card, as often as it is in the deck.
    pub fn cards(&self) -> &[T] {
        &self.cards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_sequence_and_actors_differ() {
        let throw = |seed, actor| {
            let mut dice = Dice::new(seed, actor);
            (0..20).map(|_| dice.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(throw(1, "a"), throw(1, "a"));
        assert_ne!(throw(1, "a"), throw(1, "b"));
        assert_ne!(throw(1, "a"), throw(2, "a"));
    }

    #[test]
    fn a_deck_gives_every_card_before_any_comes_again() {
        let mut deck = Deck::new(&[('a', 1), ('b', 3)]);
        let mut dice = Dice::new(7, "x");
        for _ in 0..5 {
            let mut round: Vec<char> = (0..4).filter_map(|_| deck.draw(&mut dice)).collect();
            round.sort_unstable();
            assert_eq!(round, ['a', 'b', 'b', 'b']);
        }
        assert_eq!(Deck::<char>::new(&[]).draw(&mut dice), None);
    }

    #[test]
    fn times_stay_within_their_bounds() {
        let mut dice = Dice::new(3, "t");
        for _ in 0..100 {
            let time = dice.ms(50, 60).as_millis();
            assert!((50..60).contains(&time));
        }
        assert_eq!(dice.one::<u8>(&[]), None);
    }
}
