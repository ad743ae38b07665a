//! The failpoints around every transaction of the store, one value for each: what a transaction is called with. Nothing
//! here does anything; a transaction without such a value does not compile.

use campanile_core::failpoint::{Around, Failpoint};

/// A bid for a term: its one statement is its guard.
pub(in crate::sql) const BEGIN_TERM: Around = Around {
    before: Failpoint::BeginTermBefore,
    guarded: None,
    written: Failpoint::BeginTermWritten,
    committed: Failpoint::BeginTermCommitted,
};

/// A firing.
pub(super) const FIRE: Around = Around {
    before: Failpoint::FireBefore,
    guarded: Some(Failpoint::FireFenced),
    written: Failpoint::FireWritten,
    committed: Failpoint::FireCommitted,
};

/// Published runs are marked, outbox rows removed.
pub(super) const SETTLE: Around = Around {
    before: Failpoint::SettleBefore,
    guarded: Some(Failpoint::SettleFenced),
    written: Failpoint::SettleWritten,
    committed: Failpoint::SettleCommitted,
};

/// External listeners have their messages.
pub(super) const HAND_OVER: Around = Around {
    before: Failpoint::HandOverBefore,
    guarded: Some(Failpoint::HandOverFenced),
    written: Failpoint::HandOverWritten,
    committed: Failpoint::HandOverCommitted,
};

/// A dead node is removed.
pub(super) const EVICT: Around = Around {
    before: Failpoint::EvictBefore,
    guarded: Some(Failpoint::EvictFenced),
    written: Failpoint::EvictWritten,
    committed: Failpoint::EvictCommitted,
};

/// The runs of dead nodes are requeued.
pub(super) const FINISH_LOST: Around = Around {
    before: Failpoint::FinishLostBefore,
    guarded: Some(Failpoint::FinishLostFenced),
    written: Failpoint::FinishLostWritten,
    committed: Failpoint::FinishLostCommitted,
};

/// Something that is refused is set aside; guarded where it is the leader's.
pub(super) const ASIDE: Around = Around {
    before: Failpoint::AsideBefore,
    guarded: Some(Failpoint::AsideFenced),
    written: Failpoint::AsideWritten,
    committed: Failpoint::AsideCommitted,
};

/// A running run's worker is asked to end it.
pub(super) const CANCEL_REQUEST: Around = Around {
    before: Failpoint::CancelRequestBefore,
    guarded: None,
    written: Failpoint::CancelRequestWritten,
    committed: Failpoint::CancelRequested,
};

/// A token is made or revoked, or a refusal is written down.
pub(super) const ACCESS: Around = Around {
    before: Failpoint::AccessBefore,
    guarded: None,
    written: Failpoint::AccessWritten,
    committed: Failpoint::AccessCommitted,
};

/// A term is asked to end.
pub(super) const RESIGN: Around = Around {
    before: Failpoint::ResignBefore,
    guarded: None,
    written: Failpoint::ResignWritten,
    committed: Failpoint::ResignRequested,
};

/// What is set aside is released or dropped.
pub(super) const RELEASE: Around = Around {
    before: Failpoint::ReleaseBefore,
    guarded: None,
    written: Failpoint::ReleaseWritten,
    committed: Failpoint::ReleaseCommitted,
};

/// Left-over permits are taken back.
pub(super) const SWEEP: Around = Around {
    before: Failpoint::SweepBefore,
    guarded: Some(Failpoint::SweepFenced),
    written: Failpoint::SweepWritten,
    committed: Failpoint::SweepCommitted,
};

/// Blocked runs go on.
pub(super) const UNBLOCK: Around = Around {
    before: Failpoint::UnblockBefore,
    guarded: Some(Failpoint::UnblockFenced),
    written: Failpoint::UnblockWritten,
    committed: Failpoint::UnblockCommitted,
};

/// Rows of the inbox are taken out.
pub(super) const DRAIN: Around = Around {
    before: Failpoint::DrainBefore,
    guarded: Some(Failpoint::DrainFenced),
    written: Failpoint::DrainWritten,
    committed: Failpoint::DrainCommitted,
};

/// Runs that wait for deleted tasks are cancelled.
pub(super) const ORPHANS: Around = Around {
    before: Failpoint::OrphansBefore,
    guarded: Some(Failpoint::OrphansFenced),
    written: Failpoint::OrphansWritten,
    committed: Failpoint::OrphansCommitted,
};

/// Deleted tasks are looked after no more.
pub(super) const FORGET: Around = Around {
    before: Failpoint::ForgetBefore,
    guarded: Some(Failpoint::ForgetFenced),
    written: Failpoint::ForgetWritten,
    committed: Failpoint::ForgetCommitted,
};

/// What was planned while the store's clock was ahead is taken back.
pub(super) const PUT_BACK: Around = Around {
    before: Failpoint::PutBackBefore,
    guarded: Some(Failpoint::PutBackFenced),
    written: Failpoint::PutBackWritten,
    committed: Failpoint::PutBackCommitted,
};

/// Old history is removed.
pub(super) const PRUNE: Around = Around {
    before: Failpoint::PruneBefore,
    guarded: Some(Failpoint::PruneFenced),
    written: Failpoint::PruneWritten,
    committed: Failpoint::PruneCommitted,
};

/// What attempts write.
pub(super) const APPEND: Around = Around {
    before: Failpoint::LogsBefore,
    guarded: None,
    written: Failpoint::LogsWritten,
    committed: Failpoint::LogsCommitted,
};

/// Ends of a worker.
pub(super) const FINISH: Around = Around {
    before: Failpoint::FinishBefore,
    guarded: None,
    written: Failpoint::FinishWritten,
    committed: Failpoint::FinishCommitted,
};

/// The leader edits on somebody's behalf.
pub(super) const EDIT_FOR: Around = Around {
    before: Failpoint::EditForBefore,
    guarded: Some(Failpoint::EditForFenced),
    written: Failpoint::EditForWritten,
    committed: Failpoint::EditForCommitted,
};

/// The cluster is held, or its hold is ended.
pub(super) const HOLD: Around = Around {
    before: Failpoint::HoldBefore,
    guarded: Some(Failpoint::HoldFenced),
    written: Failpoint::HoldWritten,
    committed: Failpoint::HoldCommitted,
};

/// The leader ends a hold whose end has come.
pub(super) const END_HOLD: Around = Around {
    before: Failpoint::EndHoldBefore,
    guarded: Some(Failpoint::EndHoldFenced),
    written: Failpoint::EndHoldWritten,
    committed: Failpoint::EndHoldCommitted,
};

/// Somebody ends a run.
pub(super) const CANCEL: Around = Around {
    before: Failpoint::CancelBefore,
    guarded: None,
    written: Failpoint::CancelWritten,
    committed: Failpoint::CancelCommitted,
};

/// Requests.
pub(super) const SUBMIT: Around = Around {
    before: Failpoint::SubmitBefore,
    guarded: None,
    written: Failpoint::SubmitWritten,
    committed: Failpoint::SubmitCommitted,
};

/// A request is moved to another instant.
pub(super) const MOVE: Around = Around {
    before: Failpoint::MoveBefore,
    guarded: None,
    written: Failpoint::MoveWritten,
    committed: Failpoint::MoveCommitted,
};

/// Users and sessions are changed.
pub(super) const PEOPLE: Around = Around {
    before: Failpoint::PeopleBefore,
    guarded: None,
    written: Failpoint::PeopleWritten,
    committed: Failpoint::PeopleCommitted,
};

/// Tasks and what they share are changed.
pub(super) const EDIT: Around = Around {
    before: Failpoint::EditBefore,
    guarded: Some(Failpoint::EditFenced),
    written: Failpoint::EditWritten,
    committed: Failpoint::EditCommitted,
};
