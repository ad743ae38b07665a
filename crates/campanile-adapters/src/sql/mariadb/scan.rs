//! The leader's scan on MariaDB: a limit can't be asked for there, it has to be given; so each queue has two parameters of
//! its own.

use campanile_schedule::time::Timestamp;

use crate::sql::dialect::Dialect;
use crate::sql::statement::Text;
use crate::sql::value::Arg;

/// The names of the parameters of each queue that one statement scans: the queue, and its room.
macro_rules! names {
    ($($n:literal)+) => {
        [$((concat!("q", $n), concat!("r", $n))),+]
    };
}
const NAMES: [(&str, &str); 50] = names!(
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41
    42 43 44 45 46 47 48 49
);
const _: () = assert!(NAMES.len() == crate::sql::fire::SCAN_QUEUES_MAX);

/// One statement that takes each queue's earliest due rows.
pub(in crate::sql) fn text(
    queues: &[(i64, usize)],
    until: Timestamp,
) -> (Text, Vec<(&'static str, Arg)>) {
    let mut parts = Vec::with_capacity(queues.len());
    let mut args = vec![("until", until.as_ms().into())];
    for ((queue, room), (q, r)) in queues.iter().zip(NAMES) {
        parts.push(format!(
            "SELECT * FROM (SELECT queue, at, owner, n FROM campanile_due WHERE queue = :{q} AND at <= :until
             ORDER BY at, owner, n LIMIT :{r}) AS {q}"
        ));
        args.push((q, (*queue).into()));
        args.push((r, i64::try_from(*room).unwrap_or(i64::MAX).into()));
    }
    (
        Text::render(&parts.join(" UNION ALL "), Dialect::MariaDb),
        args,
    )
}
