//! One suite for every way to follow a collection: whatever the transport, a user is promised the
//! same, so each scenario runs with each of them, against the real server side. A mapping for any
//! service follows as well as the source that is made for this one.
//!
//! Another way joins by an entry in `each_way!` and an arm of `Way`. Connections are in memory, and
//! time is paused: it moves only when everybody waits.
#![cfg(all(feature = "http", feature = "serve"))]
// Helpers of tests may fail like tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod endings;
#[path = "../support/followed.rs"]
mod followed;
mod following;
#[path = "../support/network.rs"]
mod network;
#[path = "../support/protocol.rs"]
mod protocol;
mod rig;
mod secured;

/// Each scenario is a test for each way.
macro_rules! each_way {
    ($($scenario:path as $name:ident),* $(,)?) => {
        each_way!(@ json_lines JsonLines $($scenario as $name)*);
        each_way!(@ server_sent_events ServerSentEvents $($scenario as $name)*);
        each_way!(@ web_socket WebSocket $($scenario as $name)*);
        each_way!(@ long_poll LongPoll $($scenario as $name)*);
        each_way!(@ mapped_json_lines MappedJsonLines $($scenario as $name)*);
        each_way!(@ mapped_server_sent_events MappedServerSentEvents $($scenario as $name)*);
        each_way!(@ mapped_web_socket MappedWebSocket $($scenario as $name)*);
        each_way!(@ mapped_long_poll MappedLongPoll $($scenario as $name)*);
    };
    (@ $module:ident $way:ident $($scenario:path as $name:ident)*) => {
        mod $module {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                $scenario(crate::rig::Way::$way).await;
            })*
        }
    };
}

each_way![
    crate::following::lists_then_follows as lists_then_follows,
    crate::following::transactions_show_whole as transactions_show_whole,
    crate::following::quiet_is_no_silence as quiet_is_no_silence,
    crate::following::a_huge_transaction_arrives_whole as a_huge_transaction_arrives_whole,
    crate::following::an_event_over_the_limit_is_found_again
        as an_event_over_the_limit_is_found_again,
    crate::following::what_cannot_be_decoded_is_quarantined
        as what_cannot_be_decoded_is_quarantined,
    crate::following::leaving_frees_the_place as leaving_frees_the_place,
    crate::endings::a_cut_connection_is_resumed as a_cut_connection_is_resumed,
    crate::endings::a_server_that_closes_is_resumed_at_the_next_one
        as a_server_that_closes_is_resumed_at_the_next_one,
    crate::endings::a_silent_connection_is_given_up as a_silent_connection_is_given_up,
    crate::endings::a_forgotten_history_is_listed_again as a_forgotten_history_is_listed_again,
    crate::endings::gone_in_mid_stream_is_listed_again as gone_in_mid_stream_is_listed_again,
    crate::endings::a_new_epoch_is_announced_and_taken_over
        as a_new_epoch_is_announced_and_taken_over,
    crate::endings::a_replica_that_is_behind_takes_nothing_back
        as a_replica_that_is_behind_takes_nothing_back,
    crate::endings::one_watcher_too_many_waits_its_turn as one_watcher_too_many_waits_its_turn,
    crate::secured::tls_protects_it as tls_protects_it,
];
