//! What only MariaDB needs: the rules that turn a statement into its language, the statements that no rule gives, and the
//! way to its servers. It decides nothing; where its locks differ from PostgreSQL's, the statements here say how.

pub(super) mod adapt;
pub(super) mod ends;
pub(super) mod place;
pub(super) mod scan;
pub(super) mod steps;

pub(super) use place::Servers;
