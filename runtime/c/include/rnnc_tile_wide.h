/* Register tiles of convolutions with int16 weights: three or two pixels by two output channels (Armv7E-M).
 */
#ifndef RNNC_TILE_WIDE_H
#define RNNC_TILE_WIDE_H

#include "rnnc_tile.h"

#if RNNC_USE_DSP

#define RNNC_STEP_WIDE_3X2_CODE (22 * 4)
#define RNNC_STEP_WIDE_2X2_CODE (16 * 4)

/* Half a step, two of depth: one word of weights for either channel. Windows go on by `next` bytes. */
#define RNNC_HALF_STEP_WIDE_3X2(next)        \
    "ldr.w %[w0], [%[weights], #4]\n"        \
    "ldr.w %[x1], [%[x], %[step]]\n"         \
    "ldr.w %[x2], [%[x], %[step], lsl #1]\n" \
    "ldr.w %[x0], [%[x]], #" next            \
    "\n"                                     \
    "ldr.w %[v], [%[weights]], #8\n"         \
    "smlad %[a1], %[x1], %[v], %[a1]\n"      \
    "smlad %[a2], %[x2], %[v], %[a2]\n"      \
    "smlad %[b1], %[x1], %[w0], %[b1]\n"     \
    "smlad %[b2], %[x2], %[w0], %[b2]\n"     \
    "smlad %[a0], %[x0], %[v], %[a0]\n"      \
    "smlad %[b0], %[x0], %[w0], %[b0]\n"

#define RNNC_HALF_STEP_WIDE_2X2(next)    \
    "ldr.w %[w0], [%[weights], #4]\n"    \
    "ldr.w %[x1], [%[x], %[step]]\n"     \
    "ldr.w %[x0], [%[x]], #" next        \
    "\n"                                 \
    "ldr.w %[v], [%[weights]], #8\n"     \
    "smlad %[a1], %[x1], %[v], %[a1]\n"  \
    "smlad %[b1], %[x1], %[w0], %[b1]\n" \
    "smlad %[a0], %[x0], %[v], %[a0]\n"  \
    "smlad %[b0], %[x0], %[w0], %[b0]\n"

#define RNNC_STEP_WIDE_3X2(next) RNNC_HALF_STEP_WIDE_3X2(next) RNNC_HALF_STEP_WIDE_3X2(next)
#define RNNC_STEP_WIDE_2X2(next) RNNC_HALF_STEP_WIDE_2X2(next) RNNC_HALF_STEP_WIDE_2X2(next)

/* As rnnc_tile_3x2, with weights by words of two of depth, those of the two channels alternating. */
static inline __attribute__((always_inline)) rnnc_six rnnc_tile_wide_3x2(rnnc_tile *t) {
    const int8_t *weights = t->weights;
    uint32_t x, step, x0, x1, x2, v, w0;
    rnnc_six acc;
    __asm__ volatile(
        RNNC_TILE_START(RNNC_TILE_WINDOWS) RNNC_TILE_COPY("1") RNNC_TILE_COPY("2") RNNC_TILE_BLOCKS(
            "8", RNNC_STEP_WIDE_3X2("4")) RNNC_TILE_SUMS("step") RNNC_TILE_PIXELS_3("step") RNNC_TILE_NEXT
        : [weights] "+&r"(weights), [x] "=&r"(x), [step] "=&r"(step), [a0] "=&r"(acc.a0), [a1] "=&r"(acc.a1),
          [a2] "=&r"(acc.a2), [b0] "=&r"(acc.b0), [b1] "=&r"(acc.b1), [b2] "=&r"(acc.b2), [x0] "=&r"(x0),
          [x1] "=&r"(x1), [x2] "=&r"(x2), [v] "=&r"(v), [w0] "=&r"(w0), RNNC_TILE_MEMORY(*t));
    t->weights = weights;
    return acc;
}

/* As rnnc_tile_2x2. */
static inline __attribute__((always_inline)) rnnc_six rnnc_tile_wide_2x2(rnnc_tile *t) {
    const int8_t *weights = t->weights;
    uint32_t x, step, x0, x1, x2, v, w0, w1;
    rnnc_six acc = {0, 0, 0, 0, 0, 0};
    __asm__ volatile(
        RNNC_TILE_START(RNNC_TILE_WINDOWS) RNNC_TILE_COPY("1") RNNC_TILE_BLOCKS("8", RNNC_STEP_WIDE_2X2("4"))
            RNNC_TILE_SUMS("w1") RNNC_TILE_PIXELS_2("w1") RNNC_TILE_NEXT
        : [weights] "+&r"(weights), [x] "=&r"(x), [step] "=&r"(step), [a0] "=&r"(acc.a0), [a1] "=&r"(acc.a1),
          [b0] "=&r"(acc.b0), [b1] "=&r"(acc.b1), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2),
          [v] "=&r"(v), [w0] "=&r"(w0), [w1] "=&r"(w1), RNNC_TILE_MEMORY(*t));
    t->weights = weights;
    return acc;
}

#endif

#endif
