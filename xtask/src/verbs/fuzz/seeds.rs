//! What the corpora begin with: expressions of the oracles, the task files and documents of this repository, and a few
//! samples by hand. It knows how the targets cut their inputs, and runs nothing.

use std::fs;
use std::io::Result;
use std::path::Path;

/// The oracles whose expressions the corpus begins with, and their dialect's number in the target.
const DIALECTS: [(&str, u8); 3] = [("unix", 1), ("spring", 2), ("quartz", 3)];
const ORACLES: &str = "crates/campanile-schedule/src/tests/oracle";
const TASKS: &str = "crates/campanile-server/assets/dev-tasks.toml";

const RRULES: [&str; 6] = [
    "FREQ=WEEKLY;BYDAY=MO,WE;INTERVAL=2",
    "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9;BYMINUTE=30",
    "DTSTART;TZID=Europe/Berlin:20260101T090000 RRULE:FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
    "DTSTART:20260101T000000Z RRULE:FREQ=DAILY;COUNT=10 EXDATE:20260102T000000Z RDATE:20260301T000000Z",
    "FREQ=YEARLY;BYYEARDAY=1,100,-1;BYSETPOS=-1",
    "FREQ=HOURLY;BYMONTH=3;BYMONTHDAY=29;BYSECOND=0,30",
];
const CRONTABS: [&str; 2] = [
    "CRON_TZ=Europe/Berlin\nPATH=/bin\n*/5 * * * * root /bin/echo a%b\n@daily x\n# c\n",
    "MAILTO=\"\"\n0 2 * * mon-fri /usr/bin/df -h\n@reboot a\n1 2 3\n",
];
const ICS: &str = "BEGIN:VCALENDAR\r\nX-WR-CALNAME:Holidays\r\nBEGIN:VEVENT\r\nSUMMARY:New\\nYear\r\n\
DTSTART;VALUE=DATE:20260101\r\nDTEND;VALUE=DATE:20260102\r\nRRULE:FREQ=YEARLY\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\n\
DTSTART:20260105T000000\r\nDURATION:P2D\r\nRRULE:FREQ=WEEKLY;BYDAY=MO;UNTIL=20261231\r\n\
EXDATE;VALUE=DATE:20260112\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
const FRAMES: [&str; 5] = [
    "MESSAGE\nsubscription:1\nack:7\nmessage-id:a\\cb\ncampanile_sig:00ff\ncontent-length:5\n\nhello\0\n",
    "CONNECTED\nversion:1.2\nheart-beat:5000,5000\nserver:ActiveMQ/5.17.2\n\n\0",
    "ERROR\nmessage:no\nreceipt-id:4\n\nwords\0",
    "RECEIPT\r\nreceipt-id:9\r\n\r\n\0",
    "MESSAGE\nsubscription:1\nack:7\ncontent-length:99999999999\n\nxxx",
];
const ENVELOPE: &str = r#"{"v":1,"run":"000000000002d","attempt":1,"task":"t","queue":"default","due_at":"1970-01-01T00:00:01.000Z","payload":{"day":1},"deadline":null,"kid":"00000000"}"#;
/// A file of each form: TOML, YAML, JSON.
const FILES: [&str; 3] = [
    "[[task]]\nname = \"a\"\nschedule = \"@daily\"\nhandler = { http = { url = \"http://h/\", headers = { a = \"b\" } } }\n\
     [[calendar]]\nname = \"c\"\ndates = [\"12-25\"]\n[[limit]]\nlimit = \"group:g\"\nmax_running = 2\n",
    "task:\n  - name: a\n    schedule: [\"@daily\", \"0 12 * * *\"]\n    handler: { native: x }\n    payload: &p { a: [1] }\n\
     \x20 - name: b\n    handler: { external: { destination: q, reply: none } }\n    payload: *p\n",
    r#"{"task":[{"name":"a","handler":{"command":{"argv":["/bin/df"],"env":{"A":"b"}}},"retry":{"max_attempts":3}}]}"#,
];
/// A body, or a query, of each route in the target's order.
const REQUESTS: [&str; 10] = [
    r#"{"schedule":"0 2 * * *","timezone":"Europe/Berlin","handler":{"native":"x"},"payload":{"a":[1]},"overlap":"skip"}"#,
    r#"{"runs":[{"task":"old","payload":1,"priority":4,"run_at":"2026-12-01T08:00:00Z","idempotency_key":"k"}]}"#,
    r#"{"tasks":[{"name":"a","handler":{"native":"x"}}],"calendars":[{"name":"c"}],"limits":[{"limit":"queue:q","max_running":1}]}"#,
    r#"{"payload":{"a":1}}"#,
    r#"{"from":"2026-09-20T00:00:00Z","until":"2026-09-20T06:00:00Z","all":true,"dry_run":true,"per_second":5}"#,
    r#"{"mode":"exclude","dates":["2026-12-25","12-26"],"ranges":[{"from":"12-27","to":"12-31"}],"description":"d"}"#,
    r#"{"max_running":3}"#,
    "task=old&state=succeeded&since=2026-01-01T00:00:00Z&limit=5&cursor=x",
    "limit=5&cursor=6f6c64",
    "at=2026-11-22T02:30",
];

/// Writes a target's seeds into its corpus, and says how many there are.
pub(super) fn write(root: &Path, target: &str, corpus: &Path) -> Result<usize> {
    fs::create_dir_all(corpus)?;
    let seeds = of(root, target)?;
    for (index, seed) in seeds.iter().enumerate() {
        fs::write(corpus.join(format!("seed-{index}")), seed)?;
    }
    Ok(seeds.len())
}

/// A target's seeds.
pub(super) fn of(root: &Path, target: &str) -> Result<Vec<Vec<u8>>> {
    Ok(match target {
        "cron" => expressions(root)?,
        "rrule" => RRULES
            .iter()
            .zip(0..)
            .map(|(t, n)| chosen(0, n, t))
            .collect(),
        "crontab" => CRONTABS.iter().map(|t| t.as_bytes().to_vec()).collect(),
        "ics" => vec![behind(&[2], ICS)],
        "stomp" => {
            let modes = [0, 1, 4, 6];
            let all = FRAMES.iter().flat_map(|f| modes.map(|m| (m, f)));
            all.map(|(m, f)| behind(&[m, 3, 1, 5, 2], f)).collect()
        }
        "message" => vec![
            behind(&[0, 1, 2, 0, 0], ENVELOPE),
            behind(&[1, 1, 2, 0, 0], ENVELOPE),
            behind(&[2, 1, 2, 0, 0], r#"{"day":"yesterday"}"#),
        ],
        "taskfile" => {
            let own = fs::read_to_string(root.join(TASKS))?;
            let all = FILES.iter().zip(0..).map(|(t, form)| behind(&[form], t));
            all.chain([behind(&[0], &own)]).collect()
        }
        "api" => {
            let routes = REQUESTS.iter().zip(0..);
            routes.map(|(body, route)| behind(&[route], body)).collect()
        }
        _ => Vec::new(),
    })
}

/// The oracles' expressions.
fn expressions(root: &Path) -> Result<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    for (name, dialect) in DIALECTS {
        let rows = fs::read_to_string(root.join(ORACLES).join(format!("{name}.tsv")))?;
        for expression in rows.lines().filter_map(|row| row.split('\t').nth(3)) {
            let choice = u8::try_from(out.len() % 100).unwrap_or(0);
            out.push(chosen(dialect, choice, expression));
        }
    }
    Ok(out)
}

/// Eight bytes of choices, then the text: what the targets for schedules read.
fn chosen(dialect: u8, choice: u8, text: &str) -> Vec<u8> {
    let mut out = vec![dialect, choice, choice / 3, choice / 9];
    // About 2026.
    out.extend(1_988_000_000_u32.to_le_bytes());
    out.extend(text.as_bytes());
    out
}

fn behind(head: &[u8], text: &str) -> Vec<u8> {
    [head, text.as_bytes()].concat()
}
