/* Requantisation of int32 accumulators to int8; the definition is rnnc/ir/fixedpoint.py.
 *
 * RNNC_TFLITE chooses TensorFlow Lite's double rounding, otherwise one rounding (SMMLAR on the
 * Cortex-M4). A model is compiled for one of them: rnnc_config.h of its bundle says which.
 */
#ifndef RNNC_REQUANT_H
#define RNNC_REQUANT_H

#include "rnnc.h"
#include "rnnc_config.h"

/* Code for requantisation that is more than one SMMLAR and one SSAT, which in fast arithmetic is rare. */
#if RNNC_TFLITE
#define RNNC_UNUSUAL inline
#else
#define RNNC_UNUSUAL RNNC_NOINLINE
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

/* Shift right with the sign, whatever the compiler makes of >> on negative numbers; the first
 * comparison is a constant. */
static inline int32_t rnnc_asr(int32_t x, int32_t shift) {
    return -1 >> 1 == -1 || x >= 0 ? x >> shift : ~(~x >> shift);
}

static inline int64_t rnnc_asr64(int64_t x, int32_t shift) {
    return -1 >> 1 == -1 || x >= 0 ? x >> shift : ~(~x >> shift);
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

/* gemmlowp's SaturatingRoundingDoublingHighMul; multipliers are never INT32_MIN. Its nudge and
 * truncating division come to rounding halves up. */
static inline int32_t rnnc_doubling_high_multiply(int32_t a, int32_t b) {
    return (int32_t)rnnc_asr64((int64_t)a * b + ((int64_t)1 << 30), 31);
}

/* gemmlowp's RoundingDivideByPOT: halves are rounded away from zero. shift is 0 .. 31. */
static inline int32_t rnnc_rounding_shift_right(int32_t x, int32_t shift) {
#if RNNC_USE_DSP
    /* The shift leaves the highest bit that it drops in the carry. With shift 0 it leaves the carry
     * of the first instruction, which is 1 exactly where that subtracted 1. */
    int32_t result;
    __asm__(
        "adds %0, %1, %1, asr #31\n"
        "asrs %0, %0, %2\n"
        "adc %0, %0, #0\n"
        : "=&r"(result)
        : "r"(x), "r"(shift)
        : "cc");
    return result;
#else
    int32_t mask = (int32_t)(((int64_t)1 << shift) - 1);
    int32_t remainder = x & mask;
    int32_t threshold = (mask >> 1) + (x < 0);
    return rnnc_asr(x, shift) + (remainder > threshold);
#endif
}

/* x << shift for a result that is known to fit */
static inline int32_t rnnc_shift_left(int32_t x, int32_t shift) {
    return (int32_t)((uint32_t)x << shift);
}

/* x where it is above zero (and then at most 31), else zero */
static inline int32_t rnnc_positive_shift(int32_t x) {
#if RNNC_USE_DSP
    int32_t result;
    __asm__("usat %0, #5, %1" : "=r"(result) : "r"(x));
    return result;
#else
    return x > 0 ? x : 0;
#endif
}

/* TensorFlow Lite's MultiplyByQuantizedMultiplier; shift is -31 .. 30, to the left if positive. */
static inline int32_t rnnc_multiply_by_quantized_multiplier(int32_t x, int32_t multiplier, int32_t shift) {
    int32_t shifted = rnnc_shift_left(x, rnnc_positive_shift(shift));
    return rnnc_rounding_shift_right(rnnc_doubling_high_multiply(shifted, multiplier),
                                     rnnc_positive_shift(-shift));
}

/* The shift that rnnc_scale takes for a channel. */
static inline int32_t rnnc_channel_shift(const rnnc_requant *q, int32_t channel) {
#if RNNC_TFLITE
    return q->shifts[channel];
#else
    (void)channel;
    return q->left_shift;
#endif
}

/* An accumulator on the scale of the output, not clamped yet. */
static inline int32_t rnnc_scale(int32_t acc, int32_t multiplier, int32_t shift, int32_t zero_point) {
#if RNNC_TFLITE
    return zero_point + rnnc_multiply_by_quantized_multiplier(acc, multiplier, shift);
#else
    return rnnc_high_multiply_add(zero_point, rnnc_shift_left(acc, shift), multiplier);
#endif
}

static inline int32_t rnnc_saturate(int32_t x) {
#if RNNC_USE_DSP
    int32_t result;
    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(x));
    return result;
#else
    return rnnc_clamp(x, INT8_MIN, INT8_MAX);
#endif
}

/* Four values by name, since compilers keep arrays in memory. */
typedef struct {
    int32_t a, b, c, d;
} rnnc_quad;

/* The whole range of int8 is the usual case. */
static inline rnnc_quad rnnc_clamp_quad(rnnc_quad v, int32_t low, int32_t high) {
    if (low == INT8_MIN && high == INT8_MAX) {
        return (rnnc_quad){rnnc_saturate(v.a), rnnc_saturate(v.b), rnnc_saturate(v.c), rnnc_saturate(v.d)};
    }
    return (rnnc_quad){rnnc_clamp(v.a, low, high), rnnc_clamp(v.b, low, high), rnnc_clamp(v.c, low, high),
                       rnnc_clamp(v.d, low, high)};
}

/* Requantises the accumulators of four channels, from `channel` on. */
static inline rnnc_quad rnnc_requantise_quad(rnnc_quad acc, int32_t channel, const rnnc_requant *q) {
    const int32_t *multipliers = q->multipliers + channel;
    int32_t zero_point = q->zero_point;
    acc.a = rnnc_scale(acc.a, multipliers[0], rnnc_channel_shift(q, channel), zero_point);
    acc.b = rnnc_scale(acc.b, multipliers[1], rnnc_channel_shift(q, channel + 1), zero_point);
    acc.c = rnnc_scale(acc.c, multipliers[2], rnnc_channel_shift(q, channel + 2), zero_point);
    acc.d = rnnc_scale(acc.d, multipliers[3], rnnc_channel_shift(q, channel + 3), zero_point);
    return rnnc_clamp_quad(acc, q->low, q->high);
}

/* Requantises two accumulators (a, c) of `channel` and two (b, d) of the next one. */
static inline rnnc_quad rnnc_requantise_tile(rnnc_quad acc, int32_t channel, const rnnc_requant *q) {
    int32_t first = q->multipliers[channel], second = q->multipliers[channel + 1];
    int32_t first_shift = rnnc_channel_shift(q, channel), second_shift = rnnc_channel_shift(q, channel + 1);
    int32_t zero_point = q->zero_point;
    acc.a = rnnc_scale(acc.a, first, first_shift, zero_point);
    acc.b = rnnc_scale(acc.b, second, second_shift, zero_point);
    acc.c = rnnc_scale(acc.c, first, first_shift, zero_point);
    acc.d = rnnc_scale(acc.d, second, second_shift, zero_point);
    return rnnc_clamp_quad(acc, q->low, q->high);
}

static inline int8_t rnnc_requantise(int32_t acc, int32_t channel, const rnnc_requant *q) {
    int32_t shift = rnnc_channel_shift(q, channel);
    int32_t scaled = rnnc_scale(acc, q->multipliers[channel], shift, q->zero_point);
    return (int8_t)rnnc_clamp(scaled, q->low, q->high);
}

/* The same with one rounding in either arithmetic, as LiteRT's fully connected kernel has it. */
static inline int8_t rnnc_requantise_once(int32_t acc, int32_t channel, const rnnc_requant *q) {
#if RNNC_TFLITE
    int32_t right = 31 - q->shifts[channel];
    int64_t product = (int64_t)acc * q->multipliers[channel] + ((int64_t)1 << (right - 1));
    int32_t scaled = q->zero_point + (int32_t)rnnc_asr64(product, right);
    return (int8_t)rnnc_clamp(scaled, q->low, q->high);
#else
    return rnnc_requantise(acc, channel, q);
#endif
}

#endif
