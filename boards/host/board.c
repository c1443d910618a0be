/* board.c: the host as a board, over stdio and the wall clock. */
#include "board.h"

#include <stdio.h>
#include <time.h>

#define MAX_FILES 4

static FILE *files[MAX_FILES];

void board_init(void) {
}

/* Nanoseconds of processor time: a host has no cycle counter that C99 can read. */
uint32_t board_ticks(void) {
    return (uint32_t)((uint64_t)clock() * (1000000000u / (uint64_t)CLOCKS_PER_SEC));
}

uint64_t board_cycles(uint64_t ticks) {
    return ticks;
}

void board_puts(const char *text) {
    (void)fputs(text, stdout);
}

int board_open(const char *name, int for_writing) {
    for (int i = 0; i < MAX_FILES; ++i) {
        if (files[i] == NULL) {
            files[i] = fopen(name, for_writing ? "wb" : "rb");
            return files[i] == NULL ? BOARD_NO_FILE : i;
        }
    }
    return BOARD_NO_FILE;
}

size_t board_read(int file, void *data, size_t size) {
    return fread(data, 1, size, files[file]);
}

int board_write(int file, const void *data, size_t size) {
    return fwrite(data, 1, size, files[file]) == size ? 0 : 1;
}

int board_close(int file) {
    int result = fclose(files[file]);
    files[file] = NULL;
    return result == 0 ? 0 : 1;
}

uint32_t board_stack_used(void) {
    return 0;
}

int main(void) {
    return rnnc_firmware_main();
}
