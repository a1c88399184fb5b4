/* A whole life of an informer through the C interface, without any I/O. */
#include "check.h"

static const uint64_t SECOND = 1000000000;

static void hand_in(reflet_informer *informer, uint64_t now, uint64_t attempt, reflet_input input) {
    input.attempt = attempt;
    OK(reflet_informer_handle(informer, now, &input));
}

static reflet_input object(reflet_input_kind kind, const char *key, const char *version,
                           const char *value) {
    reflet_input input = {.kind = kind, .key = text(key), .version = text(version)};
    input.uid = text("7");
    input.value = value ? text(value) : (reflet_bytes){0};
    return input;
}

/* A list of two pages, at revision 10. */
static void list(reflet_informer *informer, uint64_t now) {
    reflet_command command = next_command(informer);
    CHECK(command.kind == REFLET_COMMAND_KIND_LIST);
    CHECK(command.page.data == NULL && command.limit == 2);
    uint64_t attempt = command.attempt;
    reflet_input page = {.kind = REFLET_INPUT_KIND_PAGE, .revision = text("10")};
    page.epoch = text("e");
    hand_in(informer, now, attempt, page);
    hand_in(informer, now, attempt, object(REFLET_INPUT_KIND_ITEM, "/b", "3", "two"));
    hand_in(informer, now, attempt, object(REFLET_INPUT_KIND_ITEM, "/a", "4", "one"));
    reflet_input more = {.kind = REFLET_INPUT_KIND_PAGE_END, .next = text("token")};
    hand_in(informer, now, attempt, more);

    /* Nothing shows before the last page. */
    size_t objects = 9;
    OK(reflet_informer_len(informer, &objects));
    CHECK(objects == 0);

    command = next_command(informer);
    CHECK(command.kind == REFLET_COMMAND_KIND_LIST && command.attempt == attempt);
    CHECK(is(command.page, "token"));
    hand_in(informer, now, attempt, page);
    hand_in(informer, now, attempt, object(REFLET_INPUT_KIND_ITEM, "x", "5", ""));
    reflet_input end = {.kind = REFLET_INPUT_KIND_PAGE_END};
    hand_in(informer, now, attempt, end);
    OK(reflet_informer_len(informer, &objects));
    CHECK(objects == 3);

    /* The attempt is over. */
    end.attempt = attempt;
    CHECK(reflet_informer_handle(informer, now, &end) == REFLET_UNKNOWN_ATTEMPT);
    CHECK(strstr(reflet_last_error(), "is over") != NULL);
}

static uint64_t watch(reflet_informer *informer, uint64_t now) {
    reflet_command command = next_command(informer);
    CHECK(command.kind == REFLET_COMMAND_KIND_WATCH);
    CHECK(command.from == REFLET_WATCH_FROM_REVISION);
    CHECK(is(command.revision, "10") && is(command.epoch, "e"));
    CHECK(next_command(informer).kind == REFLET_COMMAND_KIND_NONE);
    reflet_input opened = {.kind = REFLET_INPUT_KIND_OPENED, .epoch = text("e")};
    hand_in(informer, now, command.attempt, opened);
    return command.attempt;
}

static void told_of_the_list(reflet_informer *informer, uint64_t subscriber) {
    static const char *const keys[] = {"/b", "/a", "x"};
    for (int i = 0; i < 3; i++) {
        reflet_delta delta = next_delta(informer, subscriber);
        CHECK(delta.kind == REFLET_DELTA_KIND_ADDED && is(delta.key, keys[i]));
    }
    reflet_delta mark = next_delta(informer, subscriber);
    CHECK(mark.kind == REFLET_DELTA_KIND_MARK && is(mark.revision, "10"));
    CHECK(mark.complete && mark.initial && !mark.restored);
    CHECK(next_delta(informer, subscriber).kind == REFLET_DELTA_KIND_NONE);
}

/* One transaction: an update and a delete. */
static void change(reflet_informer *informer, uint64_t now, uint64_t attempt, uint64_t subscriber) {
    reflet_input update = object(REFLET_INPUT_KIND_UPSERT, "/a", "11", "uno");
    update.revision = text("11");
    update.previous = text("10");
    hand_in(informer, now, attempt, update);
    /* A transaction shows whole or not at all. */
    CHECK(next_delta(informer, subscriber).kind == REFLET_DELTA_KIND_NONE);
    reflet_input removal = object(REFLET_INPUT_KIND_DELETE, "/b", "11", NULL);
    removal.revision = text("11");
    removal.previous = text("10");
    hand_in(informer, now, attempt, removal);
    reflet_input end = {.kind = REFLET_INPUT_KIND_BATCH_END, .revision = text("11")};
    hand_in(informer, now, attempt, end);

    reflet_delta updated = next_delta(informer, subscriber);
    CHECK(updated.kind == REFLET_DELTA_KIND_UPDATED && is(updated.key, "/a"));
    CHECK(is(updated.old_value, "one") && is(updated.value, "uno"));
    reflet_delta deleted = next_delta(informer, subscriber);
    CHECK(deleted.kind == REFLET_DELTA_KIND_DELETED && is(deleted.key, "/b"));
    CHECK(is(deleted.old_value, "two") && is(deleted.value, "two") && !deleted.inferred);
    reflet_delta mark = next_delta(informer, subscriber);
    CHECK(mark.kind == REFLET_DELTA_KIND_MARK && is(mark.revision, "11") && !mark.initial);
}

struct walk {
    int seen;
    int most;
    char keys[32];
};

static int32_t visit(void *context, const reflet_entry *entry) {
    struct walk *walk = context;
    strncat(walk->keys, (const char *)entry->key.data, entry->key.length);
    CHECK(entry->version.length > 0);
    return ++walk->seen == walk->most;
}

static void look_up(reflet_informer *informer) {
    reflet_entry entry;
    OK(reflet_informer_get(informer, text("/a"), &entry));
    CHECK(is(entry.key, "/a") && is(entry.value, "uno") && is(entry.version, "11"));
    OK(reflet_informer_get(informer, text("x"), &entry));
    CHECK(entry.value.length == 0 && entry.value.data != NULL);
    CHECK(reflet_informer_get(informer, text("/b"), &entry) == REFLET_NOT_FOUND);

    struct walk all = {.most = 100}, some = {.most = 100}, one = {.most = 1};
    OK(reflet_informer_visit(informer, (reflet_bytes){0}, visit, &all));
    CHECK(strcmp(all.keys, "/ax") == 0);
    OK(reflet_informer_visit(informer, text("/"), visit, &some));
    CHECK(strcmp(some.keys, "/a") == 0);
    OK(reflet_informer_visit(informer, (reflet_bytes){0}, visit, &one));
    CHECK(one.seen == 1);
}

static void notices(reflet_informer *informer) {
    reflet_notice notice;
    int synced = 0;
    do {
        OK(reflet_informer_poll_notice(informer, &notice));
        if (notice.kind == REFLET_NOTICE_KIND_SYNCED) {
            synced = is(notice.text, "synced: 3 objects at revision 10");
        }
    } while (notice.kind != REFLET_NOTICE_KIND_NONE);
    CHECK(synced);
}

static void health(reflet_informer *informer, reflet_health_state state, const char *revision) {
    reflet_health health;
    OK(reflet_informer_health(informer, &health));
    CHECK(health.state == state);
    CHECK(is(health.revision, revision) && is(health.epoch, "e") && health.objects == 2);
}

/* The watch goes silent, is given up, and another one is asked for. */
static void time_passes(reflet_informer *informer, uint64_t attempt) {
    reflet_deadline deadline;
    OK(reflet_informer_deadline(informer, &deadline));
    CHECK(is(deadline.reason, "the next word of a watch") && deadline.at > SECOND);
    OK(reflet_informer_handle_timeout(informer, deadline.at));
    reflet_command command = next_command(informer);
    CHECK(command.kind == REFLET_COMMAND_KIND_CANCEL && command.attempt == attempt);
    /* It was a healthy one, so the next is asked for at once. */
    command = next_command(informer);
    CHECK(command.kind == REFLET_COMMAND_KIND_WATCH && is(command.revision, "11"));

    reflet_input failed = {.kind = REFLET_INPUT_KIND_FAILED, .failure = REFLET_FAILURE_RETRYABLE};
    failed.message = text("no route");
    failed.retry_after_ms = 5000;
    uint64_t now = deadline.at;
    hand_in(informer, now, command.attempt, failed);
    OK(reflet_informer_deadline(informer, &deadline));
    CHECK(is(deadline.reason, "the time that the source asked for"));
    CHECK(deadline.at >= now + 5 * SECOND);
    reflet_health health;
    OK(reflet_informer_health(informer, &health));
    CHECK(health.state == REFLET_HEALTH_STATE_STALE && is(health.last_error, "retryable: no route"));
}

/* What was known is served after a restart, marked as restored. */
static void restart(reflet_informer *informer, const reflet_config *config) {
    reflet_bytes bytes;
    OK(reflet_informer_snapshot(informer, text("test"), &bytes));
    reflet_informer *again = NULL;
    CHECK(reflet_informer_restore(config, 1, 0, text("other"), bytes, &again) ==
          REFLET_BAD_SNAPSHOT);
    CHECK(again == NULL && strstr(reflet_last_error(), "was taken of \"test\"") != NULL);
    OK(reflet_informer_restore(config, 1, 0, text("test"), bytes, &again));
    uint64_t subscriber;
    OK(reflet_informer_subscribe(again, &subscriber));
    CHECK(next_delta(again, subscriber).kind == REFLET_DELTA_KIND_ADDED);
    CHECK(next_delta(again, subscriber).kind == REFLET_DELTA_KIND_ADDED);
    reflet_delta mark = next_delta(again, subscriber);
    CHECK(mark.kind == REFLET_DELTA_KIND_MARK && mark.restored && is(mark.revision, "11"));
    CHECK(next_command(again).kind == REFLET_COMMAND_KIND_WATCH);
    OK(reflet_informer_free(again));
}

/* Another one over HTTP: a page that comes in two pieces, a watch that is opened, and a refusal. */
static void over_http(uint64_t now) {
    static const char page[] = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                               "x-reflet-epoch: e\r\ncontent-length: 90\r\n\r\n"
                               "{\"revision\":\"7\",\"epoch\":\"e\",\"items\":[{\"key\":\"k\",\"version\":\"7\","
                               "\"uid\":\"7\",\"value\":{\"a\":1}}]}";
    reflet_endpoint *endpoint;
    OK(reflet_endpoint_new(text("host:80"), text("routes"), &endpoint));
    OK(reflet_endpoint_set_prefix(endpoint, text("/config")));
    OK(reflet_endpoint_add_header(endpoint, text("authorization"), text("Bearer t")));
    reflet_config config;
    OK(reflet_endpoint_config(endpoint, &config));
    CHECK(config.promises & REFLET_PROMISE_DIGESTS && config.heartbeat_ms == 10000);
    reflet_informer *informer;
    OK(reflet_informer_new(&config, 3, now, &informer));

    CHECK(next_command(informer).kind == REFLET_COMMAND_KIND_LIST);
    reflet_exchange *exchange;
    reflet_bytes request;
    OK(reflet_exchange_new(endpoint, informer, &exchange));
    OK(reflet_exchange_request(exchange, &request));
    CHECK(is(request, "GET /config/v1/routes?limit=500 HTTP/1.1\r\nhost: host:80\r\n"
                      "accept: application/json\r\nauthorization: Bearer t\r\n\r\n"));
    reflet_next next;
    reflet_bytes front = {(const uint8_t *)page, 50};
    reflet_bytes back = {(const uint8_t *)page + 50, sizeof page - 51};
    OK(reflet_exchange_read(exchange, informer, now, front, &next));
    CHECK(next == REFLET_NEXT_MORE);
    OK(reflet_exchange_read(exchange, informer, now, back, &next));
    CHECK(next == REFLET_NEXT_KEEP);
    OK(reflet_exchange_free(exchange));
    reflet_entry entry;
    OK(reflet_informer_get(informer, text("k"), &entry));
    CHECK(is(entry.value, "{\"a\":1}"));

    CHECK(next_command(informer).kind == REFLET_COMMAND_KIND_WATCH);
    OK(reflet_exchange_new(endpoint, informer, &exchange));
    OK(reflet_exchange_read(exchange, informer, now,
                            text("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n"),
                            &next));
    CHECK(next == REFLET_NEXT_MORE);
    OK(reflet_exchange_closed(exchange, informer, now));
    OK(reflet_exchange_free(exchange));

    /* It said nothing, so the next one has to wait. */
    reflet_deadline deadline;
    OK(reflet_informer_deadline(informer, &deadline));
    now = deadline.at;
    OK(reflet_informer_handle_timeout(informer, now));
    CHECK(next_command(informer).kind == REFLET_COMMAND_KIND_WATCH);
    OK(reflet_exchange_new(endpoint, informer, &exchange));
    OK(reflet_exchange_failed(exchange, informer, now, text("no route to host")));
    OK(reflet_exchange_free(exchange));
    reflet_health health;
    OK(reflet_informer_health(informer, &health));
    CHECK(is(health.last_error, "retryable: no route to host"));
    OK(reflet_informer_free(informer));
    OK(reflet_endpoint_free(endpoint));
}

int main(void) {
    reflet_config config;
    OK(reflet_config_init(&config));
    config.promises = REFLET_PROMISE_BATCH_ENDS | REFLET_PROMISE_PREDECESSORS;
    config.page_items = 2;

    uint64_t now = SECOND, subscriber;
    reflet_informer *informer = NULL;
    OK(reflet_informer_new(&config, 42, now, &informer));
    OK(reflet_informer_subscribe(informer, &subscriber));
    list(informer, now);
    uint64_t attempt = watch(informer, now);
    told_of_the_list(informer, subscriber);
    int32_t held = 2;
    OK(reflet_informer_holds(informer, attempt, text("/a"), text("4"), text("7"), &held));
    CHECK(held == 1);
    change(informer, now, attempt, subscriber);
    look_up(informer);
    notices(informer);
    health(informer, REFLET_HEALTH_STATE_LIVE, "11");
    restart(informer, &config);
    time_passes(informer, attempt);

    OK(reflet_informer_verify(informer, now, 0));
    OK(reflet_informer_stop(informer, now));
    OK(reflet_informer_stop(informer, now));
    reflet_deadline deadline;
    OK(reflet_informer_deadline(informer, &deadline));
    CHECK(deadline.at == UINT64_MAX && deadline.reason.data == NULL);
    health(informer, REFLET_HEALTH_STATE_STOPPED, "11");
    look_up(informer);
    OK(reflet_informer_unsubscribe(informer, subscriber));
    OK(reflet_informer_free(informer));
    over_http(now);
    puts("lived");
    return 0;
}
