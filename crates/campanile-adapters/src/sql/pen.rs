//! The pens: the two ways to write what a leader or a person decides. A leader's transaction begins with the fence, a
//! person's names its actor; neither kind can be made elsewhere, for the leader's connections and the constructors are
//! private to this file. A paused leader that wakes is harmless because of one line here: the fence matches no row.

use std::ops::{Deref, DerefMut};

use campanile_access::audit::Deed;
use campanile_core::actor::Actor;
use campanile_core::decide::edit::inbox::Drained;
use campanile_core::failpoint::Around;
use campanile_core::port::Written;
use campanile_core::port::edit::OnBehalfOf;
use campanile_core::port::fire::Fired;
use campanile_core::port::lead::{Bid, Term};
use campanile_core::port::store::{self, CALL_TIMEOUT};
use campanile_core::system::{Random, within};

use super::audit::write_down;
use super::connection::{Pool, Tx, Verdict, no_answer, transaction};
use super::error::Failure;
use super::statement::{Statement, Text};
use super::store::BIDDING;
use super::value::{Args, Row};

/// The fence: whether the term is still the one that may write. From here to the end of the transaction no other term
/// begins. `:edits` is the value of the edit counter that the write rests on, or -1.
static FENCE: Statement = Statement::new(
    "UPDATE campanile_leader SET seq = seq + 1, edits = edits + :changes
     WHERE id = 1 AND epoch = :epoch AND holder = :holder AND :edits IN (edits, -1)",
);

/// Begins a term, if nobody else has begun one since the epoch was read: its own fence.
static BEGIN_TERM: Statement = Statement::new(
    "UPDATE campanile_leader SET epoch = :epoch, holder = :holder, node = :node, node_name = :name, since = @now, seq = seq + 1,
     resign_epoch = 0 WHERE id = 1 AND epoch = :read AND epoch < :epoch",
);

/// Edits and the leader's writes are serial; the leader's cache of tasks is as old as this counter.
static TOUCH: Statement = Statement::new(
    "UPDATE campanile_leader SET seq = seq + 1, edits = edits + 1 WHERE id = 1 AND :edits IN (edits, -1)",
);

/// What a write rests on, and whether it changes definitions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footing {
    edits: Option<i64>,
    changes: bool,
}

impl Footing {
    /// The term alone.
    pub(super) const TERM: Self = Self {
        edits: None,
        changes: false,
    };

    /// What was read at this value of the edit counter.
    pub(super) const fn read_at(edits: i64) -> Self {
        Self {
            edits: Some(edits),
            changes: false,
        }
    }

    /// The same, or any value, of a write that changes definitions or due rows which others look at.
    pub(super) const fn changes(edits: Option<i64>) -> Self {
        Self {
            edits,
            changes: true,
        }
    }

    fn args(self) -> [(&'static str, super::value::Arg); 2] {
        [
            ("edits", self.edits.unwrap_or(-1).into()),
            ("changes", i64::from(self.changes).into()),
        ]
    }
}

/// What came of a leader's transaction.
#[derive(Debug)]
pub(super) enum Led<T> {
    /// The fence held, and the body has answered.
    Done(T),
    /// Another term has begun.
    Fenced,
    /// The term stands, and what the write rests on is not as it was read.
    Edited,
}

impl<T> Led<T> {
    /// For writes that rest on the term alone: `None` if it is over.
    pub(super) fn unless_fenced(self) -> Option<T> {
        match self {
            Self::Done(answer) => Some(answer),
            Self::Fenced | Self::Edited => None,
        }
    }
}

impl Led<Written> {
    /// A term that is over is stale, too.
    pub(super) fn written(self) -> Written {
        self.unless_fenced().unwrap_or(Written::Stale)
    }
}

impl Led<Drained> {
    /// As rows of the inbox are taken out.
    pub(super) fn drained(self) -> Drained {
        match self {
            Self::Done(answer) => answer,
            Self::Fenced => Drained::Fenced,
            Self::Edited => Drained::Edited,
        }
    }
}

impl Led<Fired> {
    /// As a firing is answered.
    pub(super) fn fired(self) -> Fired {
        match self {
            Self::Done(answer) => answer,
            Self::Fenced => Fired::Fenced,
            Self::Edited => Fired::Edited,
        }
    }
}

/// What a transaction leaves in the audit if it commits: who does what.
#[derive(Debug, Clone)]
pub(super) struct Record {
    actor: Actor,
    /// `None`: a submission, of which the run itself tells.
    deed: Option<Deed>,
}

impl Record {
    /// What the actor says that he is doing, or what this write is.
    pub(super) fn act(actor: &Actor, plain: impl FnOnce() -> Deed) -> Self {
        Self {
            deed: Some(actor.deed().cloned().unwrap_or_else(plain)),
            actor: actor.clone(),
        }
    }

    /// A submission, and what the actor is doing beside it, if anything.
    pub(super) fn submission(actor: &Actor) -> Self {
        Self {
            deed: actor.deed().cloned(),
            actor: actor.clone(),
        }
    }

    /// The body's answer, with the line written before it is committed.
    async fn with<T>(&self, tx: &mut Tx, body: Body<T>) -> Body<T> {
        let (Some(Ok(Verdict::Commit(_))), Some(deed)) = (&body, &self.deed) else {
            return body;
        };
        match within(CALL_TIMEOUT, write_down(tx, &self.actor, deed)).await {
            Some(Ok(())) => body,
            Some(Err(failure)) => Some(Err(failure)),
            None => None,
        }
    }
}

/// What came of the body of a transaction; `None` = nothing in time.
type Body<T> = Option<Result<Verdict<T>, Failure>>;

/// A transaction of a leader whose fence has held.
pub(super) struct LeaderTx {
    tx: Tx,
    record: Option<Record>,
}

impl LeaderTx {
    /// Edits that the leader makes for somebody: written down if they change something of his and are committed.
    pub(super) fn edit(&mut self, for_whom: OnBehalfOf, deed: Deed) -> EditTx<'_> {
        if deed.count > 0 {
            self.leaves(for_whom, deed);
        }
        EditTx { tx: &mut self.tx }
    }

    /// What it leaves in the audit if it commits, for somebody.
    pub(super) fn leaves(&mut self, for_whom: OnBehalfOf, deed: Deed) {
        self.record = Some(Record::act(&for_whom.actor(), || deed));
    }

    /// Ends it as its body says; any error of the body, or none in time, rolls it back.
    pub(super) async fn settle<T>(
        mut self,
        mut body: Body<T>,
        around: &Around,
    ) -> Result<T, store::Error> {
        if let Some(record) = &self.record {
            body = record.with(&mut self.tx, body).await;
        }
        self.tx.settle(body, around).await
    }
}

impl Deref for LeaderTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for LeaderTx {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}

/// A transaction in which definitions may change: a person's, or a leader's on somebody's behalf.
pub(super) struct EditTx<'t> {
    tx: &'t mut Tx,
}

impl Deref for EditTx<'_> {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        self.tx
    }
}

impl DerefMut for EditTx<'_> {
    fn deref_mut(&mut self) -> &mut Tx {
        self.tx
    }
}

/// A transaction of a person. It ends with its line in the audit, or it does not commit.
pub(super) struct EditorTx {
    tx: Tx,
    record: Record,
}

impl EditorTx {
    /// What it may do.
    pub(super) fn edit(&mut self) -> EditTx<'_> {
        EditTx { tx: &mut self.tx }
    }

    /// As [`LeaderTx::settle`].
    pub(super) async fn settle<T>(
        mut self,
        body: Body<T>,
        around: &Around,
    ) -> Result<T, store::Error> {
        let body = self.record.with(&mut self.tx, body).await;
        self.tx.settle(body, around).await
    }
}

/// Connections that only read.
#[derive(Debug, Clone)]
pub(super) struct Reader(Pool);

impl Reader {
    /// Over this pool.
    pub(super) const fn new(pool: Pool) -> Self {
        Self(pool)
    }

    /// The rows that a statement answers with.
    pub(super) async fn rows(
        &self,
        statement: &Statement,
        args: Args<'_>,
    ) -> Result<Vec<Row>, store::Error> {
        self.0.rows(statement, args).await
    }

    /// The same, for a text that was made for this call.
    pub(super) async fn rows_of(
        &self,
        text: &Text,
        args: Args<'_>,
    ) -> Result<Vec<Row>, store::Error> {
        self.0.rows_of(text, args).await
    }

    pub(super) const fn dialect(&self) -> super::dialect::Dialect {
        self.0.dialect()
    }

    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

/// The connections for the two kinds of transaction.
#[derive(Debug)]
pub(super) struct Pens {
    leader: Pool,
    editor: Pool,
}

impl Pens {
    /// The leader's connections, and people's.
    pub(super) const fn new(leader: Pool, editor: Pool) -> Self {
        Self { leader, editor }
    }

    /// Begins a transaction of a leader with the fence. [`as_leader`] calls it.
    pub(super) async fn lead(
        &self,
        term: &Term,
        footing: Footing,
        around: &Around,
    ) -> Result<Led<LeaderTx>, store::Error> {
        let mut tx = self.leader.begin().await?;
        match within(CALL_TIMEOUT, fence(&mut tx, term, footing)).await {
            Some(Ok(Led::Done(()))) => {
                around.reach_guarded();
                Ok(Led::Done(LeaderTx { tx, record: None }))
            }
            Some(Ok(Led::Fenced)) => {
                let refused = Some(Ok(Verdict::Rollback(Led::Fenced)));
                tx.settle(refused, around).await
            }
            Some(Ok(Led::Edited)) => {
                let refused = Some(Ok(Verdict::Rollback(Led::Edited)));
                tx.settle(refused, around).await
            }
            Some(Err(failure)) => tx.settle(Some(Err(failure)), around).await,
            None => Err(no_answer()),
        }
    }

    /// Begins a term.
    pub(super) async fn bid(&self, bid: &Bid, random: &Random) -> Result<Written, store::Error> {
        let args = [
            ("read", bid.read_epoch.into()),
            ("epoch", bid.term.epoch.into()),
            ("holder", bid.term.holder.as_str().into()),
            ("node", bid.node.as_i64().into()),
            ("name", bid.node_name.as_str().into()),
        ];
        let changed = transaction!(BIDDING, self.leader, random, tx => async {
            Ok(Verdict::Commit(tx.write(&BEGIN_TERM, &args).await?))
        });
        changed.map(|rows| match rows {
            0 => Written::Stale,
            _ => Written::Applied,
        })
    }

    /// Begins a person's transaction: `Ok(None)` if it rests on another value of the edit counter. Without a footing it
    /// changes no definition, and waits for nobody who does. [`as_editor`] calls it.
    pub(super) async fn edit(
        &self,
        record: &Record,
        footing: Option<Footing>,
        around: &Around,
    ) -> Result<Option<EditorTx>, store::Error> {
        let mut tx = self.editor.begin().await?;
        let record = record.clone();
        let Some(footing) = footing else {
            return Ok(Some(EditorTx { tx, record }));
        };
        let args = [("edits", footing.edits.unwrap_or(-1).into())];
        match within(CALL_TIMEOUT, tx.write(&TOUCH, &args)).await {
            Some(Ok(0)) => {
                let refused = Some(Ok(Verdict::Rollback(None)));
                tx.settle(refused, around).await
            }
            Some(Ok(_)) => {
                around.reach_guarded();
                Ok(Some(EditorTx { tx, record }))
            }
            Some(Err(failure)) => tx.settle(Some(Err(failure)), around).await,
            None => Err(no_answer()),
        }
    }
}

async fn fence(tx: &mut Tx, term: &Term, footing: Footing) -> Result<Led<()>, Failure> {
    let of_term = [
        ("epoch", term.epoch.into()),
        ("holder", term.holder.as_str().into()),
    ];
    let args: Vec<_> = of_term.iter().cloned().chain(footing.args()).collect();
    if tx.write(&FENCE, &args).await? == 1 {
        return Ok(Led::Done(()));
    }
    if footing.edits.is_none() {
        return Ok(Led::Fenced);
    }
    let args: Vec<_> = of_term.into_iter().chain(Footing::TERM.args()).collect();
    Ok(match tx.write(&FENCE, &args).await? {
        1 => Led::Edited,
        _ => Led::Fenced,
    })
}

/// Runs a body inside a transaction of the leader, under the fence; whole and again where the database asks for that.
/// The body is an expression over the named [`LeaderTx`] that gives a future of `Result<Verdict<T>, Failure>`. Answers
/// [`Led`].
macro_rules! as_leader {
    ($around:expr, $store:expr, $term:expr, $footing:expr, $tx:ident => $body:expr) => {{
        campanile_core::failpoint::reach($around.before);
        let mut tries = $crate::sql::connection::Tries::default();
        loop {
            let begun = $store.pools.pens.lead($term, $footing, &$around).await;
            let answer = match begun {
                Ok($crate::sql::pen::Led::Done(mut owned)) => {
                    let body = {
                        let $tx = &mut owned;
                        campanile_core::system::within(
                            campanile_core::port::store::CALL_TIMEOUT,
                            $body,
                        )
                        .await
                    };
                    let settled = owned.settle(body, &$around).await;
                    settled.map($crate::sql::pen::Led::Done)
                }
                Ok($crate::sql::pen::Led::Fenced) => Ok($crate::sql::pen::Led::Fenced),
                Ok($crate::sql::pen::Led::Edited) => Ok($crate::sql::pen::Led::Edited),
                Err(error) => Err(error),
            };
            if let Some(answer) = tries.judge(answer, &$store.random).await {
                break answer;
            }
        }
    }};
}
pub(super) use as_leader;

/// The same for a person, whose [`Record`] is written with it: the body is over the named [`EditTx`], and commits only if it
/// has changed something. Answers `None` where [`Pens::edit`] does.
macro_rules! as_editor {
    ($around:expr, $store:expr, $record:expr, $footing:expr, $tx:ident => $body:expr) => {{
        campanile_core::failpoint::reach($around.before);
        let mut tries = $crate::sql::connection::Tries::default();
        loop {
            let begun = $store.pools.pens.edit($record, $footing, &$around).await;
            let answer = match begun {
                Ok(Some(mut owned)) => {
                    let body = {
                        let $tx = &mut owned.edit();
                        campanile_core::system::within(
                            campanile_core::port::store::CALL_TIMEOUT,
                            $body,
                        )
                        .await
                    };
                    owned.settle(body, &$around).await.map(Some)
                }
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            if let Some(answer) = tries.judge(answer, &$store.random).await {
                break answer;
            }
        }
    }};
}
pub(super) use as_editor;
