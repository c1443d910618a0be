/* Requantisation of int32 accumulators to int8; the definition is rnnc/ir/fixedpoint.py.
 *
 * RNNC_TFLITE chooses TensorFlow Lite's double rounding, otherwise one rounding (SMMLAR on the Cortex-M4).
 * A model is compiled for one of them: rnnc_config.h of its bundle says which.
 */
#ifndef RNNC_REQUANT_H
#define RNNC_REQUANT_H

#include "rnnc.h"
#include "rnnc_config.h"

#if RNNC_USE_DSP
#include <arm_acle.h>
#endif

typedef struct {
    const int32_t *multipliers; /* by channel */
    const int8_t *shifts;       /* by channel, left if positive; tflite only, else NULL */
    int32_t left_shift;         /* fast only */
    int32_t zero_point;
    int32_t low;
    int32_t high;
} rnnc_requant;

static inline int32_t rnnc_clamp(int32_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : x;
}

/* Shift right with the sign, whatever the compiler makes of >> on negative numbers. */
static inline int32_t rnnc_asr(int32_t x, int32_t shift) {
    return x >= 0 ? x >> shift : ~(~x >> shift);
}

static inline int64_t rnnc_asr64(int64_t x, int32_t shift) {
    return x >= 0 ? x >> shift : ~(~x >> shift);
}

/* base + ((a * b + 2^31) >> 32) */
static inline int32_t rnnc_high_multiply_add(int32_t base, int32_t a, int32_t b) {
#if RNNC_USE_DSP
    int32_t sum;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(base));
    return sum;
#else
    int64_t product = (int64_t)a * b + ((int64_t)1 << 31);
    return base + (int32_t)rnnc_asr64(product, 32);
#endif
}

/* gemmlowp's SaturatingRoundingDoublingHighMul; multipliers are never INT32_MIN. */
static inline int32_t rnnc_doubling_high_multiply(int32_t a, int32_t b) {
    int64_t product = (int64_t)a * b;
    int64_t nudge = product >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30);
    return (int32_t)((product + nudge) / ((int64_t)1 << 31));
}

/* gemmlowp's RoundingDivideByPOT */
static inline int32_t rnnc_rounding_shift_right(int32_t x, int32_t shift) {
    int32_t mask = (int32_t)(((int64_t)1 << shift) - 1);
    int32_t remainder = x & mask;
    int32_t threshold = (mask >> 1) + (x < 0);
    return rnnc_asr(x, shift) + (remainder > threshold);
}

/* x << shift for a result that is known to fit */
static inline int32_t rnnc_shift_left(int32_t x, int32_t shift) {
    return (int32_t)((uint32_t)x << shift);
}

/* TensorFlow Lite's MultiplyByQuantizedMultiplier */
static inline int32_t rnnc_multiply_by_quantized_multiplier(int32_t x, int32_t multiplier, int32_t shift) {
    int32_t left = shift > 0 ? shift : 0;
    int32_t right = shift > 0 ? 0 : -shift;
    return rnnc_rounding_shift_right(rnnc_doubling_high_multiply(rnnc_shift_left(x, left), multiplier),
                                     right);
}

static inline int8_t rnnc_requantise(int32_t acc, int32_t channel, const rnnc_requant *q) {
#if RNNC_TFLITE
    int32_t scaled = q->zero_point + rnnc_multiply_by_quantized_multiplier(
                                         acc, q->multipliers[channel], q->shifts[channel]);
#else
    int32_t scaled = rnnc_high_multiply_add(q->zero_point, rnnc_shift_left(acc, q->left_shift),
                                            q->multipliers[channel]);
#endif
    return (int8_t)rnnc_clamp(scaled, q->low, q->high);
}

#endif
