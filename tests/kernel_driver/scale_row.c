/* scale_row.c: rnnc_scale on a row of accumulators, without clamping. */
#include "rnnc_requant.h"

rnnc_kernel scale_row;

void scale_row(const void *params, const rnnc_job *job) {
    const rnnc_requant *q = params;
    const int32_t *acc = job->rows[0];
    int32_t *out = job->out;
    for (int32_t i = 0; i < SCALE_ROW_SIZE; ++i) {
        int32_t channel = i % SCALE_ROW_CHANNELS;
        out[i] = rnnc_scale(acc[i], q->multipliers[channel], rnnc_channel_shift(q, channel), q->zero_point);
    }
}
