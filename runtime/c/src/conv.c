/* Portable convolution kernels. */
#include "rnnc_conv.h"

#if !RNNC_USE_DSP

/* The window of output pixel x as [kernel_h][kernel_w][depth], channels from `channel` on. */
static void gather_column(const rnnc_conv2d *p, const rnnc_job *job, int32_t x, int32_t channel,
                          int32_t depth, int8_t *to) {
    for (int32_t tap = 0; tap < p->kernel_h * p->kernel_w; ++tap, to += depth) {
        const int8_t *row = job->rows[tap / p->kernel_w];
        int32_t column = x * p->stride_w - p->pad_left + tap % p->kernel_w * p->dilation_w;
        int inside = row != NULL && column >= 0 && column < p->in_width;
        for (int32_t c = 0; c < depth; ++c) {
            to[c] = inside ? row[column * p->in_channels + channel + c] : (int8_t)p->in_zero_point;
        }
    }
}

void rnnc_conv2d_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    int32_t depth = p->in_channels / p->groups;
    int32_t channels = p->out_channels / p->groups;
    int32_t taps = p->kernel_h * p->kernel_w * depth;
    int32_t words = (taps + 3) / 4;
    int8_t *column = job->scratch;
    int8_t *out = job->out;
    for (int32_t x = 0; x < p->out_width; ++x) {
        for (int32_t group = 0; group < p->groups; ++group) {
            const int8_t *weights = p->weights + group * channels * words * 4;
            gather_column(p, job, x, group * depth, depth, column);
            for (int32_t o = 0; o < channels; ++o) {
                int32_t channel = group * channels + o;
                int32_t acc = rnnc_dot(p->bias[channel], column, taps, weights, o, channels, words, 0);
                *out++ = rnnc_requantise(acc, channel, &p->requant);
            }
        }
    }
}

void rnnc_pointwise_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    int32_t words = (p->in_channels + 3) / 4;
    const int8_t *pixel = job->rows[0];
    int8_t *out = job->out;
    for (int32_t x = 0; x < p->out_width; ++x, pixel += p->stride_w * p->in_channels) {
        for (int32_t o = 0; o < p->out_channels; ++o) {
            int32_t acc =
                rnnc_dot(p->bias[o], pixel, p->in_channels, p->weights, o, p->out_channels, words, 0);
            *out++ = rnnc_requantise(acc, o, &p->requant);
        }
    }
}

/* The accumulator of one channel without its bias; the window begins at input column `left`. */
static int32_t channel_window(const rnnc_conv2d *p, const rnnc_job *job, int32_t left, int32_t channel) {
    const int8_t *weights = p->weights + channel / 4 * 4 * p->kernel_h * p->kernel_w + channel % 4;
    int32_t acc = 0;
    for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
        const int8_t *row = job->rows[ky];
        int32_t column = left;
        for (int32_t kx = 0; kx < p->kernel_w; ++kx, column += p->dilation_w, weights += 4) {
            int inside = row != NULL && column >= 0 && column < p->in_width;
            acc += *weights * (inside ? row[column * p->in_channels + channel] : p->in_zero_point);
        }
    }
    return acc;
}

static void depthwise(const rnnc_conv2d *p, const rnnc_job *job) {
    int8_t *out = job->out;
    for (int32_t x = 0; x < p->out_width; ++x) {
        for (int32_t c = 0; c < p->in_channels; ++c) {
            int32_t acc = p->bias[c] + channel_window(p, job, x * p->stride_w - p->pad_left, c);
            *out++ = rnnc_requantise(acc, c, &p->requant);
        }
    }
}

void rnnc_depthwise_s8(const void *params, const rnnc_job *job) {
    depthwise(params, job);
}

void rnnc_depthwise3x3_s8(const void *params, const rnnc_job *job) {
    depthwise(params, job);
}

void rnnc_depthwise_strip_s8(const void *params, const rnnc_job *job) {
    depthwise(params, job);
}

#endif
