//! What every adapter promises, as functions that panic when a promise is broken.
//!
//! Each takes a store, which may hold other data: everything is made under fresh names. Enable
//! the feature `conformance` in dev-dependencies and call [`run_all`] from the adapter's tests.
#![expect(
    clippy::missing_panics_doc,
    reason = "panicking is how a broken promise is told"
)]

pub mod conversations;
pub mod devices;
pub mod documents;
pub mod effects;
pub mod erasure;
pub mod history;
pub mod ids;
pub mod log;
pub mod people;
pub mod projections;
pub mod queue;
pub mod registers;
pub mod search;
pub mod security;
pub mod stream;
mod support;
pub mod timers;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::SharedStore;

/// Hands out two stores in turn, as if two processes shared what they keep.
pub fn in_turn(stores: [SharedStore; 2]) -> impl Fn() -> std::future::Ready<SharedStore> {
    let asked = AtomicUsize::new(0);
    move || {
        let turn = asked.fetch_add(1, Ordering::Relaxed) % 2;
        std::future::ready(SharedStore::clone(&stores[turn]))
    }
}

/// Checks every promise, each on a store from `make`, which may hand out two that share their data
/// [in turn](in_turn). A failure panics; the name of the promise that is being checked is printed
/// before.
pub async fn run_all<Fut>(make: impl Fn() -> Fut)
where
    Fut: Future<Output = SharedStore>,
{
    macro_rules! check {
        ($($module:ident: $($promise:ident),+;)+) => {
            $($(
                println!("promise: {}::{}", stringify!($module), stringify!($promise));
                Box::pin($module::$promise(make().await)).await;
            )+)+
        };
    }
    println!("promise: log::seqs_are_dense_under_contention");
    let (here, there) = (make().await, make().await);
    Box::pin(log::seqs_are_dense_under_contention(here, there)).await;
    check! {
        conversations:
            an_id_is_created_once, a_pair_has_one_conversation, a_direct_conversation_is_for_two,
            members_page_by_user_id, tenants_are_apart, the_own_conversation_is_not_listed,
            lists_page_by_activity, summaries_show_what_the_person_sees;
        log:
            an_older_epoch_is_fenced, a_young_tenure_is_respected,
            a_release_needs_the_epoch_and_the_tail, an_owner_gets_a_new_epoch_at_once,
            what_was_not_taken_is_not_found, a_moved_tail_is_told, a_key_is_used_once,
            a_part_is_all_or_nothing, parts_do_not_touch_each_other, n_counts_messages,
            entries_and_tails_are_read_back, large_and_foreign_payloads_survive;
        effects:
            memberships_are_intervals, opening_an_open_membership_changes_its_role,
            names_and_roles_change, a_redaction_keeps_seq_and_key, an_edit_replaces_the_view,
            the_view_of_an_unknown_message_is_refused, sending_reads, a_new_member_has_read_all;
        registers:
            marks_only_move_forward, marks_do_not_pass_the_tail, versions_count_changes,
            marks_since_a_version, unread_counts_messages, marking_unread,
            drafts_and_mutes_are_kept, mutes_are_read_together, writes_answer_in_order, device_cursors_only_rise,
            stream_cursors_are_kept;
        history:
            pages_go_both_ways, only_visible_intervals_are_served, hidden_for_one_person_only,
            threads_are_apart, pins_are_listed;
        search:
            words_match_by_prefix, scripts_and_case_are_folded, pages_visit_every_message_once,
            nobody_finds_what_they_may_not_see;
        stream:
            pages_have_no_gap_and_no_double, only_visible_entries_are_missed,
            nothing_is_skipped_while_others_write, cursors_belong_to_their_store,
            a_cursor_of_an_entry_goes_on_behind_it;
        people:
            profiles_keep_what_is_not_changed, blocks_count_both_ways;
        security:
            a_ticket_is_taken_once, an_expired_ticket_is_gone, revocations_are_numbered;
        timers:
            a_timer_is_kept_once, a_timer_moves_by_its_version, due_timers_come_in_order,
            timers_are_listed_by_group;
        queue:
            what_a_device_lacks_is_queued, a_known_device_lacks_what_is_new_to_it, devices_are_known_by_their_cursors,
            acknowledged_entries_leave_the_queue, a_stream_acknowledgement_counts_in_each_conversation,
            a_stale_projector_does_nothing,
            a_full_queue_drops_the_oldest, old_entries_leave_the_queue,
            counting_again_changes_nothing, counting_again_beside_writers,
            urgent_conversations_come_first, a_backlog_counts_what_was_missed,
            a_backlog_is_counted_until_it_is_enough,
            who_lacks_a_place_is_told;
        devices:
            a_device_that_nobody_uses_is_forgotten, a_device_of_which_nothing_was_said_is_in_use,
            those_in_use_latest_are_kept, what_waited_for_a_forgotten_device_goes,
            a_device_that_writes_while_it_is_forgotten_keeps_no_older_place,
            one_device_is_forgotten_and_no_other, when_devices_were_last_used_is_told;
        documents:
            a_document_gives_way_to_a_later_one_only, writers_at_the_same_time_leave_the_latest,
            documents_of_many_are_read_together, large_documents_survive,
            tenants_and_kinds_are_apart, documents_of_one_person_are_forgotten;
        ids:
            members_are_told_apart, pairs_are_told_apart, what_is_kept_of_people_is_told_apart,
            tenants_are_told_apart;
        projections:
            a_cursor_moves_by_compare_and_set, a_reset_begins_anew, hot_is_what_was_not_released,
            all_conversations_are_visited, threads_count_for_their_followers,
            a_thread_is_read_by_its_mark, threads_can_be_rebuilt,
            threads_count_from_where_their_followers_came;
        erasure:
            whoever_was_a_member_is_found, payloads_are_redacted_in_their_place,
            what_was_hidden_can_be_forgotten, registers_of_one_person_are_forgotten,
            devices_of_one_person_are_forgotten, profiles_and_blocks_are_forgotten,
            views_are_written_anew, a_newer_view_is_not_overwritten,
            views_are_written_by_the_owner;
    }
}
