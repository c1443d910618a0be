/* Averages over whole maps, four channels at a time (Armv7E-M). */
#include "rnnc_global_pool.h"
#include "rnnc_simd.h"

#if RNNC_USE_DSP

/* Adds `width` pixels, `step` bytes apart, to the sums of four channels. */
static inline void add_lanes(int32_t *sums, const int8_t *from, int32_t width, int32_t step) {
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    for (; width > 0; --width, from += step) {
        uint32_t word = rnnc_load_word(from);
        __asm__(
            "sxtab %0, %0, %4\n"
            "sxtab %1, %1, %4, ror #8\n"
            "sxtab %2, %2, %4, ror #16\n"
            "sxtab %3, %3, %4, ror #24\n"
            : "+r"(a), "+r"(b), "+r"(c), "+r"(d)
            : "r"(word));
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

void rnnc_global_average_s8(const void *params, const rnnc_job *job) {
    const rnnc_global_average *p = params;
    const int8_t *row = job->rows[0];
    int32_t *sums = job->state;
    int32_t channel = 0;
    for (int32_t c = 0; job->first && c < p->channels; ++c) {
        sums[c] = p->initial;
    }
    for (; channel + 4 <= p->channels; channel += 4) {
        add_lanes(sums + channel, row + channel, p->width, p->channels);
    }
    for (; channel < p->channels; ++channel) {
        const int8_t *from = row + channel;
        for (int32_t x = 0; x < p->width; ++x, from += p->channels) {
            sums[channel] += *from;
        }
    }
    if (job->job == p->last_job) {
        rnnc_store_averages(p, sums, job->out);
    }
}

#endif
