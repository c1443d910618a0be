/* Register tiles of convolutions two pixels at a time: three or two pairs by two output channels (Armv7E-M).
 *
 * The sums of the four products follow one another, and what they have in common is kept in memory meanwhile.
 */
#ifndef RNNC_TILE_PAIRS_H
#define RNNC_TILE_PAIRS_H

#include "rnnc_tile_wide.h"

#if RNNC_USE_DSP

/* A window is the words of the four products' inputs for two of depth, again and again: c0 - c2, c1 + c2,
 * c2 - c1, c1 - c3. Those of the next pair are `step` bytes behind. Where requantisation is more than SMMLAR
 * and SSAT, `multiplier` is NULL and the tile ends with twice the sums of both outputs of a pair: those of
 * the second one before those of the first. The order is known to the code below. */
typedef struct {
    int32_t sums[12];
    const int32_t *bias, *multiplier;
    const uint32_t *windows, *end; /* of the first pair */
    int32_t step;
    int8_t *out, *second, *last; /* the second output of a pair, and where `out` ends */
    int32_t stride, zero_point;  /* from pair to pair */
    int32_t code_skipped;
} rnnc_tile_pairs;

#define RNNC_PAIRS_BIAS "#48"
#define RNNC_PAIRS_MULTIPLIER "#52"
#define RNNC_PAIRS_WINDOWS "#56"
#define RNNC_PAIRS_END "#60"
#define RNNC_PAIRS_STEP "#64"
#define RNNC_PAIRS_OUT "#68"
#define RNNC_PAIRS_SECOND "#72"
#define RNNC_PAIRS_LAST "#76"
#define RNNC_PAIRS_STRIDE "#80"
#define RNNC_PAIRS_ZERO_POINT "#84"
#define RNNC_PAIRS_CODE_SKIPPED "#88"

#define RNNC_PAIRS_BLOCK 6 /* all of a tile's code fits the 64 lines of a flash cache */

/* One of the four sums, of the words at `offset`; then the code goes on at label `then`. */
#define RNNC_PAIRS_SUM(offset, then)        \
    "ldr %[w0], %[self]\n"                  \
    "ldr %[x], [%[w0], " RNNC_PAIRS_WINDOWS \
    "]\n"                                   \
    "ldr %[v], [%[w0], " RNNC_PAIRS_END     \
    "]\n"                                   \
    "ldr %[step], [%[w0], " RNNC_PAIRS_STEP \
    "]\n"                                   \
    "adr.w %[x0], " then                    \
    "f\n"                                   \
    "add %[x0], #1\n"                       \
    "str %[x0], %[next]\n"                  \
    "add %[x], #" offset                    \
    "\n"                                    \
    "add %[v], #" offset                    \
    "\n"                                    \
    "str %[v], %[end]\n"                    \
    "ldr.w pc, %[entry]\n"

#define RNNC_PAIRS_START                          \
    "ldr %[x0], %[self]\n"                        \
    "adr.w %[v], 1f\n"                            \
    "ldr %[w0], [%[x0], " RNNC_PAIRS_CODE_SKIPPED \
    "]\n"                                         \
    "add %[v], %[w0]\n"                           \
    "add %[v], #1\n"                              \
    "str %[v], %[entry]\n"                        \
    "0:\n"                                        \
    "ldr %[x1], %[self]\n"                        \
    "ldr %[x0], [%[x1], " RNNC_PAIRS_BIAS         \
    "]\n"                                         \
    "ldr %[b0], [%[x0], #4]\n"                    \
    "ldr %[a0], [%[x0]], #8\n"                    \
    "str %[x0], [%[x1], " RNNC_PAIRS_BIAS         \
    "]\n"                                         \
    "lsl %[b0], #1\n"                             \
    "lsl %[a0], #1\n"                             \
    "mov %[b1], %[b0]\n"                          \
    "mov %[a1], %[a0]\n"

#define RNNC_PAIRS_LOOP(steps) \
    ".balign 4\n"              \
    "1:\n"                     \
    ".rept 6\n" steps          \
    ".endr\n"                  \
    "ldr %[v], %[end]\n"       \
    "cmp %[x], %[v]\n"         \
    "bne 1b\n"                 \
    "ldr.w pc, %[next]\n"

/* Sums to memory and back, two channels of a pair at `first` and `second`. */
#define RNNC_PAIRS_PUT(i, first, second) \
    "str %[a" i "], [%[x0], #" first     \
    "]\n"                                \
    "str %[b" i "], [%[x0], #" second "]\n"

#define RNNC_PAIRS_GET(i, first, second) \
    "ldr %[a" i "], [%[x0], #" first     \
    "]\n"                                \
    "ldr %[b" i "], [%[x0], #" second "]\n"

/* With m1 in memory and m1 + m2 in registers: m1 - m2 to memory. */
#define RNNC_PAIRS_OTHER(i, first, second) \
    "ldr %[x1], [%[x0], #" first           \
    "]\n"                                  \
    "ldr %[v], [%[x0], #" second           \
    "]\n"                                  \
    "rsb %[x1], %[a" i                     \
    "], %[x1], lsl #1\n"                   \
    "rsb %[v], %[b" i                      \
    "], %[v], lsl #1\n"                    \
    "str %[x1], [%[x0], #" first           \
    "]\n"                                  \
    "str %[v], [%[x0], #" second "]\n"

/* What requantisation needs: the multipliers in w and step, where the outputs go in x1. */
#define RNNC_PAIRS_OUTPUTS(out, unscaled)      \
    "ldr %[x0], %[self]\n"                     \
    "ldr %[x], [%[x0], " RNNC_PAIRS_MULTIPLIER \
    "]\n"                                      \
    "ldr %[x2], [%[x0], " RNNC_PAIRS_STRIDE    \
    "]\n"                                      \
    "ldr %[x1], [%[x0], " out                  \
    "]\n"                                      \
    "ldr %[v], [%[x0], " RNNC_PAIRS_ZERO_POINT \
    "]\n"                                      \
    "cmp %[x], #0\n"                           \
    "beq " unscaled                            \
    "f\n"                                      \
    "ldr %[w0], [%[x]]\n"                      \
    "ldr %[step], [%[x], #4]\n"                \
    "add %[x0], %[x1], %[x2]\n"

#define RNNC_PAIRS_PIXEL(a, b, at) \
    "asr %[" a                     \
    "], #1\n"                      \
    "asr %[" b                     \
    "], #1\n"                      \
    "smmlar %[" a "], %[" a        \
    "], %[w0], %[v]\n"             \
    "smmlar %[" b "], %[" b        \
    "], %[step], %[v]\n"           \
    "ssat %[" a "], #8, %[" a      \
    "]\n"                          \
    "ssat %[" b "], #8, %[" b      \
    "]\n"                          \
    "strb %[" a "], [%[" at        \
    "]]\n"                         \
    "strb %[" b "], [%[" at "], #1]\n"

#define RNNC_PAIRS_PIXELS_2            \
    RNNC_PAIRS_PIXEL("a0", "b0", "x1") \
    RNNC_PAIRS_PIXEL("a1", "b1", "x0")

#define RNNC_PAIRS_PIXELS_3 "add %[x2], %[x0], %[x2]\n" RNNC_PAIRS_PIXELS_2 RNNC_PAIRS_PIXEL("a2", "b2", "x2")

#define RNNC_PAIRS_NEXT                        \
    "ldr %[x0], %[self]\n"                     \
    "ldr %[x1], [%[x0], " RNNC_PAIRS_OUT       \
    "]\n"                                      \
    "ldr %[x2], [%[x0], " RNNC_PAIRS_SECOND    \
    "]\n"                                      \
    "ldr %[v], [%[x0], " RNNC_PAIRS_MULTIPLIER \
    "]\n"                                      \
    "ldr %[w0], [%[x0], " RNNC_PAIRS_LAST      \
    "]\n"                                      \
    "add %[x1], #2\n"                          \
    "add %[x2], #2\n"                          \
    "add %[v], #8\n"                           \
    "str %[x1], [%[x0], " RNNC_PAIRS_OUT       \
    "]\n"                                      \
    "str %[x2], [%[x0], " RNNC_PAIRS_SECOND    \
    "]\n"                                      \
    "str %[v], [%[x0], " RNNC_PAIRS_MULTIPLIER \
    "]\n"                                      \
    "cmp %[x1], %[w0]\n"                       \
    "bne 0b\n"                                 \
    "b 9f\n"

#define RNNC_PAIRS_FIRST_TWO(of) of("0", "0", "12") of("1", "4", "16")

#define RNNC_PAIRS_FIRST_THREE(of) \
    RNNC_PAIRS_FIRST_TWO(of)       \
    of("2", "8", "20")

#define RNNC_PAIRS_LAST_TWO(of) of("0", "24", "36") of("1", "28", "40")

#define RNNC_PAIRS_LAST_THREE(of) \
    RNNC_PAIRS_LAST_TWO(of)       \
    of("2", "32", "44")

#define RNNC_PAIRS_TILE(third, steps, first, last, pixels) \
    RNNC_PAIRS_START third                                           \
    RNNC_PAIRS_SUM("4", "2")                                         \
    RNNC_PAIRS_LOOP(steps)                                           \
    ".balign 4\n2:\n"                                                \
    "ldr %[x0], %[self]\n" first(RNNC_PAIRS_PUT)                     \
    RNNC_PAIRS_SUM("8", "3")                                         \
    ".balign 4\n3:\n"                                                \
    "ldr %[x0], %[self]\n" first(RNNC_PAIRS_OTHER)                   \
    RNNC_PAIRS_SUM("0", "4")                                         \
    ".balign 4\n4:\n"                                                \
    RNNC_PAIRS_OUTPUTS(RNNC_PAIRS_OUT, "6") pixels                   \
    "7:\n"                                                           \
    "ldr %[x0], %[self]\n" first(RNNC_PAIRS_GET)                     \
    RNNC_PAIRS_SUM("12", "5")                                        \
    "6:\n" last(RNNC_PAIRS_PUT)                                      \
    "b 7b\n"                                                         \
    ".balign 4\n5:\n"                                                \
    RNNC_PAIRS_OUTPUTS(RNNC_PAIRS_SECOND, "8") pixels                \
    RNNC_PAIRS_NEXT                                                  \
    "8:\n" first(RNNC_PAIRS_PUT)                                     \
    "9:\n"

/* Both outputs of three pairs of pixels: two channels, or, with `multiplier`, all up to `last`; returns the
 * weights behind those it took. */
static inline __attribute__((always_inline)) const int16_t *rnnc_tile_pairs_3(rnnc_tile_pairs *t,
                                                                              const int16_t *weights) {
    uint32_t x, step, x0, x1, x2, v, w0, a0, a1, a2, b0, b1, b2;
    const void *entry, *end, *next;
    __asm__ volatile(RNNC_PAIRS_TILE("mov %[a2], %[a0]\nmov %[b2], %[b0]\n", RNNC_STEP_WIDE_3X2("16"),
                                     RNNC_PAIRS_FIRST_THREE, RNNC_PAIRS_LAST_THREE, RNNC_PAIRS_PIXELS_3)
                     : [weights] "+&r"(weights), [x] "=&r"(x), [step] "=&r"(step), [x0] "=&r"(x0),
                       [x1] "=&r"(x1), [x2] "=&r"(x2), [v] "=&r"(v), [w0] "=&r"(w0), [a0] "=&r"(a0),
                       [a1] "=&r"(a1), [a2] "=&r"(a2), [b0] "=&r"(b0), [b1] "=&r"(b1), [b2] "=&r"(b2),
                       [entry] "=m"(entry), [end] "=m"(end), [next] "=m"(next)
                     : [self] "m"(t)
                     : "cc", "memory");
    return weights;
}

/* The same for two pairs. */
static inline __attribute__((always_inline)) const int16_t *rnnc_tile_pairs_2(rnnc_tile_pairs *t,
                                                                              const int16_t *weights) {
    uint32_t x, step, x0, x1, x2, v, w0, a0, a1, b0, b1;
    const void *entry, *end, *next;
    __asm__ volatile(
        RNNC_PAIRS_TILE("", RNNC_STEP_WIDE_2X2("16"), RNNC_PAIRS_FIRST_TWO, RNNC_PAIRS_LAST_TWO,
                        RNNC_PAIRS_PIXELS_2)
        : [weights] "+&r"(weights), [x] "=&r"(x), [step] "=&r"(step), [x0] "=&r"(x0), [x1] "=&r"(x1),
          [x2] "=&r"(x2), [v] "=&r"(v), [w0] "=&r"(w0), [a0] "=&r"(a0), [a1] "=&r"(a1), [b0] "=&r"(b0),
          [b1] "=&r"(b1), [entry] "=m"(entry), [end] "=m"(end), [next] "=m"(next)
        : [self] "m"(t)
        : "cc", "memory");
    return weights;
}

#endif

#endif
