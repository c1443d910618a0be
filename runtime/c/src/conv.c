/* Portable convolution kernels. */
#include "rnnc_conv.h"

#if !RNNC_USE_DSP

/* How the depth of a channel's weights is laid out. */
typedef struct {
    int32_t steps; /* of four */
    int32_t by_row, by_column;
    int32_t in_words; /* of how many channels the words are taken */
} depth_layout;

static depth_layout by_columns(const rnnc_conv2d *p) {
    int32_t depth = p->in_channels / p->groups;
    return (depth_layout){
        .steps = rnnc_conv_bytes(p) / 4,
        .by_row = depth,
        .by_column = rnnc_column_length(p),
        .in_words = depth % 4 == 0 || p->kernel_h == 1 ? depth : 0,
    };
}

/* The sum of one channel at output pixel x. */
static int32_t channel_sum(const rnnc_conv2d *p, const rnnc_job *job, depth_layout layout, int32_t x,
                           int32_t channel) {
    int32_t channels = p->out_channels / p->groups, depth = p->in_channels / p->groups;
    int32_t group = channel / channels;
    const int8_t *weights = p->weights + group * channels * layout.steps * 4;
    int32_t acc = p->bias[channel];
    for (int32_t tap = 0; tap < p->kernel_h * p->kernel_w; ++tap) {
        int32_t ky = tap / p->kernel_w, kx = tap % p->kernel_w;
        const int8_t *row = job->rows[ky];
        int32_t column = x * p->stride_w - p->pad_left + kx * p->dilation_w;
        int inside = row != NULL && column >= 0 && column < p->in_width;
        int32_t place = ky * layout.by_row + kx * layout.by_column;
        for (int32_t c = 0; c < depth; ++c) {
            int32_t value = inside ? row[column * p->in_channels + group * depth + c] : p->in_zero_point;
            int32_t at = place + rnnc_word_order(c, layout.in_words);
            acc += value * rnnc_conv_weight(weights, channel % channels, channels, layout.steps, at);
        }
    }
    return acc;
}

static void convolve(const rnnc_conv2d *p, const rnnc_job *job, depth_layout layout) {
    int8_t *out = job->out;
    for (int32_t x = 0; x < p->out_width; ++x) {
        for (int32_t channel = 0; channel < p->out_channels; ++channel) {
            *out++ = rnnc_requantise(channel_sum(p, job, layout, x, channel), channel, &p->requant);
        }
    }
}

void rnnc_conv2d_s8(const void *params, const rnnc_job *job) {
    convolve(params, job, by_columns(params));
}

void rnnc_pointwise_s8(const void *params, const rnnc_job *job) {
    convolve(params, job, by_columns(params));
}

void rnnc_pointwise_columns_s8(const void *params, const rnnc_job *job) {
    convolve(params, job, by_columns(params));
}

void rnnc_pointwise_rows_s8(const void *params, const rnnc_job *job) {
    convolve(params, job, by_columns(params));
}

void rnnc_conv_rows_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    depth_layout layout = {
        .steps = p->kernel_h * p->kernel_w * p->in_channels / 4,
        .by_row = p->kernel_w * p->in_channels,
        .by_column = p->in_channels,
        .in_words = p->in_channels,
    };
    convolve(p, job, layout);
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

#endif
