/* What both programs share: a check that says where it failed, and bytes of a literal. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reflet.h"

#define CHECK(what)                                                                               \
    do {                                                                                          \
        if (!(what)) {                                                                            \
            fprintf(stderr, "%s:%d: %s\nlast error: %s\n", __FILE__, __LINE__, #what,             \
                    reflet_last_error());                                                         \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

#define OK(call) CHECK((call) == REFLET_OK)

static inline reflet_bytes text(const char *text) {
    reflet_bytes bytes = {(const uint8_t *)text, strlen(text)};
    return bytes;
}

static inline int is(reflet_bytes bytes, const char *expected) {
    return bytes.data != NULL && bytes.length == strlen(expected) &&
           memcmp(bytes.data, expected, bytes.length) == 0;
}

static inline reflet_command next_command(reflet_informer *informer) {
    reflet_command command;
    OK(reflet_informer_poll_command(informer, &command));
    return command;
}

static inline reflet_delta next_delta(reflet_informer *informer, uint64_t subscriber) {
    reflet_delta delta;
    OK(reflet_informer_poll_delta(informer, subscriber, &delta));
    return delta;
}

#endif
