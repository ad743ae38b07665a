//! Ranges: runs that came about together have ids that follow one another. A statement that names the first and the last
//! of them finds their rows in one walk instead of one search for each. What they have in common (an attempt, a claim)
//! is named with the range and stays the guard of every row.

/// Ids that follow one another without a gap, and what they have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range<K> {
    pub first: i64,
    pub last: i64,
    pub common: K,
}

/// These ids and no others, as few ranges, in the order of ids: rows are always locked in one order.
#[must_use]
pub fn ranges<K: Copy + Ord>(mut ids: Vec<(i64, K)>) -> Vec<Range<K>> {
    ids.sort_unstable();
    ids.dedup();
    let mut out: Vec<Range<K>> = Vec::new();
    for (id, common) in ids {
        match out.last_mut() {
            Some(last) if last.common == common && last.last.checked_add(1) == Some(id) => {
                last.last = id;
            }
            _ => out.push(Range {
                first: id,
                last: id,
                common,
            }),
        }
    }
    out
}

#[cfg(test)]
#[path = "../../tests/decide/ranges_tests.rs"]
mod tests;
