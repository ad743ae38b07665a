//! `campanile import` on files that are odd: what is asked, what is refused, and how it ends.

use xtask::servers::TempDir;

use crate::cli::{err, run};

#[test]
fn a_crontab_of_the_other_form_is_asked_about_and_what_is_no_text_is_named() {
    let folder = TempDir::new("crontab-form").unwrap();
    let import = |text: &[u8], more: &[&str]| {
        std::fs::write(folder.join("table"), text).unwrap();
        let args = [
            &["import", "crontab", "table", "--force", "-o", "t.toml"],
            more,
        ]
        .concat();
        let got = run(&folder, &args);
        (got.status.code(), err(&got))
    };
    let system = b"0 1 * * * www-data /usr/bin/x\n5 1 * * * www-data cd /srv && ./y\n";
    let (code, said) = import(system, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("table line 1: `www-data` may be the user") && said.contains("--system"),
        "{said}"
    );
    let (code, said) = import(system, &["--system"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("runs as the worker's own user, not as `www-data`"),
        "{said}"
    );
    assert_eq!(import(system, &["--user"]).0, Some(0));
    let (code, said) = import(
        b"\xef\xbb\xbf0 1 * * * /opt/a\r\n0 2 * * * /opt/gr\xfc\xdfe\r\n",
        &[],
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("table line 2: not taken: the byte 0xFC is not UTF-8")
            && said.contains("1 taken, 1 refused"),
        "{said}"
    );
    std::fs::create_dir(folder.join("cron.d")).unwrap();
    std::fs::write(folder.join("cron.d/mine"), "0 1 * * * /usr/bin/x -a\n").unwrap();
    let got = run(&folder, &["import", "crontab", "cron.d/mine"]);
    assert_eq!(got.status.code(), Some(2), "{}", err(&got));
    assert!(
        err(&got).contains("`/usr/bin/x` can't be a user"),
        "{}",
        err(&got)
    );
}

#[test]
fn a_calendar_file_of_which_nothing_is_taken_is_a_failure() {
    let folder = TempDir::new("ics").unwrap();
    let event = |lines: &str| {
        format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{lines}\nEND:VEVENT\nEND:VCALENDAR\n")
    };
    let import = |text: String| {
        std::fs::write(folder.join("c.ics"), text).unwrap();
        let got = run(
            &folder,
            &["import", "ics", "c.ics", "--name", "c", "-o", "c.toml"],
        );
        (got.status.code(), err(&got))
    };
    let (code, said) = import(event("DTSTART:20260101T100000Z\nDTEND:20260101T110000Z"));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("no event could be taken") && !folder.join("c.toml").exists(),
        "{said}"
    );
    let (code, said) = import(event("RRULE:\nDTSTART;VALUE=DATE:20260101"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 taken, 0 refused"), "{said}");
}
