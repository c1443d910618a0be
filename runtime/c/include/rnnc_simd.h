/* Armv7E-M building blocks: words of four int8, and the register tiles that convolution and dense
 * layers share.
 *
 * SXTB16 takes bytes 0 and 2 of a word, with a rotation bytes 1 and 3. Activations and weights are
 * taken apart in the same way, so the order of the bytes within a word does not matter to a sum of
 * products.
 */
#ifndef RNNC_SIMD_H
#define RNNC_SIMD_H

#include "rnnc_requant.h"

#if RNNC_USE_DSP

#include <string.h>

/* Four bytes from any address: one LDR, which the Cortex-M4 can do unaligned. */
static inline uint32_t rnnc_load_word(const int8_t *from) {
    uint32_t word;
    memcpy(&word, from, sizeof(word));
    return word;
}

/* Copies and fills return the end of what they wrote. Columns are short, so a call of memcpy does
 * not pay, least of all where the C library's is a loop over bytes. */
static inline int8_t *rnnc_copy_bytes(int8_t *to, const int8_t *from, int32_t n) {
    const int8_t *last = from + n - 4;
    int8_t *end = to + n;
    if (n < 4) {
        for (; to != end; ++to, ++from) {
            *to = *from;
        }
        return end;
    }
    for (; from < last; from += 4, to += 4) {
        uint32_t word = rnnc_load_word(from);
        __asm__ volatile("str %1, %0" : "=m"(*(uint32_t *)(void *)to) : "r"(word));
    }
    /* the last word may write some bytes again */
    uint32_t word = rnnc_load_word(last);
    __asm__ volatile("str %1, %0" : "=m"(*(uint32_t *)(void *)(end - 4)) : "r"(word));
    return end;
}

static inline int8_t *rnnc_fill_bytes(int8_t *to, int32_t value, int32_t n) {
    uint32_t word = (uint32_t)(uint8_t)value * 0x01010101u;
    for (; n >= 4; n -= 4, to += 4) {
        __asm__ volatile("str %1, %0" : "=m"(*(uint32_t *)(void *)to) : "r"(word));
    }
    for (; n > 0; --n) {
        *to++ = (int8_t)value;
    }
    return to;
}

static inline uint32_t rnnc_even_bytes(uint32_t word) {
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
}

static inline uint32_t rnnc_odd_bytes(uint32_t word) {
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

/* The low half of a below the low half of b */
static inline uint32_t rnnc_low_halves(uint32_t a, uint32_t b) {
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
}

static inline uint32_t rnnc_high_halves(uint32_t a, uint32_t b) {
    uint32_t pair;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(b), "r"(a));
    return pair;
}

/* acc + x.low * y.low + x.high * y.high */
static inline int32_t rnnc_dual_mac(int32_t acc, uint32_t x, uint32_t y) {
    int32_t sum;
    __asm__("smlad %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(acc));
    return sum;
}

static inline int32_t rnnc_mac_low(int32_t acc, uint32_t x, uint32_t y) {
    int32_t sum;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(acc));
    return sum;
}

static inline int32_t rnnc_mac_high(int32_t acc, uint32_t x, uint32_t y) {
    int32_t sum;
    __asm__("smlatt %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(acc));
    return sum;
}

/* acc + the sum of four products */
static inline int32_t rnnc_mac_word(int32_t acc, uint32_t x, uint32_t y) {
    acc = rnnc_dual_mac(acc, rnnc_even_bytes(x), rnnc_even_bytes(y));
    return rnnc_dual_mac(acc, rnnc_odd_bytes(x), rnnc_odd_bytes(y));
}

/* One word of one column by one word of two output channels, 8 products. */
#define RNNC_COLUMN_STEP                \
    "ldr %[x], [%[a0]], #4\n"           \
    "ldr %[w0], [%[weights]], #4\n"     \
    "ldr %[w1], [%[weights]], #4\n"     \
    "sxtb16 %[y], %[x]\n"               \
    "sxtb16 %[x], %[x], ror #8\n"       \
    "sxtb16 %[v], %[w0]\n"              \
    "sxtb16 %[w0], %[w0], ror #8\n"     \
    "smlad %[c0], %[y], %[v], %[c0]\n"  \
    "smlad %[c0], %[x], %[w0], %[c0]\n" \
    "sxtb16 %[v], %[w1]\n"              \
    "sxtb16 %[w1], %[w1], ror #8\n"     \
    "smlad %[c1], %[y], %[v], %[c1]\n"  \
    "smlad %[c1], %[x], %[w1], %[c1]\n"

#define RNNC_COLUMN(steps)                                                                         \
    __asm__ volatile(steps                                                                         \
                     : [a0] "+r"(a0), [weights] "+r"(weights), [c0] "+r"(acc.a), [c1] "+r"(acc.b), \
                       [x] "=&r"(x), [y] "=&r"(y), [v] "=&r"(v), [w0] "=&r"(w0), [w1] "=&r"(w1)    \
                     :                                                                             \
                     : "memory")

/* The same for one column: acc.a and acc.b. */
static inline rnnc_quad rnnc_column_1x2(const int8_t *a0, const int8_t *weights, int32_t words,
                                        rnnc_quad acc) {
    uint32_t x, y, v, w0, w1;
    for (; words >= 4; words -= 4) {
        RNNC_COLUMN(RNNC_COLUMN_STEP RNNC_COLUMN_STEP RNNC_COLUMN_STEP RNNC_COLUMN_STEP);
    }
    for (; words > 0; --words) {
        RNNC_COLUMN(RNNC_COLUMN_STEP);
    }
    return acc;
}

/* One column by one channel. */
static inline int32_t rnnc_column_1x1(const int8_t *a, const int8_t *weights, int32_t words, int32_t acc) {
    for (; words > 0; --words, a += 4, weights += 4) {
        acc = rnnc_mac_word(acc, rnnc_load_word(a), rnnc_load_word(weights));
    }
    return acc;
}

#endif

#endif
