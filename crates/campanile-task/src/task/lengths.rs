//! How long the texts of a task may be, and how many of them there may be. Asked before anything else looks at a text, so
//! that nothing works on what it would refuse; what a text means is checked elsewhere.

use campanile_schedule::limits as schedule_limits;
use campanile_schedule::{Invalid, check_bytes, check_zone};

use super::{CommandSpec, HandlerSpec, HttpSpec, TaskSpec};
use crate::limits;

fn check_count(field: &str, count: usize, most: usize, what: &str) -> Result<(), Invalid> {
    if count <= most {
        return Ok(());
    }
    let message = format!("{count} {what} are over the limit of {most}: write fewer");
    Err(Invalid::new(field, message))
}

/// The texts of a task.
pub(super) fn check_task(task: &TaskSpec) -> Result<(), Invalid> {
    let described = task.description.as_ref().map_or(0, String::len);
    let most = limits::DESCRIPTION_BYTES_MAX;
    check_bytes("description", described, most, "write a few sentences")?;
    check_zone(&task.timezone)?;
    let schedules: &[String] = task.schedule.as_ref().map_or(&[], |s| s.as_slice());
    check_count(
        "schedule",
        schedules.len(),
        schedule_limits::SCHEDULES_MAX,
        "schedules",
    )?;
    for schedule in schedules {
        let most = schedule_limits::SCHEDULE_BYTES_MAX;
        check_bytes(
            "schedule",
            schedule.len(),
            most,
            "write it shorter, or as several",
        )?;
    }
    let kept = limits::LOG_BYTES_MIN..=limits::LOG_BYTES_MAX;
    if let Some(bytes) = task.log_bytes.filter(|bytes| !kept.contains(bytes)) {
        let (least, most) = (kept.start(), kept.end());
        let message = format!("{bytes} is out of range: write {least} to {most} bytes");
        return Err(Invalid::new("log_bytes", message));
    }
    let calendars = task.calendars.as_slice().len();
    check_count(
        "calendars",
        calendars,
        limits::CALENDARS_OF_TASK_MAX,
        "calendars",
    )
}

/// The texts of a handler.
pub(super) fn check_handler(handler: &HandlerSpec) -> Result<(), Invalid> {
    match handler {
        HandlerSpec::Http(http) => check_http(http),
        HandlerSpec::Command(command) => check_command(command),
        // Names, which have a check of their own.
        HandlerSpec::Native(_) | HandlerSpec::External(_) => Ok(()),
    }
}

fn check_http(http: &HttpSpec) -> Result<(), Invalid> {
    let (url, most) = (http.url.len(), limits::URL_BYTES_MAX);
    check_bytes(
        "handler.http.url",
        url,
        most,
        "send the data as the payload",
    )?;
    let (field, count) = ("handler.http.headers", http.headers.len());
    check_count(field, count, limits::HTTP_HEADERS_MAX, "headers")?;
    let bytes = http.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
    let most = limits::HTTP_HEADERS_BYTES_MAX;
    check_bytes(field, bytes, most, "send the data as the payload")?;
    let (statuses, most) = (http.expect.len(), limits::EXPECTED_STATUSES_MAX);
    check_count("handler.http.expect", statuses, most, "statuses")
}

fn check_command(command: &CommandSpec) -> Result<(), Invalid> {
    let remedy = "pass long data as the payload, which it reads on standard input";
    let one = limits::ARGUMENT_BYTES_MAX;
    let (field, count) = ("handler.command.argv", command.argv.len());
    check_count(field, count, limits::ARGUMENTS_MAX, "arguments")?;
    for argument in &command.argv {
        check_bytes(field, argument.len(), one, remedy)?;
    }
    let arguments = command.argv.iter().map(|a| a.len() + 1).sum::<usize>();
    check_bytes(field, arguments, limits::COMMAND_BYTES_MAX, remedy)?;
    let (field, count) = ("handler.command.env", command.env.len());
    check_count(field, count, limits::ENVIRONMENT_MAX, "variables")?;
    let sizes = || command.env.iter().map(|(n, v)| n.len() + v.len() + 2);
    for bytes in sizes() {
        check_bytes(field, bytes, one, remedy)?;
    }
    let all = arguments + sizes().sum::<usize>();
    check_bytes(field, all, limits::COMMAND_BYTES_MAX, remedy)?;
    let dir = command.dir.as_ref().map_or(0, String::len);
    let most = limits::DIRECTORY_BYTES_MAX;
    check_bytes("handler.command.dir", dir, most, "write a shorter path")?;
    let stdin = command.stdin.as_ref().map_or(0, String::len);
    let remedy = "put the data into a file that the command reads";
    check_bytes(
        "handler.command.stdin",
        stdin,
        limits::STDIN_BYTES_MAX,
        remedy,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::task::{Texts, check_handler};
    use campanile_schedule::time::Timestamp;

    fn long(bytes: usize) -> String {
        "x".repeat(bytes)
    }

    fn http(change: impl FnOnce(&mut HttpSpec)) -> HandlerSpec {
        let mut http = HttpSpec {
            url: "http://h/".to_owned(),
            method: "GET".to_owned(),
            headers: BTreeMap::new(),
            expect: Vec::new(),
        };
        change(&mut http);
        HandlerSpec::Http(http)
    }

    fn command(change: impl FnOnce(&mut CommandSpec)) -> HandlerSpec {
        let json = serde_json::json!({ "argv": ["/bin/true"] });
        let mut command: CommandSpec = serde_json::from_value(json).unwrap();
        change(&mut command);
        HandlerSpec::Command(command)
    }

    fn variables(count: usize, bytes: usize) -> BTreeMap<String, String> {
        (0..count).map(|n| (format!("v{n}"), long(bytes))).collect()
    }

    /// Handlers, the field that is too long, and a part of what is said.
    fn of_http_too_long() -> Vec<(HandlerSpec, &'static str, &'static str)> {
        vec![
            (
                http(|h| h.url.push_str(&long(8_000))),
                "handler.http.url",
                "8000",
            ),
            (
                http(|h| h.headers = variables(25_000, 1)),
                "handler.http.headers",
                "limit of 100",
            ),
            (
                http(|h| h.headers = variables(50, 1_000)),
                "handler.http.headers",
                "limit of 32768",
            ),
            (
                http(|h| h.expect = vec![200; 101]),
                "handler.http.expect",
                "100",
            ),
        ]
    }

    /// The same of commands.
    fn of_commands_too_long() -> Vec<(HandlerSpec, &'static str, &'static str)> {
        vec![
            (
                command(|c| c.argv.resize(1_001, String::new())),
                "handler.command.argv",
                "limit of 1000",
            ),
            (
                command(|c| c.argv.push(long(102_401))),
                "handler.command.argv",
                "limit of 102400",
            ),
            (
                command(|c| c.argv.resize(4, long(100_000))),
                "handler.command.argv",
                "limit of 262144",
            ),
            (
                command(|c| c.env = variables(501, 1)),
                "handler.command.env",
                "limit of 500",
            ),
            (
                command(|c| c.env = variables(3, 100_000)),
                "handler.command.env",
                "limit of 262144",
            ),
            (
                command(|c| c.dir = Some(long(4_001))),
                "handler.command.dir",
                "limit of 4000",
            ),
            (
                command(|c| c.stdin = Some(long(262_145))),
                "handler.command.stdin",
                "limit of 262144",
            ),
        ]
    }

    #[test]
    fn every_text_of_a_handler_has_a_limit_that_names_its_field() {
        for (handler, field, part) in of_http_too_long().into_iter().chain(of_commands_too_long()) {
            let refused = check_handler(&handler).unwrap_err();
            assert_eq!(refused.field, field);
            assert!(refused.message.contains(part), "{refused}");
            assert!(refused.message.len() < 300);
        }
        for fine in [
            http(|h| h.headers = variables(100, 300)),
            command(|c| {
                c.argv = vec![format!("/{}", long(100_000)), long(50_000)];
                c.env = variables(100, 1_000);
                c.stdin = Some(long(262_144));
            }),
        ] {
            check_handler(&fine).unwrap();
        }
    }

    #[test]
    fn every_text_of_a_task_has_a_limit_that_names_its_field() {
        let texts = |count: usize, bytes| std::iter::repeat_n(long(bytes), count);
        let spec = |change: &dyn Fn(&mut TaskSpec)| {
            let mut spec = TaskSpec::for_handler(HandlerSpec::Native("n".to_owned()));
            spec.name = "t".to_owned();
            change(&mut spec);
            spec.validate(Timestamp::from_ms(0)).unwrap_err()
        };
        let many = |spec: &mut TaskSpec| spec.schedule = Some(texts(21, 1).collect::<Texts>());
        let refusals = [
            (spec(&|s| s.name = long(201)), "name", "1 to 200"),
            (
                spec(&|s| s.description = Some(long(10_001))),
                "description",
                "limit of 10000",
            ),
            (
                spec(&|s| s.timezone = long(101)),
                "timezone",
                "limit of 100",
            ),
            (
                spec(&|s| s.schedule = Some(long(4_001).into())),
                "schedule",
                "limit of 4000",
            ),
            (spec(&many), "schedule", "limit of 20"),
            (
                spec(&|s| s.calendars = texts(51, 1).collect()),
                "calendars",
                "limit of 50",
            ),
            (spec(&|s| s.group = Some(long(201))), "group", "1 to 200"),
            (
                spec(&|s| s.payload = serde_json::json!(vec![0; limits::PAYLOAD_VALUES_MAX])),
                "payload",
                "over the limit of 50000",
            ),
        ];
        for (refused, field, part) in refusals {
            assert_eq!(refused.field, field);
            assert!(refused.message.contains(part), "{refused}");
            assert!(refused.message.len() < 300, "{refused}");
        }
    }
}
