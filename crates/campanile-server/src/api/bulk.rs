//! Bodies with many things in them, read item by item: an item is looked at, counted and kept or refused before the next
//! one is touched, so that a body never costs more than its good items and one bad one. It knows no task and no run.

use axum::http::StatusCode;
use campanile::fuel::Fuel;
use campanile::misread::nearest;
use campanile::protocol::limits;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::bodies::values_in;
use super::problem::Problem;
use crate::document;

/// Bytes of an item that take a unit of fuel.
const UNIT_BYTES: usize = 16;

/// A list that a body may hold.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// Its field.
    pub name: &'static str,
    /// Items at most.
    pub items_max: usize,
}

/// What a body holds beside the items.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The lists that were there.
    pub lists: Vec<&'static str>,
    /// The first field that is none of them.
    pub unknown: Option<String>,
}

/// Reads an object of lists and hands on each item as it is written. Values in all are bounded by
/// [`limits::BULK_VALUES_MAX`], one item by what one request may hold.
///
/// # Errors
/// What the items' reader refuses; a limit; what is no such object.
pub fn read(
    body: &[u8],
    lists: &[List],
    fuel: &Fuel,
    item: &mut dyn FnMut(&'static str, usize, &str) -> Result<(), Problem>,
) -> Result<Seen, Problem> {
    let mut reading = Reading {
        lists,
        fuel,
        item,
        inside: None,
        seen: Seen::default(),
        values: 0,
        problem: None,
    };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = reader
        .deserialize_map(&mut reading)
        .and_then(|()| reader.end());
    match (reading.problem, read) {
        (Some(problem), _) => Err(problem),
        (None, Ok(())) => Ok(reading.seen),
        (None, Err(error)) => Err(Problem::bad(
            reading.inside,
            format!("the body can't be read: {}", in_words(&error)),
        )),
    }
}

/// The refusal of a field that a body does not have.
#[must_use]
pub fn unknown(name: &str, lists: &[List]) -> Problem {
    let shown: String = name
        .chars()
        .take(60)
        .flat_map(char::escape_default)
        .collect();
    let known: Vec<String> = lists.iter().map(|l| format!("`{}`", l.name)).collect();
    let what = match nearest(name, lists.iter().map(|l| l.name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has {}", known.join(", ")),
    };
    let detail =
        format!("the body can't be taken: {shown}: is not a field of this request: {what}");
    Problem::bad(Some(&shown), detail)
}

/// What the reader says, without the words that are about the program.
fn in_words(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let place = format!("line {} column {}: ", error.line(), error.column());
    let said = said.split(" at line ").next().unwrap_or(&said);
    let of_type = said.starts_with("invalid type: ");
    match said.rsplit_once(", expected ") {
        Some((_, wanted)) if of_type => format!("{place}write {wanted}"),
        _ if said.contains("is there twice") => said.to_owned(),
        _ => format!("{place}{}", document::json_in_words(said)),
    }
}

struct Reading<'a> {
    lists: &'a [List],
    fuel: &'a Fuel,
    /// The list that is being read.
    inside: Option<&'static str>,
    item: &'a mut dyn FnMut(&'static str, usize, &str) -> Result<(), Problem>,
    seen: Seen,
    values: usize,
    problem: Option<Problem>,
}

impl Reading<'_> {
    fn take(&mut self, list: List, index: usize, raw: &str) -> Result<(), Problem> {
        let too_large = |detail: String| {
            let field = format!("{}[{index}]", list.name);
            Err(Problem {
                field: Some(field.clone()),
                ..Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("{field}: {detail}"))
            })
        };
        let List { name, items_max } = list;
        let units = 1 + raw.len() / UNIT_BYTES;
        if !self
            .fuel
            .burn_units(u64::try_from(units).unwrap_or(u64::MAX))
        {
            let detail = "the body was given up: too much is asked of this node, or nobody waits";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
        }
        if index >= items_max {
            return too_large(format!(
                "a request holds {items_max} {name}, or {}, whichever comes first: send the rest in another",
                "what the setting `max_bulk_body` says"
            ));
        }
        if raw.len() > limits::BODY_BYTES_MAX {
            let (is, most) = (raw.len(), limits::BODY_BYTES_MAX);
            return too_large(format!("{is} bytes are over the limit of {most} for one"));
        }
        let values = values_in(raw.as_bytes());
        self.values = self.values.saturating_add(values);
        if values > limits::BODY_VALUES_MAX {
            let most = limits::BODY_VALUES_MAX;
            return too_large(format!(
                "it holds over {most} values: write it as fewer, longer ones"
            ));
        }
        if self.values > limits::BULK_VALUES_MAX {
            let most = limits::BULK_VALUES_MAX;
            return too_large(format!(
                "the body holds over {most} values: send the rest in another request"
            ));
        }
        (self.item)(name, index, raw)
    }
}

/// An error that carries nothing: the problem is kept beside it.
fn stop<E: serde::de::Error>() -> E {
    E::custom("refused")
}

impl<'de> Visitor<'de> for &mut Reading<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let Some(list) = self.lists.iter().find(|l| l.name == name).copied() else {
                self.seen.unknown.get_or_insert(name);
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if self.seen.lists.contains(&list.name) {
                return Err(A::Error::custom(format!("{name}: is there twice")));
            }
            self.seen.lists.push(list.name);
            self.inside = Some(list.name);
            map.next_value_seed(Items {
                reading: self,
                list,
            })?;
            self.inside = None;
        }
        Ok(())
    }
}

struct Items<'r, 'a> {
    reading: &'r mut Reading<'a>,
    list: List,
}

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a list in `{}`", self.list.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(raw) = items.next_element::<&RawValue>()? {
            if let Err(problem) = self.reading.take(self.list, index, raw.get()) {
                self.reading.problem = Some(problem);
                return Err(stop());
            }
            index += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: [List; 2] = [
        List {
            name: "runs",
            items_max: 3,
        },
        List {
            name: "others",
            items_max: 1,
        },
    ];

    fn items(body: &str) -> Result<(Seen, Vec<String>), Problem> {
        let mut all = Vec::new();
        let seen = read(
            body.as_bytes(),
            &LISTS,
            &Fuel::endless(),
            &mut |name, index, raw| {
                if raw == "\"bad\"" {
                    return Err(Problem::bad(Some("bad"), format!("{name}[{index}]")));
                }
                all.push(format!("{name}[{index}] {raw}"));
                Ok(())
            },
        )?;
        Ok((seen, all))
    }

    #[test]
    fn items_are_handed_on_as_they_are_written() {
        let (seen, all) = items(r#"{"runs":[{"a": 1},[2]],"x":{"y":[]},"others":["3"]}"#).unwrap();
        assert_eq!(seen.lists, ["runs", "others"]);
        assert_eq!(seen.unknown.as_deref(), Some("x"));
        assert_eq!(
            all,
            [r#"runs[0] {"a": 1}"#, "runs[1] [2]", r#"others[0] "3""#]
        );
        assert_eq!(items("{}").unwrap().0, Seen::default());
    }

    #[test]
    fn what_is_too_much_or_no_such_object_is_refused_where_it_is() {
        let most = limits::BODY_BYTES_MAX;
        let flood = format!(
            r#"{{"runs":[[{}0]]}}"#,
            "0,".repeat(limits::BODY_VALUES_MAX)
        );
        let half = format!("[{}0]", "0,".repeat(limits::BODY_VALUES_MAX - 10));
        for (body, status, part) in [
            (r#"{"runs":[1,2,3,4]}"#.to_owned(), 413, "holds 3 runs"),
            (r#"{"runs":[1,"bad","#.to_owned(), 400, "runs[1]"),
            (r#"{"runs":[1"#.to_owned(), 400, "ends too early"),
            (r#"{"runs":[1]} x"#.to_owned(), 400, "after the end"),
            (r#"{"runs":1}"#.to_owned(), 400, "write a list in `runs`"),
            (
                r#"{"runs":[1],"runs":[1]}"#.to_owned(),
                400,
                "runs: is there twice",
            ),
            ("[1]".to_owned(), 400, "write an object"),
            (
                format!(r#"{{"runs":["{}"]}}"#, "x".repeat(most)),
                413,
                "runs[0]: ",
            ),
            (flood, 413, "values"),
            (
                format!(r#"{{"runs":[{}1]}}"#, format!("{half},").repeat(2)),
                200,
                "",
            ),
        ] {
            match items(&body) {
                Ok(_) => assert_eq!(status, 200),
                Err(problem) => {
                    assert_eq!(problem.status, status, "{}", problem.detail);
                    assert!(problem.detail.contains(part), "{}", problem.detail);
                }
            }
        }
    }

    #[test]
    fn a_reader_without_fuel_stops_between_two_items() {
        let mut taken = 0;
        let body = br#"{"runs":[1,2,3]}"#;
        let refused = read(body, &LISTS, &Fuel::of(2), &mut |_, _, _| {
            taken += 1;
            Ok(())
        });
        assert_eq!((refused.unwrap_err().status, taken), (503, 2));
    }

    #[test]
    fn many_small_items_are_bounded_together() {
        let lists = [List {
            name: "runs",
            items_max: usize::MAX,
        }];
        let item = format!("[{}0]", "0,".repeat(99));
        let count = limits::BULK_VALUES_MAX / 101 + 1;
        let body = format!(r#"{{"runs":[{}]}}"#, vec![item; count].join(","));
        let mut taken = 0;
        let refused = read(body.as_bytes(), &lists, &Fuel::endless(), &mut |_, _, _| {
            taken += 1;
            Ok(())
        });
        assert!(refused.unwrap_err().detail.contains("over 1000000 values"));
        assert_eq!(taken, count - 1);
    }
}
