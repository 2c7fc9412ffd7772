//! Every metric of the product. Adding one to the code without a line here fails a test.

use super::{
    Kind::{Counter, Gauge, Histogram},
    Metric,
};

/// What the process has spent, by the name that Prometheus' own clients give it.
pub(super) const CPU_SECONDS: Metric = metric(
    "process_cpu_seconds_total",
    Counter,
    &[],
    "CPU time of the process, in user and system mode, in seconds.",
);

/// All metrics, by name.
pub const METRICS: &[Metric] = &[
    CPU_SECONDS,
    metric(
        "quikapp_accept_errors_total",
        Counter,
        &[],
        "Failures to accept a connection: out of descriptors or memory.",
    ),
    metric(
        "quikapp_actor_age_seconds",
        Gauge,
        &["kind"],
        "How long the youngest actor or task of a kind has been in its present life.",
    ),
    metric(
        "quikapp_actor_queue_depth",
        Gauge,
        &["kind"],
        "Messages that wait for the actors and entities of a kind.",
    ),
    metric(
        "quikapp_actor_restarts_total",
        Counter,
        &["kind"],
        "Actors that were started again after a failure.",
    ),
    metric(
        "quikapp_actors",
        Gauge,
        &["kind"],
        "Supervisors, actors, tasks and entities that run, by kind.",
    ),
    metric(
        "quikapp_append_seconds",
        Histogram,
        &[],
        "Time from a conversation's batch being decided to its being durable.",
    ),
    metric(
        "quikapp_broadcast_deliveries_total",
        Counter,
        &[],
        "Broadcasts queued for a subscriber.",
    ),
    metric(
        "quikapp_broadcasts_total",
        Counter,
        &[],
        "Broadcasts published on this node.",
    ),
    metric(
        "quikapp_build_info",
        Gauge,
        &["version"],
        "Always 1; the label is the version that runs.",
    ),
    metric(
        "quikapp_channel_panics_total",
        Counter,
        &[],
        "Channel handlers that panicked; each ended its topic.",
    ),
    metric(
        "quikapp_connections",
        Gauge,
        &[],
        "Sockets open now, of both transports.",
    ),
    metric(
        "quikapp_connections_refused_total",
        Counter,
        &["reason"],
        "Connections turned away at a cap.",
    ),
    metric(
        "quikapp_delivery_seconds",
        Histogram,
        &[],
        "Time from a broadcast's publication to its being written for a client; one publication in 32 is timed.",
    ),
    metric(
        "quikapp_devices_forgotten_total",
        Counter,
        &["reason"],
        "Devices that were forgotten with their cursors, because they were `unused`, their person had `too_many`, or had them `removed`.",
    ),
    metric(
        "quikapp_entities_quarantined",
        Gauge,
        &["kind"],
        "Entities that are left alone because they failed too often.",
    ),
    metric(
        "quikapp_entity_messages_dropped_total",
        Counter,
        &["kind"],
        "Messages that an entity had taken and could not handle, with nobody waiting for an answer.",
    ),
    metric(
        "quikapp_entity_quarantines_total",
        Counter,
        &["kind"],
        "Entities that failed too often and were put into quarantine.",
    ),
    metric(
        "quikapp_entries_appended_total",
        Counter,
        &[],
        "Log entries written through this node.",
    ),
    metric(
        "quikapp_gap_reads_total",
        Counter,
        &[],
        "Reads of log entries that a subscriber had missed.",
    ),
    metric(
        "quikapp_gossip_dropped_total",
        Counter,
        &["channel"],
        "Frames between nodes that were lost: a queue was full, or they could not be sent or read.",
    ),
    metric(
        "quikapp_http_request_duration_seconds",
        Histogram,
        &["method"],
        "Time from a request's header to its answer's.",
    ),
    metric(
        "quikapp_http_requests_total",
        Counter,
        &["method", "status"],
        "HTTP requests answered, by class of status.",
    ),
    metric(
        "quikapp_joined_channels",
        Gauge,
        &[],
        "Topics joined now, over all sockets.",
    ),
    metric(
        "quikapp_last_seen_dropped_total",
        Counter,
        &[],
        "Last-seen times not stored because too many waited.",
    ),
    metric(
        "quikapp_longpoll_passed_on_total",
        Counter,
        &["outcome"],
        "Long-poll requests for sessions of other nodes: answered, gone (the client starts over), busy (503), timed_out, or stopped (a poll that waited when this node stopped).",
    ),
    metric(
        "quikapp_longpoll_sessions",
        Gauge,
        &[],
        "Long-poll sessions open now.",
    ),
    metric(
        "quikapp_may_notify_not_taken_total",
        Counter,
        &["sink"],
        "Times that a sink of notifications could not take what was decided; it is offered again.",
    ),
    metric(
        "quikapp_may_notify_total",
        Counter,
        &["reason"],
        "Times that somebody may have had to be told of a message, by the strongest reason.",
    ),
    metric(
        "quikapp_messages_received_total",
        Counter,
        &["type"],
        "Messages from clients, by what they asked for.",
    ),
    metric(
        "quikapp_messages_sent_total",
        Counter,
        &["type"],
        "Messages written to clients: broadcasts, or direct, which are replies and pushes to one.",
    ),
    metric(
        "quikapp_online_users",
        Gauge,
        &[],
        "People connected to this node, on any number of devices, invisible ones included.",
    ),
    metric(
        "quikapp_open_descriptors",
        Gauge,
        &[],
        "File descriptors that the process holds.",
    ),
    metric(
        "quikapp_outbox_depth",
        Histogram,
        &[],
        "Deliveries that waited together for one connection, where more than one did.",
    ),
    metric(
        "quikapp_projection_behind",
        Gauge,
        &["consumer"],
        "Conversations that have grown since a projection, or a reader of the event feed, saw them.",
    ),
    metric(
        "quikapp_projection_failures_total",
        Counter,
        &["consumer"],
        "Times that a projection failed at a conversation, to be tried again.",
    ),
    metric(
        "quikapp_projection_lag_seconds",
        Gauge,
        &["consumer"],
        "For how long the conversation that a projection, or a reader of the event feed, is furthest behind of has waited.",
    ),
    metric(
        "quikapp_rates_unshared_total",
        Counter,
        &[],
        "Requests whose rate this node counted alone, because Redis did not answer.",
    ),
    metric(
        "quikapp_redis_failures_total",
        Counter,
        &[],
        "Requests that Redis did not answer, or answered with an error.",
    ),
    metric(
        "quikapp_refused_total",
        Counter,
        &["reason"],
        "Messages from clients that a limit refused.",
    ),
    metric(
        "quikapp_relay_lost_total",
        Counter,
        &["reason"],
        "Broadcasts that did not get to other nodes: too many waited (queue_full), larger than 1 MiB (too_large), Redis did not take them (not_told), or, at a node that should have heard them, missed or unreadable.",
    ),
    metric(
        "quikapp_relayed_broadcasts_total",
        Counter,
        &["direction"],
        "Broadcasts told to other nodes (out), and of other nodes that had subscribers here (in).",
    ),
    metric(
        "quikapp_resident_memory_bytes",
        Gauge,
        &[],
        "Memory that the process occupies.",
    ),
    metric(
        "quikapp_slow_consumers_total",
        Counter,
        &[],
        "Connections cut because they did not read what they were owed.",
    ),
    metric(
        "quikapp_store_batch_writes",
        Histogram,
        &[],
        "Writes that one commit of the store made durable together.",
    ),
    metric(
        "quikapp_store_commit_failures_total",
        Counter,
        &[],
        "Commits of the store that failed.",
    ),
    metric(
        "quikapp_store_commit_seconds",
        Histogram,
        &[],
        "Time that a commit of the store took, fsync included.",
    ),
    metric(
        "quikapp_store_folds_owed_total",
        Counter,
        &[],
        "Times that read marks in another store could not follow their log at once.",
    ),
    metric(
        "quikapp_store_log_pages",
        Gauge,
        &[],
        "Pages of the write-ahead log, those that a checkpoint has moved already included.",
    ),
    metric(
        "quikapp_store_read_seconds",
        Histogram,
        &[],
        "Time that a read of the store took.",
    ),
    metric(
        "quikapp_store_retries_total",
        Counter,
        &[],
        "Work done again after a deadlock, a lock that did not come, or a lost connection.",
    ),
    metric(
        "quikapp_store_server_seconds",
        Histogram,
        &["server"],
        "Time that a server which keeps a concern took to answer.",
    ),
    metric(
        "quikapp_store_write_queue",
        Gauge,
        &[],
        "Writes that wait for the store.",
    ),
    metric(
        "quikapp_supervisor_escalations_total",
        Counter,
        &[],
        "Supervisors that gave up: their children failed too often.",
    ),
    metric(
        "quikapp_takeovers_delayed_total",
        Counter,
        &[],
        "Times that a conversation was held by another process and its commands had to wait.",
    ),
    metric(
        "quikapp_timers_fired_total",
        Counter,
        &["kind"],
        "Timers that were due: scheduled messages, messages that do not stay, erasures, and conversations of which not everybody was told at once.",
    ),
    metric(
        "quikapp_timers_late_seconds",
        Gauge,
        &[],
        "How late the timer was that was found due last.",
    ),
    metric(
        "quikapp_tls_handshakes_failed_total",
        Counter,
        &[],
        "TLS handshakes that failed or took too long.",
    ),
    metric(
        "quikapp_tokens_verified_total",
        Counter,
        &["how"],
        "Access tokens that were good: by their signature, or because they are remembered.",
    ),
    metric(
        "quikapp_typing",
        Gauge,
        &[],
        "People who are typing on this node, once per conversation and open topic.",
    ),
];

const fn metric(
    name: &'static str,
    kind: super::Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        help,
        labels,
    }
}
