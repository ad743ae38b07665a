//! The SQL store: SQLite, PostgreSQL and MariaDB behind one set of statements. Owns the truth's layout and every statement on it;
//! decides nothing of the protocol, whose guards its statements are.
//!
//! Read `store` for the statements, `dialect` for all that differs between the databases, `connection` for how
//! transactions are opened, ended and repeated, and `migrations/` for the tables.

mod access;
mod ahead;
mod ask;
mod attempt;
mod audit;
mod chains;
mod connection;
mod dialect;
mod due;
mod edit;
mod ends;
pub mod enqueue;
mod error;
mod fire;
mod gate;
mod hold;
mod inbox;
mod jumps;
mod labels;
mod lead;
mod lock;
mod log;
mod logins;
mod mariadb;
mod member;
mod migration;
mod offers;
mod open;
mod orphans;
mod outage;
mod outbox;
mod patience;
mod pauses;
mod pen;
mod permits;
mod plain;
mod points;
mod pools;
mod publish;
mod quarantine;
mod release;
mod requests;
mod requeue;
mod rows;
mod session;
mod shared;
mod space;
mod statement;
mod store;
mod tasks;
mod unreadable;
mod value;
mod waiting;

pub use error::OpenError;
pub use gate::Gate;
pub use lock::Lock;
pub use migration::Migration;
pub use open::{Migrate, Options, check_url, open, pending};
pub use session::statements;
pub use space::Space;
pub use store::{Description, Store, Unreadable};
