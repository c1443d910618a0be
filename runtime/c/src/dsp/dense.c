/* Dense layer, two outputs at a time (Armv7E-M). */
#include "rnnc_dense.h"

#if RNNC_USE_DSP

/* Adds the products of one input row and a pair of outputs. The last elements of a row that is not
 * whole words are brought together first, since reading past its end is not allowed. */
static rnnc_quad pair_of_row(const rnnc_dense *p, const int8_t *row, const int8_t *weights, rnnc_quad acc) {
    int32_t words = p->row_size / 4;
    int32_t rest = p->row_size % 4;
    acc = rnnc_column_1x2(row, weights, words, acc);
    if (rest != 0) {
        int8_t tail[4] = {0, 0, 0, 0};
        rnnc_copy_bytes(tail, row + words * 4, rest);
        acc = rnnc_column_1x2(tail, weights + words * 8, 1, acc);
    }
    return acc;
}

static int32_t single_of_row(const rnnc_dense *p, const int8_t *row, const int8_t *weights, int32_t acc) {
    for (int32_t i = 0; i < p->row_size; ++i) {
        acc += row[i] * weights[i];
    }
    return acc;
}

void rnnc_dense_s8(const void *params, const rnnc_job *job) {
    const rnnc_dense *p = params;
    const int8_t *weights = p->weights;
    int32_t row_bytes = (p->row_size + 3) / 4 * 4;
    int8_t *out = job->out;
    int32_t o = 0;
    for (; o + 1 < p->outputs; o += 2) {
        rnnc_quad acc = {p->bias[o], p->bias[o + 1], 0, 0};
        for (int32_t y = 0; y < p->rows; ++y, weights += 2 * row_bytes) {
            acc = pair_of_row(p, job->rows[y], weights, acc);
        }
        *out++ = rnnc_requantise_once(acc.a, o, &p->requant);
        *out++ = rnnc_requantise_once(acc.b, o + 1, &p->requant);
    }
    if (o < p->outputs) {
        int32_t acc = p->bias[o];
        for (int32_t y = 0; y < p->rows; ++y, weights += row_bytes) {
            acc = single_of_row(p, job->rows[y], weights, acc);
        }
        *out = rnnc_requantise_once(acc, o, &p->requant);
    }
}

#endif
