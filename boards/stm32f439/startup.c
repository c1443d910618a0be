/* startup.c: the vector table of the STM32F439 (16 core exceptions, 91 interrupts: RM0090 table
 * 63). */
#include "core.h"

#define CORE_VECTORS 16
#define INTERRUPTS 91

typedef void handler(void);

/* The initial stack pointer is data, the rest are handlers. */
typedef union {
    void *stack;
    handler *handler;
} vector;

typedef struct {
    vector core[CORE_VECTORS];
    vector interrupts[INTERRUPTS];
} vector_table;

extern uint32_t __stack_top[];
extern const vector_table vectors;

#define IDLE \
    { .handler = idle_handler }
#define IDLE10 IDLE, IDLE, IDLE, IDLE, IDLE, IDLE, IDLE, IDLE, IDLE, IDLE

__attribute__((section(".vectors"), used)) const vector_table vectors = {
    .core =
        {
            {.stack = __stack_top},
            {.handler = Reset_Handler},
            IDLE,                       /* NMI */
            {.handler = fault_handler}, /* HardFault */
            {.handler = fault_handler}, /* MemManage */
            {.handler = fault_handler}, /* BusFault */
            {.handler = fault_handler}, /* UsageFault */
            {0},
            {0},
            {0},
            {0},
            IDLE,                       /* SVCall */
            {.handler = fault_handler}, /* DebugMonitor */
            {0},
            IDLE, /* PendSV */
            IDLE, /* SysTick */
        },
    .interrupts = {IDLE10, IDLE10, IDLE10, IDLE10, IDLE10, IDLE10, IDLE10, IDLE10, IDLE10, IDLE},
};
