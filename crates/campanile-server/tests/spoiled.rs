//! Rows that can't be read any more, or that the store refuses to change, on running services over real databases: each
//! stands alone, is seen, and keeps nobody else waiting; after a restart either.

use std::sync::Arc;

use campanile_core::id::{RunId, TaskId};
use serde_json::{Value, json};
use sqlx::{Executor as _, SqlitePool};
use xtask::or_skip;
use xtask::servers::{Postgres, TempDir};

use crate::cli::{client, out};
use crate::quarantine::{self, count, define};
use crate::support::{Service, start};

/// A database, and somebody else who writes to it.
enum Database {
    Sqlite(TempDir),
    Postgres(Arc<Postgres>, String),
}

impl Database {
    /// Those that there are here.
    fn all() -> Vec<Self> {
        let mut all = vec![Self::Sqlite(TempDir::new("spoiled").unwrap())];
        if let Some(server) = or_skip(Postgres::shared()) {
            let url = server.create_database("spoiled").unwrap();
            all.push(Self::Postgres(server, url));
        }
        all
    }

    fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite:{}", folder.join("c.db").display()),
            Self::Postgres(_, url) => url.clone(),
        }
    }

    async fn sql(&self, text: &str) {
        match self {
            Self::Sqlite(_) => {
                let pool = SqlitePool::connect(&self.url()).await.unwrap();
                let text = sqlx::AssertSqlSafe(text.to_owned());
                pool.execute(sqlx::raw_sql(text)).await.unwrap();
                pool.close().await;
            }
            Self::Postgres(server, url) => {
                tokio::task::block_in_place(|| server.sql_at(url, text)).unwrap();
            }
        }
    }

    /// Refuses changes of runs to this state, where the priority is 9.
    async fn refuse(&self, state: u8) {
        let on = format!("NEW.priority = 9 AND NEW.state = {state}");
        let text = match self {
            Self::Sqlite(_) => format!(
                "CREATE TRIGGER stranger BEFORE UPDATE ON campanile_run WHEN {on} BEGIN SELECT RAISE(ABORT, 'no nines'); END"
            ),
            Self::Postgres(..) => format!(
                "CREATE FUNCTION stranger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'no nines'; END $$;
                 CREATE TRIGGER stranger BEFORE UPDATE ON campanile_run FOR EACH ROW WHEN ({on}) EXECUTE FUNCTION stranger()"
            ),
        };
        self.sql(&text).await;
    }

    /// The instant of a run comes.
    async fn comes(&self, id: i64) {
        let past = 1_767_225_600_000_i64;
        let run = format!("UPDATE campanile_run SET ready_at = {past} WHERE id = {id}");
        let due = format!("UPDATE campanile_due SET at = {past} WHERE n = 1 AND owner = {id}");
        self.sql(&format!("{run}; {due}")).await;
    }

    async fn allow(&self) {
        let text = match self {
            Self::Sqlite(_) => "DROP TRIGGER stranger",
            Self::Postgres(..) => "DROP TRIGGER stranger ON campanile_run; DROP FUNCTION stranger",
        };
        self.sql(text).await;
    }

    async fn serve(&self) -> Service {
        start(&[("store", &self.url()), ("name", "test")]).await
    }
}

/// Submits a run; its id as the store has it.
async fn submit(s: &Service, run: Value) -> RunId {
    quarantine::submit(s, run).await.parse().unwrap()
}

async fn some_succeed(s: &Service, task: &str, least: usize) {
    let path = format!("/runs?task={task}&state=succeeded&limit=1000");
    s.until(&path, |page| count(page) >= least).await;
}

async fn aside(s: &Service, wanted: usize) -> Vec<Value> {
    let page = s.until("/quarantine", |page| count(page) == wanted).await;
    page["items"].as_array().unwrap().clone()
}

async fn metric(s: &Service, name: &str) -> String {
    let text = s.metrics().await;
    let line = text.lines().find(|l| l.starts_with(&format!("{name} ")));
    line.unwrap_or_default().to_owned()
}

/// Runs whose rows, or what they carry, can't be read are met by the scan, by the list of what is to be published and by
/// a claim: each is set aside, the others run, and the term goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_can_not_be_read_is_set_aside_and_the_others_go_on() {
    for database in Database::all() {
        let s = database.serve().await;
        define(&s, "t", json!({ "schedule": "every 1s" })).await;
        some_succeed(&s, "t", 1).await;
        let far = "2199-01-01T00:00:00Z";
        let mut spoiled = Vec::new();
        for damage in [
            "UPDATE campanile_run SET origin = 99",
            "UPDATE campanile_run SET failures = -1",
            "UPDATE campanile_run SET queue = 4711",
            "UPDATE campanile_run_spec SET payload = '{\"cut'",
            "UPDATE campanile_run_spec SET payload = '[[[[1,'",
        ] {
            let run = json!({ "task": "t", "run_at": far, "payload": { "n": 1 } });
            let id = submit(&s, run).await.as_i64();
            let column = if damage.contains("run_spec") {
                "run"
            } else {
                "id"
            };
            database
                .sql(&format!("{damage} WHERE {column} = {id}"))
                .await;
            database.comes(id).await;
            spoiled.push(id);
        }
        let entries = aside(&s, spoiled.len()).await;
        for entry in &entries {
            let error = entry["error"].as_str().unwrap();
            let run = entry["run"].as_str().unwrap();
            assert!(error.contains(&format!("(run {run})")), "{entry:#}");
            assert_eq!(entry["what"], "nothing: its row can't be read");
        }
        let said = metric(&s, "campanile_quarantined_total").await;
        assert!(said.ends_with(&format!(" {}", spoiled.len())), "{said}");
        let others: Vec<Value> = (0..20).map(|_| json!({ "task": "t" })).collect();
        s.post("/runs", json!({ "runs": others })).await;
        some_succeed(&s, "t", 22).await;
        assert!(
            metric(&s, "campanile_terms_broken_total")
                .await
                .ends_with(" 0")
        );
        // Lists go by them.
        assert!(count(&s.get("/runs?limit=1000").await.body) >= 22);
        s.stop().await;
        // A new start, with a new term, meets none of them.
        let s = database.serve().await;
        // It has another address now.
        define(&s, "t", json!({ "schedule": "every 1s" })).await;
        some_succeed(&s, "t", 24).await;
        assert_eq!(aside(&s, spoiled.len()).await.len(), spoiled.len());
        // Mended, one goes on.
        let mended = spoiled[0];
        database
            .sql(&format!(
                "UPDATE campanile_run SET origin = 2 WHERE id = {mended}"
            ))
            .await;
        let id = RunId::from_i64(mended).to_string();
        let entry = entries.iter().find(|e| e["run"] == id.as_str()).unwrap();
        let released = s
            .post(&format!("/quarantine/{}/release", entry["id"]), json!({}))
            .await;
        assert_eq!(released.status, 200, "{:#}", released.body);
        s.until(&format!("/runs/{id}"), |run| run["state"] == "succeeded")
            .await;
        s.stop().await;
    }
}

/// Its next occurrence and its waiting runs are set aside; all other tasks go on, and it goes on when it is mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_can_not_be_read_stands_still_and_the_others_go_on() {
    for database in Database::all() {
        let s = database.serve().await;
        define(&s, "bad", json!({ "schedule": "every 1s" })).await;
        define(&s, "good", json!({ "schedule": "every 1s" })).await;
        some_succeed(&s, "bad", 1).await;
        let ran = s.get("/runs?task=bad").await.body;
        let id: TaskId = ran["items"][0]["task_id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let id = id.as_i64();
        s.stop().await;
        database
            .sql(&format!(
                "UPDATE campanile_task SET definition = 'x' || definition WHERE id = {id}"
            ))
            .await;
        let s = database.serve().await;
        // Its next occurrence, and perhaps a run that the stop met.
        let of_task = |page: &Value| {
            let mut all = page["items"].as_array().unwrap().iter();
            all.any(|entry| entry["run"] == Value::Null)
        };
        let entries = s.until("/quarantine", of_task).await;
        let entries = entries["items"].as_array().unwrap();
        for entry in entries {
            let error = entry["error"].as_str().unwrap();
            assert!(error.contains("read a row of task (task"), "{error}");
        }
        define(&s, "good", json!({ "schedule": "every 1s" })).await;
        some_succeed(&s, "good", 3).await;
        assert!(
            metric(&s, "campanile_terms_broken_total")
                .await
                .ends_with(" 0")
        );
        let listed = s.get("/tasks").await;
        assert_eq!((listed.status, count(&listed.body)), (200, 1));
        database
            .sql(&format!(
                "UPDATE campanile_task SET definition = substr(definition, 2) WHERE id = {id}"
            ))
            .await;
        let before = count(&s.get("/runs?task=bad&limit=1000").await.body);
        for entry in entries {
            let path = format!("/quarantine/{}/release", entry["id"]);
            assert_eq!(s.post(&path, json!({})).await.status, 200);
        }
        s.until("/runs?task=bad&limit=1000", |page| count(page) > before)
            .await;
        s.stop().await;
    }
}

/// What is to be published can't be read at the start of a term: it is made again from the runs that wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_what_is_to_be_published_that_can_not_be_read_is_made_anew() {
    for database in Database::all() {
        let s = database.serve().await;
        define(&s, "t", json!({})).await;
        // Nobody listens there: its runs stay in the outbox, or wait published.
        define(&s, "elsewhere", json!({ "queue": "elsewhere" })).await;
        some_succeed_after(&s).await;
        s.stop().await;
        let bytes = if matches!(database, Database::Sqlite(_)) {
            "x'ff'"
        } else {
            "'\\xff'::bytea"
        };
        database
            .sql(&format!(
                "INSERT INTO campanile_outbox (id, at, runs) VALUES (1, 0, {bytes})"
            ))
            .await;
        let s = database.serve().await;
        define(&s, "t", json!({ "description": "again" })).await;
        submit(&s, json!({ "task": "t" })).await;
        some_succeed(&s, "t", 2).await;
        assert!(
            metric(&s, "campanile_terms_broken_total")
                .await
                .ends_with(" 0")
        );
        s.stop().await;
    }
}

async fn some_succeed_after(s: &Service) {
    submit(s, json!({ "task": "t" })).await;
    some_succeed(s, "t", 1).await;
}

/// A claim, or the mark of what was published, is refused for one of many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_claim_or_mark_stands_alone() {
    for database in Database::all() {
        // Queued, and running.
        for state in [2, 3] {
            let s = database.serve().await;
            define(&s, "t", json!({})).await;
            define(&s, "elsewhere", json!({ "queue": "elsewhere" })).await;
            database.refuse(state).await;
            let task = if state == 2 { "elsewhere" } else { "t" };
            let bad = submit(&s, json!({ "task": task, "priority": 9 })).await;
            let many: Vec<Value> = (0..20).map(|_| json!({ "task": task })).collect();
            s.post("/runs", json!({ "runs": many })).await;
            let entries = aside(&s, 1).await;
            assert_eq!(entries[0]["run"], bad.to_string(), "{entries:#?}");
            let error = entries[0]["error"].as_str().unwrap();
            assert!(error.contains("no nines"), "{error}");
            let others = if state == 2 { "queued" } else { "succeeded" };
            let path = format!("/runs?task={task}&state={others}&limit=1000");
            s.until(&path, |page| count(page) >= 20).await;
            assert!(
                metric(&s, "campanile_terms_broken_total")
                    .await
                    .ends_with(" 0")
            );
            database.allow().await;
            let path = format!("/quarantine/{}/release", entries[0]["id"]);
            assert_eq!(s.post(&path, json!({})).await.status, 200);
            s.until(&format!("/runs/{bad}"), |run| match state {
                // Its message is out already: whether it is marked a second time is nobody's concern.
                2 => run["state"] == "scheduled" || run["state"] == "queued",
                _ => run["state"] == others,
            })
            .await;
            s.stop().await;
        }
    }
}

/// Housekeeping that is refused is said and put off: the term goes on, and so does all the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_housekeeping_ends_no_term() {
    for database in Database::all() {
        let s = database.serve().await;
        define(&s, "t", json!({ "schedule": "every 1s" })).await;
        some_succeed(&s, "t", 1).await;
        // A permit that nobody gave back, and that nobody may take back.
        database
            .sql("INSERT INTO campanile_permit (limit_key, n, run) VALUES ('group:g', 0, 4711)")
            .await;
        let refuse = match &database {
            Database::Sqlite(_) => {
                "CREATE TRIGGER keeper BEFORE DELETE ON campanile_permit BEGIN SELECT RAISE(ABORT, 'kept'); END"
            }
            Database::Postgres(..) => {
                "CREATE FUNCTION keeper() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'kept'; END $$;
                 CREATE TRIGGER keeper BEFORE DELETE ON campanile_permit FOR EACH ROW EXECUTE FUNCTION keeper()"
            }
        };
        database.sql(refuse).await;
        let refused = |line: &str| !line.is_empty() && !line.ends_with(" 0");
        until_metric(&s, "campanile_chores_refused_total", refused).await;
        let before = count(&s.get("/runs?task=t&state=succeeded&limit=1000").await.body);
        some_succeed(&s, "t", before + 2).await;
        assert!(
            metric(&s, "campanile_terms_broken_total")
                .await
                .ends_with(" 0")
        );
        s.stop().await;
    }
}

/// A newer program has migrated the store while this one leads. What it can't read may be whole: nothing is set aside, the
/// lead is given up so that a newer node may have it, and the log says what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_version_may_have_written_is_left_alone() {
    for database in Database::all() {
        let s = database.serve().await;
        define(&s, "t", json!({})).await;
        define(&s, "newer", json!({ "schedule": "every 1s" })).await;
        some_succeed(&s, "newer", 1).await;
        let far = "2199-01-01T00:00:00Z";
        let run = submit(&s, json!({ "task": "t", "run_at": far })).await;
        database
            .sql("INSERT INTO campanile_schema_version SELECT 999, 'later', checksum, applied_at FROM campanile_schema_version WHERE version = 1")
            .await;
        database
            .sql("UPDATE campanile_task SET definition = '{\"newer\":1,' || substr(definition, 2) WHERE live_name = 'newer'")
            .await;
        database
            .sql(&format!(
                "UPDATE campanile_run SET origin = 99 WHERE id = {}",
                run.as_i64()
            ))
            .await;
        database.comes(run.as_i64()).await;
        let begun = |line: &str| line.rsplit(' ').next().and_then(|n| n.parse().ok()) >= Some(3);
        until_metric(&s, "campanile_terms_begun_total", begun).await;
        assert!(aside(&s, 0).await.is_empty());
        assert!(
            metric(&s, "campanile_quarantined_total")
                .await
                .ends_with(" 0")
        );
        // Upgraded, it reads both, and goes on with them.
        database
            .sql("UPDATE campanile_task SET definition = '{' || substr(definition, 12) WHERE live_name = 'newer'")
            .await;
        database
            .sql(&format!(
                "UPDATE campanile_run SET origin = 2 WHERE id = {}",
                run.as_i64()
            ))
            .await;
        s.until(&format!("/runs/{run}"), |run| run["state"] == "succeeded")
            .await;
        let before = count(
            &s.get("/runs?task=newer&state=succeeded&limit=1000")
                .await
                .body,
        );
        some_succeed(&s, "newer", before + 1).await;
        assert!(aside(&s, 0).await.is_empty());
        s.stop().await;
    }
}

async fn until_metric(s: &Service, name: &str, is_so: impl Fn(&str) -> bool) {
    let waited = campanile_core::system::within(crate::support::PATIENCE, async {
        while !is_so(&metric(s, name).await) {
            campanile_core::system::pause(std::time::Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_some(), "{}", metric(s, name).await);
}

/// What lists and the engine go by is named to who looks after the store, with the remedy; and it is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_names_what_can_not_be_read() {
    for database in Database::all() {
        let s = database.serve().await;
        define(&s, "good", json!({})).await;
        define(&s, "bad", json!({})).await;
        let far = "2199-01-01T00:00:00Z";
        let run = submit(&s, json!({ "task": "good", "run_at": far })).await;
        let url = database.url();
        let args = ["doctor", "--store", &url, "--listen", "127.0.0.1:0"];
        let sound = out(&client(&s, &args).await);
        assert!(!sound.contains("can't be read"), "{sound}");
        let unread = "campanile_store_rows_unreadable_total";
        assert!(metric(&s, unread).await.ends_with(" 0"));
        for damage in [
            "INSERT INTO campanile_calendar (name, version, definition, updated_at) VALUES ('holidays', 1, '{', 0)",
            "INSERT INTO campanile_concurrency_limit (limit_key, max_running) VALUES ('nonsense', 1), ('queue:q', -1)",
            "INSERT INTO campanile_node (id, name, roles, queues, slots, busy, lease_ms, started_at, heartbeat_seq, heartbeat_at, version)
             VALUES (7, 'stranger', '{', '[]', 1, 0, 1000, 0, 0, 0, 'x')",
            "UPDATE campanile_task SET definition = '{' WHERE live_name = 'bad'",
        ] {
            database.sql(damage).await;
        }
        database
            .sql(&format!(
                "UPDATE campanile_run SET origin = 99 WHERE id = {}",
                run.as_i64()
            ))
            .await;
        let said = out(&client(&s, &args).await);
        for named in [
            "calendar `holidays` can't be read (",
            "limit `nonsense` can't be read (",
            "limit `queue:q` can't be read (",
            "node `stranger` can't be read (",
            "task `bad` can't be read (",
            &format!("run {run} can't be read ("),
        ] {
            let line = said.lines().find(|line| line.contains(named));
            let line = line.unwrap_or_else(|| panic!("{named}: {said}"));
            assert!(line.starts_with("warning  rows"), "{line}");
        }
        assert!(!said.contains("task `good`"), "{said}");
        let listed = s.get("/tasks").await;
        assert_eq!((listed.status, count(&listed.body)), (200, 1));
        assert!(!metric(&s, unread).await.ends_with(" 0"));
        s.stop().await;
    }
}
