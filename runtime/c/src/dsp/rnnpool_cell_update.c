/* Steps of RNNPool's cells, two hidden units at a time, for Armv7E-M. */
#include "rnnc_rnnpool_simd.h"

#if RNNC_USE_DSP

/* The assembly below knows these places. */
typedef char
    places_of_a_cell[offsetof(rnnc_rnn_cell, recurrent.rows) == 4 && offsetof(rnnc_rnn_cell, bias) == 24 &&
                             offsetof(rnnc_rnn_cell, z_table) == 32 && offsetof(rnnc_rnn_cell, g_tables) == 36
                         ? 1
                         : -1];

/* Instructions stand one to a line. */
/* clang-format off */

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

/* Two lanes after the other two, four units at a time. Arguments as those of rnnc_rnn_update. r0 and
 * r3 inputs, r1 what is added, r2 states, r4 the middle of z's table, r5 and r6 those of g's. The
 * lowest bits of r7 count down, since the mask takes no notice of them; with `shift` the turns of two
 * lanes are left of them. On the stack: the inputs of the other lanes. */
#define ALL_LANES(row, shift, first_added, next_added, two_lanes) \
    "push {r1, r4-r11, lr}\n"                                 \
    "ldr r4, [r0, #32]\n"                                     \
    "ldr r5, [r0, #36]\n"                                     \
    "add r4, r4, #512\n"                                      \
    "add r5, r5, #512\n"                                      \
    "add r6, r5, #1024\n"                                     \
    "movw r7, #0x7F00+" row "/4\n"                            \
    "movt r7, #0x7F00\n"                                      \
    first_added                                               \
    "1: ldr r9, [sp]\n"                                       \
    "ldr r0, [r9]\n"                                          \
    "ldr r3, [r9, #4]\n"                                      \
    "add r9, r9, #8\n"                                        \
    "str r9, [sp]\n"                                          \
    "2: " two_lanes(row) NEXT_TABLES two_lanes(row) NEXT_TABLES \
    "sub r7, r7, #1\n"                                        \
    "lsls r8, r7, #" shift "\n"                               \
    "bne 2b\n"                                                \
    "add r2, r2, #" row "\n"                                  \
    next_added                                                \
    "sub r5, r5, #512*" row "\n"                              \
    "sub r6, r6, #512*" row "\n"                              \
    "lsls r8, r7, #25\n"                                      \
    "bne 1b\n"                                                \
    "add sp, sp, #4\n"                                        \
    "pop {r4-r11, pc}\n"

#define UPDATE(row, shift) \
    ALL_LANES(row, shift, "add r1, r2, #4*" row "\n", "add r1, r1, #" row "\n", UPDATE_TWO_LANES)
#define START(row, shift) \
    ALL_LANES(row, shift, "ldr r1, [r0, #24]\n", "sub r1, r1, #" row "\n", START_TWO_LANES)

/* Cells of tables, of 16 and of 8 units. In assembly because the loop needs every register, and
 * compilers spill. */
ASSEMBLY static void update_16(const rnnc_rnn_cell *cell UNUSED, const int16_t *const *inputs UNUSED,
                               int16_t *state UNUSED) {
    __asm__ volatile(UPDATE("32", "30") ::: "memory");
}

ASSEMBLY static void update_8(const rnnc_rnn_cell *cell UNUSED, const int16_t *const *inputs UNUSED,
                              int16_t *state UNUSED) {
    __asm__ volatile(UPDATE("16", "31") ::: "memory");
}

ASSEMBLY static void start_16(const rnnc_rnn_cell *cell UNUSED, const int16_t *const *inputs UNUSED,
                              int16_t *state UNUSED) {
    __asm__ volatile(START("32", "30") ::: "memory");
}

ASSEMBLY static void start_8(const rnnc_rnn_cell *cell UNUSED, const int16_t *const *inputs UNUSED,
                             int16_t *state UNUSED) {
    __asm__ volatile(START("16", "31") ::: "memory");
}

/* clang-format on */

/* The 32 bits of an interpolation. `table` points at the segment of 0; `index` and `within` are the upper
 * and the lower bits of the argument, the lower ones shifted left to 15 bits. */
static inline int32_t interpolate(const int32_t *table, int32_t index, int32_t within) {
    int32_t entry = table[index];
    return __smlabb(entry, within, entry);
}

/* Gate values of two units whose arguments are packed in x; `smooth` is a literal. */
static inline __attribute__((always_inline)) void gates(const int32_t *table, int smooth, int32_t x,
                                                        int32_t *low, int32_t *high) {
    if (smooth) {
        x = saturate_pair_to_15_bits(x);
        *low = interpolate(table, (int16_t)x >> 6, (x & 63) << 9) >> 16;
        *high = interpolate(table, x >> 22, (x >> 16 & 63) << 9) >> 16;
    } else {
        *low = saturate_times_8_positive((int16_t)x + 2048);
        *high = saturate_times_8_positive((x >> 16) + 2048);
    }
}

static inline __attribute__((always_inline)) void updates(const int32_t *table, int smooth, int32_t x,
                                                          int32_t *low, int32_t *high) {
    if (smooth) {
        gates(table, smooth, x, low, high);
    } else {
        *low = saturate_times_16((int16_t)x);
        *high = saturate_times_16(x >> 16);
    }
}

/* `next_lane` is where the recurrent products of the next lane are, from the end of the last one's. */
static inline __attribute__((always_inline)) void update_lanes(const rnnc_rnn_cell *cell,
                                                               const int16_t *const *inputs,
                                                               const int16_t *recurrent, int32_t next_lane,
                                                               int16_t *state, int smooth_gate,
                                                               int smooth_update) {
    const int32_t hidden = cell->recurrent.rows, blend = cell->blend;
    const int32_t *gate_table = smooth_gate ? cell->gate_table + 256 : NULL;
    const int32_t *update_table = smooth_update ? cell->update_table + 256 : NULL;
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane, recurrent += next_lane) {
        const int16_t *input = inputs[lane];
        const int16_t *lead = cell->lead;
        for (const int16_t *end = input + hidden; input != end; input += 2, lead += 2) {
            int32_t argument = __qadd16(load_pair(input), load_pair(recurrent));
            int32_t z0, z1, u0, u1;
            gates(gate_table, smooth_gate, argument, &z0, &z1);
            updates(update_table, smooth_update, __qadd16(argument, load_pair(lead)), &u0, &u1);
            int32_t h = load_pair(state);
            int32_t low = z0 * (int16_t)h + saturate_q15_positive(__smlabb(blend, z0, blend)) * u0;
            int32_t high = z1 * (h >> 16) + saturate_q15_positive(__smlabb(blend, z1, blend)) * u1;
            store_pair(state, saturate_q15(low), saturate_q15(high));
            recurrent += 2;
            state += 2;
        }
    }
}

/* Cells of tables, of any size */
static void update_any(const rnnc_rnn_cell *cell, const int16_t *const *inputs, const int16_t *recurrent,
                       int32_t next_lane, int16_t *state) {
    const int32_t *z_table = cell->z_table + 128;
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane, recurrent += next_lane) {
        const int32_t *g_table = cell->g_tables + 128;
        for (int32_t i = 0; i < cell->recurrent.rows; ++i, g_table += 256, ++state) {
            int32_t argument = saturate_to_15_bits(inputs[lane][i] + *recurrent++);
            int32_t segment = argument >> 7, within = (argument & 127) << 8;
            int32_t z = interpolate(z_table, segment, within) >> 16;
            *state = (int16_t)saturate_q15(z * *state + interpolate(g_table, segment, within));
        }
    }
}

__attribute__((noinline)) static void step_in_c(const rnnc_rnn_cell *cell, const int16_t *const *inputs,
                                                const int16_t *recurrent, int32_t next_lane, int16_t *state) {
    if (cell->g_tables != NULL) {
        update_any(cell, inputs, recurrent, next_lane, state);
    } else if (cell->gate_table != NULL) {
        update_lanes(cell, inputs, recurrent, next_lane, state, 1, 0);
    } else if (cell->update_table != NULL) {
        update_lanes(cell, inputs, recurrent, next_lane, state, 0, 1);
    } else {
        update_lanes(cell, inputs, recurrent, next_lane, state, 0, 0);
    }
}

/* Neither is inlined: their registers would be saved for the assembly too. */
__attribute__((noinline)) static void update_in_c(const rnnc_rnn_cell *cell, const int16_t *const *inputs,
                                                  int16_t *state) {
    step_in_c(cell, inputs, state + RNNC_RNN_LANES * cell->recurrent.rows, 0, state);
}

__attribute__((noinline)) static void start_in_c(const rnnc_rnn_cell *cell, const int16_t *const *inputs,
                                                 int16_t *state) {
    int32_t hidden = cell->recurrent.rows;
    for (int32_t i = 0; i < RNNC_RNN_LANES * hidden; i += 2) {
        store_pair(state + i, 0, 0);
    }
    step_in_c(cell, inputs, cell->bias, -hidden, state);
}

void rnnc_rnn_update(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state) {
    if (cell->g_tables != NULL && cell->recurrent.rows == 16) {
        update_16(cell, inputs, state);
    } else if (cell->g_tables != NULL && cell->recurrent.rows == 8) {
        update_8(cell, inputs, state);
    } else {
        update_in_c(cell, inputs, state);
    }
}

void rnnc_rnn_start(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state) {
    if (cell->g_tables != NULL && cell->recurrent.rows == 16) {
        start_16(cell, inputs, state);
    } else if (cell->g_tables != NULL && cell->recurrent.rows == 8) {
        start_8(cell, inputs, state);
    } else {
        start_in_c(cell, inputs, state);
    }
}

#endif
