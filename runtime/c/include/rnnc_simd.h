/* Armv7E-M building blocks: words of four int8, and the register tiles that convolution and dense layers share.
 *
 * SXTB16 takes bytes 0 and 2 of a word, with a rotation bytes 1 and 3. Activations and weights are taken apart
 * in the same way, so the order of the bytes within a word does not matter to a sum of products.
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

/* Copies and fills return the end of what they wrote. Columns are short, so a call of memcpy does not pay, least
 * of all where the C library's is a loop over bytes. */
static inline int8_t *rnnc_copy_bytes(int8_t *to, const int8_t *from, int32_t n) {
    for (; n >= 4; n -= 4, to += 4, from += 4) {
        uint32_t word = rnnc_load_word(from);
        __asm__ volatile("str %1, %0" : "=m"(*(uint32_t *)(void *)to) : "r"(word));
    }
    for (; n > 0; --n) {
        *to++ = *from++;
    }
    return to;
}

static inline int8_t *rnnc_fill_bytes(int8_t *to, int32_t value, int32_t n) {
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

/* One word of two columns by one word of two output channels, 16 products: all that fits the registers. */
#define RNNC_TILE_STEP                   \
    "ldr %[x0], [%[a0]], #4\n"           \
    "ldr %[x1], [%[a1]], #4\n"           \
    "ldr %[w], [%[weights]], #4\n"       \
    "sxtb16 %[x2], %[x0]\n"              \
    "sxtb16 %[x0], %[x0], ror #8\n"      \
    "sxtb16 %[x3], %[x1]\n"              \
    "sxtb16 %[x1], %[x1], ror #8\n"      \
    "sxtb16 %[v], %[w]\n"                \
    "sxtb16 %[w], %[w], ror #8\n"        \
    "smlad %[c0], %[x2], %[v], %[c0]\n"  \
    "smlad %[c2], %[x3], %[v], %[c2]\n"  \
    "smlad %[c0], %[x0], %[w], %[c0]\n"  \
    "smlad %[c2], %[x1], %[w], %[c2]\n"  \
    "ldr %[w], [%[weights]], #4\n"       \
    "sxtb16 %[v], %[w]\n"                \
    "sxtb16 %[w], %[w], ror #8\n"        \
    "smlad %[c1], %[x2], %[v], %[c1]\n"  \
    "smlad %[c3], %[x3], %[v], %[c3]\n"  \
    "smlad %[c1], %[x0], %[w], %[c1]\n"  \
    "smlad %[c3], %[x1], %[w], %[c3]\n"

/* Adds the products of two columns (a, b: the first; c, d: the second) and two channels (a, c: the first) over
 * `words` >= 1 words. Weights alternate: a word of the first channel, a word of the second. Written by hand because compilers
 * separate the loads, which then do not pipeline, and spill. */
static inline rnnc_quad rnnc_tile_2x2(const int8_t *a0, const int8_t *a1, const int8_t *weights, int32_t words,
                                      rnnc_quad acc) {
    uint32_t x0, x1, x2, x3, v, w;
    __asm__ volatile(
        "subs %[n], #4\n"
        "blt 2f\n"
        "1:\n" RNNC_TILE_STEP RNNC_TILE_STEP RNNC_TILE_STEP RNNC_TILE_STEP
        "subs %[n], #4\n"
        "bge 1b\n"
        "2:\n"
        "adds %[n], #4\n"
        "beq 4f\n"
        "3:\n" RNNC_TILE_STEP
        "subs %[n], #1\n"
        "bne 3b\n"
        "4:\n"
        : [a0] "+r"(a0), [a1] "+r"(a1), [weights] "+r"(weights), [n] "+r"(words), [c0] "+r"(acc.a),
          [c1] "+r"(acc.b), [c2] "+r"(acc.c), [c3] "+r"(acc.d), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2),
          [x3] "=&r"(x3), [v] "=&r"(v), [w] "=&r"(w)
        :
        : "cc", "memory");
    return acc;
}

/* One column by two channels, acc.a and acc.b. */
static inline rnnc_quad rnnc_tile_1x2(const int8_t *a, const int8_t *weights, int32_t words, rnnc_quad acc) {
    for (; words > 0; --words, a += 4, weights += 8) {
        uint32_t x = rnnc_load_word(a);
        uint32_t w0 = rnnc_load_word(weights);
        uint32_t w1 = rnnc_load_word(weights + 4);
        uint32_t even = rnnc_even_bytes(x);
        uint32_t odd = rnnc_odd_bytes(x);
        acc.a = rnnc_dual_mac(acc.a, even, rnnc_even_bytes(w0));
        acc.b = rnnc_dual_mac(acc.b, even, rnnc_even_bytes(w1));
        acc.a = rnnc_dual_mac(acc.a, odd, rnnc_odd_bytes(w0));
        acc.b = rnnc_dual_mac(acc.b, odd, rnnc_odd_bytes(w1));
    }
    return acc;
}

/* One column by one channel. */
static inline int32_t rnnc_tile_1x1(const int8_t *a, const int8_t *weights, int32_t words, int32_t acc) {
    for (; words > 0; --words, a += 4, weights += 4) {
        acc = rnnc_mac_word(acc, rnnc_load_word(a), rnnc_load_word(weights));
    }
    return acc;
}

#endif

#endif
