/* Portable convolution kernels with int16 weights: they take the weights apart again. */
#include "rnnc_wide.h"

#if !RNNC_USE_DSP

/* One of the factors of channel `o` at `place` of the depth of [kernel_h][in] values. */
static int32_t factor(const rnnc_conv_wide *w, int32_t o, int32_t which, int32_t place) {
    int32_t depth = w->conv.kernel_h * w->conv.in_channels;
    const int16_t *pair = w->weights + (o / 2 * RNNC_FACTORS + which) * 2 * depth;
    return pair[place / 2 * 4 + o % 2 * 2 + place % 2];
}

/* The weight at one of three taps in a row. */
static int32_t tap(const rnnc_conv_wide *w, int32_t o, int32_t kx, int32_t place) {
    if (kx == 0) {
        return factor(w, o, RNNC_FIRST, place) / 2;
    }
    if (kx == 2) {
        return -factor(w, o, RNNC_LAST, place) / 2;
    }
    return (factor(w, o, RNNC_SUM, place) - factor(w, o, RNNC_DIFFERENCE, place)) / 2;
}

/* The weight of rnnc_conv_wide_s8 at a tap, whose channels begin at `place` in the depth of a window. */
static int32_t wide_weight(const rnnc_conv_wide *w, int32_t o, int32_t place) {
    const int16_t *pair = w->weights + o / 2 * 2 * rnnc_conv_bytes(&w->conv);
    return pair[place / 2 * 4 + o % 2 * 2 + place % 2];
}

static int32_t weight_at(const rnnc_conv_wide *w, int paired, int32_t o, int32_t ky, int32_t kx, int32_t c) {
    const rnnc_conv2d *p = &w->conv;
    int32_t words = p->in_channels % 4 == 0 || p->kernel_h == 1 ? p->in_channels : 0;
    int32_t place = ky * p->in_channels + rnnc_word_order(c, words);
    return paired ? tap(w, o, kx, place) : wide_weight(w, o, kx * rnnc_column_length(p) + place);
}

static int32_t channel_sum(const rnnc_conv_wide *w, int paired, const rnnc_job *job, int32_t x, int32_t o) {
    const rnnc_conv2d *p = &w->conv;
    int32_t acc = p->bias[o];
    for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
        const int8_t *row = job->rows[ky];
        for (int32_t kx = 0; kx < p->kernel_w; ++kx) {
            int32_t column = x * p->stride_w - p->pad_left + kx * p->dilation_w;
            int inside = row != NULL && column >= 0 && column < p->in_width;
            for (int32_t c = 0; c < p->in_channels; ++c) {
                int32_t value = inside ? row[column * p->in_channels + c] : p->in_zero_point;
                acc += value * weight_at(w, paired, o, ky, kx, c);
            }
        }
    }
    return acc;
}

static void convolve(const rnnc_conv_wide *w, int paired, const rnnc_job *job) {
    const rnnc_conv2d *p = &w->conv;
    int8_t *out = job->out;
    for (int32_t x = 0; x < p->out_width; ++x) {
        for (int32_t o = 0; o < p->out_channels; ++o) {
            *out++ = rnnc_requantise(channel_sum(w, paired, job, x, o), o, &p->requant);
        }
    }
}

void rnnc_conv_wide_s8(const void *params, const rnnc_job *job) {
    convolve(params, 0, job);
}

void rnnc_conv_pairs_s8(const void *params, const rnnc_job *job) {
    convolve(params, 1, job);
}

#endif
