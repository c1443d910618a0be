/* clocks.c: 168 MHz from the PLL, with a way out of every wait. */
#include "clocks.h"

#include "registers.h"

/* At reset the core runs at 16 MHz; a loop takes at least 4 cycles, so this is 25 ms or more. The
 * crystal or the clock from the ST-LINK needs 2 ms, the PLL 0.3 ms. */
#define WAIT_LOOPS 100000u

#define HSI_HZ 16000000u
#define PLL_HZ 168000000u
#define APB1_DIVIDER 4u
#define FLASH_WAIT_STATES 5u /* 150 to 180 MHz at 2.7 to 3.6 V: RM0090 table 11 */

/* VCO input 2 MHz (least jitter), output 336 MHz; P = 2 (encoded 0) gives 168 MHz, Q = 7 gives 48
 * MHz. */
#define PLL_N 168u
#define PLL_Q 7u
#define PLL_M_HSE 4u
#define PLL_M_HSI 8u

static int wait_for(volatile const uint32_t *address, uint32_t mask, uint32_t value) {
    for (uint32_t left = WAIT_LOOPS; left != 0u; --left) {
        if ((*address & mask) == value) {
            return 1;
        }
    }
    return 0;
}

static int start_hse(void) {
    RCC_CR |= RCC_CR_HSEBYP;
    RCC_CR |= RCC_CR_HSEON;
    if (wait_for(&RCC_CR, RCC_CR_HSERDY, RCC_CR_HSERDY)) {
        return 1;
    }
    RCC_CR &= ~(RCC_CR_HSEON | RCC_CR_HSEBYP);
    return 0;
}

static int start_pll(int from_hse) {
    RCC_PLLCFGR = RCC_PLLCFGR_Q(PLL_Q) | RCC_PLLCFGR_N(PLL_N) |
                  (from_hse ? RCC_PLLCFGR_SOURCE_HSE | PLL_M_HSE : PLL_M_HSI);
    RCC_CR |= RCC_CR_PLLON;
    if (wait_for(&RCC_CR, RCC_CR_PLLRDY, RCC_CR_PLLRDY)) {
        return 1;
    }
    RCC_CR &= ~RCC_CR_PLLON;
    return 0;
}

/* The latency must be in force before the core gets faster, hence the read-back. */
static int prepare_flash(void) {
    FLASH_ACR = FLASH_WAIT_STATES | FLASH_ACR_PREFETCH | FLASH_ACR_ICACHE | FLASH_ACR_DCACHE;
    return wait_for(&FLASH_ACR, FLASH_ACR_LATENCY_MASK, FLASH_WAIT_STATES);
}

static int switch_to_pll(void) {
    RCC_CFGR = (RCC_CFGR & ~RCC_CFGR_SW_MASK) | RCC_CFGR_SW_PLL;
    return wait_for(&RCC_CFGR, RCC_CFGR_SWS_MASK, RCC_CFGR_SWS_PLL);
}

uint32_t clocks_init(void) {
    RCC_APB1ENR |= RCC_APB1ENR_PWR;
    (void)RCC_APB1ENR; /* the enabled clock needs two cycles before the first access: errata ES0206 */
    PWR_CR |= PWR_CR_VOS_SCALE1;
    if (!start_pll(start_hse()) || !prepare_flash()) {
        return HSI_HZ;
    }
    RCC_CFGR = RCC_CFGR_APB1_DIV4 | RCC_CFGR_APB2_DIV2;
    if (!switch_to_pll()) {
        RCC_CFGR = 0;
        return HSI_HZ;
    }
    return PLL_HZ / APB1_DIVIDER;
}
