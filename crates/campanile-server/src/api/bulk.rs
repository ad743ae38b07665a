//! Bodies with many things in them, read item by item while they arrive: an item is looked at, counted and kept or refused
//! before the next one is touched, so that a body never costs more than its good items and one bad one, and is never held
//! itself. It knows no task and no run.

use axum::http::StatusCode;
use campanile_core::limits;
use campanile_core::misread::nearest;
use campanile_schedule::fuel::Fuel;

use super::bodies::values_in;
use super::problem::Problem;
use super::splitter::{Found, Splitter};

/// Bytes of an item that take a unit of fuel.
const UNIT_BYTES: usize = 16;
/// Bytes that are taken at once, before sizes are looked at again.
const FEED_BYTES_MAX: usize = 64 * 1024;

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

/// What becomes of a body's items.
pub trait Gather: Default + Send + 'static {
    /// The lists.
    const LISTS: &'static [List];
    /// Whether a body without any of them may be one thing.
    const MAY_BE_ONE: bool;

    /// Takes an item as it is written.
    ///
    /// # Errors
    /// What is wrong with it.
    fn item(&mut self, list: &'static str, index: usize, raw: &str) -> Result<(), Problem>;
}

/// A body that was read.
#[derive(Debug)]
pub struct Gathered<G> {
    /// Its items.
    pub items: G,
    /// What it held beside them.
    pub seen: Seen,
    /// The body itself, if there was no list in it and it may be one thing.
    pub one: Option<Vec<u8>>,
}

/// Reads a body while it arrives. Values in all are bounded by [`limits::BULK_VALUES_MAX`], one item by what one request may
/// hold.
#[derive(Debug)]
pub struct Reader<G> {
    splitter: Splitter,
    reading: Reading<G>,
    /// What came so far, for as long as there is no list in it.
    one: Option<Vec<u8>>,
    /// It is no object of lists: only kept.
    is_one: bool,
}

impl<G: Gather> Default for Reader<G> {
    fn default() -> Self {
        Self {
            splitter: Splitter::default(),
            reading: Reading {
                items: G::default(),
                inside: None,
                index: 0,
                seen: Seen::default(),
                values: 0,
            },
            one: G::MAY_BE_ONE.then(Vec::new),
            is_one: false,
        }
    }
}

impl<G: Gather> Reader<G> {
    /// Takes the next piece.
    ///
    /// # Errors
    /// What the items' reader refuses; a limit; what is no such object.
    pub fn feed(&mut self, piece: &[u8], fuel: &Fuel) -> Result<(), Problem> {
        for piece in piece.chunks(FEED_BYTES_MAX) {
            if let Some(one) = &mut self.one {
                if one.len() + piece.len() > limits::BODY_BYTES_MAX {
                    return Err(one_is_too_large());
                }
                one.extend_from_slice(piece);
            }
            if self.is_one {
                continue;
            }
            let reading = &mut self.reading;
            let fed = self.splitter.feed(piece, &mut Fed { reading, fuel });
            if !self.reading.seen.lists.is_empty() {
                self.one = None;
            }
            match fed {
                // The reader of one can say more about it.
                Err(problem) if self.one.is_some() && problem.status < 500 => self.is_one = true,
                fed => fed?,
            }
        }
        Ok(())
    }

    /// Bytes that are held beside the items that were taken.
    #[must_use]
    pub fn held(&self) -> usize {
        self.splitter.held() + self.one.as_ref().map_or(0, Vec::len)
    }

    /// There is no more.
    ///
    /// # Errors
    /// More was to come.
    pub fn finish(self) -> Result<Gathered<G>, Problem> {
        if self.one.is_none() {
            self.splitter.finish()?;
        }
        Ok(Gathered {
            items: self.reading.items,
            seen: self.reading.seen,
            one: self.one,
        })
    }
}

fn one_is_too_large() -> Problem {
    let most = limits::BODY_BYTES_MAX;
    let detail = format!("one thing is over the limit of {most} bytes: store its data elsewhere");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// The refusal of a field that a body does not have.
#[must_use]
pub fn unknown(name: &str, lists: &[List]) -> Problem {
    let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
    let known: Vec<String> = lists.iter().map(|l| format!("`{}`", l.name)).collect();
    let what = match nearest(name, lists.iter().map(|l| l.name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has {}", known.join(", ")),
    };
    let detail =
        format!("the body can't be taken: {shown}: is not a field of this request: {what}");
    Problem::bad(Some(&shown), detail)
}

/// Where a body is being read.
#[derive(Debug)]
struct Reading<G> {
    items: G,
    /// The list that is being read, and the next item's place in it.
    inside: Option<List>,
    index: usize,
    seen: Seen,
    values: usize,
}

/// The same while there is fuel.
struct Fed<'a, G> {
    reading: &'a mut Reading<G>,
    fuel: &'a Fuel,
}

impl<G: Gather> Reading<G> {
    fn too_large<T>(&self, list: List, detail: &str) -> Result<T, Problem> {
        let field = format!("{}[{}]", list.name, self.index);
        Err(Problem {
            field: Some(field.clone()),
            ..Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("{field}: {detail}"))
        })
    }

    /// Looks at an item's size, before it is whole and then.
    fn check(&self, list: List, bytes: usize) -> Result<(), Problem> {
        let List { name, items_max } = list;
        if self.index >= items_max {
            let detail = format!(
                "a request holds {items_max} {name}, or {}, whichever comes first: send the rest in another",
                "what the setting `max_bulk_body` says"
            );
            return self.too_large(list, &detail);
        }
        if bytes > limits::BODY_BYTES_MAX {
            let most = limits::BODY_BYTES_MAX;
            return self.too_large(
                list,
                &format!("it is over the limit of {most} bytes for one"),
            );
        }
        Ok(())
    }

    fn take(&mut self, list: List, raw: &str) -> Result<(), Problem> {
        self.check(list, raw.len())?;
        let values = values_in(raw.as_bytes());
        self.values = self.values.saturating_add(values);
        if values > limits::BODY_VALUES_MAX {
            let most = limits::BODY_VALUES_MAX;
            let detail = format!("it holds over {most} values: write it as fewer, longer ones");
            return self.too_large(list, &detail);
        }
        if self.values > limits::BULK_VALUES_MAX {
            let most = limits::BULK_VALUES_MAX;
            let detail =
                format!("the body holds over {most} values: send the rest in another request");
            return self.too_large(list, &detail);
        }
        self.items.item(list.name, self.index, raw)?;
        self.index += 1;
        Ok(())
    }
}

impl<G: Gather> Found for Fed<'_, G> {
    fn field(&mut self, name: &str) -> Result<bool, Problem> {
        self.reading.begin(name)
    }

    fn growing(&mut self, bytes: usize) -> Result<(), Problem> {
        let inside = self.reading.inside;
        inside.map_or(Ok(()), |list| self.reading.check(list, bytes))
    }

    fn item(&mut self, raw: &str) -> Result<(), Problem> {
        let units = u64::try_from(1 + raw.len() / UNIT_BYTES).unwrap_or(u64::MAX);
        if !self.fuel.burn_units(units) {
            let detail = "the body was given up: too much is asked of this node, or nobody waits";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
        }
        let inside = self.reading.inside;
        inside.map_or(Ok(()), |list| self.reading.take(list, raw))
    }
}

impl<G: Gather> Reading<G> {
    /// A field begins.
    fn begin(&mut self, name: &str) -> Result<bool, Problem> {
        self.inside = G::LISTS.iter().find(|l| l.name == name).copied();
        self.index = 0;
        let Some(list) = self.inside else {
            self.seen.unknown.get_or_insert_with(|| name.to_owned());
            return Ok(false);
        };
        if self.seen.lists.contains(&list.name) {
            let detail = format!("the body can't be read: {name}: is there twice");
            return Err(Problem::bad(Some(name), detail));
        }
        self.seen.lists.push(list.name);
        Ok(true)
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

    #[derive(Debug, Default)]
    struct All(Vec<String>);

    impl Gather for All {
        const LISTS: &'static [List] = &LISTS;
        const MAY_BE_ONE: bool = false;

        fn item(&mut self, name: &'static str, index: usize, raw: &str) -> Result<(), Problem> {
            if raw == "\"bad\"" {
                return Err(Problem::bad(Some("bad"), format!("{name}[{index}]")));
            }
            self.0.push(format!("{name}[{index}] {raw}"));
            Ok(())
        }
    }

    /// So many of whatever they are.
    #[derive(Debug, Default)]
    struct Many(usize);

    impl Gather for Many {
        const LISTS: &'static [List] = &[List {
            name: "runs",
            items_max: usize::MAX,
        }];
        const MAY_BE_ONE: bool = true;

        fn item(&mut self, _: &'static str, _: usize, _: &str) -> Result<(), Problem> {
            self.0 += 1;
            Ok(())
        }
    }

    fn items(body: &str) -> Result<(Seen, Vec<String>), Problem> {
        let mut reader = Reader::<All>::default();
        reader.feed(body.as_bytes(), &Fuel::endless())?;
        let got = reader.finish()?;
        Ok((got.seen, got.items.0))
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
        let mut reader = Reader::<Many>::default();
        let refused = reader.feed(br#"{"runs":[1,2,3]}"#, &Fuel::of(2));
        assert_eq!(
            (refused.unwrap_err().status, reader.reading.items.0),
            (503, 2)
        );
    }

    #[test]
    fn many_small_items_are_bounded_together() {
        let item = format!("[{}0]", "0,".repeat(99));
        let count = limits::BULK_VALUES_MAX / 101 + 1;
        let body = format!(r#"{{"runs":[{}]}}"#, vec![item; count].join(","));
        let mut reader = Reader::<Many>::default();
        let refused = reader.feed(body.as_bytes(), &Fuel::endless());
        assert!(refused.unwrap_err().detail.contains("over 1000000 values"));
        assert_eq!(reader.reading.items.0, count - 1);
    }

    #[test]
    fn a_body_of_many_is_never_held() {
        let mut reader = Reader::<Many>::default();
        let fuel = Fuel::endless();
        reader.feed(b"{\"runs\":[0", &fuel).unwrap();
        let item = format!(",\"{}\"", "x".repeat(10_000));
        for _ in 0..5_000 {
            reader.feed(item.as_bytes(), &fuel).unwrap();
            assert!(reader.held() <= item.len());
        }
        reader.feed(b"]}", &fuel).unwrap();
        let got = reader.finish().unwrap();
        assert_eq!((got.items.0, got.one), (5_001, None));
    }

    #[test]
    fn a_body_of_one_is_kept_within_the_limit_of_one() {
        for body in ["{\"task\":\"t\"}", "[1]", "{\"a\":[1]", ""] {
            let mut reader = Reader::<Many>::default();
            reader.feed(body.as_bytes(), &Fuel::endless()).unwrap();
            let got = reader.finish().unwrap();
            assert_eq!(got.one.as_deref(), Some(body.as_bytes()));
        }
        let mut reader = Reader::<Many>::default();
        let body = format!("{{\"task\":\"{}", "x".repeat(limits::BODY_BYTES_MAX));
        let refused = reader.feed(body.as_bytes(), &Fuel::endless()).unwrap_err();
        assert!(refused.status == 413 && refused.detail.contains("one thing"));
    }
}
