/* board.c: QEMU's mps2-an386.
 *
 * The counter is CMSDK timer 0, at 25 MHz of virtual time. Under `-icount shift=6` every
 * instruction takes 64 ns of it, which is 1.6 ticks; so 5/8 of the ticks is the number of
 * instructions executed. That is an estimate of cycles, good for comparison only: it knows neither
 * wait states nor multi-cycle instructions.
 */
#include "board.h"
#include "core.h"

#define TIMER0_CTRL 0x40000000u
#define TIMER0_VALUE 0x40000004u
#define TIMER0_RELOAD 0x40000008u
#define UART0_DATA 0x40004000u
#define UART0_STATE 0x40004004u
#define UART0_CTRL 0x40004008u
#define UART0_BAUDDIV 0x40004010u
#define UART_TX_FULL 1u
#define UART_TX_ENABLE 1u
#define UART_BAUD_DIVIDER 217u /* 25 MHz / 115200 */
#define TX_WAIT_LOOPS 100000u

typedef void handler(void);

/* The initial stack pointer is data, the rest are handlers. */
typedef union {
    void *stack;
    handler *handler;
} vector;

extern uint32_t __stack_top[];
extern const vector vectors[16];

__attribute__((section(".vectors"), used)) const vector vectors[16] = {
    {.stack = __stack_top},
    {.handler = Reset_Handler},
    {.handler = idle_handler},  /* NMI */
    {.handler = fault_handler}, /* HardFault */
    {.handler = fault_handler}, /* MemManage */
    {.handler = fault_handler}, /* BusFault */
    {.handler = fault_handler}, /* UsageFault */
    {0},
    {0},
    {0},
    {0},
    {.handler = idle_handler},  /* SVCall */
    {.handler = fault_handler}, /* DebugMonitor */
    {0},
    {.handler = idle_handler}, /* PendSV */
    {.handler = idle_handler}, /* SysTick */
};

void board_init(void) {
    REGISTER(TIMER0_RELOAD) = UINT32_MAX;
    REGISTER(TIMER0_VALUE) = UINT32_MAX;
    REGISTER(TIMER0_CTRL) = 1u;
    REGISTER(UART0_BAUDDIV) = UART_BAUD_DIVIDER;
    REGISTER(UART0_CTRL) = UART_TX_ENABLE;
}

/* The timer counts down. */
uint32_t board_ticks(void) {
    return ~REGISTER(TIMER0_VALUE);
}

uint64_t board_cycles(uint64_t ticks) {
    return ticks * 5u / 8u;
}

void board_uart_puts(const char *text) {
    for (; *text != '\0'; ++text) {
        uint32_t wait = TX_WAIT_LOOPS;
        while ((REGISTER(UART0_STATE) & UART_TX_FULL) != 0u && wait != 0u) {
            --wait;
        }
        REGISTER(UART0_DATA) = (uint8_t)*text;
    }
}
