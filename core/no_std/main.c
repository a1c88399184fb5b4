/* Runs the proof, and says at which step it went wrong, if it did. */
#include <stdint.h>
#include <stdio.h>

uint32_t reflet_no_std(void);

/* What std would bring: the unwinding that a panic which aborts never gets to. */
void rust_eh_personality(void) {}

int main(void) {
    uint32_t step = reflet_no_std();
    printf("%u\n", step);
    return step != 0;
}
