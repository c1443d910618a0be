/* Recurrent products of RNNPool's cells for Armv7E-M.
 *
 * A packed matrix is read in tiles of two units (rows) and two columns, two words of weights, which are
 * doubled: no sum can saturate, so that its upper half is the product. The tiles of two units follow their
 * biases. In the dense form all are there, in the sparse form those that have weights other than 0, each with
 * the distance of its columns from those of the tile before.
 */
#include "rnnc_rnnpool_simd.h"

#if RNNC_USE_DSP

#if !RNNC_RNNPOOL_LIBRARY

/* The assembly below knows this place. */
typedef char place_of_packed_weights[offsetof(rnnc_rnn_cell, packed) == 20 ? 1 : -1];

/* Instructions stand one to a line. */
/* clang-format off */
#define ADD(sum, weights, vector, to) "smlad " sum ", " weights ", " vector ", " to "\n"

/* One tile's products for four lanes. r2 and r3 weights, r12 and lr vectors of the first two lanes, r1 + `at` those
 * of the first, `row` bytes from lane to lane. Sums r4 to r11 with the two units of a lane side by side, added to the
 * registers `even` and `odd`, or to themselves. */
#define FOUR_LANES(at, row, a4, a5, a6, a7, a8, a9, a10, a11)        \
    ADD("r4", "r2", "r12", a4) ADD("r5", "r3", "r12", a5)            \
    ADD("r6", "r2", "lr", a6) ADD("r7", "r3", "lr", a7)              \
    "ldr r12, [r1, #" at "+2*" row "]\n"                             \
    "ldr lr, [r1, #" at "+3*" row "]\n"                              \
    ADD("r8", "r2", "r12", a8) ADD("r9", "r3", "r12", a9)            \
    ADD("r10", "r2", "lr", a10) ADD("r11", "r3", "lr", a11)

#define FIRST_TILE(row) \
    FOUR_LANES("0", row, "r10", "r11", "r10", "r11", "r10", "r11", "r10", "r11")
#define MORE(at, row) \
    FOUR_LANES(at, row, "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11")

#define DENSE_TILE(weights, at, row)           \
    "ldr r2, [r0, #" weights "]\n"             \
    "ldr r3, [r0, #" weights "+4]\n"           \
    "ldr r12, [r1, #" at "]\n"                 \
    "ldr lr, [r1, #" at "+" row "]\n"          \
    MORE(at, row)

#define SPARSE_TILE(row)                       \
    "ldm r0!, {r2, r3, r12}\n"                 \
    "add r1, r1, r12\n"                        \
    "ldr r12, [r1]\n"                          \
    "ldr lr, [r1, #" row "]\n"                 \
    MORE("0", row)

/* All units, `tiles` being the code for two. Arguments as those of rnnc_rnn_recur; on the stack the place of the next
 * two products and the end of the first lane's. */
#define ALL_UNITS(tiles, row)                  \
    "add r2, r1, #4*" row "\n"                 \
    "add r3, r2, #" row "\n"                   \
    "push {r2-r11, lr}\n"                      \
    "ldr r0, [r0, #20]\n"                      \
    "1: " tiles                                \
    "ldr r2, [sp]\n"                           \
    "ldr r3, [sp, #4]\n"                       \
    "pkhtb r4, r5, r4, asr #16\n"              \
    "pkhtb r6, r7, r6, asr #16\n"              \
    "pkhtb r8, r9, r8, asr #16\n"              \
    "pkhtb r10, r11, r10, asr #16\n"           \
    "str r6, [r2, #" row "]\n"                 \
    "str r8, [r2, #2*" row "]\n"               \
    "str r10, [r2, #3*" row "]\n"              \
    "str r4, [r2], #4\n"                       \
    "str r2, [sp]\n"                           \
    "cmp r2, r3\n"                             \
    "bne 1b\n"                                 \
    "pop {r2-r11, pc}\n"

#define FIRST_DENSE_TILE(row)                  \
    "ldr r10, [r0]\n"                          \
    "ldr r11, [r0, #4]\n"                      \
    "ldr r2, [r0, #8]\n"                       \
    "ldr r3, [r0, #12]\n"                      \
    "ldr r12, [r1]\n"                          \
    "ldr lr, [r1, #" row "]\n"                 \
    FIRST_TILE(row)

ASSEMBLY static void recur_dense_16(const rnnc_rnn_cell *cell UNUSED, int16_t *state UNUSED) {
    __asm__ volatile(
        ALL_UNITS(
            FIRST_DENSE_TILE("32") DENSE_TILE("16", "4", "32") DENSE_TILE("24", "8", "32")
            DENSE_TILE("32", "12", "32") DENSE_TILE("40", "16", "32") DENSE_TILE("48", "20", "32")
            DENSE_TILE("56", "24", "32") DENSE_TILE("64", "28", "32") "add r0, r0, #72\n", "32") ::: "memory");
}

ASSEMBLY static void recur_dense_8(const rnnc_rnn_cell *cell UNUSED, int16_t *state UNUSED) {
    __asm__ volatile(
        ALL_UNITS(
            FIRST_DENSE_TILE("16") DENSE_TILE("16", "4", "16") DENSE_TILE("24", "8", "16")
            DENSE_TILE("32", "12", "16") "add r0, r0, #40\n", "16") ::: "memory");
}

/* After the first tile a word says how many of seven more are not there. */
ASSEMBLY static void recur_sparse_16(const rnnc_rnn_cell *cell UNUSED, int16_t *state UNUSED) {
    __asm__ volatile(
        ALL_UNITS(
            "ldm r0!, {r2, r3, r10, r11, r12}\n"
            "add r1, r1, r12\n"
            "ldr r12, [r1]\n"
            "ldr lr, [r1, #32]\n"
            FIRST_TILE("32")
            "ldr r12, [r0], #4\n"
            "tbh [pc, r12, lsl #1]\n"
            "2: .short (20f-2b)/2, (21f-2b)/2, (22f-2b)/2, (23f-2b)/2\n"
            ".short (24f-2b)/2, (25f-2b)/2, (26f-2b)/2, (27f-2b)/2\n"
            "20: " SPARSE_TILE("32") "21: " SPARSE_TILE("32") "22: " SPARSE_TILE("32")
            "23: " SPARSE_TILE("32") "24: " SPARSE_TILE("32") "25: " SPARSE_TILE("32")
            "26: " SPARSE_TILE("32") "27:\n", "32") ::: "memory");
}

/* clang-format on */
#endif

/* Not inlined: its registers would be saved for the others too. */
__attribute__((noinline)) static void recur_plain(const rnnc_rnn_cell *cell, int16_t *state) {
    const int32_t hidden = cell->recurrent.rows;
    int16_t *recurrent = state + RNNC_RNN_LANES * hidden;
    rnnc_rnn_product(&cell->recurrent, state, recurrent, hidden);
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
        for (int32_t i = 0; i < hidden; i += 2, recurrent += 2) {
            int32_t sum = __qadd16(load_pair(recurrent), load_pair(cell->bias + i));
            memcpy(recurrent, &sum, sizeof(sum));
        }
    }
}

void rnnc_rnn_recur(const rnnc_rnn_cell *cell, int16_t *state) {
#if !RNNC_RNNPOOL_LIBRARY
    if (cell->form == RNNC_RNN_SPARSE) {
        recur_sparse_16(cell, state);
        return;
    }
    if (cell->form == RNNC_RNN_DENSE && cell->recurrent.rows == 16) {
        recur_dense_16(cell, state);
        return;
    }
    if (cell->form == RNNC_RNN_DENSE) {
        recur_dense_8(cell, state);
        return;
    }
#endif
    recur_plain(cell, state);
}

#endif
