/* What RNNPool's kernels for cores with the Armv7E-M SIMD instructions share. */
#ifndef RNNC_RNNPOOL_SIMD_H
#define RNNC_RNNPOOL_SIMD_H

#include "rnnc_rnnpool_cell.h"

#if RNNC_USE_DSP

#include <arm_acle.h>
#include <stddef.h>
#include <string.h>

static inline int32_t load_pair(const int16_t *from) {
    int32_t pair;
    memcpy(&pair, from, sizeof(pair));
    return pair;
}

static inline void store_pair(int16_t *to, int32_t low, int32_t high) {
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(low), "r"(high));
    memcpy(to, &pair, sizeof(pair));
}

/* ssat and usat with the shift that they can do on the way, which compilers do not fuse into ACLE's
 * intrinsics. */
#define RNNC_SATURATE(name, instruction, bits, shift)                       \
    static inline int32_t name(int32_t x) {                                 \
        int32_t y;                                                          \
        __asm__(instruction " %0, #" bits ", %1" shift : "=r"(y) : "r"(x)); \
        return y;                                                           \
    }

RNNC_SATURATE(saturate, "ssat", "16", "")
RNNC_SATURATE(saturate_to_15_bits, "ssat", "15", "")
RNNC_SATURATE(saturate_q15, "ssat", "16", ", asr #15")
RNNC_SATURATE(saturate_q15_positive, "usat", "15", ", asr #15")
RNNC_SATURATE(saturate_times_8_positive, "usat", "15", ", lsl #3")
RNNC_SATURATE(saturate_times_16, "ssat", "16", ", lsl #4")
RNNC_SATURATE(saturate_pair_to_15_bits, "ssat16", "15", "")

/* `used` keeps compilers from changing the parameters, which they do not see the assembly use. */
#define ASSEMBLY __attribute__((naked, noinline, used))

#define UNUSED __attribute__((unused))

/* sat16(product of the recurrent matrix and the state + bias), all lanes, behind the state */
void rnnc_rnn_recur(const rnnc_rnn_cell *cell, int16_t *state);

/* What rnnc_rnn_step and rnnc_rnn_start do, for cells without a kernel of their own */
void rnnc_rnn_step_any(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state);
void rnnc_rnn_start_any(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state);

#endif
#endif
