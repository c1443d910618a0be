/* Steps of RNNPool's cells of any size, gates and weights, for Armv7E-M. */
#include "rnnc_rnnpool_simd.h"

#if RNNC_USE_DSP

void rnnc_rnn_recur(const rnnc_rnn_cell *cell, int16_t *state) {
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

static void next_states(const rnnc_rnn_cell *cell, const int16_t *const *inputs, const int16_t *recurrent,
                        int32_t next_lane, int16_t *state) {
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

void rnnc_rnn_step_any(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state) {
    rnnc_rnn_recur(cell, state);
    next_states(cell, inputs, state + RNNC_RNN_LANES * cell->recurrent.rows, 0, state);
}

void rnnc_rnn_start_any(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state) {
    int32_t hidden = cell->recurrent.rows;
    for (int32_t i = 0; i < RNNC_RNN_LANES * hidden; i += 2) {
        store_pair(state + i, 0, 0);
    }
    next_states(cell, inputs, cell->bias, -hidden, state);
}

#endif
