/*
 * Follows a collection that a server publishes by Reflet's protocol, with a loop of its own: poll()
 * and non-blocking sockets. Each change is printed when it has been seen, each state that is whole
 * with its revision.
 *
 *   follow HOST PORT COLLECTION [KEY VALUE]
 *
 * It ends when the object KEY has the value VALUE (as JSON), or when standard input is closed.
 *
 *   cargo build -p reflet-capi
 *   cc -I core/capi/include core/capi/examples/follow.c target/debug/libreflet.a \
 *      -lpthread -ldl -lm -lgcc_s -o follow
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "reflet.h"

/* More than an informer has attempts under way at a time: a watch and a list beside it. */
#define CONNECTIONS 4

/* An exchange under way, and its connection. */
struct connection {
    reflet_exchange *exchange; /* NULL: this one is free. */
    uint64_t attempt;
    int socket;
    size_t written; /* Of the request. */
};

static struct connection connections[CONNECTIONS];
static struct addrinfo *server;
static reflet_endpoint *endpoint;
static reflet_informer *informer;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static reflet_bytes text(const char *text) {
    reflet_bytes bytes = {(const uint8_t *)text, strlen(text)};
    return bytes;
}

/* For what goes wrong only if this program is wrong. */
static void must(reflet_status status) {
    if (status != REFLET_OK) {
        fprintf(stderr, "follow: %s\n", reflet_last_error());
        exit(2);
    }
}

static void drop_connection(struct connection *connection) {
    must(reflet_exchange_free(connection->exchange));
    if (connection->socket >= 0) close(connection->socket);
    connection->exchange = NULL;
}

static void fail(struct connection *connection, const char *words) {
    must(reflet_exchange_failed(connection->exchange, informer, now(), text(words)));
    drop_connection(connection);
}

/* Carries out a list or a watch: takes it to a new connection, which need not be there at once. */
static void begin(uint64_t attempt) {
    struct connection *connection = connections;
    while (connection->exchange != NULL) {
        if (++connection == connections + CONNECTIONS) {
            fprintf(stderr, "follow: more connections than an informer has\n");
            exit(2);
        }
    }
    must(reflet_exchange_new(endpoint, informer, &connection->exchange));
    connection->attempt = attempt;
    connection->written = 0;
    connection->socket = socket(server->ai_family, server->ai_socktype, server->ai_protocol);
    if (connection->socket < 0 || fcntl(connection->socket, F_SETFL, O_NONBLOCK) < 0 ||
        (connect(connection->socket, server->ai_addr, server->ai_addrlen) < 0 &&
         errno != EINPROGRESS)) {
        fail(connection, strerror(errno));
    }
}

static void cancel(uint64_t attempt) {
    for (int i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &connections[i];
        if (connection->exchange != NULL && connection->attempt == attempt) {
            drop_connection(connection);
        }
    }
}

/* Does what the informer asks for. */
static void obey(void) {
    reflet_command command;
    for (;;) {
        must(reflet_informer_poll_command(informer, &command));
        switch (command.kind) {
        case REFLET_COMMAND_KIND_NONE:
            return;
        case REFLET_COMMAND_KIND_LIST:
        case REFLET_COMMAND_KIND_WATCH:
            begin(command.attempt);
            break;
        case REFLET_COMMAND_KIND_CANCEL:
            cancel(command.attempt);
            break;
        default:
            break;
        }
    }
}

static void print(const char *before, reflet_bytes bytes) {
    fputs(before, stdout);
    fwrite(bytes.data, 1, bytes.length, stdout);
}

/* Prints what the subscriber is told. */
static void tell(uint64_t subscriber) {
    reflet_delta delta;
    do {
        must(reflet_informer_poll_delta(informer, subscriber, &delta));
        switch (delta.kind) {
        case REFLET_DELTA_KIND_ADDED:
            print("+ ", delta.key);
            print(" ", delta.value);
            break;
        case REFLET_DELTA_KIND_UPDATED:
            print("~ ", delta.key);
            print(" ", delta.old_value);
            print(" -> ", delta.value);
            break;
        case REFLET_DELTA_KIND_DELETED:
            print("- ", delta.key);
            print(" ", delta.old_value);
            break;
        case REFLET_DELTA_KIND_RESET:
            fputs("! forget everything", stdout);
            break;
        case REFLET_DELTA_KIND_MARK:
            print(delta.complete ? "= " : "= part of ", delta.revision);
            break;
        default:
            continue;
        }
        putchar('\n');
    } while (delta.kind != REFLET_DELTA_KIND_NONE);
    fflush(stdout);
}

/* Logs what is worth knowing. */
static void log_notices(void) {
    reflet_notice notice;
    for (;;) {
        must(reflet_informer_poll_notice(informer, &notice));
        if (notice.kind == REFLET_NOTICE_KIND_NONE) return;
        fprintf(stderr, "follow: %.*s\n", (int)notice.text.length, (const char *)notice.text.data);
    }
}

/* The socket can be written to, which also means that it is connected, or never will be. */
static void write_request(struct connection *connection) {
    reflet_bytes request;
    must(reflet_exchange_request(connection->exchange, &request));
    ssize_t written = write(connection->socket, request.data + connection->written,
                            request.length - connection->written);
    if (written >= 0) {
        connection->written += (size_t)written;
    } else if (errno != EAGAIN && errno != EINTR) {
        fail(connection, strerror(errno));
    }
}

/* The socket has something to read, or an end. */
static void read_answer(struct connection *connection) {
    static uint8_t buffer[1 << 16];
    ssize_t length = read(connection->socket, buffer, sizeof buffer);
    if (length > 0) {
        reflet_bytes bytes = {buffer, (size_t)length};
        reflet_next next;
        must(reflet_exchange_read(connection->exchange, informer, now(), bytes, &next));
        if (next != REFLET_NEXT_MORE) drop_connection(connection);
    } else if (length == 0) {
        must(reflet_exchange_closed(connection->exchange, informer, now()));
        drop_connection(connection);
    } else if (errno != EAGAIN && errno != EINTR) {
        fail(connection, strerror(errno));
    }
}

static int wants_to_write(const struct connection *connection) {
    reflet_bytes request;
    must(reflet_exchange_request(connection->exchange, &request));
    return connection->written < request.length;
}

/* Waits until a socket is ready or the informer's deadline has come. False: standard input is closed. */
static int wait_and_serve(void) {
    struct pollfd ready[CONNECTIONS + 1] = {{0}};
    for (int i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &connections[i];
        ready[i].fd = connection->exchange != NULL ? connection->socket : -1;
        ready[i].events = POLLIN;
        if (connection->exchange != NULL && wants_to_write(connection)) ready[i].events = POLLOUT;
    }
    ready[CONNECTIONS].fd = STDIN_FILENO;
    ready[CONNECTIONS].events = POLLIN;

    reflet_deadline deadline;
    must(reflet_informer_deadline(informer, &deadline));
    uint64_t time = now();
    uint64_t wait = deadline.at > time ? (deadline.at - time) / 1000000 + 1 : 0;
    if (poll(ready, CONNECTIONS + 1, wait < INT_MAX ? (int)wait : INT_MAX) < 0 && errno != EINTR) {
        perror("follow: poll");
        exit(2);
    }

    for (int i = 0; i < CONNECTIONS; i++) {
        if (ready[i].fd < 0 || ready[i].revents == 0) continue;
        if (ready[i].events == POLLOUT) {
            write_request(&connections[i]);
        } else {
            read_answer(&connections[i]);
        }
    }
    if (now() >= deadline.at) must(reflet_informer_handle_timeout(informer, now()));
    char ignored[256];
    return ready[CONNECTIONS].revents == 0 || read(STDIN_FILENO, ignored, sizeof ignored) > 0;
}

static int has(const char *key, const char *value) {
    reflet_entry entry;
    reflet_status status = reflet_informer_get(informer, text(key), &entry);
    if (status == REFLET_NOT_FOUND) return 0;
    must(status);
    return entry.value.length == strlen(value) &&
           memcmp(entry.value.data, value, entry.value.length) == 0;
}

static uint64_t entropy(void) {
    uint64_t seed = 0;
    FILE *random = fopen("/dev/urandom", "rb");
    if (random == NULL || fread(&seed, sizeof seed, 1, random) != 1) {
        perror("follow: /dev/urandom");
        exit(2);
    }
    fclose(random);
    return seed;
}

int main(int argc, char **argv) {
    if (argc != 4 && argc != 6) {
        fprintf(stderr, "usage: follow HOST PORT COLLECTION [KEY VALUE]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int unknown = getaddrinfo(argv[1], argv[2], &hints, &server);
    if (unknown != 0) {
        fprintf(stderr, "follow: %s: %s\n", argv[1], gai_strerror(unknown));
        return 2;
    }

    char authority[512];
    snprintf(authority, sizeof authority, "%s:%s", argv[1], argv[2]);
    must(reflet_endpoint_new(text(authority), text(argv[3]), &endpoint));
    reflet_config config;
    must(reflet_endpoint_config(endpoint, &config));
    must(reflet_informer_new(&config, entropy(), now(), &informer));
    uint64_t subscriber;
    must(reflet_informer_subscribe(informer, &subscriber));

    do {
        obey();
        log_notices();
        tell(subscriber);
    } while (!(argc == 6 && has(argv[4], argv[5])) && wait_and_serve());

    must(reflet_informer_stop(informer, now()));
    obey();
    must(reflet_informer_free(informer));
    must(reflet_endpoint_free(endpoint));
    freeaddrinfo(server);
    return 0;
}
