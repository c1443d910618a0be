/* Maximum over the channels. */
#include "rnnc_reduce.h"

void rnnc_channel_max_s8(const void *params, const rnnc_job *job) {
    const rnnc_channel_max *p = params;
    const int8_t *in = job->rows[0];
    int8_t *out = job->out;
    for (int32_t x = 0; x < p->width; ++x, in += p->channels) {
        int8_t largest = in[0];
        for (int32_t c = 1; c < p->channels; ++c) {
            largest = in[c] > largest ? in[c] : largest;
        }
        out[x] = largest;
    }
}
