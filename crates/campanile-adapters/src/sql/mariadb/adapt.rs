//! From PostgreSQL's way of saying a thing to MariaDB's, by a few rules on whole forms: what to do about a key that is
//! taken, changes of the rows that a table parameter names, and changes that answer. It works on templates, before their
//! parameters are placed. What fits no rule is left as it is, for the database to refuse: a wrong guess would be worse.
//!
//! Two facts are behind the rules. A change of `WHERE key IN (SELECT … FROM a table parameter)` walks the whole table there,
//! and waits for rows that it does not touch; so the parameter is joined, and comes first. And an `UPDATE` can't answer; so
//! it is two steps, of which the first looks and locks.

/// What MariaDB is sent for this template, in order.
pub(in crate::sql) fn steps(template: &str) -> Vec<String> {
    let verb = template.split_whitespace().next().unwrap_or_default();
    if !["SELECT", "INSERT", "UPDATE", "DELETE"].contains(&verb) {
        return vec![template.to_owned()];
    }
    let words: Vec<&str> = template.split_whitespace().collect();
    let text = words
        .join(" ")
        .replace(" AS BIGINT)", " AS SIGNED)")
        .replace(" AS TEXT)", " AS CHAR)")
        .replace(") AS v JOIN ", ") AS v STRAIGHT_JOIN ")
        .replace(RANGE_JOIN.0, RANGE_JOIN.1);
    let adapted = match verb {
        "INSERT" => insert(&text).map(|one| vec![one]),
        "UPDATE" => update(&text),
        "DELETE" => delete(&text),
        _ => Some(vec![named(&text)]),
    };
    adapted.unwrap_or_else(|| vec![text])
}

/// Runs of ranges of ids: by the primary key, however small the table is. A walk over all of it would wait for rows that
/// others hold.
const RANGE_JOIN: (&str, &str) = (
    "@with campanile_run AS run @on run.id BETWEEN",
    "@with campanile_run AS run FORCE INDEX (PRIMARY) @on run.id BETWEEN",
);

/// Columns of nothing, each under a name of its own: a question inside another may not have two of one name.
fn named(text: &str) -> String {
    const NOTHING: &str = "CAST(NULL AS SIGNED)";
    let mut parts = text.split(NOTHING);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for (n, part) in (1..).zip(parts) {
        out.push_str(&format!("{NOTHING} AS nothing_{n}{part}"));
    }
    out
}

/// `INSERT … ON CONFLICT …`.
fn insert(text: &str) -> Option<String> {
    let (put, conflict) = text.split_once(" ON CONFLICT ")?;
    let (table, rest) = put.strip_prefix("INSERT INTO ")?.split_once(' ')?;
    let alias = rest
        .strip_prefix("AS ")
        .and_then(|rest| rest.split_once(' '));
    let (alias, rest) = alias.map_or((None, rest), |(alias, rest)| (Some(alias), rest));
    let first = rest.strip_prefix('(')?.split([',', ')']).next()?;
    let (_, act) = conflict.split_once("DO ")?;
    let act = match act.strip_prefix("NOTHING") {
        // No count of this tells new rows from those that were there.
        Some(rest) => format!("{table}.{first} = {table}.{first}{rest}"),
        None => values(act.strip_prefix("UPDATE SET ")?),
    };
    let act = match alias {
        Some(alias) => act.replace(&format!("{alias}."), &format!("{table}.")),
        None => act,
    };
    // There is no condition on such a change.
    (!act.contains(" WHERE "))
        .then(|| format!("INSERT INTO {table} {rest} ON DUPLICATE KEY UPDATE {act}"))
}

/// `excluded.x` is `VALUES(x)`.
fn values(act: &str) -> String {
    let mut parts = act.split("excluded.");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !is_name(c)).unwrap_or(part.len());
        out.push_str(&format!("VALUES({}){}", &part[..end], &part[end..]));
    }
    out
}

/// `UPDATE … [FROM a table parameter] … [RETURNING …]`.
fn update(text: &str) -> Option<Vec<String>> {
    let (target, rest) = split(text.strip_prefix("UPDATE ")?, " SET ")?;
    let (change, returning) = match split(rest, " RETURNING ") {
        Some((change, columns)) => (change, Some(columns)),
        None => (rest, None),
    };
    let target = Target::of(target);
    let (sets, condition) = split(change, " WHERE ")?;
    if let Some((sets, source)) = split(sets, " FROM @") {
        let (target, name) = (target.text, target.alias);
        debug_assert!(returning.is_none(), "{name}: no such statement answers");
        return Some(vec![format!(
            "UPDATE @{source} STRAIGHT_JOIN {target} ON {condition} SET {sets}"
        )]);
    }
    let joined = target.joined(condition);
    let write = match &joined {
        Some(join) => format!("UPDATE {} SET {sets} WHERE {}", join.tables, join.rest),
        None if returning.is_some() => {
            format!("UPDATE {} SET {sets} WHERE {condition}", target.text)
        }
        None => return None,
    };
    Some(target.looking_first(returning, joined.as_ref(), condition, write))
}

/// `DELETE FROM … [USING a table parameter] … [RETURNING …]`.
fn delete(text: &str) -> Option<Vec<String>> {
    let (change, returning) = match split(text, " RETURNING ") {
        Some((change, columns)) => (change, Some(columns)),
        None => (text, None),
    };
    let (from, condition) = split(change.strip_prefix("DELETE FROM ")?, " WHERE ")?;
    if let Some((target, source)) = from.split_once(" USING ") {
        let Target { text, alias } = Target::of(target);
        return Some(vec![format!(
            "DELETE {alias} FROM {source} STRAIGHT_JOIN {text} ON {condition}"
        )]);
    }
    let target = Target::of(from);
    let joined = target.joined(condition);
    let write = match &joined {
        Some(join) => {
            let (alias, tables, rest) = (target.alias, &join.tables, &join.rest);
            format!("DELETE {alias} FROM {tables} WHERE {rest}")
        }
        None if target.text != target.alias => {
            format!(
                "DELETE {} FROM {} WHERE {condition}",
                target.alias, target.text
            )
        }
        // It can answer by itself.
        None => return None,
    };
    Some(target.looking_first(returning, joined.as_ref(), condition, write))
}

/// The table that is changed.
struct Target<'t> {
    /// With its other name, if it has one.
    text: &'t str,
    alias: &'t str,
}

/// A change of the rows that a table parameter names.
struct Joined {
    tables: String,
    rest: String,
}

impl<'t> Target<'t> {
    fn of(text: &'t str) -> Self {
        let alias = text.split_once(" AS ").map_or(text, |(_, alias)| alias);
        Self { text, alias }
    }

    /// `key IN (SELECT columns FROM @parameter AS v)` as a join of the parameter with the table.
    fn joined(&self, condition: &str) -> Option<Joined> {
        let from = condition.find(" FROM @")?;
        let select = condition[..from].rfind(" IN (SELECT ")?;
        let columns = &condition[select + " IN (SELECT ".len()..from];
        let source_end = from + end_of_source(&condition[from..])?;
        let source = &condition[from + " FROM ".len()..source_end];
        let behind = condition[source_end..].strip_prefix(')')?;
        let key_at = match condition[..select].strip_suffix(')') {
            Some(before) => before.rfind('(')?,
            None => condition[..select].rfind(' ').map_or(0, |at| at + 1),
        };
        let (before, key) = (&condition[..key_at], &condition[key_at..select]);
        if before.ends_with("NOT ") || key == "NOT" {
            return None;
        }
        let keys = key.trim_matches(['(', ')']).split(", ");
        let pairs = keys.zip(columns.split(", ")).map(|(key, column)| {
            let dot = if column.parse::<i64>().is_ok() {
                ""
            } else {
                "v."
            };
            format!("{}.{key} = {dot}{column}", self.alias)
        });
        let on = pairs.collect::<Vec<_>>().join(" AND ");
        Some(Joined {
            tables: format!("{source} STRAIGHT_JOIN {} ON {on}", self.text),
            rest: format!("{before}true{behind}"),
        })
    }

    /// The change, after a look at what it changes, which it locks, if it answers.
    fn looking_first(
        &self,
        returning: Option<&str>,
        joined: Option<&Joined>,
        condition: &str,
        write: String,
    ) -> Vec<String> {
        let Some(columns) = returning else {
            return vec![write];
        };
        let own = |column: &str| match column.starts_with('@') {
            true => column.to_owned(),
            false => format!("{}.{column}", self.alias),
        };
        let columns: Vec<String> = columns.split(", ").map(own).collect();
        let columns = columns.join(", ");
        let look = match joined {
            Some(Joined { tables, rest }) => {
                format!("SELECT {columns} FROM {tables} WHERE {rest} FOR UPDATE")
            }
            None => format!(
                "SELECT {columns} FROM {} WHERE {condition} FOR UPDATE",
                self.text
            ),
        };
        vec![look, write]
    }
}

/// Where ` FROM @name(columns) AS alias` ends.
fn end_of_source(text: &str) -> Option<usize> {
    let alias = text.find(") AS ")? + ") AS ".len();
    let end = text[alias..].find(|c: char| !is_name(c));
    Some(end.map_or(text.len(), |end| alias + end))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Splits at the first such words outside parentheses and quotes.
fn split<'t>(text: &'t str, words: &str) -> Option<(&'t str, &'t str)> {
    let (mut depth, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        if depth == 0 && !quoted && text[at..].starts_with(words) {
            return Some((&text[..at], &text[at + words.len()..]));
        }
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_taken() {
        assert_eq!(
            steps(
                "INSERT INTO due (queue, at)\n SELECT q, t FROM @r(q int, t int) AS v\n WHERE true ON CONFLICT (queue, at) DO NOTHING"
            ),
            [
                "INSERT INTO due (queue, at) SELECT q, t FROM @r(q int, t int) AS v WHERE true \
              ON DUPLICATE KEY UPDATE due.queue = due.queue"
            ]
        );
        assert_eq!(
            steps(
                "INSERT INTO cal AS c (name, n) VALUES (:name, 1) ON CONFLICT (name) DO UPDATE SET n = c.n + excluded.n RETURNING n"
            ),
            [
                "INSERT INTO cal (name, n) VALUES (:name, 1) ON DUPLICATE KEY UPDATE n = cal.n + VALUES(n) RETURNING n"
            ]
        );
        let conditional =
            "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2 WHERE t.a = 1";
        assert_eq!(
            steps(conditional),
            [conditional],
            "no rule: left to be refused"
        );
    }

    #[test]
    fn rows_that_a_parameter_names() {
        assert_eq!(
            steps(
                "DELETE FROM t WHERE n = 1 AND (a, b) IN (SELECT x, y FROM @r(x int, y int) AS v)"
            ),
            [
                "DELETE t FROM @r(x int, y int) AS v STRAIGHT_JOIN t ON t.a = v.x AND t.b = v.y WHERE n = 1 AND true"
            ]
        );
        assert_eq!(
            steps(
                "DELETE FROM t WHERE id IN (SELECT r FROM @r(r int) AS v) AND s = 7 RETURNING id, a"
            ),
            [
                "SELECT t.id, t.a FROM @r(r int) AS v STRAIGHT_JOIN t ON t.id = v.r WHERE true AND s = 7 FOR UPDATE",
                "DELETE t FROM @r(r int) AS v STRAIGHT_JOIN t ON t.id = v.r WHERE true AND s = 7"
            ]
        );
        assert_eq!(
            steps("UPDATE t AS x SET a = v.n FROM @r(i int, n text) AS v WHERE x.id = v.i"),
            ["UPDATE @r(i int, n text) AS v STRAIGHT_JOIN t AS x ON x.id = v.i SET a = v.n"]
        );
        assert_eq!(
            steps("DELETE FROM t AS x USING @r(i int) AS v WHERE x.id = v.i"),
            ["DELETE x FROM @r(i int) AS v STRAIGHT_JOIN t AS x ON x.id = v.i"]
        );
        assert_eq!(
            steps("DELETE FROM t AS x WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.id = x.id)"),
            ["DELETE x FROM t AS x WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.id = x.id)"]
        );
    }

    #[test]
    fn columns_of_nothing_have_names() {
        assert_eq!(
            steps("SELECT a, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT) FROM t"),
            [
                "SELECT a, CAST(NULL AS SIGNED) AS nothing_1, CAST(NULL AS SIGNED) AS nothing_2 FROM t"
            ]
        );
    }

    #[test]
    fn a_change_that_answers() {
        assert_eq!(
            steps("UPDATE t SET s = 8 WHERE id = :id AND s IN (1, 2) RETURNING a, @now"),
            [
                "SELECT t.a, @now FROM t WHERE id = :id AND s IN (1, 2) FOR UPDATE",
                "UPDATE t SET s = 8 WHERE id = :id AND s IN (1, 2)"
            ]
        );
        let native = "DELETE FROM t WHERE id = :id RETURNING a";
        assert_eq!(steps(native), [native]);
    }
}
