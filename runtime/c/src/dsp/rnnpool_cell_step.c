/* Steps of RNNPool's cells whose units are tables, for Armv7E-M: recurrent products, then gates.
 *
 * A packed matrix is read in tiles of two units (rows) and two columns, two words of weights, which are
 * doubled: no sum can saturate, so that its upper half is the product. The tiles of two units follow
 * their biases. In the dense form all are there, in the sparse form those that have weights other than 0,
 * each with the distance of its columns from those of the tile before.
 *
 * In assembly because both loops need every register, and compilers spill.
 */
#include "rnnc_rnnpool_simd.h"

#if RNNC_USE_DSP

/* The assembly below knows these places. */
typedef char places_of_a_cell[offsetof(rnnc_rnn_cell, packed) == 20 && offsetof(rnnc_rnn_cell, bias) == 24 &&
                                      offsetof(rnnc_rnn_cell, z_table) == 32 &&
                                      offsetof(rnnc_rnn_cell, g_tables) == 36
                                  ? 1
                                  : -1];

/* Instructions stand one to a line. */
/* clang-format off */

#define ADD(sum, weights, vector, to) "smlad " sum ", " weights ", " vector ", " to "\n"

/* One tile's products for four lanes: r2 and r3 weights, r12 and lr vectors of the first two lanes, at
 * r1 + `at` that of the first, `row` bytes from lane to lane. The sums r4 to r11, the two units of a lane
 * side by side, are those of the products and the registers a4 to a11. */
#define FOUR_LANES(at, row, a4, a5, a6, a7, a8, a9, a10, a11)        \
    ADD("r4", "r2", "r12", a4) ADD("r5", "r3", "r12", a5)            \
    ADD("r6", "r2", "lr", a6) ADD("r7", "r3", "lr", a7)              \
    "ldr r12, [r1, #" at "+2*" row "]\n"                             \
    "ldr lr, [r1, #" at "+3*" row "]\n"                              \
    ADD("r8", "r2", "r12", a8) ADD("r9", "r3", "r12", a9)            \
    ADD("r10", "r2", "lr", a10) ADD("r11", "r3", "lr", a11)

/* Biases are in r10 and r11, which are the last to be overwritten. */
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

#define FIRST_DENSE_TILE(row)                  \
    "ldr r10, [r0]\n"                          \
    "ldr r11, [r0, #4]\n"                      \
    "ldr r2, [r0, #8]\n"                       \
    "ldr r3, [r0, #12]\n"                      \
    "ldr r12, [r1]\n"                          \
    "ldr lr, [r1, #" row "]\n"                 \
    FIRST_TILE(row)

/* After the first tile a word says how many of seven more are not there. */
#define SPARSE_TILES                               \
    "ldm r0!, {r2, r3, r10, r11, r12}\n"           \
    "add r1, r1, r12\n"                            \
    "ldr r12, [r1]\n"                              \
    "ldr lr, [r1, #32]\n"                          \
    FIRST_TILE("32")                               \
    "ldr r12, [r0], #4\n"                          \
    "tbh [pc, r12, lsl #1]\n"                      \
    "2: .short (20f-2b)/2, (21f-2b)/2, (22f-2b)/2, (23f-2b)/2\n" \
    ".short (24f-2b)/2, (25f-2b)/2, (26f-2b)/2, (27f-2b)/2\n"    \
    "20: " SPARSE_TILE("32") "21: " SPARSE_TILE("32") "22: " SPARSE_TILE("32") \
    "23: " SPARSE_TILE("32") "24: " SPARSE_TILE("32") "25: " SPARSE_TILE("32") \
    "26: " SPARSE_TILE("32") "27:\n"

#define DENSE_TILES_16                                                            \
    FIRST_DENSE_TILE("32") DENSE_TILE("16", "4", "32") DENSE_TILE("24", "8", "32") \
    DENSE_TILE("32", "12", "32") DENSE_TILE("40", "16", "32") DENSE_TILE("48", "20", "32") \
    DENSE_TILE("56", "24", "32") DENSE_TILE("64", "28", "32") "add r0, r0, #72\n"

#define DENSE_TILES_8                                                             \
    FIRST_DENSE_TILE("16") DENSE_TILE("16", "4", "16") DENSE_TILE("24", "8", "16") \
    DENSE_TILE("32", "12", "16") "add r0, r0, #40\n"

/* Recurrent products of all units, `tiles` being the code for two, behind the state at r2; r0 the cell.
 * On the stack the place of the next two products and the end of the first lane's. */
#define RECUR(tiles, row)                      \
    "mov r1, r2\n"                             \
    "add r2, r1, #4*" row "\n"                 \
    "add r3, r2, #" row "\n"                   \
    "push {r2, r3}\n"                          \
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
    "add sp, sp, #8\n"

/* Gate arguments of two units of a lane: r8 from the input products `x` and what is `added` to them;
 * then the segments r9, r10, and in r8 the places in them, for which r7 is the mask. */
#define TWO_ARGUMENTS(x, added)        \
    "ldr r8, " x ", #4\n"              \
    "ldr r9, " added "\n"              \
    "qadd16 r8, r8, r9\n"              \
    "ssat16 r8, #15, r8\n"             \
    "sbfx r9, r8, #7, #9\n"            \
    "asr r10, r8, #23\n"               \
    "and r8, r7, r8, lsl #8\n"

#define STORE_TWO_STATES(next)         \
    "ssat r9, #16, r9, asr #15\n"      \
    "ssat r10, #16, r10, asr #15\n"    \
    "pkhbt r9, r9, r10, lsl #16\n"     \
    "str r9, " next "\n"

/* z is in the upper halves of r11, r12, the old states are in lr, g comes to r9, r10 in Q30. */
#define UPDATE_TWO_UNITS(x, added, state, next) \
    TWO_ARGUMENTS(x, added)            \
    "ldr r11, [r4, r9, lsl #2]\n"      \
    "ldr r9, [r5, r9, lsl #2]\n"       \
    "ldr r12, [r4, r10, lsl #2]\n"     \
    "ldr r10, [r6, r10, lsl #2]\n"     \
    "ldr lr, " state "\n"              \
    "smlabb r11, r11, r8, r11\n"       \
    "smlabb r9, r9, r8, r9\n"          \
    "smlabt r12, r12, r8, r12\n"       \
    "smlabt r10, r10, r8, r10\n"       \
    "smlatb r9, r11, lr, r9\n"         \
    "smlatt r10, r12, lr, r10\n"       \
    STORE_TWO_STATES(next)

#define START_TWO_UNITS(x, added, state, next) \
    TWO_ARGUMENTS(x, added)            \
    "ldr r9, [r5, r9, lsl #2]\n"       \
    "ldr r10, [r6, r10, lsl #2]\n"     \
    "smlabb r9, r9, r8, r9\n"          \
    "smlabt r10, r10, r8, r10\n"       \
    STORE_TWO_STATES(next)

/* Two units of two lanes, whose recurrent products and states are `row` bytes apart */
#define UPDATE_TWO_LANES(row)                                             \
    UPDATE_TWO_UNITS("[r0]", "[r1], #4", "[r2]", "[r2], #4")              \
    UPDATE_TWO_UNITS("[r3]", "[r1, #" row "-4]", "[r2, #" row "-4]", "[r2, #" row "-4]")

#define START_TWO_LANES(row)                                              \
    START_TWO_UNITS("[r0]", "[r1]", "", "[r2], #4")                       \
    START_TWO_UNITS("[r3]", "[r1], #4", "", "[r2, #" row "-4]")

#define NEXT_TABLES                    \
    "add r5, r5, #2048\n"              \
    "add r6, r6, #2048\n"

/* Two lanes after the other two, four units at a time. r0 the cell at first, r0 and r3 inputs, r1 what is
 * added, r2 states, r4 the middle of z's table, r5 and r6 those of g's. The lowest bits of r7 count down,
 * since the mask takes no notice of them; with `shift` the turns of two lanes are left of them. On the
 * stack, after the cell, the inputs of the other lanes. */
#define ALL_LANES(row, shift, first_added, next_added, two_lanes) \
    "ldr r4, [r0, #32]\n"                                     \
    "ldr r5, [r0, #36]\n"                                     \
    "add r4, r4, #512\n"                                      \
    "add r5, r5, #512\n"                                      \
    "add r6, r5, #1024\n"                                     \
    "movw r7, #0x7F00+" row "/4\n"                            \
    "movt r7, #0x7F00\n"                                      \
    first_added                                               \
    "1: ldr r9, [sp, #4]\n"                                   \
    "ldr r0, [r9]\n"                                          \
    "ldr r3, [r9, #4]\n"                                      \
    "add r9, r9, #8\n"                                        \
    "str r9, [sp, #4]\n"                                      \
    "2: " two_lanes(row) NEXT_TABLES two_lanes(row) NEXT_TABLES \
    "sub r7, r7, #1\n"                                        \
    "lsls r8, r7, #" shift "\n"                               \
    "bne 2b\n"                                                \
    "add r2, r2, #" row "\n"                                  \
    next_added                                                \
    "sub r5, r5, #512*" row "\n"                              \
    "sub r6, r6, #512*" row "\n"                              \
    "lsls r8, r7, #25\n"                                      \
    "bne 1b\n"

#define UPDATE(row, shift) \
    ALL_LANES(row, shift, "add r1, r2, #4*" row "\n", "add r1, r1, #" row "\n", UPDATE_TWO_LANES)
#define START(row, shift) \
    ALL_LANES(row, shift, "ldr r1, [r0, #24]\n", "sub r1, r1, #" row "\n", START_TWO_LANES)

/* Arguments: cell, inputs, state, which are on the stack meanwhile. */
#define BEGIN "push {r0-r2, r4-r11, lr}\n"
#define ARGUMENTS "ldm sp, {r0, r1, r2}\n"
#define END "add sp, sp, #12\n" "pop {r4-r11, pc}\n"

#define FUNCTION(name, body)                                                             \
    ASSEMBLY static void name(const rnnc_rnn_cell *cell UNUSED, const int16_t *const *inputs UNUSED, \
                              int16_t *state UNUSED) {                                   \
        __asm__ volatile(BEGIN body END ::: "memory");                                   \
    }

FUNCTION(start_16, START("32", "30"))
FUNCTION(start_8, START("16", "31"))
#if RNNC_RNNPOOL_LIBRARY
FUNCTION(update_16, UPDATE("32", "30"))
FUNCTION(update_8, UPDATE("16", "31"))
#else
FUNCTION(step_sparse_16, RECUR(SPARSE_TILES, "32") ARGUMENTS UPDATE("32", "30"))
FUNCTION(step_dense_16, RECUR(DENSE_TILES_16, "32") ARGUMENTS UPDATE("32", "30"))
FUNCTION(step_dense_8, RECUR(DENSE_TILES_8, "16") ARGUMENTS UPDATE("16", "31"))
#endif

/* clang-format on */

#if RNNC_RNNPOOL_LIBRARY
void rnnc_rnn_step(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state) {
    if (cell->g_tables != NULL && cell->recurrent.rows == 16) {
        rnnc_rnn_recur(cell, state);
        update_16(cell, inputs, state);
    } else if (cell->g_tables != NULL && cell->recurrent.rows == 8) {
        rnnc_rnn_recur(cell, state);
        update_8(cell, inputs, state);
    } else {
        rnnc_rnn_step_any(cell, inputs, state);
    }
}
#else
void rnnc_rnn_step(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state) {
    if (cell->form == RNNC_RNN_SPARSE_16) {
        step_sparse_16(cell, inputs, state);
    } else if (cell->form == RNNC_RNN_DENSE_16) {
        step_dense_16(cell, inputs, state);
    } else if (cell->form == RNNC_RNN_DENSE_8) {
        step_dense_8(cell, inputs, state);
    } else {
        rnnc_rnn_step_any(cell, inputs, state);
    }
}
#endif

void rnnc_rnn_start(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state) {
    if (cell->g_tables != NULL && cell->recurrent.rows == 16) {
        start_16(cell, inputs, state);
    } else if (cell->g_tables != NULL && cell->recurrent.rows == 8) {
        start_8(cell, inputs, state);
    } else {
        rnnc_rnn_start_any(cell, inputs, state);
    }
}

#endif
