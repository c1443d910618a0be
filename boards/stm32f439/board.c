/* board.c: STM32F439ZI; the console is USART3 on PD8 and PD9, which the on-board ST-LINK shows as a
 * serial port (115200 baud), or semihosting while a debugger answers it. */
#include "board.h"
#include "clocks.h"
#include "registers.h"

#define BAUD 115200u
#define TX_WAIT_LOOPS 100000u /* a character takes 15,000 cycles */

static void init_uart(uint32_t bus_hz) {
    RCC_AHB1ENR |= RCC_AHB1ENR_GPIOD;
    RCC_APB1ENR |= RCC_APB1ENR_USART3;
    (void)RCC_APB1ENR;
    GPIOD_MODER = (GPIOD_MODER & ~(0xFu << 16)) | (0xAu << 16); /* PD8, PD9: alternate function */
    GPIOD_OSPEEDR |= 0x5u << 16;
    GPIOD_AFRH = (GPIOD_AFRH & ~0xFFu) | 0x77u; /* AF7: USART3 */
    USART3_BRR = (bus_hz + BAUD / 2u) / BAUD;
    USART3_CR1 = USART_CR1_UE | USART_CR1_TE | USART_CR1_RE;
}

static void init_cycle_counter(void) {
    CORE_DEMCR |= CORE_DEMCR_TRCENA;
    DWT_CYCCNT = 0;
    DWT_CTRL |= DWT_CTRL_CYCCNTENA;
}

void board_init(void) {
    init_uart(clocks_init());
    init_cycle_counter();
}

uint32_t board_ticks(void) {
    return DWT_CYCCNT;
}

uint64_t board_cycles(uint64_t ticks) {
    return ticks;
}

void board_uart_puts(const char *text) {
    for (; *text != '\0'; ++text) {
        uint32_t wait = TX_WAIT_LOOPS;
        while ((USART3_SR & USART_SR_TXE) == 0u && wait != 0u) {
            --wait;
        }
        USART3_DR = (uint8_t)*text;
    }
}
