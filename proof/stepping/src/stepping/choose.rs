//! Who goes next: every choice in turn, or a seed's dice. Both are replayed from nothing but a few numbers.

use campanile_core::system::Random;

/// Chooses among the sessions that may go on.
#[derive(Debug)]
pub(super) enum Chooser {
    Every(Tree),
    Dice(Box<Random>),
}

/// A walk over all sequences of choices, each from the start: the last choice that has another way is changed.
#[derive(Debug, Default)]
pub(super) struct Tree {
    path: Vec<(usize, usize)>,
    at: usize,
    /// How often a replayed choice had another number of ways than before: what the database did in between differed.
    pub(super) diverged: u64,
}

impl Chooser {
    /// One of `ways`, counted from 0.
    pub(super) fn choose(&mut self, ways: usize) -> usize {
        match self {
            Self::Every(tree) => tree.choose(ways),
            Self::Dice(random) => {
                usize::try_from(random.below(u64::try_from(ways).unwrap_or(1))).unwrap_or(0)
            }
        }
    }
}

impl Tree {
    fn choose(&mut self, ways: usize) -> usize {
        let at = self.at;
        self.at += 1;
        match self.path.get_mut(at) {
            Some((way, known)) if *known == ways => *way,
            Some(_) => {
                self.diverged += 1;
                self.path.truncate(at);
                self.path.push((0, ways));
                0
            }
            None => {
                self.path.push((0, ways));
                0
            }
        }
    }

    /// Goes to the next sequence; false when all were walked.
    pub(super) fn next(&mut self) -> bool {
        self.path.truncate(self.at);
        self.at = 0;
        while let Some((way, ways)) = self.path.pop() {
            if way + 1 < ways {
                self.path.push((way + 1, ways));
                return true;
            }
        }
        false
    }
}

#[test]
fn a_tree_walks_every_sequence_once() {
    let mut chooser = Chooser::Every(Tree::default());
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let first = chooser.choose(2);
        let second = chooser.choose(if first == 0 { 3 } else { 1 });
        assert!(seen.insert((first, second)));
        let Chooser::Every(tree) = &mut chooser else {
            unreachable!()
        };
        if !tree.next() {
            assert_eq!(tree.diverged, 0);
            break;
        }
    }
    assert_eq!(seen.len(), 4);
}
