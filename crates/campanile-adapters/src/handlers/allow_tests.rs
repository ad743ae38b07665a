//! The allow-list: how it is written, what fits and what does not, by tables.

use proptest::prelude::*;

use super::*;

fn misfit(entry: &str, arguments: &[&str]) -> Option<String> {
    entry.parse::<Allowed>().unwrap().misfit(arguments)
}

/// An entry, arguments that fit it, and others.
type Row = (&'static str, Vec<Vec<&'static str>>, Vec<Vec<&'static str>>);

fn check(rows: Vec<Row>) {
    for (entry, fits, others) in rows {
        for arguments in fits {
            assert_eq!(misfit(entry, &arguments), None, "{entry}: {arguments:?}");
        }
        for arguments in others {
            assert!(
                misfit(entry, &arguments).is_some(),
                "{entry}: {arguments:?}"
            );
        }
    }
}

#[test]
fn what_fits_and_what_does_not() {
    check(vec![
        (
            "/x",
            vec![vec![], vec!["a"], vec!["--any", "thing"]],
            vec![],
        ),
        ("/x ()", vec![vec![]], vec![vec!["a"], vec![""]]),
        (
            "/x -h /data/*",
            vec![vec!["-h", "/data/a"], vec!["-h", "/data/a b.c"]],
            vec![
                vec![],
                vec!["-h"],
                vec!["-h", "/data/"],
                vec!["-h", "/data/a/b"],
                vec!["-h", "/data/.."],
                vec!["-h", "/data/../etc"],
                vec!["-h", "/data/a\n/etc"],
                vec!["-h", "x/data/a"],
                vec!["-h", "/data/a", ""],
                vec!["/data/a", "-h"],
                vec!["-h /data/a"],
            ],
        ),
        (
            "/x /data/**",
            vec![vec!["/data/a/b"], vec!["/data/a"]],
            vec![vec!["/data/a/../b"], vec!["/data/"], vec!["/data/a/.."]],
        ),
        (
            "/x * ...",
            vec![vec!["a"], vec!["a", "-b", "/../c"]],
            vec![vec![], vec!["-a"], vec!["--exec=a"]],
        ),
    ]);
}

#[test]
fn what_looks_odd_fits_as_it_is_written() {
    check(vec![
        (
            "/x ** ()",
            vec![vec!["a", "()"]],
            vec![vec!["-rf", "()"], vec!["a"]],
        ),
        (
            "/x --out=*",
            vec![vec!["--out=a"]],
            vec![
                vec!["--out=.."],
                vec!["--out="],
                vec!["--out=/a"],
                vec!["--out"],
            ],
        ),
        (
            "/x \\* \\...",
            vec![vec!["*", "..."]],
            vec![vec!["a", "..."], vec!["*", "a"], vec!["*"]],
        ),
        ("/x .*", vec![vec![".a"]], vec![vec![".."], vec![".a.."]]),
        (
            "/x '' 'a b,c'",
            vec![vec!["", "a b,c"]],
            vec![vec!["a b,c"], vec!["", "a", "b,c"]],
        ),
        (
            "/x a*b*c",
            vec![vec!["a1b2c"], vec!["aébbc"]],
            vec![vec!["abc"], vec!["a1b2"], vec!["a1b2cd"]],
        ),
        ("/x ...", vec![vec![], vec!["a", "b"]], vec![]),
    ]);
}

#[test]
fn the_part_that_does_not_fit_is_named() {
    for (arguments, expected) in [
        (
            vec!["-h"],
            "argument 2 is missing, which is to be `/data/*`",
        ),
        (vec!["-x", "/data/a"], "argument 1 `-x` does not fit `-h`"),
        (
            vec!["-h", "/data/../x"],
            "argument 2 `/data/../x` does not fit `/data/*` (what holds `..` fits no `*`)",
        ),
        (
            vec!["-h", "/data/a", "b\n"],
            "argument 3 `b\\n` is one more than the 2 that it may have",
        ),
    ] {
        let said = misfit("/usr/bin/df -h /data/*", &arguments);
        assert_eq!(said.as_deref(), Some(expected));
    }
    let long = "x".repeat(5_000);
    assert!(misfit("/x a", &[&long]).unwrap().len() < 400);
    assert!(misfit("/x *", &[&long]).unwrap().contains("too long"));
}

#[test]
fn what_can_not_be_meant_is_refused_with_what_to_write() {
    for (entry, part) in [
        ("", "absolute path"),
        ("df -h", "`df` is not an absolute path"),
        ("* -h", "any program with any arguments"),
        ("/opt/*", "without `*`"),
        ("/x ... a", "nothing follows it"),
        ("/x a\\", "nothing follows the last"),
        ("/x 'a", "quote is not closed"),
        ("/x ***", "more than two"),
    ] {
        let said = entry.parse::<Allowed>().unwrap_err();
        assert!(said.contains(part), "{entry}: {said}");
    }
}

#[test]
fn a_list_is_split_at_commas_outside_of_quotes() {
    assert_eq!(
        split("/a, /b -x 'y,z' ,,/c \\,d"),
        ["/a", "/b -x 'y,z'", "/c \\,d"]
    );
    assert_eq!(misfit("/c \\,d", &[",d"]), None);
    assert!(split(" ").is_empty());
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        program in "/[a-z ,']{1,8}",
        arguments in prop::option::of(prop::collection::vec("([a-z*, /\"-]|\\\\[*'\\\\,]){0,6}", 0..4)),
    ) {
        let arguments: Option<Vec<&str>> = arguments.as_ref().map(|all| all.iter().map(String::as_str).collect());
        if let Ok(entry) = Allowed::new(&program, arguments.as_deref()) {
            prop_assert_eq!(entry.to_string().parse::<Allowed>(), Ok(entry.clone()));
            prop_assert_eq!(split(&format!("{entry},{entry}")), [entry.to_string(), entry.to_string()]);
        }
    }

    #[test]
    fn no_wildcard_leaves_its_folder(rest in "[a-z./]{0,12}") {
        if misfit("/x /data/**", &[&format!("/data/{rest}")]).is_none() {
            prop_assert!(!rest.split('/').any(|part| part == ".."));
        }
        if misfit("/x /data/*", &[&format!("/data/{rest}")]).is_none() {
            prop_assert!(!rest.contains('/'));
        }
    }
}
