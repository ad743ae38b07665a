//! The SQL store: SQLite and PostgreSQL behind one set of statements. Owns the truth's layout and every statement on it;
//! decides nothing of the protocol, whose guards its statements are.
//!
//! Read `store` for the statements, `dialect` for all that differs between the databases, `connection` for how
//! transactions are opened, ended and repeated, and `migrations/` for the tables.

mod connection;
mod dialect;
mod error;
mod gate;
mod lock;
mod migration;
mod open;
mod outage;
mod outbox;
mod pen;
mod session;
mod space;
mod statement;
mod store;
mod value;

pub use error::OpenError;
pub use gate::Gate;
pub use lock::Lock;
pub use migration::Migration;
pub use open::{Options, check_url, open, pending};
pub use session::statements;
pub use space::Space;
pub use store::{Description, Store, Unreadable};
