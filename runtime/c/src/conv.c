/* Portable convolution kernels. */
#include "rnnc_conv.h"

#if !RNNC_USE_DSP

/* Sum over the taps of one output channel at column x, `depth` input channels from `channel` on. */
static int32_t dot_window(const rnnc_conv2d *p, const rnnc_job *job, int32_t x, int32_t channel, int32_t depth,
                          const int8_t *weights) {
    int32_t acc = 0;
    for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
        const int8_t *row = job->rows[ky];
        for (int32_t kx = 0; kx < p->kernel_w; ++kx) {
            int32_t column = x * p->stride_w - p->pad_left + kx * p->dilation_w;
            int inside = row != NULL && column >= 0 && column < p->in_width;
            for (int32_t c = 0; c < depth; ++c) {
                int32_t value = inside ? row[column * p->in_channels + channel + c] : p->in_zero_point;
                acc += value * weights[(ky * p->kernel_w + kx) * depth + c];
            }
        }
    }
    return acc;
}

void rnnc_conv2d_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    int8_t *out = job->out;
    int32_t depth = p->in_channels / p->groups;
    int32_t per_group = p->out_channels / p->groups;
    int32_t taps = p->kernel_h * p->kernel_w * depth;
    for (int32_t x = 0; x < p->out_width; ++x) {
        for (int32_t o = 0; o < p->out_channels; ++o) {
            int32_t acc = p->bias[o] + dot_window(p, job, x, o / per_group * depth, depth, p->weights + o * taps);
            *out++ = rnnc_requantise(acc, o, &p->requant);
        }
    }
}

void rnnc_pointwise_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    int8_t *out = job->out;
    const int8_t *row = job->rows[0];
    for (int32_t x = 0; x < p->out_width; ++x) {
        const int8_t *pixel = row + x * p->stride_w * p->in_channels;
        const int8_t *weights = p->weights;
        for (int32_t o = 0; o < p->out_channels; ++o) {
            int32_t acc = p->bias[o];
            for (int32_t c = 0; c < p->in_channels; ++c) {
                acc += pixel[c] * *weights++;
            }
            *out++ = rnnc_requantise(acc, o, &p->requant);
        }
    }
}

void rnnc_depthwise_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    int8_t *out = job->out;
    for (int32_t x = 0; x < p->out_width; ++x) {
        int32_t left = x * p->stride_w - p->pad_left;
        for (int32_t c = 0; c < p->in_channels; ++c) {
            int32_t acc = p->bias[c];
            for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
                const int8_t *row = job->rows[ky];
                for (int32_t kx = 0; kx < p->kernel_w; ++kx) {
                    int32_t column = left + kx * p->dilation_w;
                    int inside = row != NULL && column >= 0 && column < p->in_width;
                    int32_t value = inside ? row[column * p->in_channels + c] : p->in_zero_point;
                    acc += value * p->weights[(ky * p->kernel_w + kx) * p->in_channels + c];
                }
            }
            *out++ = rnnc_requantise(acc, c, &p->requant);
        }
    }
}

#endif
