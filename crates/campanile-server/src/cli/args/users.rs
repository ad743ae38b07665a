//! What can be typed behind `user` and `session`, with its help. A password is never typed there, where everybody could
//! read it; nothing here does anything.

use clap::{Args, Subcommand};

use super::Page;

/// What somebody may do.
#[derive(Debug, Clone, Args)]
pub struct RightsTyped {
    /// viewer, operator, editor, admin or executor
    #[arg(long)]
    pub role: String,
    /// May see payloads, results and logs, too
    #[arg(long)]
    pub data: bool,
    /// Only within this part: prefix:NAME, owner:NAME or queue:NAME; several times for several parts
    #[arg(long, value_name = "PART")]
    pub scope: Vec<String>,
}

/// `user …`
#[derive(Debug, Subcommand)]
pub enum User {
    /// Make a user; the password is asked for at the terminal, or read from standard input
    Add {
        /// The name: letters without accents, digits and .-_@+
        name: String,
        #[command(flatten)]
        rights: RightsTyped,
    },
    /// The users
    List {
        #[command(flatten)]
        page: Page,
    },
    /// One user
    Show {
        /// The name
        name: String,
    },
    /// Give a user another password, asked for as with `add`; his sessions end
    Passwd {
        /// The name
        name: String,
    },
    /// Let a user do something else from now on
    Rights {
        /// The name
        name: String,
        #[command(flatten)]
        rights: RightsTyped,
    },
    /// Let a user in no more; his sessions end
    Disable {
        /// The name
        name: String,
    },
    /// Let a user in again
    Enable {
        /// The name
        name: String,
    },
    /// Remove a user; his sessions end
    Remove {
        /// The name
        name: String,
    },
}

/// `session …`
#[derive(Debug, Subcommand)]
pub enum Session {
    /// Sessions of browsers that are not over
    List,
    /// End a session, or all of a user
    End {
        /// The session
        #[arg(required_unless_present = "user", conflicts_with = "user")]
        id: Option<String>,
        /// All sessions of this user
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
}
