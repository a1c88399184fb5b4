/*
 * Reflet: a local, always-current copy of a remote collection, for programs in C.
 *
 * An informer asks for a list, watches for changes, keeps a copy of the collection, and tells
 * subscribers exactly how to get from what they knew to what is true. It does no I/O, reads no
 * clock and starts no thread. The program's loop goes round like this:
 *
 *   1. poll commands, and do what they say: ask for a list, open a watch, drop a connection;
 *   2. poll deltas, and act upon them; poll notices, and log them;
 *   3. wait until a socket is ready, or the deadline has come;
 *   4. hand in what the source said, or that the time has come; go to 1.
 *
 * The order does not matter, and not to poll is safe: it delays only what is not polled.
 *
 * Where the server speaks Reflet's own protocol, an exchange (reflet_exchange_new) says what to write
 * to a connection and takes what is read from it. Any other protocol is for the program to speak: it
 * says what it heard by reflet_informer_handle(). examples/follow.c is a whole program.
 *
 * ERRORS. Each function but reflet_last_error() returns a reflet_status: REFLET_OK, or what was wrong,
 * and then that one has the words. If it is not REFLET_OK, nothing was written to the place for
 * the answer. No content of any bytes, no order of calls and no number makes a function crash: what
 * makes no sense is refused. Only what C cannot check is trusted: that a pointer points to what its
 * type says, for as long as stated below, and that a handle was not freed.
 *
 * MEMORY. Handles (of informers, endpoints, exchanges) are made by one function and freed by another,
 * each once, in any order. All that is handed in is copied or only looked at: it may be freed when the
 * call returns. All bytes that are handed out (in a command, a delta, a notice, an entry, a snapshot,
 * a request) belong to the handle, and are there UNTIL THE NEXT CALL WITH THAT HANDLE. Copy what is
 * needed for longer. If memory runs out, the process is aborted.
 *
 * BYTES are a pointer and a length. Keys, revisions, versions, epochs, uids, page tokens and messages
 * are UTF-8; values are any bytes. None is ended by a NUL, and all may contain one.
 *
 * THREADS. A handle may move from thread to thread, and is used by one at a time. To break that rule
 * is no crash either: the second one gets REFLET_BUSY. (Of memory that is handed out only the thread
 * that made the call knows how long it lasts, though.) Different handles have nothing to do with each
 * other.
 *
 * PANICS are bugs of Reflet. They do not leave the library: the call returns REFLET_PANICKED, and
 * from then on its handles are poisoned, which means that they can only be freed. The library must
 * not be built with `panic = "abort"`, or a panic aborts the process.
 *
 * This file is made from the Rust source.
 */


#ifndef REFLET_H
#define REFLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * A source's promise: the watch says where each transaction ends, by REFLET_INPUT_KIND_BATCH_END.
 */
#define REFLET_PROMISE_BATCH_ENDS 1

/**
 * A source's promise: each event names the revision before its own, in `previous`.
 */
#define REFLET_PROMISE_PREDECESSORS (1 << 1)

/**
 * A source's promise: progress carries a digest of the whole collection.
 */
#define REFLET_PROMISE_DIGESTS (1 << 2)

/**
 * A source's promise: an object's versions are decimals that grow with each change.
 */
#define REFLET_PROMISE_VERSIONS_ORDERED (1 << 3)

/**
 * A source's promise: events, deletes included, carry the revision that made them, and an object's
 * version is that revision.
 */
#define REFLET_PROMISE_COMMIT_REVISIONS (1 << 4)

/**
 * A source's promise: no list is older than the request for it.
 */
#define REFLET_PROMISE_FRESH_LISTS (1 << 5)

/**
 * Not promised: revisions can be compared for equality only (hashes, ETags). Without this they are
 * decimals that ordinary operations never lower.
 */
#define REFLET_PROMISE_OPAQUE_REVISIONS (1 << 6)

/**
 * How a call ended. Everything but REFLET_OK has words, which reflet_last_error() gives.
 *
 */
typedef enum {
  /**
   * It did what it should.
   */
  REFLET_OK = 0,
  /**
   * A pointer is NULL that must not be: a handle, a place for the answer, or bytes that have a
   * length.
   */
  REFLET_NULL,
  /**
   * A number that means nothing there: a kind that does not exist, a flag that nobody knows, a
   * length that no memory has.
   */
  REFLET_BAD_ARGUMENT,
  /**
   * A key, revision, version, epoch, token or message that is no UTF-8.
   */
  REFLET_BAD_UTF8,
  /**
   * The attempt is over, or was never given out. Harmless: what a cancelled connection still
   * brings ends here.
   */
  REFLET_UNKNOWN_ATTEMPT,
  /**
   * There is no such subscriber, or no longer.
   */
  REFLET_UNKNOWN_SUBSCRIBER,
  /**
   * There is no object with that key.
   */
  REFLET_NOT_FOUND,
  /**
   * There is no complete state to take a snapshot of yet: try again later.
   */
  REFLET_NOT_READY,
  /**
   * The snapshot cannot be used: damaged, of something else, or over a limit. Start without it.
   */
  REFLET_BAD_SNAPSHOT,
  /**
   * The informer was stopped: it takes nothing in any more. What it has can still be read.
   */
  REFLET_STOPPED,
  /**
   * The handle is in use: by another thread, or by the call that runs the callback from which
   * this call was made. Nothing was done.
   */
  REFLET_BUSY,
  /**
   * A panic was caught, which is a bug: in Reflet, or in a callback. The handle is poisoned.
   */
  REFLET_PANICKED,
  /**
   * There was a panic in an earlier call with this handle: it is of no use but to be freed.
   */
  REFLET_POISONED,
} reflet_status;

/**
 * What a command asks for.
 */
typedef enum {
  /**
   * Nothing now.
   */
  REFLET_COMMAND_KIND_NONE = 0,
  /**
   * Fetch one page of a list. The pages of a list are asked for one by one, all in one attempt.
   */
  REFLET_COMMAND_KIND_LIST,
  /**
   * Open a watch.
   */
  REFLET_COMMAND_KIND_WATCH,
  /**
   * End an attempt: drop its connection.
   */
  REFLET_COMMAND_KIND_CANCEL,
  /**
   * Something that this version of the interface has no words for: let it be.
   */
  REFLET_COMMAND_KIND_OTHER,
} reflet_command_kind;

/**
 * Where a watch starts.
 */
typedef enum {
  /**
   * After `revision`.
   */
  REFLET_WATCH_FROM_REVISION = 0,
  /**
   * With the whole state, then an end mark, then the changes after it.
   */
  REFLET_WATCH_FROM_INITIAL,
  /**
   * Now: the stream only carries hints.
   */
  REFLET_WATCH_FROM_NOW,
} reflet_watch_from;

/**
 * What an exchange needs next.
 */
typedef enum {
  /**
   * More of the answer.
   */
  REFLET_NEXT_MORE = 0,
  /**
   * Nothing: the informer knows how it ended. Free it, and close the connection.
   */
  REFLET_NEXT_CLOSE,
  /**
   * Nothing: the informer knows how it ended. Free it; another request may be written to the
   * connection.
   */
  REFLET_NEXT_KEEP,
} reflet_next;

/**
 * One step from what a subscriber knew to what is true.
 */
typedef enum {
  /**
   * Nothing now: the subscriber has caught up.
   */
  REFLET_DELTA_KIND_NONE = 0,
  /**
   * Call again: what one call may do was spent on finding the next delta.
   */
  REFLET_DELTA_KIND_AGAIN,
  /**
   * An object that the subscriber does not have: `key`, `value`.
   */
  REFLET_DELTA_KIND_ADDED,
  /**
   * An object that the subscriber has, in another state: `key`, `old_value`, `value`. Never a
   * re-created one, which is deleted and added.
   */
  REFLET_DELTA_KIND_UPDATED,
  /**
   * An object that the subscriber has is no longer there: `key`, `old_value`, `inferred`, and in
   * `value` the last state that is known of it.
   */
  REFLET_DELTA_KIND_DELETED,
  /**
   * An object that did not change, handed out once more: `key`, `value`.
   */
  REFLET_DELTA_KIND_REDELIVERED,
  /**
   * Versions may be missing between what was told before and what follows.
   */
  REFLET_DELTA_KIND_GAP,
  /**
   * The subscriber has everything up to a point of the source's history, and nothing later:
   * `revision`, `local_epoch`, `complete`, `restored`, `initial`.
   */
  REFLET_DELTA_KIND_MARK,
  /**
   * The subscriber was too far behind. Forget everything: all objects follow as added.
   */
  REFLET_DELTA_KIND_RESET,
  /**
   * Something that this version of the interface has no words for.
   */
  REFLET_DELTA_KIND_OTHER,
} reflet_delta_kind;

/**
 * What an informer is doing, seen from outside.
 */
typedef enum {
  /**
   * It was stopped; nothing will happen.
   */
  REFLET_HEALTH_STATE_STOPPED = 0,
  /**
   * No complete state has been seen in this run, and none was restored.
   */
  REFLET_HEALTH_STATE_SYNCING,
  /**
   * The local copy follows the source.
   */
  REFLET_HEALTH_STATE_LIVE,
  /**
   * The local copy is the last known good state: the source does not answer well, or has not
   * confirmed yet what was restored.
   */
  REFLET_HEALTH_STATE_STALE,
} reflet_health_state;

/**
 * What a notice is about.
 */
typedef enum {
  /**
   * No notice now.
   */
  REFLET_NOTICE_KIND_NONE = 0,
  /**
   * So many notices were dropped because nobody polled them.
   */
  REFLET_NOTICE_KIND_LOST,
  /**
   * The first complete state of this run is here.
   */
  REFLET_NOTICE_KIND_SYNCED,
  /**
   * The local copy was filled from a snapshot.
   */
  REFLET_NOTICE_KIND_RESTORED,
  /**
   * The local copy follows the source again.
   */
  REFLET_NOTICE_KIND_LIVE,
  /**
   * The local copy is the last known good state.
   */
  REFLET_NOTICE_KIND_STALE,
  /**
   * An attempt failed.
   */
  REFLET_NOTICE_KIND_FAILED,
  /**
   * Something did not come in time.
   */
  REFLET_NOTICE_KIND_TIMED_OUT,
  /**
   * A list after the first one is here.
   */
  REFLET_NOTICE_KIND_RELISTED,
  /**
   * A list found a difference that no event accounts for.
   */
  REFLET_NOTICE_KIND_DIVERGED,
  /**
   * An object was rejected; its last good version stays.
   */
  REFLET_NOTICE_KIND_OBJECT_REJECTED,
  /**
   * A rejected object is good again, or gone.
   */
  REFLET_NOTICE_KIND_OBJECT_RECOVERED,
  /**
   * Something was rejected whose key is not known.
   */
  REFLET_NOTICE_KIND_UNKNOWN_REJECTED,
  /**
   * A limit was exceeded: nothing is applied until a list fits.
   */
  REFLET_NOTICE_KIND_FROZEN,
  /**
   * A list fits again.
   */
  REFLET_NOTICE_KIND_THAWED,
  /**
   * A list was older than what is here, and was refused.
   */
  REFLET_NOTICE_KIND_STALE_LIST,
  /**
   * The source's history is not a continuation of what was known, and was accepted.
   */
  REFLET_NOTICE_KIND_REWOUND,
  /**
   * The source's epoch changed, and that is refused.
   */
  REFLET_NOTICE_KIND_EPOCH_REFUSED,
  /**
   * Events are missing.
   */
  REFLET_NOTICE_KIND_GAP,
  /**
   * The source's digest is not that of the local copy.
   */
  REFLET_NOTICE_KIND_DIGEST_MISMATCH,
  /**
   * The source keeps less history than a list takes.
   */
  REFLET_NOTICE_KIND_HISTORY_TOO_SHORT,
  /**
   * The source does not stream its initial state: it is listed instead.
   */
  REFLET_NOTICE_KIND_FELL_BACK,
  /**
   * An input that the protocol does not allow at this point, or at all.
   */
  REFLET_NOTICE_KIND_BAD_INPUT,
  /**
   * A subscriber held back more than the limit: it gets a reset.
   */
  REFLET_NOTICE_KIND_SUBSCRIBER_RESET,
  /**
   * The informer was stopped.
   */
  REFLET_NOTICE_KIND_STOPPED,
  /**
   * Something else: the text says what.
   */
  REFLET_NOTICE_KIND_OTHER,
} reflet_notice_kind;

/**
 * How a source hands over its collection.
 */
typedef enum {
  /**
   * A list, paged or not, then a watch from the list's revision.
   */
  REFLET_FEED_LIST_WATCH = 0,
  /**
   * The initial state comes in the watch, closed by an end mark.
   */
  REFLET_FEED_INITIAL_STREAM,
  /**
   * Each answer is the full state, and is asked for on a period.
   */
  REFLET_FEED_POLL,
  /**
   * Each answer is the full state; the source holds the request back until something has changed.
   */
  REFLET_FEED_BLOCKING_QUERY,
  /**
   * A stream of hints that something has changed; each makes a list.
   */
  REFLET_FEED_HINT_ONLY,
} reflet_feed;

/**
 * How far one complete answer of a source is the state at one revision.
 */
typedef enum {
  /**
   * All pages of a list are one state, and the watch is complete after it.
   */
  REFLET_SOURCE_CLASS_PINNED = 0,
  /**
   * One answer is the whole state.
   */
  REFLET_SOURCE_CLASS_WHOLE,
  /**
   * Pages of several states, or an initial stream without order.
   */
  REFLET_SOURCE_CLASS_FUZZY,
} reflet_source_class;

/**
 * What happened to an attempt.
 *
 * A list's life is PAGE, its ITEMs and UNDECODABLEs, PAGE_END, and so on for each page (or one
 * UNMODIFIED). A watch's is OPENED, then UPSERTs, DELETEs, BATCH_ENDs, PROGRESS and HEARTBEATs.
 * Either ends by CLOSED or FAILED. What is out of place is refused, with a notice.
 */
typedef enum {
  /**
   * The watch is open. Read: `epoch`.
   */
  REFLET_INPUT_KIND_OPENED = 0,
  /**
   * A page begins. Read: `epoch`, `revision` (of the state that the page shows).
   */
  REFLET_INPUT_KIND_PAGE,
  /**
   * An object in a page. Read: `key`, `version`, `uid`, `body`, `value`, `size`, `message`.
   */
  REFLET_INPUT_KIND_ITEM,
  /**
   * The page is over. Read: `next`.
   */
  REFLET_INPUT_KIND_PAGE_END,
  /**
   * The full state is still what it was at the revision that the command named.
   */
  REFLET_INPUT_KIND_UNMODIFIED,
  /**
   * An object was created or updated, or is part of an initial stream. Read: what ITEM reads, and
   * `revision`, `previous`.
   */
  REFLET_INPUT_KIND_UPSERT,
  /**
   * An object was deleted. Read: `key`, `version`, `uid`, `size`, `revision`, `previous`, and
   * `value`, the last state, if it is known.
   */
  REFLET_INPUT_KIND_DELETE,
  /**
   * An item or event whose key could not even be read. Read: `size`, `message`.
   */
  REFLET_INPUT_KIND_UNDECODABLE,
  /**
   * All events of the transaction that made `revision` have been handed in.
   */
  REFLET_INPUT_KIND_BATCH_END,
  /**
   * The initial stream is complete. Read: `revision`.
   */
  REFLET_INPUT_KIND_INITIAL_END,
  /**
   * Everything up to `revision` has been handed in. Read: `has_digest`, `digest`.
   */
  REFLET_INPUT_KIND_PROGRESS,
  /**
   * A sign of life without content.
   */
  REFLET_INPUT_KIND_HEARTBEAT,
  /**
   * A hint that something has changed.
   */
  REFLET_INPUT_KIND_HINT,
  /**
   * The source ended the attempt cleanly.
   */
  REFLET_INPUT_KIND_CLOSED,
  /**
   * The attempt failed, or was refused. Read: `failure`, `message`, `retry_after_ms`.
   */
  REFLET_INPUT_KIND_FAILED,
} reflet_input_kind;

/**
 * What there is of an object's payload.
 */
typedef enum {
  /**
   * `value`.
   */
  REFLET_BODY_VALUE = 0,
  /**
   * Nothing, since reflet_informer_holds() said that the informer has it.
   */
  REFLET_BODY_UNCHANGED,
  /**
   * Nothing that could be decoded; `message` says why. The last good version stays.
   */
  REFLET_BODY_UNDECODABLE,
} reflet_body;

/**
 * How an attempt failed: this decides what happens next.
 */
typedef enum {
  /**
   * Worth another try: a refused or broken connection, HTTP 408, 425, 429 and 5xx.
   */
  REFLET_FAILURE_RETRYABLE = 0,
  /**
   * The history needed to go on is no longer there: HTTP 410.
   */
  REFLET_FAILURE_GONE,
  /**
   * The revision asked for is not there yet.
   */
  REFLET_FAILURE_BEHIND,
  /**
   * We are not allowed: HTTP 401 and 403.
   */
  REFLET_FAILURE_DENIED,
  /**
   * The source does not know this kind of request.
   */
  REFLET_FAILURE_UNSUPPORTED,
  /**
   * There is no such collection: HTTP 404.
   */
  REFLET_FAILURE_NOT_FOUND,
  /**
   * What came is not the protocol: malformed, cut off, or over a limit.
   */
  REFLET_FAILURE_MALFORMED,
  /**
   * Any other answer.
   */
  REFLET_FAILURE_UNEXPECTED,
} reflet_failure;

/**
 * A collection that a server publishes by Reflet's own protocol over HTTP/1.1 (PROTOCOL.md), and how to
 * ask for it. With this no program has to know HTTP or JSON.
 *
 * Made by reflet_endpoint_new(), freed by reflet_endpoint_free(). Exchanges keep what they need of
 * it.
 */
typedef struct reflet_endpoint reflet_endpoint;

/**
 * One list or watch on its way over a connection: what to write to it, and what becomes of what is
 * read.
 *
 * Made by reflet_exchange_new(), freed by reflet_exchange_free(). It belongs to the informer whose
 * command it carries out, and may be freed before or after it.
 */
typedef struct reflet_exchange reflet_exchange;

/**
 * A local copy of one remote collection, and the logic that keeps it true.
 *
 * Made by reflet_informer_new() or reflet_informer_restore(), freed by reflet_informer_free().
 */
typedef struct reflet_informer reflet_informer;

/**
 * What the informer must know about its source, how patient it is and how much it takes in.
 *
 * Let reflet_config_init() fill it in, then change what should be otherwise. Times are in
 * milliseconds; settings that make no sense are raised to the nearest that does.
 */
typedef struct {
  /**
   * How the source hands over its collection: a reflet_feed.
   */
  uint32_t feed;
  /**
   * How far one answer is one state: a reflet_source_class.
   */
  uint32_t source_class;
  /**
   * What else the source promises: REFLET_PROMISE_… with `|` between them. What is not promised is
   * not relied on.
   */
  uint32_t promises;
  /**
   * How many items to ask for in one page.
   */
  uint32_t page_items;
  /**
   * The longest quiet that the source promises on a healthy watch; 0: it promises none.
   */
  uint64_t heartbeat_ms;
  /**
   * The longest time for a watch to open, and for the first word of a list.
   */
  uint64_t open_timeout_ms;
  /**
   * The longest silence within a list.
   */
  uint64_t page_timeout_ms;
  /**
   * The longest time for a whole list.
   */
  uint64_t list_deadline_ms;
  /**
   * The longest silence of an open watch; 0: three heartbeats, or ten minutes without heartbeats.
   */
  uint64_t silence_ms;
  /**
   * How many attempts may start in a row.
   */
  uint32_t burst;
  /**
   * Attempts in a row that came to nothing at one revision, before the whole is listed instead.
   */
  uint32_t dead_ends;
  /**
   * The average time between attempts beyond the burst.
   */
  uint64_t min_interval_ms;
  /**
   * The first wait after a failure, at most: the wait is drawn from 0 up to it.
   */
  uint64_t backoff_min_ms;
  /**
   * Where that stops doubling.
   */
  uint64_t backoff_max_ms;
  /**
   * The wait after an answer that only a human can change.
   */
  uint64_t slow_retry_ms;
  /**
   * The longest wait that is obeyed when the source asks for one.
   */
  uint64_t max_retry_after_ms;
  /**
   * How long a watch must make progress before waits begin from the smallest again.
   */
  uint64_t stable_after_ms;
  /**
   * The period of a source that is polled.
   */
  uint64_t poll_interval_ms;
  /**
   * The period of lists that look for differences; 0: only where a loss was seen.
   */
  uint64_t verify_period_ms;
  /**
   * The most objects. Beyond this and the next two limits nothing is applied, and what was good
   * stays.
   */
  uint64_t max_objects;
  /**
   * The most bytes of all objects, keys included.
   */
  uint64_t max_bytes;
  /**
   * The most bytes of a list or a transaction that is not whole yet.
   */
  uint64_t max_staged_bytes;
  /**
   * The longest key in bytes; an object with a longer one is rejected.
   */
  uint64_t max_key_bytes;
  /**
   * The most bytes that one subscriber holds back; beyond that it is reset.
   */
  uint64_t max_retained_bytes;
} reflet_config;

/**
 * Bytes: a pointer and a length, never ended by a NUL.
 *
 * As an argument they are borrowed for the call. `data` may be NULL where `length` is 0, which means
 * that the thing is not there; empty bytes that are there have another pointer.
 */
typedef struct {
  /**
   * The first byte.
   */
  const uint8_t *data;
  /**
   * How many there are.
   */
  size_t length;
} reflet_bytes;

/**
 * One command. Bytes that are not there are NULL.
 */
typedef struct {
  /**
   * What to do; the fields below are filled in as far as they belong to it.
   */
  reflet_command_kind kind;
  /**
   * A watch: where it starts.
   */
  reflet_watch_from from;
  /**
   * The attempt: everything that comes of it is handed in with this number.
   */
  uint64_t attempt;
  /**
   * A list: the token of the page to go on with; NULL: the first page.
   */
  reflet_bytes page;
  /**
   * A list or an initial stream: ask for a state that is not older than this revision.
   */
  reflet_bytes at_least;
  /**
   * A list of a full-state source: answer REFLET_INPUT_KIND_UNMODIFIED if this is still the
   * revision.
   */
  reflet_bytes known;
  /**
   * A watch from a revision: that revision.
   */
  reflet_bytes revision;
  /**
   * The epoch that the revisions above belong to.
   */
  reflet_bytes epoch;
  /**
   * A list: how many items the page should have.
   */
  uint32_t limit;
} reflet_command;

/**
 * One thing that happened to an attempt. Fields that the kind does not read may be anything, so it
 * is best made with an initialiser that names what it sets and leaves the rest 0.
 */
typedef struct {
  /**
   * What happened: a reflet_input_kind.
   */
  uint32_t kind;
  /**
   * What there is of the payload: a reflet_body.
   */
  uint32_t body;
  /**
   * The attempt that it happened to.
   */
  uint64_t attempt;
  /**
   * The object's key.
   */
  reflet_bytes key;
  /**
   * The object's version, as the source prints it; NULL: it has none.
   */
  reflet_bytes version;
  /**
   * What tells a re-created object from an updated one, where the source has such a thing; NULL: it
   * has not.
   */
  reflet_bytes uid;
  /**
   * The object's payload. Copied.
   */
  reflet_bytes value;
  /**
   * The object's size on the wire, which the limits count; 0: that of key and value.
   */
  size_t size;
  /**
   * A revision of the collection, as the source prints it; NULL: it has none.
   */
  reflet_bytes revision;
  /**
   * The revision of the transaction before this one on the same stream, where the source tells.
   */
  reflet_bytes previous;
  /**
   * The source's epoch, where it has epochs.
   */
  reflet_bytes epoch;
  /**
   * The token that asks for the next page; NULL or empty: the list is complete.
   */
  reflet_bytes next;
  /**
   * Whether there is a digest: not 0.
   */
  uint32_t has_digest;
  /**
   * How the attempt failed: a reflet_failure.
   */
  uint32_t failure;
  /**
   * The digest of the whole collection at `revision`.
   */
  uint64_t digest;
  /**
   * How long the source asks to wait; 0: it does not ask.
   */
  uint64_t retry_after_ms;
  /**
   * What was wrong, in the words of the source or the decoder.
   */
  reflet_bytes message;
} reflet_input;

/**
 * One delta. Fields that do not belong to its kind are 0 and NULL.
 */
typedef struct {
  /**
   * What it is.
   */
  reflet_delta_kind kind;
  /**
   * A delete that nobody saw: the object is missing from a complete list.
   */
  bool inferred;
  /**
   * A mark: the subscriber has all of the revision. Where the source does not say where its
   * transactions end, the newest revision is partial until a later one begins.
   */
  bool complete;
  /**
   * A mark: the state comes from a snapshot that the source has not confirmed yet.
   */
  bool restored;
  /**
   * A mark: the first one after subscribing or a reset.
   */
  bool initial;
  /**
   * The object's key.
   */
  reflet_bytes key;
  /**
   * What the subscriber was last handed of the object.
   */
  reflet_bytes old_value;
  /**
   * The object's value.
   */
  reflet_bytes value;
  /**
   * A mark: the revision, where the source has them.
   */
  reflet_bytes revision;
  /**
   * A mark: how often history was rewound before. Revisions can be compared within one of these only.
   */
  uint64_t local_epoch;
} reflet_delta;

/**
 * An object of the local copy.
 */
typedef struct {
  /**
   * Its key.
   */
  reflet_bytes key;
  /**
   * Its value.
   */
  reflet_bytes value;
  /**
   * The version that its source gave it; empty if it has none.
   */
  reflet_bytes version;
} reflet_entry;

/**
 * What reflet_informer_visit() calls for each object. What `entry` points to is there until it returns.
 * 0: go on; anything else: that was enough.
 *
 * It must not call anything with the same handle (REFLET_BUSY), jump out, or throw.
 */
typedef int32_t (*reflet_visitor)(void *context, const reflet_entry *entry);

/**
 * How an informer is.
 */
typedef struct {
  /**
   * What it is doing.
   */
  reflet_health_state state;
  /**
   * A complete state of the source has been seen in this run.
   */
  bool synced;
  /**
   * The local copy shows all of its revision.
   */
  bool complete;
  /**
   * Something whose key could not be read was rejected: what is missing from lists is no longer
   * taken for deleted.
   */
  bool degraded;
  /**
   * The source gives no way to find a silent loss, and no verify period is set.
   */
  bool unverified;
  /**
   * Since when it is in this state.
   */
  uint64_t since;
  /**
   * The newest revision that the local copy shows; NULL: none yet, or the source has none.
   */
  reflet_bytes revision;
  /**
   * The source's epoch, where it has epochs.
   */
  reflet_bytes epoch;
  /**
   * How many objects there are.
   */
  size_t objects;
  /**
   * How many objects are rejected in their newest version.
   */
  size_t quarantined;
  /**
   * Bytes that are kept only because some subscriber has not moved on.
   */
  size_t retained_bytes;
  /**
   * What keeps it from being live, or from being whole while it is live, in words; NULL: nothing.
   */
  reflet_bytes reason;
  /**
   * The last failure, in the source's words; NULL: there was none. Kept after recovery.
   */
  reflet_bytes last_error;
  /**
   * When that was.
   */
  uint64_t last_error_at;
} reflet_health;

/**
 * When an informer wants to be woken, and why.
 */
typedef struct {
  /**
   * When to call reflet_informer_handle_timeout(); UINT64_MAX: never, since it was stopped.
   */
  uint64_t at;
  /**
   * What is waited for, in words.
   */
  reflet_bytes reason;
} reflet_deadline;

/**
 * One notice.
 */
typedef struct {
  /**
   * What it is about.
   */
  reflet_notice_kind kind;
  /**
   * The notice in words, for people. It has keys and the source's words in it, never values.
   */
  reflet_bytes text;
} reflet_notice;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * What was wrong when a call of this thread last gave something else than REFLET_OK, in words, with
 * a NUL at the end; empty if nothing was. Never NULL.
 *
 * The text is the thread's: it stays until the thread's next call that fails, and the pointer is good
 * for as long as the thread lives.
 */
const char *reflet_last_error(void);

/**
 * Fills in the settings that suit a source of Reflet's own kind, with ordered revisions, that promises
 * nothing else.
 */
reflet_status reflet_config_init(reflet_config *config);

/**
 * Makes an informer. It begins at once: its first command is there to be polled.
 *
 * `config` is only read. All randomness comes from `seed`: take it from an entropy source in
 * production. `now` is the time in nanoseconds of a monotonic clock, with any origin: the same clock
 * as in all other calls with this informer. The informer is written to `informer`; free it with
 * reflet_informer_free().
 */
reflet_status reflet_informer_new(const reflet_config *config,
                                  uint64_t seed,
                                  uint64_t now,
                                  reflet_informer **informer);

/**
 * Frees an informer and all that it has lent. NULL is fine. REFLET_BUSY if it is in use: then nothing
 * was freed. A poisoned informer is freed, too.
 *
 * Each informer is freed once, and not used afterwards: that is for the program to see to, since
 * nothing here remembers informers that are gone.
 */
reflet_status reflet_informer_free(reflet_informer *informer);

/**
 * Tells the informer that time has passed. To be called when the deadline has come, which
 * reflet_informer_deadline() gives; early, late or twice is harmless.
 */
reflet_status reflet_informer_handle_timeout(reflet_informer *informer, uint64_t now);

/**
 * Asks for a list that looks for differences from the source, as soon as the pace allows.
 *
 * `content` not 0: the contents are compared too, and all objects are asked for in full, which finds a
 * source that was restored from a backup and has overtaken what was known of it.
 */
reflet_status reflet_informer_verify(reflet_informer *informer,
                                     uint64_t now,
                                     int32_t content);

/**
 * Stops the informer for good: what is under way is cancelled, by commands that are still to be
 * polled. What it has can be read until it is freed. A second time changes nothing.
 */
reflet_status reflet_informer_stop(reflet_informer *informer, uint64_t now);

/**
 * The next command, to be carried out. Call it until the kind is REFLET_COMMAND_KIND_NONE, after
 * everything that was handed in.
 */
reflet_status reflet_informer_poll_command(reflet_informer *informer, reflet_command *command);

/**
 * Names a collection: `authority` is `host` or `host:port`, and is what a `host` header says; the
 * connection is the program's.
 */
reflet_status reflet_endpoint_new(reflet_bytes authority,
                                  reflet_bytes collection,
                                  reflet_endpoint **endpoint);

/**
 * Frees an endpoint. NULL is fine.
 */
reflet_status reflet_endpoint_free(reflet_endpoint *endpoint);

/**
 * Puts a path before the protocol's own, such as `/config`.
 */
reflet_status reflet_endpoint_set_prefix(reflet_endpoint *endpoint, reflet_bytes prefix);

/**
 * Adds a header to each request, such as `authorization`. Its value is told nobody, even if the server
 * repeats it in what becomes a notice.
 */
reflet_status reflet_endpoint_add_header(reflet_endpoint *endpoint,
                                         reflet_bytes name,
                                         reflet_bytes value);

/**
 * How often the server says that a quiet watch is alive, if not every 10 seconds.
 */
reflet_status reflet_endpoint_set_heartbeat(reflet_endpoint *endpoint, uint64_t interval_ms);

/**
 * Fills in the settings of an informer for this collection: the usual ones, and what servers of the
 * protocol promise.
 */
reflet_status reflet_endpoint_config(reflet_endpoint *endpoint, reflet_config *config);

/**
 * Makes the exchange that carries out the informer's last command, which was just polled: a list or
 * a watch. REFLET_BAD_ARGUMENT: that command asked for neither, or was used already.
 */
reflet_status reflet_exchange_new(reflet_endpoint *endpoint,
                                  reflet_informer *informer,
                                  reflet_exchange **exchange);

/**
 * Frees an exchange. NULL is fine. If it is given up before its end, tell the informer first, by
 * reflet_exchange_failed(): else it waits until its patience is over. Where the informer has cancelled
 * the attempt it knows.
 */
reflet_status reflet_exchange_free(reflet_exchange *exchange);

/**
 * The request, to be written to a connection, all of it. The bytes are the exchange's, until the next
 * call with it. They hold what the headers hold, secrets included. None: the protocol has no such
 * request; call reflet_exchange_failed().
 */
reflet_status reflet_exchange_request(reflet_exchange *exchange,
                                      reflet_bytes *request);

/**
 * Takes what was read from the connection, of any length, and tells the informer what it means. `next`
 * is set to what is needed next. REFLET_UNKNOWN_ATTEMPT: the informer is not interested any more, or the
 * exchange is over; free it and close the connection.
 */
reflet_status reflet_exchange_read(reflet_exchange *exchange,
                                   reflet_informer *informer,
                                   uint64_t now,
                                   reflet_bytes bytes,
                                   reflet_next *next);

/**
 * The connection was closed by the other side, and all that came was handed in: the exchange is over,
 * well or not.
 */
reflet_status reflet_exchange_closed(reflet_exchange *exchange,
                                     reflet_informer *informer,
                                     uint64_t now);

/**
 * There is no connection, or it failed; `words` say why. The exchange is over.
 */
reflet_status reflet_exchange_failed(reflet_exchange *exchange,
                                     reflet_informer *informer,
                                     uint64_t now,
                                     reflet_bytes words);

/**
 * Takes one thing that happened to an attempt.
 *
 * A status other than REFLET_OK is about the call: nothing was taken. What the call could hand over
 * and the informer cannot use is refused with a notice, and REFLET_OK.
 */
reflet_status reflet_informer_handle(reflet_informer *informer,
                                     uint64_t now,
                                     const reflet_input *input);

/**
 * Whether the informer has an object in this very version already, so that its payload need not be
 * decoded: hand it in with REFLET_BODY_UNCHANGED then. Asked within a page or an open watch; `held` is
 * set to 0 or 1.
 */
reflet_status reflet_informer_holds(reflet_informer *informer,
                                    uint64_t attempt,
                                    reflet_bytes key,
                                    reflet_bytes of_version,
                                    reflet_bytes uid,
                                    int32_t *held);

/**
 * Subscribes: all objects follow as added, then a mark, then what changes. `subscriber` is set to the
 * subscriber's number, which is not given out again.
 *
 * A subscriber that is not polled costs a bounded number of bytes, and then is reset.
 */
reflet_status reflet_informer_subscribe(reflet_informer *informer,
                                        uint64_t *subscriber);

/**
 * Ends a subscription.
 */
reflet_status reflet_informer_unsubscribe(reflet_informer *informer, uint64_t subscriber);

/**
 * A subscriber's next delta. Call it until the kind is REFLET_DELTA_KIND_NONE.
 */
reflet_status reflet_informer_poll_delta(reflet_informer *informer,
                                         uint64_t subscriber,
                                         reflet_delta *delta);

/**
 * How many objects there are.
 */
reflet_status reflet_informer_len(reflet_informer *informer, size_t *len);

/**
 * Looks an object up. REFLET_NOT_FOUND: there is none with that key.
 */
reflet_status reflet_informer_get(reflet_informer *informer, reflet_bytes key, reflet_entry *entry);

/**
 * Calls `visitor` for each object whose key begins with `prefix`, in the order of the keys' bytes. No
 * prefix: for all objects.
 *
 * The first call makes the informer keep the order of the keys from then on, which takes time by what
 * is there, and a little with each object that comes or goes.
 */
reflet_status reflet_informer_visit(reflet_informer *informer,
                                    reflet_bytes prefix,
                                    reflet_visitor visitor,
                                    void *context);

/**
 * How the informer is. Takes time by the number of subscribers.
 */
reflet_status reflet_informer_health(reflet_informer *informer, reflet_health *health);

/**
 * When the informer wants to be woken. Ask after everything that was handed in: the loop waits until
 * then, or until a socket is ready.
 */
reflet_status reflet_informer_deadline(reflet_informer *informer,
                                       reflet_deadline *deadline);

/**
 * The next notice. Call it until the kind is REFLET_NOTICE_KIND_NONE, or never: if nobody does, the
 * oldest are counted as lost.
 */
reflet_status reflet_informer_poll_notice(reflet_informer *informer, reflet_notice *notice);

/**
 * Takes a snapshot of the local copy, to begin with after a restart. REFLET_NOT_READY: there is no
 * complete state right now.
 *
 * `identity` says what it is a snapshot of, in at most 4096 bytes: the source, the collection, and in
 * which form the values are. `snapshot` is set to bytes to be written to a file, which the informer
 * has until the next call with it.
 */
reflet_status reflet_informer_snapshot(reflet_informer *informer,
                                       reflet_bytes identity,
                                       reflet_bytes *snapshot);

/**
 * Makes an informer that begins with what a snapshot holds, which is served at once, and marked as
 * restored until the source has confirmed it. Everything else is as with reflet_informer_new().
 *
 * REFLET_BAD_SNAPSHOT: the snapshot is damaged, was taken under another identity, or is over a limit;
 * reflet_last_error() says which. There is no informer then: make one without a snapshot.
 */
reflet_status reflet_informer_restore(const reflet_config *config,
                                      uint64_t seed,
                                      uint64_t now,
                                      reflet_bytes identity,
                                      reflet_bytes snapshot,
                                      reflet_informer **informer);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* REFLET_H */
