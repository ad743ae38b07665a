//! What every store does, one function for each behaviour. They speak to the port alone, so that what they demand is
//! demanded of memory and databases alike; where the row after a transition matters, it is compared with what
//! [`campanile_core::decide::attempt`] makes of the row before.
//!
//! `conformance::store!(factory)` makes a `#[tokio::test]` of each. The factory is an async function that gives a fresh,
//! empty store as `Arc<dyn Store>`, and a guard that keeps alive what it stands on; or `None` where it can't run.

mod access;
mod chains;
mod control;
mod deadlines;
mod deletion;
mod ending;
mod firing;
mod fixture;
mod held;
mod inbox;
mod jumps;
mod keys;
mod leading;
mod logs;
mod permits;
mod policies;
mod quarantine;
mod rests;
mod routing;
mod shared;
mod turns;
mod working;

pub use access::*;
pub use chains::*;
pub use control::*;
pub use deadlines::*;
pub use deletion::*;
pub use ending::*;
pub use firing::*;
pub use held::*;
pub use inbox::*;
pub use jumps::*;
pub use keys::*;
pub use leading::*;
pub use logs::*;
pub use permits::*;
pub use policies::*;
pub use quarantine::*;
pub use rests::*;
pub use routing::*;
pub use shared::*;
pub use turns::*;
pub use working::*;

/// Makes a test of each behaviour. See [`crate::store`].
#[macro_export]
#[doc(hidden)]
macro_rules! __conformance_store {
    ($factory:path) => {
        $crate::__conformance_store!(@each $factory:
            a_token_is_found_by_its_digest every_act_leaves_its_line acts_of_every_kind_leave_their_lines lines_of_many_at_once_form_one_chain
            lines_are_found_by_who_what_and_when the_oldest_lines_are_pruned
            what_lies_ahead_of_the_clock_is_found
            what_a_wrong_clock_planned_is_taken_back what_the_leader_says_of_the_clock_is_kept
            a_taking_back_is_whole_or_not_at_all
            a_task_that_is_over_or_rests_is_put_back_too
            answered_instants_are_forgotten_behind_the_due_row
            a_term_begins_on_the_epoch_that_was_read
            of_many_bids_one_begins
            a_request_to_resign_is_for_one_term
            every_write_of_an_old_term_is_refused
            a_scan_takes_each_queues_earliest_rows
            a_scan_brings_the_runs_of_timers
            a_firing_is_one_transaction
            a_due_row_fires_once
            two_terms_fire_one_due_row_once
            a_firing_after_an_edit_is_refused
            firing_a_timer_stamps_the_term
            a_timer_that_was_put_anew_is_not_consumed
            skips_are_recorded_once
            the_outbox_brings_back_what_still_waits
            waiting_is_told_by_attempt
            marking_leaves_claimed_runs_alone
            a_hand_over_ends_waiting_runs
            running_runs_are_found_by_node
            an_evicted_node_wins_nothing
            lost_runs_are_ended_by_the_leader
            pruning_removes_old_history
            a_paused_task_does_not_fire
            a_deleted_task_leaves_its_history
            a_held_cluster_starts_nothing
            a_hold_ends_under_the_term
            a_pause_keeps_who_and_why
            a_node_joins_heartbeats_and_leaves
            a_heartbeat_brings_requests_to_cancel
            a_run_is_won_once
            only_what_may_start_is_won
            each_of_many_runs_is_won_by_one
            a_claim_brings_what_the_start_needs
            ends_are_as_the_protocol_says
            a_run_ends_once_under_its_claim
            good_ends_of_a_batch_are_kept_one_by_one
            a_zombie_ends_nothing
            an_abandoned_attempt_is_used_up
            last_successes_are_read_for_many_tasks
            a_retry_waits_for_its_instant
            bad_attempts_are_kept
            logs_are_kept_by_attempt
            output_is_kept_while_the_attempt_runs
            an_append_needs_its_claim
            chunks_are_let_go_and_the_longer_stays
            a_log_is_read_from_any_place
            pruning_removes_output
            names_of_nodes_outlive_them
            output_outlives_what_is_set_aside
            a_result_is_kept_with_its_run
            progress_is_kept_while_the_attempt_runs
            texts_survive
            tasks_are_found_by_id
            a_cancelled_running_run_ends_by_its_worker
            an_edit_makes_and_changes_tasks
            an_edit_is_all_or_nothing
            due_rows_are_read_for_many_tasks
            a_name_has_one_living_task
            of_many_edits_one_is_done
            an_edit_replaces_the_due_row
            tasks_are_listed_by_name
            a_submission_is_there_at_once
            a_key_stands_for_one_run
            many_submit_one_key
            a_key_belongs_to_its_scope
            a_taken_key_refuses_the_batch
            many_that_are_asked_for_again_are_answered
            many_submit_one_key_with_other_content
            a_waiting_run_is_moved
            what_has_begun_is_not_moved
            a_move_and_a_firing_do_not_miss_each_other
            a_submission_is_all_or_nothing
            a_large_submission_goes_in_whole
            runs_are_listed_newest_first
            an_instant_has_its_answer
            a_cancel_fits_the_state
            queues_are_counted
            the_first_secret_is_kept
            a_permit_has_one_holder
            an_end_hands_its_permit_on
            a_blocked_run_is_not_won
            priority_decides_who_goes_on
            every_policy_does_as_it_says
            nobody_parks_behind_a_free_permit
            an_end_and_a_parking_do_not_miss_each_other
            two_ends_hand_on_to_two
            a_retry_keeps_only_the_tasks_own_permit
            a_cancelled_blocked_run_is_gone
            who_was_cancelled_gets_no_permit
            a_waiting_run_is_replaced_at_once
            a_running_run_is_replaced_when_it_has_ended
            a_replacement_needs_the_run_as_it_was_seen
            a_dropped_run_ends_skipped
            nothing_starts_after_its_deadline
            a_deadline_that_was_met_is_no_more_after_a_release
            a_deadline_binds_what_was_refused
            a_changed_limit_lets_who_waits_be_looked_at
            the_stranded_go_on
            an_edit_writes_what_tasks_share
            a_rest_is_kept_and_recorded
            an_end_is_set_aside_and_released
            a_retry_is_set_aside_and_released
            an_abandonment_is_set_aside_and_released
            what_is_released_of_a_deleted_task_is_looked_for
            what_is_lost_of_a_deleted_task_is_looked_for
            nothing_waits_for_what_is_set_aside
            a_hand_over_is_set_aside_and_released
            a_due_row_is_set_aside_and_released
            what_is_dropped_is_gone
            a_row_that_can_not_be_read_is_set_aside
            what_ran_when_it_went_aside_was_lost
            a_list_that_can_not_be_read_is_made_anew
            a_rest_takes_back_what_is_planned
            a_rest_keeps_what_has_come_and_what_was_asked_for
            many_tasks_rest_at_once
            a_change_takes_back_just_what_it_saw
            what_still_waits_is_told_under_the_term
            all_that_was_missed_runs_in_turn
            the_runs_of_a_backfill_run_in_turn
            what_a_node_announces_is_kept
            a_refusal_costs_a_run_nothing
            a_blocked_run_waits_until_it_is_let_go
            an_old_term_lets_nobody_go
            a_leader_takes_back_what_it_published
            an_owners_tasks_are_listed
            tasks_are_listed_by_their_labels
            names_outlive_their_tasks
            backlogs_are_told
            due_rows_are_told_together
            orphans_are_ended
            deletions_are_forgotten
            nobody_asks_for_a_deleted_task
            what_is_left_becomes_a_run
            a_key_of_the_inbox_stands_for_one_run
            what_is_refused_is_kept_with_its_reason
            the_inbox_is_emptied_under_the_fence
            retention_forgets_what_rows_became
            every_end_goes_on_with_its_chain
            ends_without_a_worker_go_on_with_their_chains
            only_its_own_run_moves_a_chain
            an_edit_leaves_a_chain_to_its_run
            a_rest_takes_a_chain_back
            a_chain_goes_on_from_what_was_set_aside
            an_end_and_an_edit_do_not_miss_each_other
        );
    };
    (@each $factory:path: $($behaviour:ident)*) => {
        $(
            #[tokio::test]
            async fn $behaviour() {
                if let Some((store, _guard)) = $factory().await {
                    $crate::store::$behaviour(store).await;
                }
            }
        )*
    };
}
