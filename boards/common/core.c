/* core.c: reset, faults, stack watermark, and the board functions that go over semihosting. */
#include "core.h"

#include "board.h"
#include "semihosting.h"

#define SCB_SHCSR 0xE000ED24u
#define SCB_CFSR 0xE000ED28u
#define SCB_HFSR 0xE000ED2Cu
#define SCB_CPACR 0xE000ED88u
#define MPU_CTRL 0xE000ED94u
#define MPU_RNR 0xE000ED98u
#define MPU_RBAR 0xE000ED9Cu
#define MPU_RASR 0xE000EDA0u
#define MPU_CTRL_ENABLE_OVER_DEFAULT 5u
#define MPU_RASR_MEBIBYTE_NO_ACCESS ((1u << 28) | (19u << 1) | 1u)
#define GUARD_BYTES 0x100000u
#define SHCSR_FAULTS_ENABLED 0x00070000u
#define CPACR_FPU_FULL_ACCESS 0x00F00000u
#define CFSR_STACKING 0x00001010u /* MSTKERR, STKERR */
#define FRAME_BYTES 32u           /* what an exception pushes: r0 to r3, r12, lr, pc, psr */
#define FRAME_PC 6
#define PAINT 0xC5C5C5C5u
#define PAINT_MARGIN 32u /* words below the painter's frame that it may be using itself */

extern uint32_t __data_load[];
extern uint32_t __data_start[];
extern uint32_t __data_end[];
extern uint32_t __bss_start[];
extern uint32_t __bss_end[];
extern uint32_t __stack_bottom[];
extern uint32_t __stack_top[];

static void init_ram(void) {
    uint32_t *from = __data_load;
    for (uint32_t *to = __data_start; to < __data_end; ++to) {
        *to = *from++;
    }
    for (uint32_t *to = __bss_start; to < __bss_end; ++to) {
        *to = 0;
    }
}

static void paint_stack(void) {
    volatile uint32_t *limit = (uint32_t *)__builtin_frame_address(0) - PAINT_MARGIN;
    for (volatile uint32_t *at = __stack_bottom; at < limit; ++at) {
        *at = PAINT;
    }
}

uint32_t board_stack_used(void) {
    const uint32_t *at = __stack_bottom;
    while (at < __stack_top && *at == PAINT) {
        ++at;
    }
    return (uint32_t)((uintptr_t)__stack_top - (uintptr_t)at);
}

/* On the chip a write below SRAM is a bus fault anyway, in QEMU it is not. */
static void guard_stack(void) {
    REGISTER(MPU_RNR) = 0;
    REGISTER(MPU_RBAR) = (uint32_t)((uintptr_t)__stack_bottom - GUARD_BYTES);
    REGISTER(MPU_RASR) = MPU_RASR_MEBIBYTE_NO_ACCESS;
    REGISTER(MPU_CTRL) = MPU_CTRL_ENABLE_OVER_DEFAULT;
    __asm__ volatile("dsb\n isb" ::: "memory");
}

static void stop(int code) {
    if (semihosting_present()) {
        semihosting_exit(code);
    }
    for (;;) {
        __asm__ volatile("wfi");
    }
}

/* The C library is not started: only its memory functions are linked, and they need no set-up. */
__attribute__((noreturn)) void Reset_Handler(void) {
    REGISTER(SCB_CPACR) |= CPACR_FPU_FULL_ACCESS;
    __asm__ volatile("dsb\n isb" ::: "memory");
    REGISTER(SCB_SHCSR) |= SHCSR_FAULTS_ENABLED;
    init_ram();
    paint_stack();
    guard_stack();
    (void)semihosting_present(); /* asked here, because in a fault handler there is no second chance
                                  */
    stop(rnnc_firmware_main());
    __builtin_unreachable();
}

static void put_hex(uint32_t value) {
    static const char digits[] = "0123456789abcdef";
    char text[11] = "0x00000000";
    for (unsigned i = 0; i < 8; ++i) {
        text[9 - i] = digits[(value >> (4u * i)) & 15u];
    }
    board_puts(text);
}

/* Called on a fresh stack; `frame` is the trapped one, which is not there if stacking itself
 * failed. */
__attribute__((used)) static void report_fault(const uint32_t *frame) {
    uint32_t cfsr = REGISTER(SCB_CFSR);
    int overflow = (cfsr & CFSR_STACKING) != 0u || frame < __stack_bottom;
    board_puts(overflow ? "rnnc: error: stack overflow" : "rnnc: error: fault");
    board_puts(" cfsr ");
    put_hex(cfsr);
    if (!overflow) {
        board_puts(" pc ");
        put_hex(frame[FRAME_PC]);
    }
    board_puts("\n");
    stop(1);
}

/* Returns nonzero if the fault was a semihosting call without a host; the program then goes on
 * after it. */
__attribute__((used)) static int skip_semihosting(uint32_t *frame) {
    uintptr_t at = (uintptr_t)frame;
    if (at + FRAME_BYTES > (uintptr_t)__stack_top || !semihosting_is_call(frame[FRAME_PC])) {
        return 0;
    }
    semihosting_set_absent();
    frame[0] = UINT32_MAX;
    frame[FRAME_PC] += 2u;
    REGISTER(SCB_HFSR) = REGISTER(SCB_HFSR);
    return 1;
}

/* The stack may be what broke, so the report starts a new one from the top. */
__attribute__((naked)) void fault_handler(void) {
    __asm__ volatile(
        "mrs r0, msp\n"
        "ldr r1, =__stack_bottom\n"
        "cmp r0, r1\n"
        "blo 1f\n"
        "push {r0, lr}\n"
        "bl skip_semihosting\n"
        "mov r1, r0\n"
        "pop {r0, lr}\n"
        "cbz r1, 1f\n"
        "bx lr\n"
        "1:\n"
        "ldr r1, =__stack_top\n"
        "msr msp, r1\n"
        "b report_fault\n"
        ".ltorg\n");
}

/* No interrupt is ever enabled. */
void idle_handler(void) {
    stop(1);
}

void board_puts(const char *text) {
    if (semihosting_present()) {
        semihosting_puts(text);
    } else {
        board_uart_puts(text);
    }
}

int board_open(const char *name, int for_writing) {
    return semihosting_present() ? semihosting_open(name, for_writing) : BOARD_NO_FILE;
}

size_t board_read(int file, void *data, size_t size) {
    return semihosting_read(file, data, size);
}

int board_write(int file, const void *data, size_t size) {
    return semihosting_write(file, data, size);
}

int board_close(int file) {
    return semihosting_close(file);
}
