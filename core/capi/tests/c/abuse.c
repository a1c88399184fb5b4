/* Everything that a program can do wrong and the library can notice: each call must come back with
   a status, and valgrind must have nothing to say. */
#include "check.h"

static reflet_config config;

static reflet_informer *make(void) {
    reflet_informer *informer = NULL;
    OK(reflet_informer_new(&config, 1, 0, &informer));
    return informer;
}

#define IS(status, call)                                                                          \
    do {                                                                                          \
        CHECK((call) == (status));                                                                \
        CHECK(reflet_last_error()[0] != '\0');                                                    \
    } while (0)

static void null_handles(void) {
    union {
        reflet_command command;
        reflet_delta delta;
        reflet_notice notice;
        reflet_entry entry;
        reflet_health health;
        reflet_deadline deadline;
        reflet_bytes bytes;
        uint64_t subscriber;
        size_t len;
        int32_t held;
    } out;
    reflet_input input = {.kind = REFLET_INPUT_KIND_HEARTBEAT};
    reflet_bytes none = {0};
    IS(REFLET_NULL, reflet_informer_poll_command(NULL, &out.command));
    IS(REFLET_NULL, reflet_informer_poll_delta(NULL, 1, &out.delta));
    IS(REFLET_NULL, reflet_informer_poll_notice(NULL, &out.notice));
    IS(REFLET_NULL, reflet_informer_get(NULL, text("a"), &out.entry));
    IS(REFLET_NULL, reflet_informer_health(NULL, &out.health));
    IS(REFLET_NULL, reflet_informer_deadline(NULL, &out.deadline));
    IS(REFLET_NULL, reflet_informer_snapshot(NULL, none, &out.bytes));
    IS(REFLET_NULL, reflet_informer_subscribe(NULL, &out.subscriber));
    IS(REFLET_NULL, reflet_informer_unsubscribe(NULL, 1));
    IS(REFLET_NULL, reflet_informer_len(NULL, &out.len));
    IS(REFLET_NULL, reflet_informer_holds(NULL, 1, text("a"), none, none, &out.held));
    IS(REFLET_NULL, reflet_informer_handle(NULL, 0, &input));
    IS(REFLET_NULL, reflet_informer_handle_timeout(NULL, 0));
    IS(REFLET_NULL, reflet_informer_verify(NULL, 0, 0));
    IS(REFLET_NULL, reflet_informer_stop(NULL, 0));
    OK(reflet_informer_free(NULL));
}

static int32_t never(void *context, const reflet_entry *entry) {
    (void)context;
    (void)entry;
    CHECK(0);
    return 0;
}

static void null_places(void) {
    reflet_informer *informer = make();
    reflet_bytes none = {0};
    uint64_t subscriber;
    IS(REFLET_NULL, reflet_config_init(NULL));
    IS(REFLET_NULL, reflet_informer_new(NULL, 1, 0, &informer));
    IS(REFLET_NULL, reflet_informer_new(&config, 1, 0, NULL));
    IS(REFLET_NULL, reflet_informer_restore(NULL, 1, 0, none, none, &informer));
    IS(REFLET_NULL, reflet_informer_restore(&config, 1, 0, none, none, NULL));
    IS(REFLET_NULL, reflet_informer_poll_command(informer, NULL));
    IS(REFLET_NULL, reflet_informer_subscribe(informer, NULL));
    OK(reflet_informer_subscribe(informer, &subscriber));
    IS(REFLET_NULL, reflet_informer_poll_delta(informer, subscriber, NULL));
    IS(REFLET_NULL, reflet_informer_poll_notice(informer, NULL));
    IS(REFLET_NULL, reflet_informer_get(informer, text("a"), NULL));
    IS(REFLET_NULL, reflet_informer_health(informer, NULL));
    IS(REFLET_NULL, reflet_informer_deadline(informer, NULL));
    IS(REFLET_NULL, reflet_informer_snapshot(informer, none, NULL));
    IS(REFLET_NULL, reflet_informer_len(informer, NULL));
    IS(REFLET_NULL, reflet_informer_holds(informer, 1, text("a"), none, none, NULL));
    IS(REFLET_NULL, reflet_informer_handle(informer, 0, NULL));
    IS(REFLET_NULL, reflet_informer_visit(informer, none, NULL, NULL));
    OK(reflet_informer_visit(informer, none, never, NULL));
    /* Nothing was lost: the first command is still there. */
    CHECK(next_command(informer).kind == REFLET_COMMAND_KIND_LIST);
    OK(reflet_informer_free(informer));
}

static void wrong_bytes(void) {
    reflet_informer *informer = make();
    uint64_t attempt = next_command(informer).attempt;
    reflet_entry entry;
    const reflet_bytes null = {NULL, 5}, endless = {(const uint8_t *)"x", SIZE_MAX},
                       binary = {(const uint8_t *)"\xff\xfe\0\x80", 4}, none = {0};
    IS(REFLET_NULL, reflet_informer_get(informer, none, &entry));
    IS(REFLET_NULL, reflet_informer_get(informer, null, &entry));
    IS(REFLET_BAD_ARGUMENT, reflet_informer_get(informer, endless, &entry));
    IS(REFLET_BAD_UTF8, reflet_informer_get(informer, binary, &entry));
    IS(REFLET_BAD_ARGUMENT, reflet_informer_visit(informer, endless, never, NULL));
    OK(reflet_informer_visit(informer, binary, never, NULL));

    reflet_input page = {.kind = REFLET_INPUT_KIND_PAGE, .attempt = attempt};
    page.revision = binary;
    IS(REFLET_BAD_UTF8, reflet_informer_handle(informer, 0, &page));
    page.revision = text("1");
    page.epoch = null;
    IS(REFLET_NULL, reflet_informer_handle(informer, 0, &page));
    page.epoch = none;
    OK(reflet_informer_handle(informer, 0, &page));

    reflet_input item = {.kind = REFLET_INPUT_KIND_ITEM, .attempt = attempt};
    IS(REFLET_NULL, reflet_informer_handle(informer, 0, &item));
    item.key = binary;
    IS(REFLET_BAD_UTF8, reflet_informer_handle(informer, 0, &item));
    item.key = text("k");
    item.version = binary;
    IS(REFLET_BAD_UTF8, reflet_informer_handle(informer, 0, &item));
    item.version = endless;
    IS(REFLET_BAD_ARGUMENT, reflet_informer_handle(informer, 0, &item));
    item.version = text("1");
    item.value = null;
    IS(REFLET_NULL, reflet_informer_handle(informer, 0, &item));
    item.value = endless;
    IS(REFLET_BAD_ARGUMENT, reflet_informer_handle(informer, 0, &item));
    /* A value may be anything, and a size is only counted. */
    item.value = binary;
    item.size = 1;
    OK(reflet_informer_handle(informer, 0, &item));
    reflet_input end = {.kind = REFLET_INPUT_KIND_PAGE_END, .attempt = attempt, .next = none};
    OK(reflet_informer_handle(informer, 0, &end));
    OK(reflet_informer_get(informer, text("k"), &entry));
    CHECK(entry.value.length == 4 && memcmp(entry.value.data, binary.data, 4) == 0);
    OK(reflet_informer_free(informer));
}

static void wrong_numbers(void) {
    reflet_config wrong = config;
    reflet_informer *informer = NULL;
    wrong.feed = 99;
    IS(REFLET_BAD_ARGUMENT, reflet_informer_new(&wrong, 1, 0, &informer));
    wrong = config;
    wrong.source_class = UINT32_MAX;
    IS(REFLET_BAD_ARGUMENT, reflet_informer_new(&wrong, 1, 0, &informer));
    wrong = config;
    wrong.promises = 1u << 31;
    IS(REFLET_BAD_ARGUMENT, reflet_informer_new(&wrong, 1, 0, &informer));
    CHECK(informer == NULL);
    /* Settings without sense are raised to some that have. */
    memset(&wrong, 0, sizeof wrong);
    OK(reflet_informer_new(&wrong, 1, UINT64_MAX, &informer));
    OK(reflet_informer_handle_timeout(informer, 0));
    OK(reflet_informer_free(informer));
    memset(&wrong, 0xff, sizeof wrong);
    wrong.feed = REFLET_FEED_LIST_WATCH;
    wrong.source_class = REFLET_SOURCE_CLASS_PINNED;
    wrong.promises = REFLET_PROMISE_BATCH_ENDS;
    OK(reflet_informer_new(&wrong, 1, 0, &informer));
    OK(reflet_informer_handle_timeout(informer, 1));

    reflet_input input = {.kind = 77, .attempt = next_command(informer).attempt};
    IS(REFLET_BAD_ARGUMENT, reflet_informer_handle(informer, 0, &input));
    input.kind = REFLET_INPUT_KIND_ITEM;
    input.key = text("k");
    input.body = 3;
    IS(REFLET_BAD_ARGUMENT, reflet_informer_handle(informer, 0, &input));
    input.kind = REFLET_INPUT_KIND_FAILED;
    input.failure = 8;
    IS(REFLET_BAD_ARGUMENT, reflet_informer_handle(informer, 0, &input));
    input.attempt = 12345;
    IS(REFLET_UNKNOWN_ATTEMPT, reflet_informer_handle(informer, 0, &input));
    int32_t held;
    IS(REFLET_UNKNOWN_ATTEMPT,
       reflet_informer_holds(informer, 0, text("k"), text("1"), text(""), &held));
    OK(reflet_informer_free(informer));
}

static void out_of_order(void) {
    reflet_informer *informer = make();
    reflet_input input = {.kind = REFLET_INPUT_KIND_UPSERT, .key = text("k"), .value = text("v")};
    input.attempt = next_command(informer).attempt;
    input.revision = text("2");
    /* All that may be handed in, to a list that expects a page: the engine refuses with notices. */
    for (uint32_t kind = 0; kind <= REFLET_INPUT_KIND_FAILED; kind++) {
        input.kind = kind;
        reflet_status status = reflet_informer_handle(informer, kind, &input);
        CHECK(status == REFLET_OK || status == REFLET_UNKNOWN_ATTEMPT);
        reflet_command command;
        do {
            command = next_command(informer);
            if (command.kind == REFLET_COMMAND_KIND_LIST) input.attempt = command.attempt;
        } while (command.kind != REFLET_COMMAND_KIND_NONE);
        OK(reflet_informer_handle_timeout(informer, (kind + 1) * (uint64_t)60000000000));
        command = next_command(informer);
        if (command.kind == REFLET_COMMAND_KIND_LIST) input.attempt = command.attempt;
    }
    reflet_notice notice;
    int refused = 0;
    do {
        OK(reflet_informer_poll_notice(informer, &notice));
        refused += notice.kind == REFLET_NOTICE_KIND_BAD_INPUT;
    } while (notice.kind != REFLET_NOTICE_KIND_NONE);
    CHECK(refused > 0);
    reflet_bytes bytes;
    IS(REFLET_NOT_READY, reflet_informer_snapshot(informer, text("id"), &bytes));
    OK(reflet_informer_free(informer));
}

static void subscribers(void) {
    reflet_informer *informer = make();
    uint64_t one, two;
    reflet_delta delta;
    IS(REFLET_UNKNOWN_SUBSCRIBER, reflet_informer_poll_delta(informer, 1, &delta));
    OK(reflet_informer_subscribe(informer, &one));
    OK(reflet_informer_unsubscribe(informer, one));
    IS(REFLET_UNKNOWN_SUBSCRIBER, reflet_informer_unsubscribe(informer, one));
    IS(REFLET_UNKNOWN_SUBSCRIBER, reflet_informer_poll_delta(informer, one, &delta));
    OK(reflet_informer_subscribe(informer, &two));
    CHECK(one != two);
    OK(reflet_informer_free(informer));
}

static void after_stop(void) {
    reflet_informer *informer = make();
    reflet_input input = {.kind = REFLET_INPUT_KIND_CLOSED};
    input.attempt = next_command(informer).attempt;
    OK(reflet_informer_stop(informer, 5));
    IS(REFLET_STOPPED, reflet_informer_handle(informer, 6, &input));
    IS(REFLET_STOPPED, reflet_informer_handle_timeout(informer, 6));
    IS(REFLET_STOPPED, reflet_informer_verify(informer, 6, 1));
    CHECK(next_command(informer).kind == REFLET_COMMAND_KIND_CANCEL);
    CHECK(next_command(informer).kind == REFLET_COMMAND_KIND_NONE);
    uint64_t subscriber;
    OK(reflet_informer_subscribe(informer, &subscriber));
    CHECK(next_delta(informer, subscriber).kind == REFLET_DELTA_KIND_NONE);
    OK(reflet_informer_free(informer));
}

static int32_t calls_back(void *context, const reflet_entry *entry) {
    reflet_entry other;
    size_t len;
    IS(REFLET_BUSY, reflet_informer_len(context, &len));
    IS(REFLET_BUSY, reflet_informer_get(context, text("k"), &other));
    IS(REFLET_BUSY, reflet_informer_stop(context, 0));
    IS(REFLET_BUSY, reflet_informer_free(context));
    CHECK(is(entry->key, "k"));
    return 0;
}

static void out_of_a_callback(void) {
    reflet_informer *informer = make();
    reflet_input input = {.kind = REFLET_INPUT_KIND_PAGE, .revision = text("1")};
    input.attempt = next_command(informer).attempt;
    OK(reflet_informer_handle(informer, 0, &input));
    input.kind = REFLET_INPUT_KIND_ITEM;
    input.key = text("k");
    OK(reflet_informer_handle(informer, 0, &input));
    input.kind = REFLET_INPUT_KIND_PAGE_END;
    OK(reflet_informer_handle(informer, 0, &input));
    OK(reflet_informer_visit(informer, (reflet_bytes){0}, calls_back, informer));
    size_t len;
    OK(reflet_informer_len(informer, &len));
    CHECK(len == 1);
    OK(reflet_informer_free(informer));
}

static void bad_snapshots(void) {
    reflet_informer *informer = NULL;
    const reflet_bytes none = {0}, endless = {(const uint8_t *)"x", SIZE_MAX},
                       binary = {(const uint8_t *)"\xff\xfe\0\x80", 4};
    IS(REFLET_BAD_SNAPSHOT, reflet_informer_restore(&config, 1, 0, text("id"), none, &informer));
    IS(REFLET_BAD_SNAPSHOT, reflet_informer_restore(&config, 1, 0, text("id"), binary, &informer));
    IS(REFLET_BAD_SNAPSHOT, reflet_informer_restore(&config, 1, 0, none, text("hello"), &informer));
    IS(REFLET_BAD_ARGUMENT, reflet_informer_restore(&config, 1, 0, none, endless, &informer));
    IS(REFLET_BAD_UTF8, reflet_informer_restore(&config, 1, 0, binary, none, &informer));
    CHECK(informer == NULL);
}

static void bad_endpoints(void) {
    reflet_endpoint *endpoint = NULL;
    const reflet_bytes none = {0}, binary = {(const uint8_t *)"\xff\xfe\0\x80", 4};
    IS(REFLET_NULL, reflet_endpoint_new(text("host"), text("name"), NULL));
    IS(REFLET_BAD_ARGUMENT, reflet_endpoint_new(none, text("name"), &endpoint));
    IS(REFLET_BAD_ARGUMENT, reflet_endpoint_new(text("a b"), text("name"), &endpoint));
    IS(REFLET_BAD_ARGUMENT, reflet_endpoint_new(text("host"), text(".."), &endpoint));
    IS(REFLET_BAD_UTF8, reflet_endpoint_new(text("host"), binary, &endpoint));
    CHECK(endpoint == NULL);
    IS(REFLET_NULL, reflet_endpoint_set_prefix(NULL, text("/a")));
    IS(REFLET_NULL, reflet_endpoint_add_header(NULL, text("a"), text("b")));
    IS(REFLET_NULL, reflet_endpoint_set_heartbeat(NULL, 1));
    IS(REFLET_NULL, reflet_endpoint_config(NULL, &config));
    OK(reflet_endpoint_new(text("host"), text("name"), &endpoint));
    IS(REFLET_NULL, reflet_endpoint_config(endpoint, NULL));
    IS(REFLET_BAD_ARGUMENT, reflet_endpoint_set_prefix(endpoint, text("no slash")));
    IS(REFLET_BAD_ARGUMENT, reflet_endpoint_add_header(endpoint, text("host"), text("b")));
    IS(REFLET_BAD_ARGUMENT, reflet_endpoint_add_header(endpoint, text("a"), text("b\r\nc: d")));
    CHECK(strstr(reflet_last_error(), "c: d") == NULL);
    OK(reflet_endpoint_set_heartbeat(endpoint, UINT64_MAX));
    OK(reflet_endpoint_free(endpoint));
    OK(reflet_endpoint_free(NULL));
}

static void bad_exchanges(void) {
    reflet_endpoint *endpoint;
    reflet_exchange *exchange = NULL;
    reflet_informer *informer = make(), *other = make();
    reflet_bytes request;
    reflet_next next;
    const reflet_bytes none = {0}, null = {NULL, 5}, endless = {(const uint8_t *)"x", SIZE_MAX};
    OK(reflet_endpoint_new(text("host"), text("name"), &endpoint));

    /* Nothing was polled yet. */
    IS(REFLET_BAD_ARGUMENT, reflet_exchange_new(endpoint, informer, &exchange));
    uint64_t attempt = next_command(informer).attempt;
    IS(REFLET_NULL, reflet_exchange_new(NULL, informer, &exchange));
    IS(REFLET_NULL, reflet_exchange_new(endpoint, NULL, &exchange));
    IS(REFLET_NULL, reflet_exchange_new(endpoint, informer, NULL));
    CHECK(exchange == NULL);
    OK(reflet_exchange_new(endpoint, informer, &exchange));
    reflet_exchange *second = NULL;
    IS(REFLET_BAD_ARGUMENT, reflet_exchange_new(endpoint, informer, &second));
    CHECK(second == NULL);

    next_command(other);
    IS(REFLET_BAD_ARGUMENT, reflet_exchange_read(exchange, other, 0, text("HTTP"), &next));
    IS(REFLET_BAD_ARGUMENT, reflet_exchange_closed(exchange, other, 0));
    IS(REFLET_BAD_ARGUMENT, reflet_exchange_failed(exchange, other, 0, none));
    IS(REFLET_NULL, reflet_exchange_request(NULL, &request));
    IS(REFLET_NULL, reflet_exchange_request(exchange, NULL));
    IS(REFLET_NULL, reflet_exchange_read(NULL, informer, 0, none, &next));
    IS(REFLET_NULL, reflet_exchange_read(exchange, NULL, 0, none, &next));
    IS(REFLET_NULL, reflet_exchange_read(exchange, informer, 0, none, NULL));
    IS(REFLET_NULL, reflet_exchange_read(exchange, informer, 0, null, &next));
    IS(REFLET_BAD_ARGUMENT, reflet_exchange_read(exchange, informer, 0, endless, &next));
    IS(REFLET_NULL, reflet_exchange_closed(NULL, informer, 0));
    IS(REFLET_NULL, reflet_exchange_closed(exchange, NULL, 0));
    IS(REFLET_NULL, reflet_exchange_failed(NULL, informer, 0, none));
    IS(REFLET_NULL, reflet_exchange_failed(exchange, NULL, 0, none));

    /* What is no HTTP ends it; after its end it takes nothing more. */
    OK(reflet_exchange_read(exchange, informer, 0, none, &next));
    CHECK(next == REFLET_NEXT_MORE);
    OK(reflet_exchange_read(exchange, informer, 0, text("hello, this is no HTTP\r\n\r\n"), &next));
    CHECK(next == REFLET_NEXT_CLOSE);
    IS(REFLET_UNKNOWN_ATTEMPT, reflet_exchange_read(exchange, informer, 0, text("x"), &next));
    IS(REFLET_UNKNOWN_ATTEMPT, reflet_exchange_closed(exchange, informer, 0));
    IS(REFLET_UNKNOWN_ATTEMPT, reflet_exchange_failed(exchange, informer, 0, text("x")));
    OK(reflet_exchange_free(exchange));

    /* One whose page has come has no say in the next page, which has the same attempt. */
    static const char page[] = "HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n"
                               "{\"revision\":\"7\",\"items\":[{\"key\":\"k\",\"version\":\"7\",\"value\":1}],"
                               "\"continue\":\"t\"}";
    static const char last[] = "HTTP/1.1 200 OK\r\ncontent-length: 27\r\n\r\n"
                               "{\"revision\":\"7\",\"items\":[]}";
    reflet_informer *paged = make();
    uint64_t list = next_command(paged).attempt;
    OK(reflet_exchange_new(endpoint, paged, &exchange));
    OK(reflet_exchange_read(exchange, paged, 0, text(page), &next));
    CHECK(next == REFLET_NEXT_KEEP);
    CHECK(next_command(paged).attempt == list);
    OK(reflet_exchange_new(endpoint, paged, &second));
    IS(REFLET_UNKNOWN_ATTEMPT, reflet_exchange_read(exchange, paged, 0, text("x"), &next));
    IS(REFLET_UNKNOWN_ATTEMPT, reflet_exchange_failed(exchange, paged, 0, text("reset")));
    IS(REFLET_UNKNOWN_ATTEMPT, reflet_exchange_closed(exchange, paged, 0));
    OK(reflet_exchange_read(second, paged, 0, text(last), &next));
    CHECK(next == REFLET_NEXT_KEEP);
    CHECK(next_command(paged).kind == REFLET_COMMAND_KIND_WATCH);
    OK(reflet_exchange_free(exchange));
    OK(reflet_exchange_free(second));
    OK(reflet_informer_free(paged));
    second = NULL;

    /* What the protocol has not got is no request, and fails when it is told to. */
    reflet_config streamed = config;
    streamed.feed = REFLET_FEED_INITIAL_STREAM;
    reflet_informer *initial;
    OK(reflet_informer_new(&streamed, 1, 0, &initial));
    CHECK(next_command(initial).kind == REFLET_COMMAND_KIND_WATCH);
    OK(reflet_exchange_new(endpoint, initial, &exchange));
    OK(reflet_exchange_request(exchange, &request));
    CHECK(request.data == NULL && request.length == 0);
    OK(reflet_exchange_failed(exchange, initial, 0, none));
    OK(reflet_exchange_free(exchange));
    OK(reflet_informer_free(initial));

    /* A cancelled one, a stopped informer, and an informer that is gone. */
    reflet_deadline deadline;
    OK(reflet_informer_deadline(informer, &deadline));
    OK(reflet_informer_handle_timeout(informer, deadline.at));
    CHECK(next_command(informer).attempt != attempt);
    OK(reflet_exchange_new(endpoint, informer, &exchange));
    OK(reflet_informer_stop(informer, deadline.at));
    IS(REFLET_STOPPED, reflet_exchange_read(exchange, informer, 0, text("HTTP"), &next));
    CHECK(next_command(informer).kind == REFLET_COMMAND_KIND_CANCEL);
    IS(REFLET_BAD_ARGUMENT, reflet_exchange_new(endpoint, informer, &second));
    OK(reflet_informer_free(informer));
    OK(reflet_exchange_request(exchange, &request));
    CHECK(request.length > 0 && memcmp(request.data, "GET /v1/name?", 13) == 0);
    OK(reflet_exchange_free(exchange));
    OK(reflet_exchange_free(NULL));
    OK(reflet_informer_free(other));
    OK(reflet_endpoint_free(endpoint));
}

int main(void) {
    OK(reflet_config_init(&config));
    null_handles();
    null_places();
    wrong_bytes();
    wrong_numbers();
    out_of_order();
    subscribers();
    after_stop();
    out_of_a_callback();
    bad_snapshots();
    bad_endpoints();
    bad_exchanges();
    puts("survived");
    return 0;
}
