//! Who is offered what: routes over members of every kind, and what a worker announces and remembers.

use campanile_schedule::time::Timestamp;

use super::*;
use crate::id::{NodeId, TaskId};
use crate::task::CommandSpec;

impl Routes {
    fn route(&self, queue: &QueueName, handler: Option<&HandlerSpec>) -> Route {
        self.route_of(queue, handler, None)
    }

    fn trouble(&self, queue: &QueueName, handler: &HandlerSpec) -> Option<Trouble> {
        self.trouble_of(queue, handler, None)
    }
}

fn queue() -> QueueName {
    QueueName::default()
}

fn native(name: &str) -> HandlerSpec {
    HandlerSpec::Native(name.to_owned())
}

fn command(program: &str) -> HandlerSpec {
    HandlerSpec::Command(CommandSpec {
        argv: vec![program.to_owned(), "-h".to_owned()],
        env: BTreeMap::new(),
        dir: None,
        stdin: None,
        login: false,
        keep_children: false,
    })
}

fn can_do(natives: &[&str], programs: &[&str]) -> Abilities {
    let programs = programs.iter().map(|p| (*p).to_owned()).collect();
    Abilities::announce(
        natives.iter().map(|n| (*n).to_owned()),
        true,
        Some(programs),
    )
}

fn nodes(all: &[Option<Abilities>]) -> Vec<Node> {
    let node = |(n, abilities): (i64, &Option<Abilities>)| Node {
        id: NodeId::from_i64(n),
        name: format!("n{n}"),
        roles: vec!["worker".to_owned()],
        queues: vec![queue()],
        slots: 1,
        busy: 0,
        lease: Duration::from_secs(10),
        started_at: Timestamp::from_ms(0),
        heartbeat_seq: 0,
        heartbeat_at: Timestamp::from_ms(0),
        version: String::new(),
        abilities: abilities.clone(),
    };
    (1..).zip(all).map(node).collect()
}

fn routes(all: &[Option<Abilities>]) -> Routes {
    Routes::of(&nodes(all))
}

#[test]
fn workers_that_can_all_do_the_same_share_the_queues_own_destination() {
    let one = Some(can_do(&["a", "b"], &["/bin/df"]));
    let all = routes(&[one.clone(), one]);
    for handler in [native("a"), command("/bin/df")] {
        assert_eq!(all.route(&queue(), Some(&handler)), Route::Queue);
    }
    let other = Some(can_do(&["a", "c"], &["*"]));
    let all = routes(&[Some(can_do(&["a"], &["*"])), other]);
    assert_eq!(all.route(&queue(), Some(&native("a"))), Route::Queue);
    assert_eq!(all.route(&queue(), Some(&command("/x/y"))), Route::Queue);
}

#[test]
fn a_run_is_never_offered_on_the_lane_of_a_worker_that_refuses_it() {
    let kinds = [
        None,
        Some(can_do(&[], &[])),
        Some(can_do(&["a"], &["/usr/bin/df"])),
        Some(can_do(&["a", "b"], &["*"])),
        Some(can_do(&["a"], &["*"]).refusing(BTreeSet::from(["native:a".to_owned()]))),
    ];
    let needs = [
        native("a"),
        native("b"),
        native("c"),
        command("/usr/bin/df"),
        command("/bin/df"),
        command("/bin/ls"),
    ];
    let mut lanes_seen = 0;
    for set in 1_usize..1 << kinds.len() {
        let members: Vec<Option<Abilities>> = (0..kinds.len())
            .filter(|n| set >> n & 1 == 1)
            .map(|n| kinds[n].clone())
            .collect();
        let routes = routes(&members);
        for handler in &needs {
            let need = Need::of(handler).unwrap();
            let can = |m: &Option<Abilities>| m.as_ref().map_or(Can::Maybe, |a| a.can(&need));
            let best = members.iter().map(can).max().unwrap();
            match routes.route(&queue(), Some(handler)) {
                Route::Blocked => assert_eq!(best, Can::No),
                Route::Queue => assert_ne!(best, Can::No),
                Route::Lanes(lanes) => {
                    lanes_seen += 1;
                    assert!(!lanes.is_empty());
                    for lane in lanes.iter() {
                        let of_lane = members
                            .iter()
                            .find(|m| m.as_ref().is_some_and(|a| a.lane == *lane));
                        assert_eq!(can(of_lane.unwrap()), best, "{need}");
                    }
                }
            }
            // Who refuses is spared wherever somebody is known who does not.
            let refuser = members.iter().any(|m| can(m) == Can::No);
            if best == Can::Yes && refuser {
                assert!(
                    matches!(routes.route(&queue(), Some(handler)), Route::Lanes(_)),
                    "{need}"
                );
            }
        }
    }
    assert!(lanes_seen > 20, "{lanes_seen}");
}

#[test]
fn who_announces_nothing_may_be_able() {
    let b = Some(can_do(&["b"], &[]));
    assert_eq!(
        routes(&[None]).route(&queue(), Some(&native("a"))),
        Route::Queue
    );
    assert_eq!(
        routes(&[None, b.clone()]).route(&queue(), Some(&native("a"))),
        Route::Queue
    );
    assert_eq!(
        routes(&[b]).route(&queue(), Some(&native("a"))),
        Route::Blocked
    );
}

#[test]
fn a_queue_without_listeners_and_handlers_of_others_are_left_alone() {
    let none = Routes::default();
    assert_eq!(none.route(&queue(), Some(&native("a"))), Route::Queue);
    assert_eq!(none.route(&queue(), None), Route::Queue);
    let external: HandlerSpec = serde_json::from_value(
        serde_json::json!({"external": {"destination": "x", "reply": "none"}}),
    )
    .unwrap();
    let b = routes(&[Some(can_do(&[], &[]))]);
    assert_eq!(b.route(&queue(), Some(&external)), Route::Queue);
    assert_eq!(b.trouble(&QueueName::new("nobody"), &external), None);
}

#[test]
fn a_program_is_known_by_its_path_and_judged_by_its_name() {
    let worker = can_do(&[], &["/usr/bin/df", "/opt/report"]);
    for (program, can) in [
        ("/usr/bin/df", Can::Yes),
        ("/bin/df", Can::Maybe),
        ("/bin/ls", Can::No),
        ("/opt/report/", Can::Maybe),
        ("relative", Can::No),
    ] {
        let need = Need::of(&command(program)).unwrap();
        assert_eq!(worker.can(&need), can, "{program}");
    }
    let strange = Need::of(&command(&format!("/{}", "x".repeat(5_000)))).unwrap();
    assert_eq!(strange, Need::AnyCommand);
    assert_eq!(worker.can(&strange), Can::Maybe);
    assert_eq!(can_do(&[], &[]).can(&strange), Can::No);
    assert_eq!(can_do(&[], &["*"]).can(&strange), Can::Yes);
    // An executor that does not say.
    let silent = Abilities::announce([], true, None);
    assert_eq!(
        silent.can(&Need::Command("/bin/ls".to_owned(), None)),
        Can::Maybe
    );
}

#[test]
fn needs_are_spelled_in_printable_ascii_and_read_back() {
    for handler in [
        native("close.books"),
        command("/usr/bin/df"),
        command("/opt/caf\u{e9}"),
        command("/a b"),
    ] {
        let need = Need::of(&handler).unwrap();
        assert!(
            need.token().bytes().all(|b| b.is_ascii_graphic()),
            "{need:?}"
        );
        assert_eq!(need.exact().parse(), Ok(need));
    }
    assert!("external".parse::<Need>().is_err());
}

#[test]
fn what_is_announced_is_bounded_and_says_what_it_leaves_out() {
    let names = |n: usize| (0..n).map(|n| format!("handler-number-{n:05}"));
    let small = Abilities::announce(names(100), false, Some(vec![]));
    assert!(!small.partial && small.native.len() == 100);
    let large = Abilities::announce(names(50_000), false, Some(vec!["/bin/df".to_owned()]));
    assert!(large.partial);
    assert_eq!(large.commands, None);
    assert!(serde_json::to_string(&large).unwrap().len() < limits::ABILITIES_BYTES_MAX + 1_000);
    assert_eq!(
        large.can(&Need::Native("handler-number-49999".to_owned())),
        Can::Maybe
    );
    assert_eq!(large.can(&Need::Http), Can::No);
    // Workers that have left different things out are not on one lane.
    let other = Abilities::announce(names(50_001), false, Some(vec!["/bin/df".to_owned()]));
    assert_ne!(large.lane, other.lane);
    let spelled = serde_json::to_string(&large).unwrap();
    assert_eq!(serde_json::from_str::<Abilities>(&spelled).unwrap(), large);
}

#[test]
fn a_tasks_secrets_are_a_need_once_a_worker_refuses_them() {
    let task = |id: i64, version: i64| Task {
        id: TaskId::from_i64(id),
        version,
        spec: crate::task::TaskSpec::for_handler(native("a")),
        created_at: Timestamp::from_ms(0),
        updated_at: Timestamp::from_ms(0),
        paused_from: None,
    };
    let need = Need::Native("a".to_owned()).with_secrets(TaskId::from_i64(7), 3);
    assert_eq!(need.token().parse::<Need>(), Ok(need.clone()));
    let able = can_do(&["a"], &[]);
    let refuses = able.refusing(BTreeSet::from([need.token()]));
    let lanes = |members: &[Option<Abilities>], task: &Task| {
        routes(members).route_of(&queue(), Some(&native("a")), Some(task))
    };
    let both = [Some(able.clone()), Some(refuses.clone())];
    assert_eq!(lanes(&both, &task(7, 3)), Route::Lanes([able.lane].into()));
    let alone = [Some(refuses)];
    assert_eq!(lanes(&alone, &task(7, 3)), Route::Blocked);
    // Neither another task nor another version of this one is kept from it, and what runs without the task neither.
    for other in [task(7, 4), task(8, 3)] {
        assert_eq!(lanes(&alone, &other), Route::Queue);
    }
    assert_eq!(
        routes(&alone).route(&queue(), Some(&native("a"))),
        Route::Queue
    );
    let trouble = routes(&alone).trouble_of(&queue(), &native("a"), Some(&task(7, 3)));
    let told = trouble
        .map(|trouble| trouble.to_string())
        .unwrap_or_default();
    assert!(
        told.contains("gives the task the secrets that it names"),
        "{told}"
    );
    // A program's form is a part of it, and no other form is kept from it.
    let program = Need::of(&command("/bin/df"))
        .unwrap()
        .with_secrets(TaskId::from_i64(7), 3);
    let refuses = can_do(&[], &["/bin/df"]).refusing(BTreeSet::from([program.exact()]));
    let known = routes(&[Some(refuses)]);
    let route = |handler: &HandlerSpec| known.route_of(&queue(), Some(handler), Some(&task(7, 3)));
    assert_eq!(route(&command("/bin/df")), Route::Blocked);
    assert_eq!(
        Need::shown(&program.exact()),
        "command: /bin/df with the secrets of task ".to_owned() + &TaskId::from_i64(7).to_string()
    );
    // Who can't run it at all can't run it with secrets.
    let unable = can_do(&[], &[]).refusing(BTreeSet::from([need.token()]));
    assert_eq!(unable.can(&need), Can::No);
    assert_eq!(can_do(&[], &[]).can(&need), Can::No);

    let mut refusals = Refusals::default();
    let mut now = Monotonic::from_ms(0);
    for version in 0..1_000 {
        let need = Need::Http.with_secrets(TaskId::from_i64(7), version);
        assert!(refusals.mark(&need, now), "of old versions nothing is left");
        now = now.plus(limits::REFUSAL_INITIAL);
        assert!(refusals.forget(now));
    }
}

#[test]
fn a_lane_is_a_name_or_nothing() {
    let mut forged = can_do(&["a"], &[]);
    forged.lane = "x,y>z".to_owned();
    let all = routes(&[Some(forged), Some(can_do(&[], &[]))]);
    assert_eq!(all.route(&queue(), Some(&native("a"))), Route::Queue);
}

#[test]
fn a_run_goes_to_a_few_lanes_at_most() {
    let mut members: Vec<_> = (0..20)
        .map(|n| Some(can_do(&["a", &format!("x{n}")], &[])))
        .collect();
    members.push(Some(can_do(&[], &[])));
    let Route::Lanes(lanes) = routes(&members).route(&queue(), Some(&native("a"))) else {
        panic!("no lanes");
    };
    assert_eq!(lanes.len(), limits::LANES_MAX);
}

#[test]
fn a_refusal_counts_for_a_while_and_longer_each_time() {
    let need = Need::Command("/bin/df".to_owned(), None);
    let mut refusals = Refusals::default();
    let mut now = Monotonic::from_ms(0);
    let mut wait = limits::REFUSAL_INITIAL;
    for _ in 0..10 {
        assert!(refusals.mark(&need, now));
        assert!(!refusals.mark(&need, now), "it is known already");
        assert_eq!(refusals.tokens().len(), 1);
        now = now.plus(wait - Duration::from_millis(1));
        assert!(!refusals.forget(now));
        now = now.plus(Duration::from_millis(1));
        assert!(refusals.forget(now));
        assert!(refusals.tokens().is_empty());
        wait = (wait * 2).min(limits::REFUSAL_MAX);
    }
    for n in 0..1_000 {
        refusals.mark(&Need::Native(format!("x{n}")), now);
    }
    assert!(!refusals.mark(&Need::Http, now), "all of them are in force");
    assert!(refusals.forget(now.plus(limits::REFUSAL_MAX)));
    assert!(refusals.mark(&Need::Http, now), "what is over made room");
    assert!(refusals.tokens().len() <= limits::REFUSALS_MAX);
}

#[test]
fn a_run_that_is_refused_again_and_again_waits_longer_and_longer() {
    let waits: Vec<u128> = (0..12).map(|n| refusal_wait(n).as_millis()).collect();
    assert_eq!(waits[..4], [250, 500, 1_000, 2_000]);
    assert_eq!(refusal_wait(u32::MAX), limits::REFUSED_AGAIN_MAX);
    // In the first minute nine times at most.
    let first_minute = waits.iter().scan(0, |sum, wait| {
        *sum += wait;
        Some(*sum)
    });
    assert!(first_minute.filter(|at| *at < 60_000).count() < 9);
}

#[test]
fn what_is_wrong_is_said_with_the_queue_that_was_meant() {
    let mut all = nodes(&[Some(can_do(&["a"], &["/bin/df"]))]);
    all[0].queues = vec![QueueName::new("reports"), QueueName::new("mail")];
    let routes = Routes::of(&all);
    let said = |queue: &str, handler: &HandlerSpec| {
        let trouble = routes.trouble(&QueueName::new(queue), handler);
        trouble.map(|t| t.to_string())
    };
    assert_eq!(said("reports", &native("a")), None);
    assert_eq!(said("reports", &command("/usr/bin/df")), None);
    for (queue, meant) in [
        ("reprots", "reports"),
        ("report", "reports"),
        ("mial", "mail"),
        ("rports", "reports"),
    ] {
        let text = said(queue, &native("a")).unwrap();
        assert_eq!(
            text,
            format!("nobody listens on queue `{queue}`; did you mean `{meant}`?")
        );
    }
    assert!(
        said("payroll", &native("a"))
            .unwrap()
            .ends_with("or give the task another queue")
    );
    let text = said("mail", &native("y")).unwrap();
    assert_eq!(
        text,
        "no living worker of queue `mail` can do `native: y`: start one that has the handler `y`"
    );
    let text = said("mail", &command("/bin/ls")).unwrap();
    assert!(
        text.contains("start one with `--allow-commands /bin/ls`"),
        "{text}"
    );
}

#[test]
fn a_program_that_is_refused_in_one_form_is_not_refused_in_another() {
    let worker = can_do(&[], &["/bin/sh"]);
    let sh = |arguments: &[&str], env: &[&str]| {
        let mut spec = match command("/bin/sh") {
            HandlerSpec::Command(spec) => spec,
            other => panic!("{other:?}"),
        };
        spec.argv.truncate(1);
        spec.argv.extend(arguments.iter().map(|a| (*a).to_owned()));
        spec.env = env
            .iter()
            .map(|name| ((*name).to_owned(), "x".to_owned()))
            .collect();
        Need::of(&HandlerSpec::Command(spec)).unwrap()
    };
    let forms = [
        sh(&[], &[]),
        sh(&["-c"], &[]),
        sh(&["-c", "x"], &[]),
        sh(&[], &["A"]),
        sh(&[], &["A", "B"]),
    ];
    for refused in &forms {
        let mut refusals = Refusals::default();
        assert!(refusals.mark(refused, Monotonic::from_ms(0)));
        let told = worker.refusing(refusals.tokens());
        for need in &forms {
            let can = if need == refused { Can::No } else { Can::Yes };
            assert_eq!(told.can(need), can);
            assert_eq!(need.exact().parse::<Need>().as_ref(), Ok(need));
            assert_eq!(need.token(), "command:/bin/sh");
        }
    }
    // What an older worker says it refuses, it refuses in every form.
    let older = worker.refusing(BTreeSet::from(["command:/bin/sh".to_owned()]));
    assert!(forms.iter().all(|need| older.can(need) == Can::No));
    // The value of a variable is no part of the form; a program's own `#` is no form.
    assert_eq!(
        "command:/opt/c#run".parse(),
        Ok(Need::Command("/opt/c#run".to_owned(), None))
    );
}

/// A broker that reaches our own workers alone: known from its node, or told by a member.
#[test]
fn what_a_listener_of_its_own_would_carry_out_is_blocked_where_none_can_be_reached() {
    let external: HandlerSpec = serde_json::from_value(
        serde_json::json!({"external": {"destination": "x", "reply": "none"}}),
    )
    .unwrap();
    let silent = Abilities {
        no_listeners: true,
        ..can_do(&["a"], &[])
    };
    let told = serde_json::to_string(&silent).unwrap();
    assert_eq!(serde_json::from_str::<Abilities>(&told).unwrap(), silent);
    let plain = serde_json::to_string(&can_do(&["a"], &[])).unwrap();
    assert!(
        !plain.contains("no_listeners"),
        "older lanes keep their names: {plain}"
    );
    let need = Need::Listener;
    assert_eq!(need.exact().parse::<Need>(), Ok(need.clone()));
    let here = routes(&[Some(can_do(&["a"], &[]))]);
    for (routes, blocked) in [
        (here.clone(), false),
        (here.clone().reaching(true), false),
        (here.reaching(false), true),
        (routes(&[Some(silent)]), true),
        (routes(&[]).reaching(false), true),
    ] {
        for queue in [queue(), QueueName::new("nobody")] {
            let route = routes.route(&queue, Some(&external));
            assert_eq!(route == Route::Blocked, blocked, "{routes:?}");
            let trouble = routes.trouble(&queue, &external).map(|t| t.to_string());
            assert_eq!(trouble.is_some_and(|t| t.contains("`store:`")), blocked);
            assert_eq!(routes.can(&queue, &need) == Can::No, blocked);
        }
        assert_ne!(routes.route(&queue(), Some(&native("a"))), Route::Blocked);
    }
}
