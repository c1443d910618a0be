/* semihosting.c: the calls of the Arm semihosting specification that the firmware needs. */
#include "semihosting.h"

#define SYS_OPEN 0x01u
#define SYS_CLOSE 0x02u
#define SYS_WRITE0 0x04u
#define SYS_WRITE 0x05u
#define SYS_READ 0x06u
#define SYS_ERRNO 0x13u
#define SYS_EXIT 0x18u

#define OPEN_READ_BINARY 1u
#define OPEN_WRITE_BINARY 5u
#define STOPPED_APPLICATION_EXIT 0x20026u
#define STOPPED_RUN_TIME_ERROR 0x20023u
#define BKPT_SEMIHOSTING 0xBEABu

enum { UNKNOWN, PRESENT, ABSENT };

static volatile uint8_t host;

extern const uint8_t __text_start[];
extern const uint8_t __text_end[];

static int32_t call(uint32_t operation, uintptr_t argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register uintptr_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory", "cc");
    return (int32_t)r0;
}

int semihosting_present(void) {
    if (host == UNKNOWN) {
        (void)call(SYS_ERRNO, 0);
        if (host == UNKNOWN) {
            host = PRESENT;
        }
    }
    return host == PRESENT;
}

int semihosting_is_call(uint32_t pc) {
    uintptr_t start = (uintptr_t)__text_start;
    uintptr_t end = (uintptr_t)__text_end;
    return pc >= start && pc + 2u <= end && *(const uint16_t *)(uintptr_t)pc == BKPT_SEMIHOSTING;
}

void semihosting_set_absent(void) {
    host = ABSENT;
}

void semihosting_puts(const char *text) {
    (void)call(SYS_WRITE0, (uintptr_t)text);
}

int semihosting_open(const char *name, int for_writing) {
    uintptr_t block[3] = {(uintptr_t)name, for_writing ? OPEN_WRITE_BINARY : OPEN_READ_BINARY, 0};
    while (name[block[2]] != '\0') {
        ++block[2];
    }
    return (int)call(SYS_OPEN, (uintptr_t)block);
}

/* The host answers with the number of bytes that it did not transfer. */
static size_t transfer(uint32_t operation, int file, uintptr_t data, size_t size) {
    uintptr_t block[3] = {(uintptr_t)file, data, size};
    size_t left = (size_t)call(operation, (uintptr_t)block);
    return left <= size ? size - left : 0;
}

size_t semihosting_read(int file, void *data, size_t size) {
    uint8_t *to = data;
    size_t done = 0;
    while (done < size) {
        size_t got = transfer(SYS_READ, file, (uintptr_t)(to + done), size - done);
        if (got == 0) {
            break;
        }
        done += got;
    }
    return done;
}

int semihosting_write(int file, const void *data, size_t size) {
    return transfer(SYS_WRITE, file, (uintptr_t)data, size) == size ? 0 : 1;
}

int semihosting_close(int file) {
    uintptr_t block[1] = {(uintptr_t)file};
    return call(SYS_CLOSE, (uintptr_t)block) == 0 ? 0 : 1;
}

void semihosting_exit(int code) {
    (void)call(SYS_EXIT, code == 0 ? STOPPED_APPLICATION_EXIT : STOPPED_RUN_TIME_ERROR);
}
