/* Convolution by columns: two output pixels by two output channels at a time (Armv7E-M). */
#include "rnnc_conv.h"

#if RNNC_USE_DSP

/* The output channels of one group, the depth of their columns, and where their constants are. */
typedef struct {
    const rnnc_conv2d *p;
    int32_t first, channels;
    int32_t words;
    const int8_t *weights;
} channel_group;

/* Two columns, two output pixels; `out` is the first channel of the group in the first pixel. */
static void two_pixels(const channel_group *g, const int8_t *a0, const int8_t *a1, int8_t *out) {
    const rnnc_requant *q = &g->p->requant;
    const int32_t *bias = g->p->bias;
    const int8_t *weights = g->weights;
    int8_t *next = out + g->p->out_channels;
    int32_t channel = g->first;
    int32_t last = channel + g->channels - 1;
    for (; channel < last; channel += 2, weights += 8 * g->words) {
        rnnc_quad acc = {bias[channel], bias[channel + 1], bias[channel], bias[channel + 1]};
        acc = rnnc_tile_2x2(a0, a1, weights, g->words, acc);
        acc = rnnc_requantise_tile(acc, channel, q);
        *out++ = (int8_t)acc.a;
        *out++ = (int8_t)acc.b;
        *next++ = (int8_t)acc.c;
        *next++ = (int8_t)acc.d;
    }
    if (channel == last) {
        *out = rnnc_requantise(rnnc_tile_1x1(a0, weights, g->words, bias[channel]), channel, q);
        *next = rnnc_requantise(rnnc_tile_1x1(a1, weights, g->words, bias[channel]), channel, q);
    }
}

static void one_pixel(const channel_group *g, const int8_t *a, int8_t *out) {
    const rnnc_requant *q = &g->p->requant;
    const int32_t *bias = g->p->bias;
    const int8_t *weights = g->weights;
    int32_t channel = g->first;
    int32_t last = channel + g->channels - 1;
    for (; channel < last; channel += 2, weights += 8 * g->words) {
        rnnc_quad acc = {bias[channel], bias[channel + 1], 0, 0};
        acc = rnnc_tile_1x2(a, weights, g->words, acc);
        *out++ = rnnc_requantise(acc.a, channel, q);
        *out++ = rnnc_requantise(acc.b, channel + 1, q);
    }
    if (channel == last) {
        *out = rnnc_requantise(rnnc_tile_1x1(a, weights, g->words, bias[channel]), channel, q);
    }
}

/* The taps of one kernel row at input column `left`, channels from `channel` on. */
static int8_t *gather_taps(const rnnc_conv2d *p, const int8_t *row, int32_t left, int32_t channel,
                           int32_t depth, int8_t *to) {
    int32_t reach = (p->kernel_w - 1) * p->dilation_w;
    if (row == NULL) {
        return rnnc_fill_bytes(to, p->in_zero_point, p->kernel_w * depth);
    }
    if (left >= 0 && left + reach < p->in_width && p->dilation_w == 1 && p->groups == 1) {
        return rnnc_copy_bytes(to, row + left * p->in_channels, p->kernel_w * depth);
    }
    for (int32_t column = left; column <= left + reach; column += p->dilation_w) {
        if (column >= 0 && column < p->in_width) {
            to = rnnc_copy_bytes(to, row + column * p->in_channels + channel, depth);
        } else {
            to = rnnc_fill_bytes(to, p->in_zero_point, depth);
        }
    }
    return to;
}

/* The whole window of output pixel x as one column of bytes. What stands behind it up to the end of
 * its last word meets weights of zero. */
static void gather_column(const rnnc_conv2d *p, const rnnc_job *job, int32_t x, int32_t group, int8_t *to) {
    int32_t depth = p->in_channels / p->groups;
    for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
        to = gather_taps(p, job->rows[ky], x * p->stride_w - p->pad_left, group * depth, depth, to);
    }
}

void rnnc_conv2d_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    int32_t words = (p->kernel_h * p->kernel_w * (p->in_channels / p->groups) + 3) / 4;
    int8_t *columns = job->scratch;
    channel_group g = {.p = p, .channels = p->out_channels / p->groups, .words = words};
    for (int32_t group = 0; group < p->groups; ++group) {
        g.first = group * g.channels;
        g.weights = p->weights + g.first * words * 4;
        int8_t *out = (int8_t *)job->out + g.first;
        int32_t x = 0;
        for (; x + 1 < p->out_width; x += 2, out += 2 * p->out_channels) {
            gather_column(p, job, x, group, columns);
            gather_column(p, job, x + 1, group, columns + words * 4);
            two_pixels(&g, columns, columns + words * 4, out);
        }
        if (x < p->out_width) {
            gather_column(p, job, x, group, columns);
            one_pixel(&g, columns, out);
        }
    }
}

/* A pixel whose channels are not whole words is copied, since reading past the end of a row is not
 * allowed. */
static const int8_t *whole_words(const rnnc_conv2d *p, const int8_t *pixel, int8_t *scratch) {
    if (p->in_channels % 4 == 0) {
        return pixel;
    }
    rnnc_copy_bytes(scratch, pixel, p->in_channels);
    return scratch;
}

void rnnc_pointwise_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    int32_t words = (p->in_channels + 3) / 4;
    channel_group g = {.p = p, .channels = p->out_channels, .words = words, .weights = p->weights};
    int32_t step = p->stride_w * p->in_channels;
    const int8_t *pixel = job->rows[0];
    int8_t *scratch = job->scratch;
    int8_t *out = job->out;
    int32_t x = 0;
    for (; x + 1 < p->out_width; x += 2, pixel += 2 * step, out += 2 * p->out_channels) {
        const int8_t *a0 = whole_words(p, pixel, scratch);
        const int8_t *a1 = whole_words(p, pixel + step, scratch + words * 4);
        two_pixels(&g, a0, a1, out);
    }
    if (x < p->out_width) {
        one_pixel(&g, whole_words(p, pixel, scratch), out);
    }
}

#endif
