//! What is typed behind `token` and `audit`: names, roles, scopes, filters. It reads nothing and asks nobody; what a word
//! means is the service's to say, so that both refuse alike.

use clap::{Args, Subcommand};

use super::{Page, Settings};

/// `token …`
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Print the token that clients use: that of `token_file`, or that beside the SQLite file
    Show(Settings),
    /// Make a new token; the old one stays valid beside it until its line is deleted
    New(Settings),
    /// Make an API token, and print it this once
    Create(TokenCreate),
    /// The API tokens
    List,
    /// Let an API token in no more
    Revoke {
        /// Its name
        name: String,
    },
}

/// `token create`
#[derive(Debug, Args)]
pub struct TokenCreate {
    /// Its name, under which its holder's acts are written down
    pub name: String,
    /// What its holder may do: viewer, operator, editor, admin, executor
    #[arg(long)]
    pub role: String,
    /// Its holder may see payloads, results and logs
    #[arg(long)]
    pub data: bool,
    /// Where its holder may act: prefix:BEGINNING, owner:NAME, queue:NAME; several are any of them; none is everywhere
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// When it is over by itself (RFC 3339)
    #[arg(long, value_name = "INSTANT")]
    pub expires_at: Option<String>,
}

/// `audit …`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Who did what, newest first
    List(AuditList),
    /// All lines as JSON lines with their hashes, oldest first
    Export {
        /// Only lines behind this one
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: i64,
    },
    /// Whether a line is missing, was changed, or stands in another's place
    Verify {
        /// Begin behind a line that was good before: SEQ:HASH, as an earlier `audit verify` printed it
        #[arg(long, value_name = "PLACE")]
        from: Option<String>,
    },
}

/// `audit list`
#[derive(Debug, Args)]
pub struct AuditList {
    /// Of this one: token:ci
    #[arg(long)]
    pub actor: Option<String>,
    /// About this: task:bill; or all of a kind: task
    #[arg(long)]
    pub object: Option<String>,
    /// At or after (RFC 3339)
    #[arg(long, value_name = "INSTANT")]
    pub since: Option<String>,
    /// Before (RFC 3339)
    #[arg(long, value_name = "INSTANT")]
    pub until: Option<String>,
    #[command(flatten)]
    pub page: Page,
}
