//! Crontabs: the shapes that a Debian machine really has, cron's rules for each part of a line, and what is refused.

use std::path::Path;

use super::crontab::{Crontab, Form, parse};
use super::*;

/// As `/etc/crontab` and the files of `/etc/cron.d` are written: run-parts, a guard, tabs between columns.
const SYSTEM: &str = "\
# the machine's own table
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/sbin:/bin

17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly
25 6\t* * *\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }
47 6\t* * 7\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.weekly; }
  30 3 * * 0 root test -e /run/systemd/system || SERVICE_MODE=1 /usr/lib/scrub --all
PATH=/usr/lib/stats:/bin
5-55/10 * * * * www-data command -v stats > /dev/null && stats 1 1
@daily _backup /usr/bin/backup --label=\"50\\% done\"
@reboot root /usr/bin/warm-up
61 * * * * root /bin/true
0 5 * * * root
0 5 * *
";

#[test]
fn a_system_table() {
    let table = parse(SYSTEM, Form::System);
    let rows: Vec<_> = table
        .entries
        .iter()
        .map(|e| (e.line, e.schedule.as_str(), e.user.as_deref().unwrap()))
        .collect();
    assert_eq!(
        rows,
        [
            (5, "17 * * * *", "root"),
            (6, "25 6 * * *", "root"),
            (7, "47 6 * * 7", "root"),
            (8, "30 3 * * 0", "root"),
            (10, "5-55/10 * * * *", "www-data"),
            (11, "@daily", "_backup"),
        ]
    );
    let daily = &table.entries[1];
    assert_eq!(
        daily.command,
        "test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }"
    );
    assert_eq!((&daily.stdin, &daily.timezone), (&None, &None));
    assert_eq!(
        daily.environment["PATH"],
        "/usr/local/sbin:/usr/local/bin:/sbin:/bin"
    );
    assert_eq!(table.entries[4].environment["PATH"], "/usr/lib/stats:/bin");
    assert_eq!(table.entries[4].environment["SHELL"], "/bin/sh");
    assert_eq!(
        table.entries[5].command,
        "/usr/bin/backup --label=\"50% done\""
    );
    let refused: Vec<_> = table
        .refused
        .iter()
        .map(|r| (r.line, r.reason.as_str()))
        .collect();
    assert_eq!(
        refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
        [12, 13, 14, 15]
    );
    assert!(refused[0].1.contains("start of a machine"));
    assert!(refused[1].1.starts_with("minute `61` is above 59"));
    assert_eq!(refused[2].1, "has no command");
    assert_eq!(
        refused[3].1,
        "has 4 of the 5 fields that its schedule needs"
    );
    assert_eq!(table.refused[1].text, "61 * * * * root /bin/true");
    for entry in &table.entries {
        assert!(Schedule::parse(Some(&entry.schedule), &Options::default()).is_ok());
    }
}

#[test]
fn a_users_table() {
    let table = parse(
        "MAILTO=\"\"\n0 2 * * 1-5 $HOME/bin/report --day=$(date +\\%F) >> out 2>&1  \n",
        Form::User,
    );
    assert_eq!(table.refused, []);
    let entry = &table.entries[0];
    assert_eq!((entry.line, entry.user.as_deref()), (2, None));
    assert_eq!(
        entry.command.trim_end(),
        "$HOME/bin/report --day=$(date +%F) >> out 2>&1"
    );
    assert_eq!(entry.environment["MAILTO"], "");
}

#[test]
fn percent_begins_the_input() {
    let read = |command: &str| {
        let table = parse(&format!("0 0 * * * {command}"), Form::User);
        let entry = table.entries.into_iter().next().unwrap();
        (entry.command, entry.stdin)
    };
    let with = |command: &str, stdin: &str| (command.to_owned(), Some(stdin.to_owned()));
    assert_eq!(
        read("mail joe%Joe,%%Where are you?%"),
        with("mail joe", "Joe,\n\nWhere are you?\n")
    );
    assert_eq!(read("cat%100\\% sure"), with("cat", "100% sure\n"));
    assert_eq!(read("cat%"), with("cat", ""));
    assert_eq!(read("cat%no end"), with("cat", "no end\n"));
    assert_eq!(read("date +\\%F"), ("date +%F".to_owned(), None));
    // A backslash that is itself escaped leaves the `%` alone; both stay for the shell.
    assert_eq!(read("echo \\\\%x"), with("echo \\\\", "x\n"));
    assert_eq!(read("echo a\\b"), ("echo a\\b".to_owned(), None));
    assert_eq!(read("echo é%ü"), with("echo é", "ü\n"));
}

#[test]
fn assignments() {
    let text = "\
PATH = /bin:/usr/bin\n\
  LONG=  two  words \t\n\
QUOTED=\"  kept  \"\n\
SINGLE='it is \"so\"'\n\
'NAME' = value\n\
EMPTY=\n\
HASH=a # b\n\
REF=$HOME/x\n\
INNER=say \"hi\"\n\
PATH=/sbin\n\
* * * * * X=1 env\n";
    let table = parse(text, Form::User);
    assert_eq!(table.refused, []);
    let entry = &table.entries[0];
    assert_eq!(entry.command, "X=1 env");
    let environment: Vec<_> = entry
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        environment,
        [
            ("EMPTY", ""),
            ("HASH", "a # b"),
            ("INNER", "say \"hi\""),
            ("LONG", "two  words"),
            ("NAME", "value"),
            ("PATH", "/sbin"),
            ("QUOTED", "  kept  "),
            ("REF", "$HOME/x"),
            ("SINGLE", "it is \"so\""),
        ]
    );
}

#[test]
fn broken_assignments_are_named() {
    let table = parse(
        "A=\"open\nB='x' y\n1X=2\n\"Q=1\nOK=1\n@hourly run\n",
        Form::User,
    );
    let reasons: Vec<_> = table
        .refused
        .iter()
        .map(|r| (r.line, r.reason.as_str()))
        .collect();
    assert_eq!(
        reasons[0],
        (1, "assigns A a value without its closing quote")
    );
    assert_eq!(
        reasons[1],
        (2, "assigns B a value with text after its closing quote")
    );
    assert_eq!(
        reasons.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_eq!(
        table.entries[0].environment.keys().collect::<Vec<_>>(),
        ["OK"]
    );
}

#[test]
fn zones() {
    let text = "\
0 1 * * * local\n\
TZ=Asia/Tokyo\n\
0 1 * * * still local\n\
CRON_TZ=Europe/Berlin\n\
0 1 * * * berlin\n\
CRON_TZ=Mars/Olympus\n\
0 1 * * * nowhere\n\
CRON_TZ=\n\
0 1 * * * local again\n";
    let table = parse(text, Form::User);
    let zones: Vec<_> = table
        .entries
        .iter()
        .map(|e| (e.line, e.timezone.as_ref().map(TimeZoneName::name)))
        .collect();
    assert_eq!(
        zones,
        [(1, None), (3, None), (5, Some("Europe/Berlin")), (9, None)]
    );
    assert_eq!(table.entries[1].environment["TZ"], "Asia/Tokyo");
    assert!(!table.entries[2].environment.contains_key("CRON_TZ"));
    let refused: Vec<_> = table
        .refused
        .iter()
        .map(|r| (r.line, r.reason.as_str()))
        .collect();
    assert_eq!(refused.len(), 2);
    assert!(
        refused[0].0 == 6 && refused[0].1.starts_with("timezone `Mars/Olympus`"),
        "{refused:?}"
    );
    assert_eq!(
        refused[1],
        (7, "its zone, `CRON_TZ` of line 6, is not known")
    );
}

#[test]
fn odd_lines() {
    let table = parse(
        "\r\n\t# note\r\n-*/5 * * * * quiet\r\nX=1\r\n@weekly run\r\n@hourly\n@monthly\tgo",
        Form::User,
    );
    let commands: Vec<_> = table
        .entries
        .iter()
        .map(|e| (e.schedule.as_str(), e.command.as_str()))
        .collect();
    assert_eq!(
        commands,
        [
            ("*/5 * * * *", "quiet"),
            ("@weekly", "run"),
            ("@monthly", "go")
        ]
    );
    assert_eq!(table.entries[1].environment["X"], "1");
    assert_eq!(
        table.refused.iter().map(|r| r.line).collect::<Vec<_>>(),
        [6]
    );
    assert_eq!(parse("", Form::System), Crontab::default());
}

#[test]
fn the_form_is_detected_by_place_and_by_text() {
    let user = "0 2 * * * backup --all\n";
    for place in ["/etc/crontab", "/etc/cron.d/stats", "/mnt/etc/cron.d/php"] {
        assert_eq!(Form::detect(Some(Path::new(place)), user), Form::System);
    }
    assert_eq!(
        Form::detect(Some(Path::new("/var/spool/cron/crontabs/joe")), user),
        Form::User
    );
    assert_eq!(Form::detect(None, user), Form::User);
    assert_eq!(Form::detect(None, SYSTEM), Form::System);
    assert_eq!(Form::detect(None, "0 2 * * * root\n"), Form::User);
    assert_eq!(
        Form::detect(None, "0 2 * * * root /bin/x\n0 3 * * * /bin/y -a\n"),
        Form::User
    );
    assert_eq!(Form::detect(None, ""), Form::User);
}
