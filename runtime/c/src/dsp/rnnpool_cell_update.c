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

/* Gate arguments of two units: r8 from the input products and what is added to them; then the
 * segments r9, r10, and in r8 the places in them, for which r7 is the mask. */
#define TWO_ARGUMENTS                  \
    "ldr r8, [r0], #4\n"               \
    "ldr r9, [r1], #4\n"               \
    "qadd16 r8, r8, r9\n"              \
    "ssat16 r8, #15, r8\n"             \
    "sbfx r9, r8, #8, #8\n"            \
    "asr r10, r8, #24\n"               \
    "and r8, r7, r8, lsl #7\n"

/* To the tables of the next two units, from g r9, r10 in Q30 */
#define STORE_TWO_STATES               \
    "add r5, r5, #1024\n"              \
    "add r6, r6, #1024\n"              \
    "ssat r9, #16, r9, asr #15\n"      \
    "ssat r10, #16, r10, asr #15\n"    \
    "pkhbt r9, r9, r10, lsl #16\n"     \
    "str r9, [r2], #4\n"

/* z is in the upper halves of r11, r12, the old states are in lr. */
#define UPDATE_TWO_UNITS               \
    TWO_ARGUMENTS                      \
    "ldr r11, [r4, r9, lsl #2]\n"      \
    "ldr r9, [r5, r9, lsl #2]\n"       \
    "ldr r12, [r4, r10, lsl #2]\n"     \
    "ldr r10, [r6, r10, lsl #2]\n"     \
    "ldr lr, [r2]\n"                   \
    "smlabb r11, r11, r8, r11\n"       \
    "smlabb r9, r9, r8, r9\n"          \
    "smlabt r12, r12, r8, r12\n"       \
    "smlabt r10, r10, r8, r10\n"       \
    "smlatb r9, r11, lr, r9\n"         \
    "smlatt r10, r12, lr, r10\n"       \
    STORE_TWO_STATES

#define START_TWO_UNITS                \
    TWO_ARGUMENTS                      \
    "ldr r9, [r5, r9, lsl #2]\n"       \
    "ldr r10, [r6, r10, lsl #2]\n"     \
    "smlabb r9, r9, r8, r9\n"          \
    "smlabt r10, r10, r8, r10\n"       \
    STORE_TWO_STATES

/* All lanes, pairs of units four at a time, the remainder of a division by four first. Arguments as
 * those of rnnc_rnn_update. r0 inputs, r1 what is added, r2 states, r3 their end in this lane, r4 the
 * middle of z's table, r5 and r6 those of g's. On the stack: cell, inputs and their end. */
#define ALL_LANES(next_lane, two_units)                       \
    "push {r0, r1, r4-r11, lr}\n"                             \
    "add r12, r1, #16\n"                                      \
    "push {r12}\n"                                            \
    "mov r1, r2\n"                                            \
    "mov r2, r3\n"                                            \
    "ldr r4, [r0, #32]\n"                                     \
    "add r4, r4, #256\n"                                      \
    "movw r7, #0x7F80\n"                                      \
    "movt r7, #0x7F80\n"                                      \
    "1: ldr r8, [sp, #4]\n"                                   \
    "ldr r9, [sp, #8]\n"                                      \
    "ldr r0, [r9], #4\n"                                      \
    "ldr r10, [r8, #4]\n"                                     \
    "ldr r5, [r8, #36]\n"                                     \
    "str r9, [sp, #8]\n"                                      \
    next_lane                                                 \
    "add r5, r5, #256\n"                                      \
    "add r6, r5, #512\n"                                      \
    "add r3, r2, r10, lsl #1\n"                               \
    "ands r10, r10, #6\n"                                     \
    "beq 2f\n"                                                \
    "cmp r10, #4\n"                                           \
    "bhi 3f\n"                                                \
    "beq 4f\n"                                                \
    "b 5f\n"                                                  \
    "2: " two_units "3: " two_units "4: " two_units "5: " two_units \
    "cmp r2, r3\n"                                            \
    "bne 2b\n"                                                \
    "ldr r9, [sp, #8]\n"                                      \
    "ldr r8, [sp]\n"                                          \
    "cmp r8, r9\n"                                            \
    "bne 1b\n"                                                \
    "add sp, sp, #12\n"                                       \
    "pop {r4-r11, pc}\n"

/* Cells of tables. In assembly because the loop needs every register, and compilers spill. */
ASSEMBLY static void update_units(const rnnc_rnn_cell *cell UNUSED, const int16_t *const *inputs UNUSED,
                                  const int16_t *recurrent UNUSED, int16_t *state UNUSED) {
    __asm__ volatile(ALL_LANES("", UPDATE_TWO_UNITS) ::: "memory");
}

ASSEMBLY static void start_units(const rnnc_rnn_cell *cell UNUSED, const int16_t *const *inputs UNUSED,
                                 const int16_t *bias UNUSED, int16_t *state UNUSED) {
    __asm__ volatile(ALL_LANES("ldr r1, [r8, #24]\n", START_TWO_UNITS) ::: "memory");
}

/* clang-format on */

/* `table` points at the segment of 0; `index` and `within` are the upper and the lower bits of the
 * argument, the lower ones shifted left by 9. */
static inline int32_t interpolate(const int32_t *table, int32_t index, int32_t within) {
    int32_t entry = table[index];
    return __smlabb(entry, within, entry) >> 16;
}

/* Gate values of two units whose arguments are packed in x; `smooth` is a literal. */
static inline __attribute__((always_inline)) void gates(const int32_t *table, int smooth, int32_t x,
                                                        int32_t *low, int32_t *high) {
    if (smooth) {
        x = saturate_pair_to_15_bits(x);
        *low = interpolate(table, (int16_t)x >> 6, (x & 63) << 9);
        *high = interpolate(table, x >> 22, (x >> 16 & 63) << 9);
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

/* Not inlined: its registers would be saved for update_units too. */
__attribute__((noinline)) static void update_piecewise(const rnnc_rnn_cell *cell,
                                                       const int16_t *const *inputs, const int16_t *recurrent,
                                                       int32_t next_lane, int16_t *state) {
    if (cell->gate_table != NULL) {
        update_lanes(cell, inputs, recurrent, next_lane, state, 1, 0);
    } else if (cell->update_table != NULL) {
        update_lanes(cell, inputs, recurrent, next_lane, state, 0, 1);
    } else {
        update_lanes(cell, inputs, recurrent, next_lane, state, 0, 0);
    }
}

void rnnc_rnn_update(const rnnc_rnn_cell *cell, const int16_t *const *inputs, const int16_t *recurrent,
                     int16_t *state) {
    if (cell->g_tables != NULL) {
        update_units(cell, inputs, recurrent, state);
    } else {
        update_piecewise(cell, inputs, recurrent, 0, state);
    }
}

void rnnc_rnn_start(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state) {
    int32_t hidden = cell->recurrent.rows;
    if (cell->g_tables != NULL) {
        start_units(cell, inputs, cell->bias, state);
        return;
    }
    for (int32_t i = 0; i < RNNC_RNN_LANES * hidden; i += 2) {
        store_pair(state + i, 0, 0);
    }
    update_piecewise(cell, inputs, cell->bias, -hidden, state);
}

#endif
