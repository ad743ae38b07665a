//! The table of offers on each database: how its statements find their rows, and how a message is spelled.

use proptest::prelude::*;
use xtask::servers::{MariaDb, Postgres, TempDir};

use super::*;
use crate::sql::dialect::Dialect;
use crate::sql::statement::Text;
use crate::sql::{Options, open};

/// So many offers wait, of so many destinations, and so many of each are held.
const OFFERS: i64 = 100_000;
const DESTINATIONS: i64 = 50;
const HELD_OF_EACH: i64 = 20;
/// By the database's clock in milliseconds, as SQL.
const NOW_SQLITE: &str = "(CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER) + 9000)";
const NOW_POSTGRES: &str = "(CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) + 9000)";
const NOW_MARIADB: &str = "(CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED) + 9000)";

/// Fills the table: what waits, what is held by others, and nothing else.
fn fill(dialect: Dialect) -> String {
    let (held, series, numbers) = match dialect {
        Dialect::Sqlite => (
            NOW_SQLITE,
            format!(
                "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {OFFERS} - 1)"
            ),
            "n".to_owned(),
        ),
        Dialect::Postgres => (
            NOW_POSTGRES,
            format!("WITH n AS (SELECT generate_series(0, {OFFERS} - 1)::bigint AS n)"),
            "n".to_owned(),
        ),
        Dialect::MariaDb => (
            NOW_MARIADB,
            String::new(),
            format!("(SELECT seq AS n FROM seq_0_to_{}) AS n", OFFERS - 1),
        ),
    };
    format!(
        "{series} INSERT INTO campanile_offer (destination, place, held_until, taken, body, signature)
         SELECT 'campanile.q' || (n % {DESTINATIONS}), n,
         CASE WHEN n / {DESTINATIONS} < {HELD_OF_EACH} THEN {held} ELSE 0 END, 0, '{{}}', '' FROM {numbers}"
    )
    .trim_start()
    .to_owned()
}

/// What the database says that it does for a statement.
async fn plan(store: &Arc<Store>, statement: &Statement, args: value::Args<'_>) -> String {
    let dialect = store.dialect();
    let text = statement.text(dialect);
    let explain = match dialect {
        Dialect::Sqlite => "EXPLAIN QUERY PLAN",
        Dialect::Postgres => "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF)",
        // Of several steps the first: the others ask for what it found.
        Dialect::MariaDb => "EXPLAIN",
    };
    let text = Text {
        sql: format!("{explain} {}", text.sql).into(),
        params: text.params.clone(),
        then: Vec::new(),
    };
    let rows = store.pools.main.rows_of(&text, args).await.unwrap();
    let lines = rows.into_iter().map(|mut row| match dialect {
        Dialect::Sqlite => {
            for _ in 0..3 {
                row.int("plan").unwrap();
            }
            row.text("plan").unwrap()
        }
        Dialect::Postgres => row.text("plan").unwrap(),
        Dialect::MariaDb => {
            row.opt_int("plan").unwrap();
            row.text("plan").unwrap();
            // Table, how its rows are found, the keys that might serve, the one that does.
            let mut cell = || row.opt_text("plan").unwrap().unwrap_or_default();
            let (table, kind, _, key) = (cell(), cell(), cell(), cell());
            format!("{table} {kind} {key}")
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The largest number of rows that a step of PostgreSQL's plan saw.
fn most_rows(plan: &str) -> u64 {
    let after = |line: &str, word: &str| -> Option<u64> {
        let rest = &line[line.find(word)? + word.len()..];
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        number.parse().ok()
    };
    let seen = plan.lines().flat_map(|line| {
        ["rows=", "Rows Removed by Filter: "].map(|word| after(line, word).unwrap_or(0))
    });
    seen.max().unwrap_or(0)
}

const fn analyze(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MariaDb => "ANALYZE TABLE campanile_offer",
        Dialect::Sqlite | Dialect::Postgres => "ANALYZE campanile_offer",
    }
}

async fn every_statement_goes_by_the_key(url: &str) {
    let store = open(url, Options::default()).await.unwrap();
    let (main, dialect) = (&store.pools.main, store.dialect());
    let filled = main
        .rows_of(&Text::render(&fill(dialect), dialect), &[])
        .await;
    filled.unwrap();
    let names = (0..DESTINATIONS).map(|n| format!("campanile.q{n}"));
    let names = value::Table::default().texts(names);
    let here = ("d", "campanile.q7".into());
    let keys = [Key {
        place: 7,
        held_until: 1,
    }];
    let places = value::Table::of([7, 57]);
    let hold = || ("hold", duration_ms(HELD).into());
    let calls: [(&Statement, Vec<(&'static str, value::Arg)>); 4] = [
        (&LOOK, vec![("names", names.into()), hold()]),
        (
            &TAKE,
            vec![
                here.clone(),
                ("most", 32.into()),
                hold(),
                ("taker", 7.into()),
            ],
        ),
        (
            &GIVE_BACK,
            vec![here.clone(), ("keys", keys_of(&keys).into())],
        ),
        (&DONE, vec![here, ("keys", places.into())]),
    ];
    for analyzed in [false, true] {
        for (statement, args) in &calls {
            let plan = plan(&store, statement, args).await;
            match dialect {
                Dialect::Sqlite => {
                    let whole = plan
                        .lines()
                        .find(|line| line.contains("SCAN") && line.contains("offer"));
                    assert_eq!(whole, None, "{plan}");
                    assert!(plan.contains("USING PRIMARY KEY (destination=?"), "{plan}");
                }
                Dialect::Postgres => {
                    assert!(plan.contains("campanile_offer_pkey"), "{plan}");
                    // A look passes over what is held of each destination, and over nothing else.
                    let most = u64::try_from(DESTINATIONS).unwrap();
                    assert!(most_rows(&plan) <= most.max(32), "{plan}");
                }
                Dialect::MariaDb => {
                    let mut ours = plan.lines().filter(|line| line.contains("offer "));
                    let by_key = |line: &str| {
                        line.ends_with(" PRIMARY")
                            && !line.contains(" ALL ")
                            && !line.contains(" index ")
                    };
                    assert!(ours.clone().count() > 0 && ours.all(by_key), "{plan}");
                }
            }
        }
        if !analyzed {
            let analyze = Text::render(analyze(dialect), dialect);
            main.rows_of(&analyze, &[]).await.unwrap();
        }
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_goes_by_the_key_on_sqlite() {
    let folder = TempDir::new("offers").unwrap();
    every_statement_goes_by_the_key(&format!("sqlite:{}", folder.join("store.db").display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_goes_by_the_key_on_postgres() {
    let Some(server) = tokio::task::block_in_place(|| xtask::or_skip(Postgres::shared())) else {
        return;
    };
    every_statement_goes_by_the_key(&server.create_database("offers").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_goes_by_the_key_on_mariadb() {
    let Some(server) = tokio::task::block_in_place(|| xtask::or_skip(MariaDb::shared())) else {
        return;
    };
    every_statement_goes_by_the_key(&server.create_database("offers").unwrap()).await;
}

#[test]
fn a_batch_keeps_its_order_and_no_two_numbers_are_alike() {
    for batch in [0, 1, u64::MAX] {
        let all: Vec<i64> = numbers(limits::PUBLISH_BATCH_MAX, batch).collect();
        assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
        assert!(all.iter().all(|n| (0..1 << NUMBER_BITS).contains(n)));
    }
}

#[test]
fn a_hint_that_is_too_long_names_nothing_and_makes_everybody_look() {
    let few = BTreeSet::from(["campanile.a".to_owned(), "campanile.b~groups".to_owned()]);
    let all = few.iter().cloned().collect();
    assert_eq!(heard(&hint(&few)), Hint::Offered(all));
    let many: BTreeSet<String> = (0..1_000).map(|n| format!("campanile.q{n}")).collect();
    assert_eq!(heard(&hint(&many)), Hint::Missed);
}

proptest! {
    #[test]
    fn reads_back_what_it_spelled(text in "[\u{0}-\u{2}01a]{0,20}") {
        let spelled = spelled(&text);
        prop_assert!(!spelled.contains('\0'));
        prop_assert_eq!(read(&spelled), text);
    }
}
