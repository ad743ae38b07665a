//! What goes into a statement and what comes out: a handful of types that every database has. Owns the eager row and
//! the table parameter; never speaks to a connection.

use std::fmt::Write as _;

use campanile_core::port::store;

/// One cell of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Null,
}

/// One row of an answer, read from left to right.
#[derive(Debug)]
pub(super) struct Row(std::vec::IntoIter<Value>);

impl Row {
    pub(super) fn new(cells: Vec<Value>) -> Self {
        Self(cells.into_iter())
    }

    /// The number in a column, while nothing of the row was read.
    pub(super) fn peek_int(&self, at: usize) -> Option<i64> {
        match self.0.as_slice().get(at) {
            Some(Value::Int(n)) => Some(*n),
            _ => None,
        }
    }

    /// The next cell, as a number that may be missing.
    pub(super) fn opt_int(&mut self, table: &'static str) -> Result<Option<i64>, store::Error> {
        match self.0.next() {
            Some(Value::Int(n)) => Ok(Some(n)),
            Some(Value::Null) => Ok(None),
            other => Err(unexpected(table, "a number", other.as_ref())),
        }
    }

    /// The next cell, as a number.
    pub(super) fn int(&mut self, table: &'static str) -> Result<i64, store::Error> {
        self.opt_int(table)?
            .ok_or_else(|| unexpected(table, "a number", Some(&Value::Null)))
    }

    /// The next cell, as text that may be missing.
    pub(super) fn opt_text(&mut self, table: &'static str) -> Result<Option<String>, store::Error> {
        match self.0.next() {
            Some(Value::Text(t)) => Ok(Some(t)),
            // MariaDB doesn't say of our columns which of the two they are.
            Some(Value::Bytes(bytes)) => {
                let text = String::from_utf8(bytes);
                text.map(Some).map_err(|error| not_text(table, &error))
            }
            Some(Value::Null) => Ok(None),
            other => Err(unexpected(table, "text", other.as_ref())),
        }
    }

    /// The next cell, as text.
    pub(super) fn text(&mut self, table: &'static str) -> Result<String, store::Error> {
        self.opt_text(table)?
            .ok_or_else(|| unexpected(table, "text", Some(&Value::Null)))
    }

    /// The next cell, as bytes.
    pub(super) fn bytes(&mut self, table: &'static str) -> Result<Vec<u8>, store::Error> {
        match self.0.next() {
            Some(Value::Bytes(b)) => Ok(b),
            other => Err(unexpected(table, "bytes", other.as_ref())),
        }
    }
}

fn not_text(table: &'static str, error: &std::string::FromUtf8Error) -> store::Error {
    store::Error::Corrupt {
        table,
        row: None,
        message: format!("expected text, found bytes: {error}"),
    }
}

fn unexpected(table: &'static str, wanted: &str, found: Option<&Value>) -> store::Error {
    let found = match found {
        Some(Value::Int(_)) => "a number",
        Some(Value::Text(_)) => "text",
        Some(Value::Bytes(_)) => "bytes",
        Some(Value::Null) => "nothing",
        None => "no such column",
    };
    store::Error::Corrupt {
        table,
        row: None,
        message: format!("expected {wanted}, found {found}"),
    }
}

/// One parameter of a statement.
#[derive(Debug, Clone)]
pub(super) enum Arg {
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Table(Table),
}

impl From<i64> for Arg {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for Arg {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Table> for Arg {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

/// The named parameters of one call.
pub(super) type Args<'a> = &'a [(&'static str, Arg)];

/// Many rows as one parameter: columns of equal length.
#[derive(Debug, Clone, Default)]
pub(super) struct Table(pub(super) Vec<Column>);

/// One column of a table parameter.
#[derive(Debug, Clone)]
pub(super) enum Column {
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
}

impl Table {
    /// A table of one column of ids.
    pub(super) fn of<T: Into<Option<i64>>>(ids: impl IntoIterator<Item = T>) -> Self {
        Self::default().ints(ids)
    }

    /// Adds a column of numbers.
    pub(super) fn ints<T: Into<Option<i64>>>(mut self, cells: impl IntoIterator<Item = T>) -> Self {
        self.0
            .push(Column::Ints(cells.into_iter().map(Into::into).collect()));
        self
    }

    /// Adds a column of texts.
    pub(super) fn texts<T: Into<Option<String>>>(
        mut self,
        cells: impl IntoIterator<Item = T>,
    ) -> Self {
        self.0
            .push(Column::Texts(cells.into_iter().map(Into::into).collect()));
        self
    }

    /// The rows as JSON: an array of arrays, or of plain values when there is one column.
    pub(super) fn to_json(&self) -> String {
        let rows = self.0.first().map_or(0, Column::len);
        let mut out = String::with_capacity(rows * self.0.len() * 8 + 2);
        out.push('[');
        for row in 0..rows {
            if row > 0 {
                out.push(',');
            }
            if let [only] = self.0.as_slice() {
                only.write_json(row, &mut out);
                continue;
            }
            out.push('[');
            for (place, column) in self.0.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                column.write_json(row, &mut out);
            }
            out.push(']');
        }
        out.push(']');
        out
    }
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Ints(cells) => cells.len(),
            Self::Texts(cells) => cells.len(),
        }
    }

    fn write_json(&self, row: usize, out: &mut String) {
        match self {
            Self::Ints(cells) => match cells.get(row).copied().flatten() {
                Some(n) => {
                    let _ = write!(out, "{n}");
                }
                None => out.push_str("null"),
            },
            Self::Texts(cells) => match cells.get(row).and_then(Option::as_deref) {
                Some(text) => out.push_str(&serde_json::Value::from(text).to_string()),
                None => out.push_str("null"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_an_array_of_arrays_and_one_column_an_array() {
        let table = Table::of([1, -2]).texts([Some("a\"b".to_owned()), None]);
        assert_eq!(table.to_json(), r#"[[1,"a\"b"],[-2,null]]"#);
        assert_eq!(Table::of([i64::MAX]).to_json(), "[9223372036854775807]");
        assert_eq!(Table::of(Vec::<i64>::new()).to_json(), "[]");
    }

    #[test]
    fn a_cell_of_the_wrong_kind_is_named() {
        let mut row = Row::new(vec![Value::Text("x".into())]);
        assert!(matches!(
            row.int("run"),
            Err(store::Error::Corrupt { table: "run", .. })
        ));
        assert!(row.int("run").is_err());
    }
}
