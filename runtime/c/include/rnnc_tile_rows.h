/* Register tiles of convolutions that read rows of int8 as they are (Armv7E-M).
 *
 * Unpacking what they read costs more than the widened windows of rnnc_tile.h, but needs no memory. Depth
 * comes in segments: whole words of every pixel, those of the first from `from` to `end` and those of the
 * others `step` and twice `step` bytes behind them.
 */
#ifndef RNNC_TILE_ROWS_H
#define RNNC_TILE_ROWS_H

#include "rnnc_tile.h"

#if RNNC_USE_DSP

typedef struct {
    const int8_t *from, *end;
    int32_t step;
} rnnc_segment;

/* As rnnc_tile. All segments are of the same length; one from NULL ends them. */
typedef struct {
    const rnnc_segment *segments;
    const rnnc_segment *next; /* set by the tile, as what it needs of the segment under way */
    const int8_t *end;
    int32_t step;
    const int8_t *weights;
    int32_t code_skipped;
    const void *entry;
    const int32_t *bias, *multiplier;
    int8_t *out, *last;
    int32_t stride, zero_point;
} rnnc_tile_rows;

#define RNNC_TILE_ROWS_BLOCK 6 /* divides three taps of 16, 32 or 64 channels */
#define RNNC_STEP_ROWS_3X2_CODE (28 * 4)
#define RNNC_STEP_ROWS_2X2_CODE (20 * 4)

#define RNNC_ROWS_EVEN(x, i)             \
    "sxtb16 %[e], %[" x                  \
    "]\n"                                \
    "smlad %[a" i "], %[e], %[v], %[a" i \
    "]\n"                                \
    "smlad %[b" i "], %[e], %[w0], %[b" i "]\n"

#define RNNC_ROWS_ODD(x, i, w)               \
    "sxtb16 %[" x "], %[" x                  \
    "], ror #8\n"                            \
    "smlad %[a" i "], %[" x "], %[v], %[a" i \
    "]\n"                                    \
    "smlad %[b" i "], %[" x "], %[" w "], %[b" i "]\n"

#define RNNC_STEP_ROWS_3X2 \
    "ldr.w %[e], %[step]\n"               \
    "ldr.w %[w0], [%[weights]], #4\n"     \
    "ldr.w %[x1], [%[x], %[e]]\n"         \
    "ldr.w %[x2], [%[x], %[e], lsl #1]\n" \
    "ldr.w %[x0], [%[x]], #4\n"           \
    "sxtb16 %[v], %[w0]\n"                \
    "sxtb16 %[w0], %[w0], ror #8\n"       \
    RNNC_ROWS_EVEN("x0", "0")             \
    RNNC_ROWS_EVEN("x1", "1")             \
    RNNC_ROWS_EVEN("x2", "2")             \
    "ldr.w %[w0], [%[weights]], #4\n"     \
    "sxtb16 %[v], %[w0]\n"                \
    "sxtb16 %[w0], %[w0], ror #8\n"       \
    RNNC_ROWS_ODD("x0", "0", "w0")        \
    RNNC_ROWS_ODD("x1", "1", "w0")        \
    RNNC_ROWS_ODD("x2", "2", "w0")

#define RNNC_STEP_ROWS_2X2 \
    "ldr.w %[w1], [%[weights], #4]\n" \
    "ldr.w %[x1], [%[x], %[x2]]\n"    \
    "ldr.w %[x0], [%[x]], #4\n"       \
    "ldr.w %[w0], [%[weights]], #8\n" \
    "sxtb16 %[v], %[w0]\n"            \
    "sxtb16 %[w0], %[w0], ror #8\n"   \
    RNNC_ROWS_EVEN("x0", "0")         \
    RNNC_ROWS_EVEN("x1", "1")         \
    "sxtb16 %[v], %[w1]\n"            \
    "sxtb16 %[w1], %[w1], ror #8\n"   \
    RNNC_ROWS_ODD("x0", "0", "w1")    \
    RNNC_ROWS_ODD("x1", "1", "w1")

/* All segments, `x2` being the step of the one under way. */
#define RNNC_TILE_SEGMENTS(steps) \
    "ldr %[x], [%[e]]\n"          \
    "ldr %[v], [%[e], #4]\n"      \
    "ldr %[x2], [%[e], #8]\n"     \
    "2:\n"                        \
    "adds %[e], #12\n"            \
    "str %[e], %[next]\n"         \
    "str %[x2], %[step]\n"        \
    "str %[v], %[end]\n"          \
    RNNC_TILE_BLOCKS("6", steps) \
    "ldr %[e], %[next]\n"         \
    "ldr %[x], [%[e]]\n"          \
    "ldr %[v], [%[e], #4]\n"      \
    "ldr %[x2], [%[e], #8]\n"     \
    "cmp %[x], #0\n"              \
    "bne 2b\n"

#define RNNC_TILE_ROWS_MEMORY(t)                                                                            \
    [bias] "+m"((t).bias), [multiplier] "+m"((t).multiplier), [out] "+m"((t).out), [entry] "=m"((t).entry), \
        [next] "=m"((t).next), [end] "=m"((t).end),                                                         \
        [step] "=m"((t).step)                                                                               \
        : [segments] "m"((t).segments),                                                                     \
          [code_skipped] "m"((t).code_skipped),                                                             \
          [last] "m"((t).last),                                                                             \
          [stride] "m"((t).stride),                                                                         \
          [zero_point] "m"((t).zero_point)                                                                  \
        : "cc", "memory"

/* As rnnc_tile_3x2. */
static inline __attribute__((always_inline)) rnnc_six rnnc_tile_rows_3x2(rnnc_tile_rows *t) {
    const int8_t *weights = t->weights;
    uint32_t x, x0, x1, x2, e, v, w0;
    rnnc_six acc;
    __asm__ volatile(
        RNNC_TILE_START("ldr %[e], %[segments]\n") RNNC_TILE_COPY("1") RNNC_TILE_COPY("2")
            RNNC_TILE_SEGMENTS(RNNC_STEP_ROWS_3X2) RNNC_TILE_SUMS("e") RNNC_TILE_PIXELS_3("e") RNNC_TILE_NEXT
        : [weights] "+&r"(weights), [x] "=&r"(x), [a0] "=&r"(acc.a0), [a1] "=&r"(acc.a1), [a2] "=&r"(acc.a2),
          [b0] "=&r"(acc.b0), [b1] "=&r"(acc.b1), [b2] "=&r"(acc.b2), [x0] "=&r"(x0), [x1] "=&r"(x1),
          [x2] "=&r"(x2), [e] "=&r"(e), [v] "=&r"(v), [w0] "=&r"(w0), RNNC_TILE_ROWS_MEMORY(*t));
    t->weights = weights;
    return acc;
}

/* As rnnc_tile_2x2. */
static inline __attribute__((always_inline)) rnnc_six rnnc_tile_rows_2x2(rnnc_tile_rows *t) {
    const int8_t *weights = t->weights;
    uint32_t x, x0, x1, x2, e, v, w0, w1;
    rnnc_six acc = {0, 0, 0, 0, 0, 0};
    __asm__ volatile(RNNC_TILE_START("ldr %[e], %[segments]\n") RNNC_TILE_COPY("1")
                         RNNC_TILE_SEGMENTS(RNNC_STEP_ROWS_2X2) RNNC_TILE_SUMS("w1") RNNC_TILE_PIXELS_2("w1")
                             RNNC_TILE_NEXT
                     : [weights] "+&r"(weights), [x] "=&r"(x), [a0] "=&r"(acc.a0), [a1] "=&r"(acc.a1),
                       [b0] "=&r"(acc.b0), [b1] "=&r"(acc.b1), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2),
                       [e] "=&r"(e), [v] "=&r"(v), [w0] "=&r"(w0), [w1] "=&r"(w1), RNNC_TILE_ROWS_MEMORY(*t));
    t->weights = weights;
    return acc;
}

#endif

#endif
