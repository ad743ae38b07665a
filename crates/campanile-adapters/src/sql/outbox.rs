//! How an outbox row spells its runs: sorted by id, each id as its distance from the one before and then its attempt,
//! both in seven bits a byte. The runs of one firing are neighbours, so most take two bytes.

use campanile_core::id::RunId;

/// The bytes of these runs.
pub(super) fn encode(runs: &[(RunId, u32)]) -> Vec<u8> {
    let mut sorted: Vec<(u64, u32)> = runs
        .iter()
        .map(|(id, attempt)| (id.as_i64().cast_unsigned(), *attempt))
        .collect();
    sorted.sort_unstable();
    let mut out = Vec::with_capacity(sorted.len() * 2 + 8);
    let mut last = 0;
    for (id, attempt) in sorted {
        put(&mut out, id - last);
        put(&mut out, u64::from(attempt));
        last = id;
    }
    out
}

/// The runs in these bytes; `None` if they are cut short or count too high.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<(RunId, u32)>> {
    let mut out = Vec::with_capacity(bytes.len() / 2);
    let mut rest = bytes;
    let mut last: u64 = 0;
    while !rest.is_empty() {
        last = last.checked_add(take(&mut rest)?)?;
        let attempt = u32::try_from(take(&mut rest)?).ok()?;
        out.push((RunId::from_i64(last.cast_signed()), attempt));
    }
    Some(out)
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    loop {
        let low = n.to_le_bytes()[0] & 0x7f;
        n >>= 7;
        if n == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut n: u64 = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        let part = u64::from(byte & 0x7f);
        if (part << shift) >> shift != part {
            return None;
        }
        n |= part << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_take_two_bytes_each() {
        let base = 1 << 60;
        let runs: Vec<_> = (0..1_000).map(|n| (RunId::from_i64(base + n), 1)).collect();
        let bytes = encode(&runs);
        assert!(bytes.len() < 2_010, "{}", bytes.len());
        assert_eq!(decode(&bytes), Some(runs));
        assert_eq!(decode(&[]), Some(Vec::new()));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        for wrong in [
            &[0x80][..],
            &[1],
            &[0xff; 11],
            &[1, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_wrote(mut runs in prop::collection::btree_map(0..=i64::MAX, 0..=u32::MAX, 0..50)) {
            let list: Vec<_> = std::mem::take(&mut runs).into_iter().map(|(id, a)| (RunId::from_i64(id), a)).collect();
            let mut mixed = list.clone();
            mixed.reverse();
            prop_assert_eq!(decode(&encode(&mixed)), Some(list));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&bytes);
        }
    }
}
