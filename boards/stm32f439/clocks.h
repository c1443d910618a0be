/* clocks.h: from reset to full speed. */
#ifndef RNNC_STM32_CLOCKS_H
#define RNNC_STM32_CLOCKS_H

#include <stdint.h>

/* Goes to 168 MHz, from the external 8 MHz clock or, if that does not start, from the internal 16
 * MHz one. If the PLL does not lock either, stays at 16 MHz. Returns the frequency of the APB1 bus
 * in Hz. */
uint32_t clocks_init(void);

#endif
