/* RNNPool's cells in portable C. */
#include "rnnc_rnnpool_cell.h"

#if !RNNC_USE_DSP

static int32_t saturate16(int32_t x) {
    return rnnc_clamp(x, -32768, 32767);
}

void rnnc_rnn_centre(const int8_t *values, int32_t count, int32_t zero_point, int16_t *out) {
    for (int32_t i = 0; i < count; ++i) {
        out[i] = (int16_t)((values[i] - zero_point) * 128);
    }
}

void rnnc_rnn_product(const rnnc_rnn_matrix *m, const int16_t *vectors, int16_t *out, int32_t pitch) {
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
        const int16_t *vector = vectors + lane * m->columns;
        const int16_t *weights = m->weights;
        for (int32_t i = 0; i < m->rows; ++i) {
            int32_t acc = 0;
            for (int32_t j = 0; j < m->columns; ++j) {
                acc += *weights++ * vector[j];
            }
            int32_t scaled = saturate16(rnnc_asr(acc, 15)) * ((int32_t)1 << m->shift);
            out[lane * pitch + i] = (int16_t)saturate16(scaled);
        }
    }
}

static int32_t upper_half(int32_t word) {
    return rnnc_asr(word, 16);
}

static int32_t lower_half(int32_t word) {
    return ((word & 0xFFFF) ^ 0x8000) - 0x8000;
}

void rnnc_rnn_pixel_product(const int32_t *packed, int32_t rows, const int8_t *const *pixels, int16_t *out) {
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
        const int8_t *x = pixels[lane];
        for (const int32_t *unit = packed; unit != packed + 3 * rows; unit += 3) {
            int32_t even = lower_half(unit[0]) * x[0] + upper_half(unit[0]) * x[2];
            int32_t odd = lower_half(unit[1]) * x[1] + upper_half(unit[1]) * x[3];
            *out++ = (int16_t)saturate16(rnnc_asr(even + odd + unit[2], 8));
        }
    }
}

/* The value at a 15-bit argument in a table of segments of 2^bits: start + 2 rise * position, the
 * lower half of an entry being 2 rise */
static int32_t interpolate(const int32_t *table, int32_t x, int32_t bits) {
    int32_t place = rnnc_clamp(x, -16384, 16383) + 16384;
    int32_t entry = table[place >> bits];
    int32_t within = (place & (((int32_t)1 << bits) - 1)) << (15 - bits);
    return entry + lower_half(entry) * within;
}

static int32_t gate(const int32_t *table, int32_t x) {
    return table != NULL ? rnnc_asr(interpolate(table, x, 6), 16) : rnnc_clamp((x + 2048) * 8, 0, 32767);
}

static int32_t update(const int32_t *table, int32_t x) {
    return table != NULL ? rnnc_asr(interpolate(table, x, 6), 16) : saturate16(x * 16);
}

/* The next state of unit i, in Q30 */
static int32_t next_state(const rnnc_rnn_cell *cell, int32_t i, int32_t argument, int32_t state) {
    if (cell->g_tables != NULL) {
        int32_t z = rnnc_asr(interpolate(cell->z_table, argument, 7), 16);
        return z * state + interpolate(cell->g_tables + 256 * i, argument, 7);
    }
    int32_t zeta = (65536 - (cell->blend & 0xFFFF)) & 0xFFFF;
    int32_t z = gate(cell->gate_table, argument);
    int32_t u = update(cell->update_table, saturate16(argument + cell->lead[i]));
    int32_t c = rnnc_clamp(rnnc_asr(cell->blend - zeta * z, 15), 0, 32767);
    return z * state + c * u;
}

void rnnc_rnn_step(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state) {
    int32_t hidden = cell->recurrent.rows;
    int16_t *recurrent = state + RNNC_RNN_LANES * hidden;
    rnnc_rnn_product(&cell->recurrent, state, recurrent, hidden);
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
        for (int32_t i = 0; i < hidden; ++i, ++state) {
            int32_t argument = saturate16(inputs[lane][i] + saturate16(*recurrent++ + cell->bias[i]));
            *state = (int16_t)saturate16(rnnc_asr(next_state(cell, i, argument, *state), 15));
        }
    }
}

void rnnc_rnn_start(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state) {
    int32_t hidden = cell->recurrent.rows;
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
        for (int32_t i = 0; i < hidden; ++i, ++state) {
            int32_t argument = saturate16(inputs[lane][i] + cell->bias[i]);
            *state = (int16_t)saturate16(rnnc_asr(next_state(cell, i, argument, 0), 15));
        }
    }
}

#endif
