/* The hardware of the device: a serial line, which is a TCP connection here, and a clock.
 * Prints what the device says. Usage: uart PORT */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

uint8_t uart_received(uint8_t byte);
void uart_down(void);
size_t uart_room(void);
uint32_t uart_line(void);
int32_t uart_to_send(void);
int32_t device_says(void);
uint8_t device_start(uint64_t seed);
uint64_t device_turn(uint64_t now_ms);

/* What std would bring: the unwinding that a panic which aborts never gets to. */
void rust_eh_personality(void) {}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int dial(uint16_t port) {
    struct sockaddr_in server = {0};
    int line = socket(AF_INET, SOCK_STREAM, 0);
    server.sin_family = AF_INET;
    server.sin_port = htons(port);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (line >= 0 && connect(line, (struct sockaddr *)&server, sizeof server) != 0) {
        close(line);
        return -1;
    }
    return line;
}

int main(int argc, char **argv) {
    uint16_t port = argc > 1 ? (uint16_t)atoi(argv[1]) : 0;
    uint64_t start = now_ms();
    uint32_t dialled = 0;
    int line = -1;
    /* A line that goes down while something is sent ends the line, not the device. */
    signal(SIGPIPE, SIG_IGN);
    if (!device_start(start)) return 1;
    for (;;) {
        uint64_t sleep = device_turn(now_ms() - start);
        int32_t byte;
        while ((byte = device_says()) >= 0) putchar(byte);
        fflush(stdout);
        if (dialled != uart_line()) {
            if (line >= 0) close(line);
            dialled = uart_line();
            line = dialled ? dial(port) : -1;
            if (dialled && line < 0) {
                uart_down();
                sleep = 0;
            }
        }
        while (line >= 0 && (byte = uart_to_send()) >= 0) {
            uint8_t out = (uint8_t)byte;
            if (write(line, &out, 1) != 1) break;
        }
        struct pollfd wait = {line, POLLIN, 0};
        if (poll(&wait, 1, sleep > 60000 ? 60000 : (int)sleep) > 0) {
            uint8_t bytes[256];
            size_t room = uart_room();
            ssize_t count = read(line, bytes, room < sizeof bytes ? room : sizeof bytes);
            for (ssize_t i = 0; i < count; i++) uart_received(bytes[i]);
            if (count <= 0) {
                uart_down();
                close(line);
                line = -1;
            }
        }
    }
}
