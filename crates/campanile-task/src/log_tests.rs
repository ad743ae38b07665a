//! What is kept of output, and what the store has after any number of appends, lost, repeated or late.

use std::collections::BTreeMap;

use super::*;

/// Dice with a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }
}

/// A store that does what the port says.
#[derive(Default)]
struct Rows(BTreeMap<u64, String>);

impl Rows {
    fn write(&mut self, chunks: &Chunks) {
        for chunk in &chunks.put {
            assert!(chunk.text.len() <= limits::LOG_CHUNK_BYTES_MAX);
            let row = self.0.entry(chunk.at).or_default();
            if row.len() < chunk.text.len() {
                row.clone_from(&chunk.text);
            }
        }
        if let Some(gone) = &chunks.gone {
            self.0.retain(|at, _| !gone.contains(at));
        }
    }

    fn read(&self, from: u64) -> Joined {
        let end = |(at, text): &(&u64, &String)| **at + length(text) > from;
        let chunks = self.0.iter().filter(end).map(|(at, text)| Chunk {
            at: *at,
            text: text.clone(),
        });
        join(from, &chunks.collect::<Vec<_>>())
    }

    fn bytes(&self) -> usize {
        self.0.values().map(String::len).sum()
    }
}

/// Writes until the store has all.
fn flush(kept: &mut Kept, rows: &mut Rows) {
    if let Some((chunks, stored)) = kept.pending() {
        rows.write(&chunks);
        kept.settle(stored);
    }
    assert!(!kept.is_pending());
}

fn said(rows: &Rows, all: &str, room: Room) {
    let joined = rows.read(0);
    let (head, tail) = (&joined.head, &joined.tail);
    let missing = usize::try_from(joined.missing).unwrap();
    assert!(all.starts_with(head) && all.ends_with(tail));
    assert_eq!(head.len() + missing + tail.len(), all.len());
    assert_eq!(joined.next, length(all));
    if all.len() <= room.bytes() {
        assert_eq!(missing, 0);
    } else if missing > 0 {
        assert!(head.len() + 4 > room.head && tail.len() + 4 > room.tail);
    }
}

#[test]
fn the_beginning_and_the_end_are_kept_and_the_rest_is_counted() {
    let room = Room::default();
    assert_eq!((room.head, room.tail), (16 * 1024, 48 * 1024));
    let mut kept = Kept::new(room);
    kept.push("begin\n");
    kept.push(&"x".repeat(77 * 1024));
    kept.push("\nFATAL: out of cheese\n");
    let mut rows = Rows::default();
    flush(&mut kept, &mut rows);
    let text = rows.read(0).text();
    assert!(text.starts_with("begin\nxxx") && text.ends_with("xxx\nFATAL: out of cheese\n"));
    let missing = 6 + 77 * 1024 + 22 - 64 * 1024;
    let mark = format!("x\n[{missing} bytes are left out here]\nx");
    assert!(text.contains(&mark));
}

#[test]
fn what_fits_is_whole() {
    for bytes in [1, 4_095, 4_096, 16_384, 16_385, 65_535, 65_536] {
        let all = "y".repeat(bytes);
        let (mut kept, mut rows) = (Kept::new(Room::default()), Rows::default());
        kept.push(&all);
        flush(&mut kept, &mut rows);
        assert_eq!(rows.read(0).text(), all, "{bytes}");
        assert_eq!(join(0, &kept.whole()).text(), all, "{bytes}");
    }
}

#[test]
fn characters_stay_whole_at_every_border() {
    let room = Room::of(limits::LOG_BYTES_MIN);
    for wide in ["é", "€", "𝄞"] {
        for shift in 0..wide.len() {
            let all = format!("{}{}", "a".repeat(shift), wide.repeat(9_000));
            let (mut kept, mut rows) = (Kept::new(room), Rows::default());
            for piece in all.chars().collect::<Vec<_>>().chunks(777) {
                kept.push(&piece.iter().collect::<String>());
                flush(&mut kept, &mut rows);
            }
            said(&rows, &all, room);
        }
    }
}

#[test]
fn nul_is_replaced_before_it_counts() {
    let mut kept = Kept::default();
    kept.push("a\0b");
    assert_eq!(kept.end(), 5);
    assert_eq!(join(0, &kept.whole()).head, "a\u{fffd}b");
}

/// A slow writer makes few rows, a fast one is bounded, and who reads on from where he was misses nothing that is kept.
#[test]
fn rows_are_few_and_bounded_and_readers_go_on_where_they_were() {
    let room = Room::default();
    for line in [7, 300, 5_000, 40_000] {
        let (mut kept, mut rows) = (Kept::new(room), Rows::default());
        let (mut all, mut at, mut seen) = (String::new(), 0, 0);
        for n in 0..2_000 {
            let line = format!("{n:0line$}\n");
            kept.push(&line);
            all.push_str(&line);
            flush(&mut kept, &mut rows);
            let new = rows.read(at);
            assert_eq!((new.from, new.next), (at, length(&all)));
            seen += length(&new.head) + length(&new.tail) + new.missing;
            at = new.next;
            assert!(rows.bytes() <= room.bytes() + limits::LOG_CHUNK_BYTES_MAX);
            assert!(rows.0.len() < 40, "{} rows", rows.0.len());
            if all.len() > 1_000_000 {
                break;
            }
        }
        assert_eq!(seen, length(&all));
        said(&rows, &all, room);
    }
}

/// Appends that nobody heard of, that never arrived, and that arrive late, before or after the end: the store has the same.
#[test]
fn appends_may_be_lost_repeated_and_late() {
    for seed in 0..400 {
        let mut dice = Random(seed);
        let room = Room::of(4_096 << dice.below(3));
        let (mut kept, mut rows) = (Kept::new(room), Rows::default());
        let (mut all, mut late) = (String::new(), Vec::new());
        for n in 0..40 {
            let most = [5, 500, 5_000, 50_000][usize::try_from(dice.below(4)).unwrap()];
            let piece = format!(
                "{n}:{}\n",
                "z€".repeat(usize::try_from(dice.below(most)).unwrap())
            );
            kept.push(&piece);
            all.push_str(&piece);
            let Some((chunks, stored)) = kept.pending() else {
                continue;
            };
            match dice.below(4) {
                0 => {}
                1 => rows.write(&chunks),
                2 => late.push(chunks),
                _ => {
                    rows.write(&chunks);
                    kept.settle(stored);
                }
            }
            if dice.below(3) == 0
                && let Some(chunks) = late.pop()
            {
                rows.write(&chunks);
            }
        }
        // The last one is written with the end, and nothing is taken after that.
        if let Some((chunks, _)) = kept.pending() {
            rows.write(&chunks);
        }
        let joined = rows.read(0);
        let missing = usize::try_from(joined.missing).unwrap();
        assert_eq!(joined.next, length(&all), "seed {seed}");
        assert!(
            all.ends_with(
                joined
                    .tail
                    .get(joined.tail.len().saturating_sub(room.tail)..)
                    .unwrap_or(&joined.tail)
            ),
            "seed {seed}"
        );
        assert!(all.starts_with(&joined.head), "seed {seed}");
        assert_eq!(
            joined.head.len() + missing + joined.tail.len(),
            all.len(),
            "seed {seed}"
        );
    }
}

#[test]
fn a_place_that_is_not_kept_any_more_is_told_as_missing() {
    let (mut kept, mut rows) = (Kept::default(), Rows::default());
    kept.push(&"q".repeat(200_000));
    flush(&mut kept, &mut rows);
    let joined = rows.read(20_000);
    assert_eq!((joined.from, joined.head.as_str()), (20_000, ""));
    assert_eq!(length(&joined.tail) + joined.missing, 180_000);
    let nothing = rows.read(200_000);
    assert_eq!(
        nothing,
        Joined {
            from: 200_000,
            next: 200_000,
            ..Joined::default()
        }
    );
}
