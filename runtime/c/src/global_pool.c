/* Pooling over whole maps. */
#include "rnnc_global_pool.h"

void rnnc_global_average_s8(const void *params, const rnnc_job *job) {
    const rnnc_global_average *p = params;
    const int8_t *row = job->rows[0];
    int32_t *sums = job->state;
    for (int32_t c = 0; job->first && c < p->channels; ++c) {
        sums[c] = p->initial;
    }
    for (int32_t x = 0; x < p->width; ++x) {
        for (int32_t c = 0; c < p->channels; ++c) {
            sums[c] += *row++;
        }
    }
    if (job->job != p->last_job) {
        return;
    }
    int8_t *out = job->out;
    for (int32_t c = 0; c < p->channels; ++c) {
        out[c] = rnnc_mean_of(p, sums[c]);
    }
}

void rnnc_global_max_s8(const void *params, const rnnc_job *job) {
    const rnnc_global_max *p = params;
    const int8_t *row = job->rows[0];
    int8_t *largest = job->state;
    for (int32_t c = 0; job->first && c < p->channels; ++c) {
        largest[c] = INT8_MIN;
    }
    for (int32_t x = 0; x < p->width; ++x) {
        for (int32_t c = 0; c < p->channels; ++c) {
            int8_t value = *row++;
            largest[c] = value > largest[c] ? value : largest[c];
        }
    }
    if (job->job == p->last_job) {
        int8_t *out = job->out;
        for (int32_t c = 0; c < p->channels; ++c) {
            out[c] = largest[c];
        }
    }
}
