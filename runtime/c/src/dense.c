/* Portable dense layer. */
#include "rnnc_dense.h"

#if !RNNC_USE_DSP

void rnnc_dense_s8(const void *params, const rnnc_job *job) {
    const rnnc_dense *p = params;
    int8_t *out = job->out;
    int32_t row_words = (p->row_size + 3) / 4;
    int32_t words = p->rows * row_words;
    for (int32_t o = 0; o < p->outputs; ++o) {
        int32_t acc = p->bias[o];
        for (int32_t y = 0; y < p->rows; ++y) {
            acc =
                rnnc_dot(acc, job->rows[y], p->row_size, p->weights, o, p->outputs, words, y * row_words * 4);
        }
        *out++ = rnnc_requantise_once(acc, o, &p->requant);
    }
}

#endif
