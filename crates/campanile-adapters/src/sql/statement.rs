//! Statements that exist once. A template names its parameters (`:now`), its table parameters
//! (`@rows(id int, note text) AS v`) and the words of the dialect table (`@share`); each database gets its own text from
//! it, made on first use and kept. Where a statement truly differs, it holds two templates under one name. MariaDB's text is
//! made of PostgreSQL's template by the rules in [`super::mariadb::adapt`], or written out where its language needs another
//! statement, or several.

use std::sync::{Arc, OnceLock};

use super::dialect::Dialect;
use super::mariadb::adapt;

/// A statement in every dialect.
pub(super) struct Statement {
    templates: [&'static str; 2],
    /// MariaDB's own, where the rules don't give it.
    on_mariadb: Option<&'static [&'static str]>,
    texts: [OnceLock<Text>; 3],
}

/// A statement in one dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    /// What the database is sent.
    pub(super) sql: Arc<str>,
    /// The parameters in the order of their placeholders.
    pub(super) params: Vec<String>,
    /// Further steps of the same statement, in the same transaction: see [`Self::is_guard`]. Only MariaDB has any.
    pub(super) then: Vec<Self>,
}

impl Statement {
    /// One template for all.
    pub(super) const fn new(template: &'static str) -> Self {
        Self::differs(template, template)
    }

    /// Two templates, for SQLite and for PostgreSQL.
    pub(super) const fn differs(sqlite: &'static str, postgres: &'static str) -> Self {
        Self {
            templates: [sqlite, postgres],
            on_mariadb: None,
            texts: [OnceLock::new(), OnceLock::new(), OnceLock::new()],
        }
    }

    /// The same, and for MariaDB these steps.
    pub(super) const fn on_mariadb(mut self, steps: &'static [&'static str]) -> Self {
        self.on_mariadb = Some(steps);
        self
    }

    /// Whether it is a question, as opposed to a change.
    pub(super) fn answers(&self) -> bool {
        self.templates[0].starts_with("SELECT")
    }

    /// Its text in a dialect.
    pub(super) fn text(&self, dialect: Dialect) -> &Text {
        self.texts[dialect.index()].get_or_init(|| match (dialect, self.on_mariadb) {
            (Dialect::MariaDb, Some(steps)) => Text::of_steps(steps),
            (Dialect::MariaDb, None) => Text::render(self.templates[1], dialect),
            (Dialect::Sqlite | Dialect::Postgres, _) => {
                Text::render(self.templates[dialect.index()], dialect)
            }
        })
    }
}

impl Text {
    /// Renders a template.
    pub(super) fn render(template: &str, dialect: Dialect) -> Self {
        match dialect {
            Dialect::MariaDb => Self::of_steps(&adapt::steps(template)),
            Dialect::Sqlite | Dialect::Postgres => Self::rendered(template, dialect),
        }
    }

    /// What MariaDB is sent, one after the other.
    fn of_steps<T: AsRef<str>>(steps: &[T]) -> Self {
        let mut texts = steps
            .iter()
            .map(|step| Self::rendered(step.as_ref(), Dialect::MariaDb));
        let mut first = texts
            .next()
            .unwrap_or_else(|| Self::rendered("", Dialect::MariaDb));
        first.then = texts.collect();
        first
    }

    /// Whether a statement of several steps is over when this one finds or changes nothing. Its answer is that of its
    /// question; what it changed is what its last step changed.
    pub(super) fn is_guard(&self) -> bool {
        self.answers() || self.sql.starts_with("UPDATE")
    }

    /// Whether this is a question.
    pub(super) fn answers(&self) -> bool {
        self.sql.starts_with("SELECT")
    }

    /// Puts words, parameters and tables in their places.
    fn rendered(template: &str, dialect: Dialect) -> Self {
        let mut out = Rendering {
            dialect,
            sql: String::with_capacity(template.len() * 2),
            params: Vec::new(),
            placeholders: 0,
        };
        let mut rest = template;
        while let Some(at) = rest.find([':', '@']) {
            out.sql.push_str(&rest[..at]);
            rest = out.mark(&rest[at..]);
        }
        out.sql.push_str(rest);
        Self {
            sql: Arc::from(out.sql),
            params: out.params.into_iter().map(|(name, _)| name).collect(),
            then: Vec::new(),
        }
    }
}

struct Rendering {
    dialect: Dialect,
    sql: String,
    /// Names, each with its first placeholder.
    params: Vec<(String, usize)>,
    placeholders: usize,
}

impl Rendering {
    /// Takes one mark off the front and gives what is behind it. What is no mark of ours is left as it is, for the
    /// database to refuse.
    fn mark<'t>(&mut self, text: &'t str) -> &'t str {
        let is_param = text.starts_with(':');
        let name_end = text[1..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .map_or(text.len(), |n| n + 1);
        let (name, rest) = (&text[1..name_end], &text[name_end..]);
        if name.is_empty() {
            // `::` is a cast: both colons pass.
            let width = if text.starts_with("::") { 2 } else { 1 };
            self.sql.push_str(&text[..width]);
            return &text[width..];
        }
        if is_param {
            let n = self.number(name, 1);
            self.sql.push_str(&self.dialect.placeholder(n));
            return rest;
        }
        if let Some(word) = self.dialect.word(name) {
            self.sql.push_str(word);
            return rest;
        }
        self.table(name, rest).unwrap_or_else(|| {
            self.sql.push_str(&text[..name_end]);
            rest
        })
    }

    fn table<'t>(&mut self, name: &str, rest: &'t str) -> Option<&'t str> {
        let (columns, rest) = rest.strip_prefix('(')?.split_once(')')?;
        let columns: Option<Vec<_>> = columns
            .split(',')
            .map(|column| column.trim().split_once(' '))
            .collect();
        let columns = columns?;
        let rest = rest.strip_prefix(" AS ")?;
        let alias_end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let (_, width) = self.dialect.table(1, &columns, "v");
        let n = self.number(name, width);
        let (sql, _) = self.dialect.table(n, &columns, &rest[..alias_end]);
        self.sql.push_str(&sql);
        Some(&rest[alias_end..])
    }

    /// The first placeholder of a parameter: the one it has already, or new ones. Where placeholders have no numbers, a
    /// parameter has one at each of its places.
    fn number(&mut self, name: &str, width: usize) -> usize {
        let known = self.params.iter().find(|(known, _)| known == name);
        if let Some((_, n)) = known.filter(|_| self.dialect != Dialect::MariaDb) {
            return *n;
        }
        let n = self.placeholders + 1;
        self.placeholders += width;
        self.params.push((name.to_owned(), n));
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_template_gives_each_database_its_text() {
        let template = "UPDATE t SET a = :a::bigint FROM @rows(i int, n text) AS v WHERE t.i = v.i AND t.b < :a @share";
        let sqlite = Text::render(template, Dialect::Sqlite);
        assert_eq!(
            &*sqlite.sql,
            "UPDATE t SET a = ?1::bigint FROM (SELECT value->>0 AS i, value->>1 AS n FROM json_each(?2)) AS v \
             WHERE t.i = v.i AND t.b < ?1 "
        );
        let postgres = Text::render(template, Dialect::Postgres);
        assert_eq!(
            &*postgres.sql,
            "UPDATE t SET a = $1::bigint FROM unnest($2::bigint[], $3::text[]) AS v(i, n) \
             WHERE t.i = v.i AND t.b < $1 FOR KEY SHARE"
        );
        assert_eq!(postgres.params, ["a", "rows"]);
    }

    #[test]
    fn mariadb_has_no_numbers_and_may_need_steps() {
        let template = "UPDATE t SET a = :a, b = :b FROM @rows(i int, n text) AS v WHERE t.i = v.i AND t.b < :a";
        let text = Text::render(template, Dialect::MariaDb);
        assert_eq!(
            &*text.sql,
            "UPDATE JSON_TABLE(?, '$[*]' COLUMNS(i BIGINT PATH '$[0]', n LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin \
             PATH '$[1]')) AS v STRAIGHT_JOIN t ON t.i = v.i AND t.b < ? SET a = ?, b = ?"
        );
        assert_eq!(text.params, ["rows", "a", "a", "b"]);
        assert!(text.then.is_empty());
        static OWN: Statement =
            Statement::new("SELECT 1").on_mariadb(&["UPDATE u SET n = :n", "SELECT n FROM u"]);
        let own = OWN.text(Dialect::MariaDb);
        assert_eq!(
            (&*own.sql, &*own.then[0].sql),
            ("UPDATE u SET n = ?", "SELECT n FROM u")
        );
        assert_eq!(&*OWN.text(Dialect::Postgres).sql, "SELECT 1");
    }

    #[test]
    fn placeholders_behind_a_table_count_its_columns() {
        let template = "SELECT @ids(id int, n int) AS v, :x, @ids(id int, n int) AS w";
        let text = Text::render(template, Dialect::Postgres);
        assert_eq!(
            &*text.sql,
            "SELECT unnest($1::bigint[], $2::bigint[]) AS v(id, n), $3, unnest($1::bigint[], $2::bigint[]) AS w(id, n)"
        );
        let one = Text::render("SELECT id FROM @ids(id int) AS v", Dialect::Sqlite);
        assert_eq!(
            &*one.sql,
            "SELECT id FROM (SELECT value AS id FROM json_each(?1)) AS v"
        );
    }
}
