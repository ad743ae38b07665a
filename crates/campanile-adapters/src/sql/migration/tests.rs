//! What migrations must keep to: their texts never change, and no mark is left in one.

use super::*;

#[test]
fn our_tables_are_known_by_name() {
    for ours in ["campanile_run", "campanile_run_history", "campanile_leader"] {
        assert!(is_ours(ours), "{ours}");
    }
    assert!(!is_ours("run") && !is_ours("campanile_schema_version"));
}

#[test]
fn no_mark_is_left_in_a_rendered_migration() {
    for dialect in Dialect::ALL {
        for migration in all(dialect) {
            assert!(
                !migration.sql.contains('@'),
                "{dialect:?} {}",
                migration.name
            );
        }
    }
}

#[test]
fn applied_migrations_keep_their_text() {
    let sums = |dialect| {
        all(dialect)
            .iter()
            .map(|m| checksum(&m.sql))
            .collect::<Vec<_>>()
    };
    // A failure here means that an old migration was edited: write a new one instead.
    assert_eq!(
        sums(Dialect::Sqlite),
        [
            "f3861445227235a9",
            "29d3dab05602adba",
            "a6cc82ac654d40d4",
            "7893f8cf4eab2b29",
            "99c8f7d5f2e5c4b6",
            "d662a5e4615817fb",
            "10d86004ed2a816d",
            "9a3f9ad84a4426ab",
            "bfa5cf0f16789861",
            "e3e2bbd48e43a7e3",
            "427f5de501d6f3b1",
            "69874ea994e96497",
            "656c4d16725a4e74",
            "06b143c964147a1a",
            "2499226a5a460045",
            "0499cf1200a4f302",
            "b8c4f29266751ae8",
            "41a26e8c68006a30",
            "48e78098ae1b2c11",
            "e014c955e8a544a6",
            "2ff02c0dc4f2d59f",
            "3f4830c30b9da225"
        ]
    );
    assert_eq!(
        sums(Dialect::Postgres),
        [
            "9ec9b83702b04f08",
            "120e92d526d99018",
            "a6cc82ac654d40d4",
            "7893f8cf4eab2b29",
            "8aa3133c7a7bb1cb",
            "ad2cbb442b2a70df",
            "10d86004ed2a816d",
            "9a3f9ad84a4426ab",
            "3c405a4d0771ca5c",
            "e3e2bbd48e43a7e3",
            "427f5de501d6f3b1",
            "2d95141774b46ad7",
            "656c4d16725a4e74",
            "06b143c964147a1a",
            "c5cf0ffb00270c76",
            "879f55c66cf26dcb",
            "7d23205f019fa21a",
            "3df9af7a42171787",
            "2e29f70ad96aaaf3",
            "32e904ee69b3bc6b",
            "a9d1c0bcc7a95234",
            "49eb76c9fdb1ce21"
        ]
    );
}
/// So a store whose tables have no prefix is known for ours, and is brought to the present text.
#[test]
fn without_the_prefix_the_text_is_the_one_of_before() {
    for dialect in [Dialect::Sqlite, Dialect::Postgres] {
        let stripped = all(dialect)
            .iter()
            .take(11)
            .map(|m| checksum(&m.sql.replace(PREFIX, "")));
        let sums: Vec<String> = stripped.collect();
        assert_eq!(sums, BEFORE_PREFIX[dialect.index()]);
    }
}
