/* core.h: what the bare-metal boards share: the way from reset to the program, faults and the
 * stack. */
#ifndef RNNC_CORE_H
#define RNNC_CORE_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* Each board: the console that is used when no semihosting host answers. */
void board_uart_puts(const char *text);

/* The first function to run: FPU on, RAM initialised, stack painted, firmware run, exit. */
void Reset_Handler(void);
void fault_handler(void);
void idle_handler(void);

#endif
