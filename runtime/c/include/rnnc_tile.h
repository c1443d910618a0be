/* Register tiles of convolutions: three, two or one pixels by two output channels (Armv7E-M).
 *
 * By hand because compilers separate the loads, which then do not pipeline, and spill between the
 * products and the requantisation; for small depths that costs more than the products. rnnc_tile_rows.h
 * has the tiles that read bytes, rnnc_tile_wide.h those whose weights need no unpacking.
 */
#ifndef RNNC_TILE_H
#define RNNC_TILE_H

#include "rnnc_simd.h"

#if RNNC_USE_DSP

/* All of a tile that its steps leave no registers for. The windows of its pixels are int16 in the order
 * of the weights (rnnc_linear.h), `step` bytes apart. A step is four of depth. They are
 * taken in blocks, and what the first block leaves out is skipped in its code. Bias and
 * multiplier are those of the next two channels, which go to `out` and `stride` bytes behind it. Where
 * requantisation is more than SMMLAR and SSAT, `multiplier` is NULL and the tile ends with the sums. */
typedef struct {
    const void *windows, *end; /* of the first pixel */
    int32_t step;
    const void *weights; /* int8, or int16 for the tiles of rnnc_tile_wide.h */
    int32_t code_skipped;
    const void *entry; /* where the first block begins, set by the tile */
    const int32_t *bias, *multiplier;
    int8_t *out, *last;
    int32_t stride, zero_point;
} rnnc_tile;

#define RNNC_TILE_BLOCK 8 /* a loop fits the 64 lines of a flash cache */
#define RNNC_STEP_3X2_CODE (24 * 4)
#define RNNC_STEP_2X2_CODE (18 * 4)
#define RNNC_STEP_1X2_CODE (12 * 4)

/* Accumulators: the first channel of up to three pixels, then the second one. */
typedef struct {
    int32_t a0, a1, a2, b0, b1, b2;
} rnnc_six;

/* Loads stand together, so that they pipeline. All instructions have four bytes, as blocks are entered
 * in the middle. */
#define RNNC_HALF_STEP_3X2                   \
    "ldr.w %[w0], [%[weights]], #4\n"        \
    "ldr.w %[x1], [%[x], %[step]]\n"         \
    "ldr.w %[x2], [%[x], %[step], lsl #1]\n" \
    "ldr.w %[x0], [%[x]], #4\n"              \
    "sxtb16 %[v], %[w0]\n"                   \
    "sxtb16 %[w0], %[w0], ror #8\n"          \
    "smlad %[a1], %[x1], %[v], %[a1]\n"      \
    "smlad %[a2], %[x2], %[v], %[a2]\n"      \
    "smlad %[a0], %[x0], %[v], %[a0]\n"      \
    "smlad %[b1], %[x1], %[w0], %[b1]\n"     \
    "smlad %[b2], %[x2], %[w0], %[b2]\n"     \
    "smlad %[b0], %[x0], %[w0], %[b0]\n"

#define RNNC_STEP_3X2 RNNC_HALF_STEP_3X2 RNNC_HALF_STEP_3X2

#define RNNC_STEP_2X2                    \
    "ldr.w %[w1], [%[weights], #4]\n"    \
    "ldr.w %[x1], [%[x], %[step]]\n"     \
    "ldr.w %[x0], [%[x]], #4\n"          \
    "ldr.w %[w0], [%[weights]], #8\n"    \
    "ldr.w %[y1], [%[x], %[step]]\n"     \
    "ldr.w %[x2], [%[x]], #4\n"          \
    "sxtb16 %[v], %[w0]\n"               \
    "sxtb16 %[w0], %[w0], ror #8\n"      \
    "smlad %[a1], %[x1], %[v], %[a1]\n"  \
    "smlad %[a0], %[x0], %[v], %[a0]\n"  \
    "smlad %[b1], %[x1], %[w0], %[b1]\n" \
    "smlad %[b0], %[x0], %[w0], %[b0]\n" \
    "sxtb16 %[v], %[w1]\n"               \
    "sxtb16 %[w1], %[w1], ror #8\n"      \
    "smlad %[a0], %[x2], %[v], %[a0]\n"  \
    "smlad %[a1], %[y1], %[v], %[a1]\n"  \
    "smlad %[b0], %[x2], %[w1], %[b0]\n" \
    "smlad %[b1], %[y1], %[w1], %[b1]\n"

#define RNNC_STEP_1X2                    \
    "ldr.w %[w1], [%[weights], #4]\n"    \
    "ldr.w %[x1], [%[x], #4]\n"          \
    "ldr.w %[w0], [%[weights]], #8\n"    \
    "ldr.w %[x0], [%[x]], #8\n"          \
    "sxtb16 %[v], %[w0]\n"               \
    "sxtb16 %[w0], %[w0], ror #8\n"      \
    "sxtb16 %[x2], %[w1]\n"              \
    "sxtb16 %[w1], %[w1], ror #8\n"      \
    "smlad %[a0], %[x0], %[v], %[a0]\n"  \
    "smlad %[b0], %[x0], %[w0], %[b0]\n" \
    "smlad %[a0], %[x1], %[x2], %[a0]\n" \
    "smlad %[b0], %[x1], %[w1], %[b0]\n"

/* The entry, as LDR PC wants it, and the biases of a tile's two channels; more loads may stand together with
 * the first. */
#define RNNC_TILE_START(loads)     \
    "adr.w %[v], 1f\n"             \
    "ldr %[w0], %[code_skipped]\n" \
    "add %[v], %[w0]\n"            \
    "add %[v], #1\n"               \
    "str %[v], %[entry]\n"         \
    "0:\n"                         \
    "ldr %[x0], %[bias]\n" loads   \
    "ldr %[b0], [%[x0], #4]\n"     \
    "ldr %[a0], [%[x0]], #8\n"     \
    "str %[x0], %[bias]\n"

/* The sums of another pixel begin as those of the first. */
#define RNNC_TILE_COPY(pixel) \
    "mov %[a" pixel           \
    "], %[a0]\n"              \
    "mov %[b" pixel "], %[b0]\n"

/* Blocks of `count` steps, up to the end of the first pixel's window. */
#define RNNC_TILE_BLOCKS(count, steps) \
    "ldr.w pc, %[entry]\n"             \
    ".balign 4\n"                      \
    "1:\n"                             \
    ".rept " count "\n" steps          \
    ".endr\n"                          \
    "ldr %[v], %[end]\n"               \
    "cmp %[x], %[v]\n"                 \
    "bne 1b\n"

#define RNNC_TILE_WINDOW "ldr %[x], %[windows]\n"
#define RNNC_TILE_WINDOWS RNNC_TILE_WINDOW "ldr %[step], %[in_step]\n"

/* What requantisation needs: the multipliers in w0 and `m`, where the pixels go in x1. */
#define RNNC_TILE_SUMS(m)        \
    "ldr %[x0], %[multiplier]\n" \
    "ldr %[x1], %[out]\n"        \
    "ldr %[x2], %[stride]\n"     \
    "ldr %[v], %[zero_point]\n"  \
    "ldr %[x], %[last]\n"        \
    "cmp %[x0], #0\n"            \
    "beq 9f\n"                   \
    "ldr %[" m                   \
    "], [%[x0], #4]\n"           \
    "ldr %[w0], [%[x0]], #8\n"   \
    "str %[x0], %[multiplier]\n" \
    "add %[x0], %[x1], %[x2]\n"

#define RNNC_TILE_PIXEL(a, b, m, at)  \
    "smmlar %[" a "], %[" a           \
    "], %[w0], %[v]\n"                \
    "smmlar %[" b "], %[" b "], %[" m \
    "], %[v]\n"                       \
    "ssat %[" a "], #8, %[" a         \
    "]\n"                             \
    "ssat %[" b "], #8, %[" b         \
    "]\n"                             \
    "strb %[" a "], [%[" at           \
    "]]\n"                            \
    "strb %[" b "], [%[" at "], #1]\n"

#define RNNC_TILE_PIXELS_2(m)            \
    RNNC_TILE_PIXEL("a0", "b0", m, "x1") \
    RNNC_TILE_PIXEL("a1", "b1", m, "x0")

#define RNNC_TILE_PIXELS_3(m) \
    "add %[x2], %[x0], %[x2]\n" RNNC_TILE_PIXELS_2(m) RNNC_TILE_PIXEL("a2", "b2", m, "x2")

#define RNNC_TILE_NEXT    \
    "adds %[x1], #2\n"    \
    "str %[x1], %[out]\n" \
    "cmp %[x1], %[x]\n"   \
    "bne 0b\n"            \
    "9:\n"

#define RNNC_TILE_MEMORY(t)                                                        \
    [bias] "+m"((t).bias), [multiplier] "+m"((t).multiplier), [out] "+m"((t).out), \
        [entry] "=m"((t).entry)                                                    \
        : [windows] "m"((t).windows),                                              \
          [in_step] "m"((t).step),                                                 \
          [code_skipped] "m"((t).code_skipped),                                    \
          [end] "m"((t).end),                                                      \
          [last] "m"((t).last),                                                    \
          [stride] "m"((t).stride),                                                \
          [zero_point] "m"((t).zero_point)                                         \
        : "cc", "memory"

/* The sums of two channels of three pixels, or, with `multiplier`, all channels up to `last`. `t` must be
 * a local variable of the caller: there is no register left to reach it by anything but the stack
 * pointer. */
static inline __attribute__((always_inline)) rnnc_six rnnc_tile_3x2(rnnc_tile *t) {
    const int8_t *weights = t->weights;
    uint32_t x, step, x0, x1, x2, v, w0;
    rnnc_six acc;
    __asm__ volatile(
        RNNC_TILE_START(RNNC_TILE_WINDOWS) RNNC_TILE_COPY("1") RNNC_TILE_COPY("2") RNNC_TILE_BLOCKS(
            "8", RNNC_STEP_3X2) RNNC_TILE_SUMS("step") RNNC_TILE_PIXELS_3("step") RNNC_TILE_NEXT
        : [weights] "+&r"(weights), [x] "=&r"(x), [step] "=&r"(step), [a0] "=&r"(acc.a0), [a1] "=&r"(acc.a1),
          [a2] "=&r"(acc.a2), [b0] "=&r"(acc.b0), [b1] "=&r"(acc.b1), [b2] "=&r"(acc.b2), [x0] "=&r"(x0),
          [x1] "=&r"(x1), [x2] "=&r"(x2), [v] "=&r"(v), [w0] "=&r"(w0), RNNC_TILE_MEMORY(*t));
    t->weights = weights;
    return acc;
}

/* The same for two pixels: a0, a1, b0 and b1. */
static inline __attribute__((always_inline)) rnnc_six rnnc_tile_2x2(rnnc_tile *t) {
    const int8_t *weights = t->weights;
    uint32_t x, step, x0, x1, x2, y1, v, w0, w1;
    rnnc_six acc = {0, 0, 0, 0, 0, 0};
    __asm__ volatile(
        RNNC_TILE_START(RNNC_TILE_WINDOWS) RNNC_TILE_COPY("1") RNNC_TILE_BLOCKS("8", RNNC_STEP_2X2)
            RNNC_TILE_SUMS("w1") RNNC_TILE_PIXELS_2("w1") RNNC_TILE_NEXT
        : [weights] "+&r"(weights), [x] "=&r"(x), [step] "=&r"(step), [a0] "=&r"(acc.a0), [a1] "=&r"(acc.a1),
          [b0] "=&r"(acc.b0), [b1] "=&r"(acc.b1), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2),
          [y1] "=&r"(y1), [v] "=&r"(v), [w0] "=&r"(w0), [w1] "=&r"(w1), RNNC_TILE_MEMORY(*t));
    t->weights = weights;
    return acc;
}

/* The same for one pixel: a0 and b0. */
static inline __attribute__((always_inline)) rnnc_six rnnc_tile_1x2(rnnc_tile *t) {
    const int8_t *weights = t->weights;
    uint32_t x, x0, x1, x2, v, w0, w1;
    rnnc_six acc = {0, 0, 0, 0, 0, 0};
    __asm__ volatile(
        RNNC_TILE_START(RNNC_TILE_WINDOW) RNNC_TILE_BLOCKS("8", RNNC_STEP_1X2) RNNC_TILE_SUMS("w1")
            RNNC_TILE_PIXEL("a0", "b0", "w1", "x1") RNNC_TILE_NEXT
        : [weights] "+&r"(weights), [x] "=&r"(x), [a0] "=&r"(acc.a0), [b0] "=&r"(acc.b0), [x0] "=&r"(x0),
          [x1] "=&r"(x1), [x2] "=&r"(x2), [v] "=&r"(v), [w0] "=&r"(w0), [w1] "=&r"(w1), RNNC_TILE_MEMORY(*t));
    t->weights = weights;
    return acc;
}

#endif

#endif
