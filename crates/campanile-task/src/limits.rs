//! Every limit of the system but those of schedules and calendars ([`campanile_schedule::limits`]), in one list, so that
//! nobody looks for a bound and finds none. Sizes in bytes, times as durations. A limit lives here when two modules must
//! agree on it.

use std::time::Duration;

/// Queues with their ends, and tasks with figures of their own, that metrics name.
pub const METRIC_SERIES_MAX: usize = 1_000;
/// Rows of such a task's history that are looked at for its last success, the first time.
pub const SUCCESS_LOOK_FIRST: usize = 1_000;
/// The same, each time after that.
pub const SUCCESS_LOOK_AGAIN: usize = 50;
/// Tasks whose names are looked at for such a pattern.
pub const SUCCESS_NAMES_MAX: usize = 20_000;
/// Patterns of the names of such tasks.
pub const METRIC_PATTERNS_MAX: usize = 100;
/// A payload, as JSON: checked before anything is stored, because a broker only closes the connection on a huge one.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// How deep lists and objects of a payload may lie in each other: readers of JSON stop at about 128 levels, and answers
/// and envelopes put some around it.
pub const PAYLOAD_DEPTH_MAX: usize = 100;
/// Values (numbers, texts, lists, objects …) of a payload: each takes many times its own bytes once it is read.
pub const PAYLOAD_VALUES_MAX: usize = 50_000;
/// A request's body that holds one thing, and one of the things of a body that holds many.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Values of such a body.
pub const BODY_VALUES_MAX: usize = 100_000;
/// Values of a body that holds many things.
pub const BULK_VALUES_MAX: usize = 1_000_000;

/// A task's description.
pub const DESCRIPTION_BYTES_MAX: usize = 10_000;
/// Labels of a task.
pub const LABELS_MAX: usize = 20;
/// The key of a label, and its value.
pub const LABEL_KEY_BYTES_MAX: usize = 63;
/// See [`LABEL_KEY_BYTES_MAX`].
pub const LABEL_VALUE_BYTES_MAX: usize = 100;
/// Labels that tasks are looked for by at once.
pub const LABELS_ASKED_MAX: usize = 10;
/// Tasks of a label whose runs are listed.
pub const LABELLED_TASKS_MAX: usize = 1_000;
/// Labels that metrics show.
pub const METRIC_LABELS_MAX: usize = 10;
/// Calendars that a task names.
pub const CALENDARS_OF_TASK_MAX: usize = 50;
/// The address of an `http` handler.
pub const URL_BYTES_MAX: usize = 8_000;
/// Header lines of an `http` handler.
pub const HTTP_HEADERS_MAX: usize = 100;
/// All of them together, names and values.
pub const HTTP_HEADERS_BYTES_MAX: usize = 32 * 1024;
/// Statuses that an `http` handler expects.
pub const EXPECTED_STATUSES_MAX: usize = 100;
/// Arguments of a `command` handler, the program included.
pub const ARGUMENTS_MAX: usize = 1_000;
/// Variables of a `command` handler's environment.
pub const ENVIRONMENT_MAX: usize = 500;
/// Arguments and environment together: well below what an operating system gives a program.
pub const COMMAND_BYTES_MAX: usize = 256 * 1024;
/// One argument, or one variable with its value: Linux takes 128 KiB.
pub const ARGUMENT_BYTES_MAX: usize = 100 * 1024;
/// The folder of a `command` handler.
pub const DIRECTORY_BYTES_MAX: usize = 4_000;
/// What a `command` handler reads on standard input.
pub const STDIN_BYTES_MAX: usize = 256 * 1024;

/// References to secrets that a task's definition may hold.
pub const SECRETS_OF_TASK_MAX: usize = 64;
/// A secret's value; shorter ones than the least are found in too many texts that have nothing to do with them.
pub const SECRET_BYTES_MIN: usize = 8;
/// The same at the most: a private key with its chain.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// Secrets that a worker's settings may name.
pub const SECRET_RULES_MAX: usize = 500;
/// Names by which more is masked than by the list that is built in.
pub const MASK_KEYS_MAX: usize = 100;

/// How deep lists and objects of a task file or of a request may lie in each other: a payload's own depth and what lies
/// around it. Checked before anything is built.
pub const DOCUMENT_DEPTH_MAX: usize = 110;
/// A task file, in bytes: looked at before it is read.
pub const TASK_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// An error's text in a run's row.
pub const ERROR_BYTES_MAX: usize = 4 * 1024;
/// The log of one attempt, unless its task says otherwise; of more, beginning and end are kept, and how much is missing.
pub const LOG_BYTES: usize = 64 * 1024;
/// The least and the most that a task may say.
pub const LOG_BYTES_MIN: usize = 4 * 1024;
pub const LOG_BYTES_MAX: usize = 1024 * 1024;
/// A piece of a log in the store: while it is smaller than this it is written again with what follows.
pub const LOG_CHUNK_BYTES_MIN: usize = 4 * 1024;
/// The largest such piece.
pub const LOG_CHUNK_BYTES_MAX: usize = 16 * 1024;
/// How often a worker writes what its attempts wrote since, while they write.
pub const LOG_FLUSH_PERIOD: Duration = Duration::from_millis(500);
/// Attempts whose output one transaction writes.
pub const LOG_FLUSH_ROWS_MAX: usize = 1_000;
/// Bytes of that, together; one attempt's is written in any case.
pub const LOG_FLUSH_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Rows of the inbox that one transaction of the leader takes out.
pub const INBOX_ROWS_MAX: usize = 500;
/// Of the requests of those rows together; one is taken in any case.
pub const INBOX_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Of what a handler says about how far it is.
pub const PROGRESS_BYTES_MAX: usize = 1_000;
/// Attempts whose progress one heartbeat carries; those left over wait for the next.
pub const PROGRESS_ROWS_MAX: usize = 1_000;
/// Of what a run's handler returns, as JSON.
pub const RESULT_BYTES_MAX: usize = 64 * 1024;
/// The body of a message.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// A header or property of a message: half of what brokers take in one line, for escapes may double it.
pub const HEADER_BYTES_MAX: usize = 4_000;
/// An idempotency key of a submission.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 200;
/// Attempts that a task may ask for.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// Entries of `retry.on`, and of `retry.never_on`.
pub const RETRY_CLASSES_MAX: usize = 50;
/// The longest wait that a target or a handler may ask for (`Retry-After`); more is taken for this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);
/// Attempts that may die with their worker before the run ends `failed(lost)`: a poison run must not eat workers.
pub const LOSSES_MAX: u32 = 3;
/// Any duration in a task.
pub const DURATION_MAX: Duration = Duration::from_secs(365 * 86_400);

/// How far ahead of their instants occurrences get their run rows.
pub const LOOK_AHEAD: Duration = Duration::from_millis(1_500);
/// How often the leader scans when nothing wakes it.
pub const SCAN_PERIOD: Duration = Duration::from_millis(1_000);
/// Due rows that one scan takes in all.
pub const SCAN_ROWS_MAX: usize = 4_096;
/// Tasks whose rows are read at once when what was planned while the store's clock was ahead is taken back.
pub const PUT_BACK_TASKS_MAX: usize = 20;
/// Runs that one statement takes back, and tasks up to which only theirs are looked at.
pub const TAKE_BACK_ROWS_MAX: usize = 500;
/// Rows of one firing: bounds the leader's transaction to a fraction of a second.
pub const FIRE_ROWS_MAX: usize = 1_024;
/// Published and not yet seen claimed, for each queue; the rest waits in the database.
pub const IN_FLIGHT_MAX: usize = 10_000;
/// Messages of one publish: one broker transaction (measured: the knee is at 100).
pub const PUBLISH_BATCH_MAX: usize = 100;
/// Runs of one publish, whatever number of messages they share.
pub const PUBLISH_RUNS_MAX: usize = 1_000;
/// Runs of one message to our own workers.
pub const GROUP_RUNS_MAX: usize = 100;
/// Publishes under way at once.
pub const PUBLISHES_MAX: usize = 8;
/// A publish without its confirm after this is given up; the runs stay in the store.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after its publish an unclaimed run is marked queued.
pub const MARK_AFTER: Duration = Duration::from_secs(1);
/// The first wait before an unclaimed run is published again; doubles up to [`REPUBLISH_MAX`].
pub const REPUBLISH_INITIAL: Duration = Duration::from_secs(60);
/// The longest wait before another publish.
pub const REPUBLISH_MAX: Duration = Duration::from_secs(3_600);

/// Fuel of one request: some seconds of one core at the most.
pub const REQUEST_FUEL: u64 = 20_000_000;
/// Fuel for the reading of one task's schedule: about twice what the largest count of twenty plain expressions takes.
pub const TASK_FUEL: u64 = 3_000_000;
/// Fuel that a file of tasks has for each of them beside [`REQUEST_FUEL`]: plain schedules take a tenth of it.
pub const APPLY_TASK_FUEL: u64 = 2_000;
/// Fuel of a page of tasks: for those whose next instant a calendar excludes.
pub const PAGE_FUEL: u64 = 2_000_000;
/// Fuel for what is due within the next seconds, where a due row is put elsewhere.
pub const AHEAD_FUEL: u64 = 1_000_000;
/// Fuel for the count of what passed while a task rested.
pub const REST_FUEL: u64 = 12_000_000;
/// Fuel of a whole forecast: it is the sum of what its own bounds allow of plain schedules.
pub const FORECAST_FUEL: u64 = 500_000_000;
/// What the leader reads of one task's schedule where it plans; longer ones are read apart, while it goes on.
pub const LEADER_TASK_FUEL: u64 = 20_000;
/// What one due row's plan burns before it leaves the rest to the next: some hundredths of a second.
pub const PLAN_FUEL: u64 = 400_000;
/// What the plans of one firing burn together before the rest is left to the next.
pub const FIRE_FUEL: u64 = 800_000;
/// Tasks whose schedules are looked at in one go where many are: others get their turn in between.
pub const LOOKED_AT_ONCE: usize = 64;
/// Requests that wait for a thread that computes, at most; those over it are asked to come again.
pub const COMPUTE_QUEUE_MAX: usize = 64;
/// What a worker announces of its abilities, in bytes of names.
pub const ABILITIES_BYTES_MAX: usize = 16 * 1024;
/// What a worker remembers to have refused.
pub const REFUSALS_MAX: usize = 100;
/// How long a refusal counts that was not to be foreseen; doubles with each further one up to [`REFUSAL_MAX`].
pub const REFUSAL_INITIAL: Duration = Duration::from_secs(60);
/// The longest such time.
pub const REFUSAL_MAX: Duration = Duration::from_secs(3_600);
/// The wait before a run is offered again that a worker refused; doubles with each refusal up to [`REFUSED_AGAIN_MAX`].
pub const REFUSED_AGAIN_INITIAL: Duration = Duration::from_millis(250);
/// The longest such wait.
pub const REFUSED_AGAIN_MAX: Duration = Duration::from_secs(60);
/// Lanes that one run is published to.
pub const LANES_MAX: usize = 4;
/// How old what the leader knows of the members' abilities may be.
pub const MEMBERS_PERIOD: Duration = Duration::from_secs(1);

/// Missed instants of one task that one firing looks at.
pub const CATCH_UP_STEPS_MAX: usize = 10_000;
/// By how much the priority of catch-up runs is lowered.
pub const CATCH_UP_PRIORITY_LOWER: u8 = 3;
/// Instants that are counted, at most, for the row of a pause or a change.
pub const REST_STEPS_MAX: usize = 1_000_000;
/// Runs of one backfill.
pub const BACKFILL_RUNS_MAX: usize = 10_000;
/// Missed occurrences that `misfire = "all"` runs.
pub const CATCH_UP_RUNS_MAX: usize = 100;

/// Permits of one limit (a task's, a queue's, a group's).
pub const PERMITS_MAX: u32 = 1_000;
/// Runs that may wait for one permit of an exclusive task.
pub const BLOCKED_MAX: u32 = 10_000;

/// Runs that one claim takes.
pub const CLAIM_ROWS_MAX: usize = 1_000;
/// Ends that one finish writes.
pub const FINISH_ROWS_MAX: usize = 1_000;
/// Bytes of the ends that one finish writes.
pub const FINISH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Due rows that are set aside one after the other, while the store takes no other: then it is not the rows.
pub const SET_ASIDE_IN_A_ROW_MAX: u32 = 20;
/// Rows of one page of a list.
pub const PAGE_ROWS_MAX: usize = 1_000;
/// A write of people's with more rows than this is one of those that a process does one after the other: between two of
/// them the leader and the workers write, who must not wait for a crowd.
pub const BULK_ROWS_MIN: usize = 100;
/// Runs of one submission.
pub const SUBMIT_RUNS_MAX: usize = 10_000;
/// Calendars of one task file, and limits of queues and groups as many.
pub const APPLY_RULES_MAX: usize = 10_000;
/// Tasks of one task file.
pub const APPLY_TASKS_MAX: usize = 200_000;
/// Tasks that one transaction deletes, and waiting runs of deleted tasks that one transaction ends.
pub const DELETE_ROWS_MAX: usize = 500;
/// Tasks of one owner that may be deleted by one act without a confirmation; a tenth of them where that is more.
pub const DELETE_UNASKED_TASKS_MAX: usize = 20;
/// How long one request goes on deleting tasks; what is left then is deleted by the next one.
pub const DELETE_PATIENCE: Duration = Duration::from_secs(5);
/// Live runs that one look for those of deleted tasks passes over.
pub const DELETE_LOOK_ROWS_MAX: usize = 5_000;
/// How long after a task's deletion its runs are looked for a last time: longer than any request may take that saw the
/// task still living.
pub const DELETE_LAST_LOOK: Duration = Duration::from_secs(60);
/// Tasks that had one name, whose runs are listed under it: the last ones.
pub const NAMESAKES_MAX: usize = 1_000;
/// Finished runs that one pruning transaction removes.
pub const PRUNE_ROWS_MAX: usize = 500;

/// Wrong tokens that one client may present at once.
pub const LOGIN_BURST: u32 = 10;
/// And then one in this time.
pub const LOGIN_REFILL: Duration = Duration::from_secs(6);
/// Clients whose failed logins are remembered.
pub const LOGIN_ADDRESSES_MAX: usize = 8_192;
/// The log has one line about a client's failed logins in this time.
pub const LOGIN_LOG_PERIOD: Duration = Duration::from_secs(60);
/// And so many about all clients.
pub const LOGIN_LOG_LINES_MAX: u32 = 20;
