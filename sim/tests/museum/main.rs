//! Each exhibit of the museum as a test of its own.

mod exhibits;

use exhibits::{Exhibit, HALLS};

/// Makes a test of each exhibit of a hall, by its name.
macro_rules! visit {
    ($hall:ident: $($name:ident)*) => {
        mod $hall {
            $(
                #[test]
                fn $name() {
                    let mut exhibits = super::hall(stringify!($hall));
                    let exhibit = exhibits.find(|exhibit| exhibit.name == stringify!($name));
                    (exhibit.unwrap().scene)();
                }
            )*

            #[test]
            fn every_exhibit_is_a_test() {
                let names = super::hall(stringify!($hall)).map(|exhibit| exhibit.name);
                assert!(names.eq([$(stringify!($name)),*]));
            }
        }
    };
}

visit! {
    history:
    a_lagging_replica_takes_nobody_back_in_time
    gone_at_the_opening_of_a_watch_leads_to_a_list
    gone_in_answer_to_a_list_lets_go_of_the_revision
    a_revision_that_no_server_reaches_is_not_insisted_on
    a_watch_that_fails_over_its_revision_again_and_again_becomes_a_list
    a_list_after_gone_can_be_served_from_any_fresh_enough_replica
    nothing_falls_between_the_list_and_the_watch
    delete_and_re_create_during_a_partition_is_no_update
}

visit! {
    lists:
    no_page_is_skipped_and_nothing_shows_before_the_last
    an_empty_page_token_is_the_end
    a_page_token_that_has_expired_starts_the_list_again
    one_undecodable_object_does_not_hide_the_others
    an_undecodable_event_does_not_end_the_watch
    no_reader_sees_half_of_a_relist
    a_transaction_shows_whole_or_not_at_all
    a_relist_does_not_repeat_what_everybody_knows
    relists_without_news_pile_up_nothing
    a_relist_does_not_hold_everything_twice
    a_cut_watch_is_resumed_without_a_list
    one_object_that_stays_does_not_keep_its_page
}

visit! {
    queues:
    deleted_and_found_again_by_a_relist_is_told_as_both
    an_object_that_a_relist_lacks_is_gone_even_if_its_add_is_still_queued
    a_delete_counts_although_its_add_was_not_handled
    what_a_relist_changed_is_an_update_for_every_handler
    a_late_answer_of_a_list_that_was_given_up_is_not_heard
    a_re_created_object_is_new_however_much_it_resembles_the_old_one
}

visit! {
    pacing:
    a_restarted_server_is_not_asked_for_a_hundred_lists
    a_hundred_clients_of_a_dead_server_do_not_come_back_together
    waits_are_drawn_and_not_computed
    a_server_that_refuses_at_once_is_not_asked_in_a_loop
    an_answer_that_breaks_off_does_not_reset_the_backoff
    a_thousand_failures_are_no_reason_to_give_up
    too_many_requests_is_no_reason_for_a_list
    watches_that_close_cleanly_at_once_are_no_storm
    watches_that_deliver_and_close_are_paced_too
    a_delay_without_end_neither_panics_nor_stops_the_informer
}

visit! {
    liveness:
    a_watch_that_falls_silent_is_given_up
    an_answer_that_makes_no_sense_is_followed_by_another_try
    whoever_polls_nothing_finds_everything_later
    outputs_that_nobody_drains_block_nobody
    without_permission_it_says_so
    a_kind_that_is_no_more_is_told_and_can_be_let_go
    stopping_waits_for_nobody
    handlers_that_came_and_went_leave_nothing
}

visit! {
    handlers:
    a_handler_that_never_reads_costs_a_limit_and_then_starts_afresh
    a_slow_handler_holds_up_nobody
    a_reader_in_the_middle_of_its_news_holds_up_nobody
    every_handler_is_told_of_a_delete_and_handed_what_it_knew
    a_filter_does_not_swallow_deletes
    a_handler_that_comes_late_gets_everything_first
    synced_is_said_after_the_last_object_of_the_first_state
    a_reader_can_tell_whether_its_own_write_is_there
}

/// The exhibits of a hall.
fn hall(name: &str) -> impl Iterator<Item = &'static Exhibit> {
    let halls = HALLS.iter().filter(move |(hall, _)| *hall == name);
    halls.flat_map(|(_, exhibits)| exhibits.iter())
}

#[test]
fn every_exhibit_has_its_label() {
    let exhibits: Vec<_> = HALLS.iter().flat_map(|(_, hall)| hall.iter()).collect();
    assert!(exhibits.len() >= 34, "{}", exhibits.len());
    for exhibit in exhibits {
        let name = exhibit.name;
        assert!(
            exhibit.upstream.contains('#'),
            "{name}: where was it reported?"
        );
        for sentence in [exhibit.suffered, exhibit.instead] {
            assert!(
                sentence.ends_with('.') && !sentence.contains("  "),
                "{name}: {sentence}"
            );
        }
    }
}
