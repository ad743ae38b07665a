//! The failpoints around every transaction of the store, one value for each: what a transaction is called with. Nothing
//! here does anything; a transaction without such a value does not compile.

use campanile::failpoint::{Around, Failpoint};

/// A bid for a term: its one statement is its guard.
pub(in super::super) const BEGIN_TERM: Around = Around {
    before: Failpoint::BeginTermBefore,
    guarded: None,
    written: Failpoint::BeginTermWritten,
    committed: Failpoint::BeginTermCommitted,
};

/// A firing.
pub(super) const FIRE: Around = Around {
    before: Failpoint::FireBefore,
    guarded: Some(Failpoint::FireGuarded),
    written: Failpoint::FireWritten,
    committed: Failpoint::FireCommitted,
};

/// Published runs are marked, outbox rows removed.
pub(super) const SETTLE: Around = Around {
    before: Failpoint::SettleBefore,
    guarded: Some(Failpoint::SettleGuarded),
    written: Failpoint::SettleWritten,
    committed: Failpoint::SettleCommitted,
};

/// External listeners have their messages.
pub(super) const HAND_OVER: Around = Around {
    before: Failpoint::HandOverBefore,
    guarded: Some(Failpoint::HandOverGuarded),
    written: Failpoint::HandOverWritten,
    committed: Failpoint::HandOverCommitted,
};

/// A dead node is removed.
pub(super) const BURY: Around = Around {
    before: Failpoint::BuryBefore,
    guarded: Some(Failpoint::BuryGuarded),
    written: Failpoint::BuryWritten,
    committed: Failpoint::BuryCommitted,
};

/// The runs of dead nodes are given on.
pub(super) const FINISH_LOST: Around = Around {
    before: Failpoint::FinishLostBefore,
    guarded: Some(Failpoint::FinishLostGuarded),
    written: Failpoint::FinishLostWritten,
    committed: Failpoint::FinishLostCommitted,
};

/// Something that is refused is set aside; guarded where it is the leader's.
pub(super) const ASIDE: Around = Around {
    before: Failpoint::AsideBefore,
    guarded: Some(Failpoint::AsideGuarded),
    written: Failpoint::AsideWritten,
    committed: Failpoint::AsideCommitted,
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
    guarded: Some(Failpoint::SweepGuarded),
    written: Failpoint::SweepWritten,
    committed: Failpoint::SweepCommitted,
};

/// Blocked runs go on.
pub(super) const UNBLOCK: Around = Around {
    before: Failpoint::UnblockBefore,
    guarded: Some(Failpoint::UnblockGuarded),
    written: Failpoint::UnblockWritten,
    committed: Failpoint::UnblockCommitted,
};

/// Runs that wait for deleted tasks are cancelled.
pub(super) const ORPHANS: Around = Around {
    before: Failpoint::OrphansBefore,
    guarded: Some(Failpoint::OrphansGuarded),
    written: Failpoint::OrphansWritten,
    committed: Failpoint::OrphansCommitted,
};

/// Deleted tasks are looked after no more.
pub(super) const FORGET: Around = Around {
    before: Failpoint::ForgetBefore,
    guarded: Some(Failpoint::ForgetGuarded),
    written: Failpoint::ForgetWritten,
    committed: Failpoint::ForgetCommitted,
};

/// What was planned while the store's clock was ahead is taken back.
pub(super) const PUT_BACK: Around = Around {
    before: Failpoint::PutBackBefore,
    guarded: Some(Failpoint::PutBackGuarded),
    written: Failpoint::PutBackWritten,
    committed: Failpoint::PutBackCommitted,
};

/// Old history is removed.
pub(super) const PRUNE: Around = Around {
    before: Failpoint::PruneBefore,
    guarded: Some(Failpoint::PruneGuarded),
    written: Failpoint::PruneWritten,
    committed: Failpoint::PruneCommitted,
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
    guarded: Some(Failpoint::EditForGuarded),
    written: Failpoint::EditForWritten,
    committed: Failpoint::EditForCommitted,
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

/// Tasks and what they share are changed.
pub(super) const EDIT: Around = Around {
    before: Failpoint::EditBefore,
    guarded: Some(Failpoint::EditGuarded),
    written: Failpoint::EditWritten,
    committed: Failpoint::EditCommitted,
};
