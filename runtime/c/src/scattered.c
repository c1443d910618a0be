/* A convolution by input rows: each is added to the sums of all output rows that it belongs to. */
#include "rnnc_scattered.h"

/* The taps of one kernel row at output pixel x: where they lie in the input row, or, where some are padding
 * or they are not whole words, which DSP instructions read, copied to `scratch`. */
static const int8_t *taps_of(const rnnc_conv2d *p, const int8_t *row, int32_t x, int8_t *scratch) {
    int32_t left = x * p->stride_w - p->pad_left;
    int32_t bytes = p->kernel_w * p->in_channels;
    if (row != NULL && left >= 0 && left + p->kernel_w <= p->in_width && bytes % 4 == 0) {
        return row + left * p->in_channels;
    }
    int8_t *to = scratch;
    for (int32_t column = left; column < left + p->kernel_w; ++column) {
        int inside = row != NULL && column >= 0 && column < p->in_width;
        for (int32_t c = 0; c < p->in_channels; ++c) {
            *to++ = inside ? row[column * p->in_channels + c] : (int8_t)p->in_zero_point;
        }
    }
    return scratch;
}

/* sums = from + weights . taps, by output channel; `words` words of taps */
static void add_taps(const rnnc_conv2d *p, const int8_t *taps, int32_t words, const int8_t *weights,
                     const int32_t *from, int32_t *sums) {
#if RNNC_USE_DSP
    int32_t o = 0;
    for (; o + 1 < p->out_channels; o += 2, weights += 8 * words) {
        rnnc_quad acc = {from[o], from[o + 1], 0, 0};
        acc = rnnc_column_1x2(taps, weights, words, acc);
        sums[o] = acc.a;
        sums[o + 1] = acc.b;
    }
    if (o < p->out_channels) {
        sums[o] = rnnc_column_1x1(taps, weights, words, from[o]);
    }
#else
    for (int32_t o = 0; o < p->out_channels; ++o) {
        sums[o] =
            rnnc_dot(from[o], taps, p->kernel_w * p->in_channels, weights, o, p->out_channels, words, 0);
    }
#endif
}

void rnnc_scattered_conv_s8(const void *params, const rnnc_job *job) {
    const rnnc_scattered_conv *p = params;
    const rnnc_conv2d *conv = &p->conv;
    int32_t channels = conv->out_channels, last = conv->kernel_h - 1;
    int32_t words = (conv->kernel_w * conv->in_channels + 3) / 4;
    int8_t *out = job->out;
    for (int32_t x = 0; x < conv->out_width; ++x) {
        const int8_t *taps = taps_of(conv, job->rows[0], x, job->scratch);
        /* the row that is finished first, since the one that is begun takes its place */
        for (int32_t ky = last; ky >= 0; --ky) {
            int32_t y = job->job - ky;
            if (y < 0 || y >= p->out_height) {
                continue;
            }
            int32_t *sums = (int32_t *)job->state + (y % last * conv->out_width + x) * channels;
            const int8_t *weights = conv->weights + ky * channels * words * 4;
            add_taps(conv, taps, words, weights, ky == 0 ? conv->bias : sums, sums);
            for (int32_t o = 0; ky == last && o < channels; ++o) {
                *out++ = rnnc_requantise(sums[o], o, &conv->requant);
            }
        }
    }
}
