/* W1 times pixels of four channels, for Armv7E-M: as the weights pass by, four pixels stay in registers. */
#include "rnnc_rnnpool_simd.h"

#if RNNC_USE_DSP

/* Instructions stand one to a line. */
/* clang-format off */

/* One unit of a lane whose channels are in `even` and `odd`; r2 and r3 weights, r12 what is added */
#define UNIT_OF_LANE(even, odd, to)    \
    "smlad lr, r2, " even ", r12\n"    \
    "smlad lr, r3, " odd ", lr\n"      \
    "ssat lr, #16, lr, asr #8\n"       \
    "strh lr, " to "\n"

/* One unit of four lanes, `row` bytes apart */
#define UNIT(row)                                  \
    "ldm r0!, {r2, r3, r12}\n"                     \
    UNIT_OF_LANE("r6", "r7", "[r1, #" row "]")     \
    UNIT_OF_LANE("r8", "r9", "[r1, #2*" row "]")   \
    UNIT_OF_LANE("r10", "r11", "[r1, #3*" row "]") \
    UNIT_OF_LANE("r4", "r5", "[r1], #2")

#define SPLIT(even, odd)                           \
    "sxtb16 " odd ", " even ", ror #8\n"           \
    "sxtb16 " even ", " even "\n"

/* Arguments: packed, pixels, out; on the stack the end of the first lane. */
#define PIXEL_PRODUCT(row)                         \
    "add r3, r2, #" row "\n"                       \
    "push {r3-r11, lr}\n"                          \
    "ldm r1, {r4, r6, r8, r10}\n"                  \
    "ldr r4, [r4]\n"                               \
    "ldr r6, [r6]\n"                               \
    "ldr r8, [r8]\n"                               \
    "ldr r10, [r10]\n"                             \
    SPLIT("r4", "r5") SPLIT("r6", "r7") SPLIT("r8", "r9") SPLIT("r10", "r11") \
    "mov r1, r2\n"                                 \
    "1: " UNIT(row) UNIT(row) UNIT(row) UNIT(row)  \
    "ldr r2, [sp]\n"                               \
    "cmp r1, r2\n"                                 \
    "bne 1b\n"                                     \
    "pop {r3-r11, pc}\n"

ASSEMBLY static void pixel_product_16(const int32_t *packed UNUSED, const int8_t *const *pixels UNUSED,
                                      int16_t *out UNUSED) {
    __asm__ volatile(PIXEL_PRODUCT("32") ::: "memory");
}

ASSEMBLY static void pixel_product_8(const int32_t *packed UNUSED, const int8_t *const *pixels UNUSED,
                                     int16_t *out UNUSED) {
    __asm__ volatile(PIXEL_PRODUCT("16") ::: "memory");
}

/* clang-format on */

void rnnc_rnn_pixel_product(const int32_t *packed, int32_t rows, const int8_t *const *pixels, int16_t *out) {
    if (rows == 16) {
        pixel_product_16(packed, pixels, out);
    } else {
        pixel_product_8(packed, pixels, out);
    }
}

#endif
