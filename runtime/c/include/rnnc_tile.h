/* The register tile of convolutions: three or two pixels by two output channels (Armv7E-M).
 *
 * By hand because compilers separate the loads, which then do not pipeline, and spill between the
 * products and the requantisation; for small depths that costs more than the products.
 */
#ifndef RNNC_TILE_H
#define RNNC_TILE_H

#include "rnnc_simd.h"

#if RNNC_USE_DSP

/* All of a tile that its steps leave no registers for. `columns` are int16, a column's words being
 * apart already: [word][even bytes, odd bytes][pixel]. Steps of a word are taken in blocks of
 * RNNC_TILE_BLOCK; what the first block leaves out is skipped in its code. Bias and multiplier are
 * those of the next two channels, which go to `out` and `stride` bytes behind it. */
typedef struct {
    const void *columns, *end;
    const int8_t *weights;
    int32_t code_skipped;
    const void *entry; /* where the first block begins, set by the tile */
    const int32_t *bias, *multiplier;
    int8_t *out, *last;
    int32_t stride, zero_point;
    int32_t plain; /* requantisation is SMMLAR and SSAT: all pairs of channels up to `last` at once */
} rnnc_tile;

#define RNNC_TILE_BLOCK 8
#define RNNC_STEP_3X2_CODE (24 * 4)
#define RNNC_STEP_2X2_CODE (18 * 4)
#define RNNC_STEP_1X2_CODE (13 * 4)

/* Accumulators: the first channel of up to three pixels, then the second one. */
typedef struct {
    int32_t a0, a1, a2, b0, b1, b2;
} rnnc_six;

/* A step: one depth of four by two channels, odd bytes first. Five loads stand together, and three,
 * so that they pipeline; `also` is one more. All instructions have four bytes, as blocks are entered
 * in the middle. */
#define RNNC_STEP_3X2(also)                 \
    "ldr.w %[w1], [%[weights], #4]\n"       \
    "ldr.w %[w0], [%[weights]], #8\n"       \
    "ldr.w %[x0], [%[columns], #12]\n"      \
    "ldr.w %[x1], [%[columns], #16]\n"      \
    "ldr.w %[x2], [%[columns], #20]\n"      \
    "sxtb16 %[v], %[w0], ror #8\n"          \
    "sxtb16 %[w0], %[w0]\n"                 \
    "smlad %[a0], %[x0], %[v], %[a0]\n"     \
    "smlad %[a1], %[x1], %[v], %[a1]\n"     \
    "smlad %[a2], %[x2], %[v], %[a2]\n"     \
    "sxtb16 %[v], %[w1], ror #8\n"          \
    "sxtb16 %[w1], %[w1]\n"                 \
    "smlad %[b0], %[x0], %[v], %[b0]\n"     \
    "smlad %[b1], %[x1], %[v], %[b1]\n"     \
    "smlad %[b2], %[x2], %[v], %[b2]\n"     \
    "ldr.w %[x1], [%[columns], #4]\n"       \
    "ldr.w %[x2], [%[columns], #8]\n"       \
    "ldr.w %[x0], [%[columns]], #24\n" also \
    "smlad %[a1], %[x1], %[w0], %[a1]\n"    \
    "smlad %[a2], %[x2], %[w0], %[a2]\n"    \
    "smlad %[a0], %[x0], %[w0], %[a0]\n"    \
    "smlad %[b1], %[x1], %[w1], %[b1]\n"    \
    "smlad %[b2], %[x2], %[w1], %[b2]\n"    \
    "smlad %[b0], %[x0], %[w1], %[b0]\n"

#define RNNC_STEP_2X2(also)                 \
    "ldr.w %[w1], [%[weights], #4]\n"       \
    "ldr.w %[w0], [%[weights]], #8\n"       \
    "ldr.w %[x0], [%[columns], #8]\n"       \
    "ldr.w %[x1], [%[columns], #12]\n"      \
    "sxtb16 %[v], %[w0], ror #8\n"          \
    "sxtb16 %[w0], %[w0]\n"                 \
    "smlad %[a0], %[x0], %[v], %[a0]\n"     \
    "smlad %[a1], %[x1], %[v], %[a1]\n"     \
    "sxtb16 %[v], %[w1], ror #8\n"          \
    "sxtb16 %[w1], %[w1]\n"                 \
    "smlad %[b0], %[x0], %[v], %[b0]\n"     \
    "smlad %[b1], %[x1], %[v], %[b1]\n"     \
    "ldr.w %[x1], [%[columns], #4]\n"       \
    "ldr.w %[x0], [%[columns]], #16\n" also \
    "smlad %[a1], %[x1], %[w0], %[a1]\n"    \
    "smlad %[a0], %[x0], %[w0], %[a0]\n"    \
    "smlad %[b1], %[x1], %[w1], %[b1]\n"    \
    "smlad %[b0], %[x0], %[w1], %[b0]\n"

/* One pixel, from a column of bytes. */
#define RNNC_STEP_1X2(also)                \
    "ldr.w %[w1], [%[weights], #4]\n"      \
    "ldr.w %[w0], [%[weights]], #8\n"      \
    "ldr.w %[x0], [%[columns]], #4\n" also \
    "sxtb16 %[x1], %[x0], ror #8\n"        \
    "sxtb16 %[x0], %[x0]\n"                \
    "sxtb16 %[x2], %[w0], ror #8\n"        \
    "sxtb16 %[w0], %[w0]\n"                \
    "smlad %[a0], %[x1], %[x2], %[a0]\n"   \
    "smlad %[a0], %[x0], %[w0], %[a0]\n"   \
    "sxtb16 %[x2], %[w1], ror #8\n"        \
    "sxtb16 %[w1], %[w1]\n"                \
    "smlad %[b0], %[x1], %[x2], %[b0]\n"   \
    "smlad %[b0], %[x0], %[w1], %[b0]\n"

#define RNNC_TILE_START            \
    "adr.w %[v], 1f\n"             \
    "ldr %[w0], %[code_skipped]\n" \
    "add %[v], %[w0]\n"            \
    "str %[v], %[entry]\n"         \
    "0:\n"                         \
    "ldr %[x0], %[bias]\n"         \
    "ldr %[columns], %[start]\n"   \
    "ldr %[v], %[entry]\n"         \
    "ldr %[b0], [%[x0], #4]\n"     \
    "ldr %[a0], [%[x0]], #8\n"     \
    "str %[x0], %[bias]\n"

#define RNNC_TILE_COPY(pixel) \
    "mov %[a" pixel           \
    "], %[a0]\n"              \
    "mov %[b" pixel "], %[b0]\n"

/* All blocks, and the loads of what requantisation needs. */
#define RNNC_TILE_LOOP(step) \
    "mov pc, %[v]\n"                 \
    ".balign 4\n"                    \
    "1:\n"                           \
    ".rept 7\n" step("") ".endr\n"   \
    step("ldr %[v], %[end]\n")       \
    "cmp %[columns], %[v]\n"         \
    "bne 1b\n"                       \
    "ldr %[v], %[plain]\n"           \
    "ldr %[x0], %[multiplier]\n"     \
    "ldr %[x1], %[out]\n"            \
    "ldr %[x2], %[stride]\n"         \
    "cmp %[v], #0\n"                 \
    "beq 9f\n"                       \
    "ldr %[v], %[zero_point]\n"      \
    "ldr %[columns], %[last]\n"      \
    "ldr %[w1], [%[x0], #4]\n"       \
    "ldr %[w0], [%[x0]], #8\n"       \
    "str %[x0], %[multiplier]\n"

#define RNNC_TILE_PIXEL(a, b, at) \
    "smmlar %[" a "], %[" a       \
    "], %[w0], %[v]\n"            \
    "smmlar %[" b "], %[" b       \
    "], %[w1], %[v]\n"            \
    "ssat %[" a "], #8, %[" a     \
    "]\n"                         \
    "ssat %[" b "], #8, %[" b     \
    "]\n"                         \
    "strb %[" a "], [%[" at       \
    "]]\n"                        \
    "strb %[" b "], [%[" at "], #1]\n"

#define RNNC_TILE_NEXT        \
    "adds %[x1], #2\n"        \
    "str %[x1], %[out]\n"     \
    "cmp %[x1], %[columns]\n" \
    "bne 0b\n"                \
    "9:\n"

#define RNNC_TILE_MEMORY(t)                                                        \
    [bias] "+m"((t).bias), [multiplier] "+m"((t).multiplier), [out] "+m"((t).out), \
        [entry] "=m"((t).entry)                                                    \
        : [start] "m"((t).columns),                                                \
          [code_skipped] "m"((t).code_skipped),                                    \
          [end] "m"((t).end),                                                      \
          [last] "m"((t).last),                                                    \
          [stride] "m"((t).stride),                                                \
          [zero_point] "m"((t).zero_point),                                        \
          [plain] "m"((t).plain)                                                   \
        : "cc", "memory"

/* The sums of two channels of three pixels, or, with `plain`, all channels up to `last`. `t` must be
 * a local variable of the caller: there is no register left to reach it by anything but the stack
 * pointer. */
static inline __attribute__((always_inline)) rnnc_six rnnc_tile_3x2(rnnc_tile *t) {
    const uint32_t *columns;
    const int8_t *weights = t->weights;
    uint32_t x0, x1, x2, v, w0, w1;
    rnnc_six acc;
    __asm__ volatile(
        RNNC_TILE_START RNNC_TILE_COPY("1") RNNC_TILE_COPY("2")
        RNNC_TILE_LOOP(RNNC_STEP_3X2)
        "add %[x0], %[x1], %[x2]\n"
        "add %[x2], %[x0], %[x2]\n"
        RNNC_TILE_PIXEL("a0", "b0", "x1")
        RNNC_TILE_PIXEL("a1", "b1", "x0")
        RNNC_TILE_PIXEL("a2", "b2", "x2")
        RNNC_TILE_NEXT
        : [columns] "=&r"(columns), [weights] "+&r"(weights), [a0] "=&r"(acc.a0), [a1] "=&r"(acc.a1),
          [a2] "=&r"(acc.a2), [b0] "=&r"(acc.b0), [b1] "=&r"(acc.b1), [b2] "=&r"(acc.b2), [x0] "=&r"(x0),
          [x1] "=&r"(x1), [x2] "=&r"(x2), [v] "=&r"(v), [w0] "=&r"(w0), [w1] "=&r"(w1),
          RNNC_TILE_MEMORY(*t));
    t->weights = weights;
    return acc;
}

/* The same for two pixels: a0, a1, b0 and b1. */
static inline __attribute__((always_inline)) rnnc_six rnnc_tile_2x2(rnnc_tile *t) {
    const uint32_t *columns;
    const int8_t *weights = t->weights;
    uint32_t x0, x1, x2, v, w0, w1;
    rnnc_six acc = {0, 0, 0, 0, 0, 0};
    __asm__ volatile(
        RNNC_TILE_START RNNC_TILE_COPY("1")
            RNNC_TILE_LOOP(RNNC_STEP_2X2) "add %[x0], %[x1], %[x2]\n" RNNC_TILE_PIXEL("a0", "b0", "x1")
                RNNC_TILE_PIXEL("a1", "b1", "x0") RNNC_TILE_NEXT
        : [columns] "=&r"(columns), [weights] "+&r"(weights), [a0] "=&r"(acc.a0), [a1] "=&r"(acc.a1),
          [b0] "=&r"(acc.b0), [b1] "=&r"(acc.b1), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2),
          [v] "=&r"(v), [w0] "=&r"(w0), [w1] "=&r"(w1), RNNC_TILE_MEMORY(*t));
    t->weights = weights;
    return acc;
}

/* The same for one pixel, whose column is bytes: a0 and b0. */
static inline __attribute__((always_inline)) rnnc_six rnnc_tile_1x2(rnnc_tile *t) {
    const int8_t *columns;
    const int8_t *weights = t->weights;
    uint32_t x0, x1, x2, v, w0, w1;
    rnnc_six acc = {0, 0, 0, 0, 0, 0};
    __asm__ volatile(
        RNNC_TILE_START RNNC_TILE_LOOP(RNNC_STEP_1X2) RNNC_TILE_PIXEL("a0", "b0", "x1") RNNC_TILE_NEXT
        : [columns] "=&r"(columns), [weights] "+&r"(weights), [a0] "=&r"(acc.a0), [b0] "=&r"(acc.b0),
          [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2), [v] "=&r"(v), [w0] "=&r"(w0), [w1] "=&r"(w1),
          RNNC_TILE_MEMORY(*t));
    t->weights = weights;
    return acc;
}

#endif

#endif
