/* Portable convolution kernels. */
#include "rnnc_conv.h"

#if !RNNC_USE_DSP

void rnnc_conv2d_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    int8_t *out = job->out;
    int32_t depth = p->in_channels / p->groups;
    int32_t per_group = p->out_channels / p->groups;
    int32_t words = (p->kernel_h * p->kernel_w * depth + 3) / 4;
    for (int32_t x = 0; x < p->out_width; ++x) {
        for (int32_t o = 0; o < p->out_channels; ++o) {
            const int8_t *group = p->weights + o / per_group * per_group * words * 4;
            int32_t acc = p->bias[o];
            int32_t d = 0;
            for (int32_t tap = 0; tap < p->kernel_h * p->kernel_w; ++tap) {
                const int8_t *row = job->rows[tap / p->kernel_w];
                int32_t column = x * p->stride_w - p->pad_left + tap % p->kernel_w * p->dilation_w;
                int inside = row != NULL && column >= 0 && column < p->in_width;
                for (int32_t c = 0; c < depth; ++c, ++d) {
                    int32_t channel = o / per_group * depth + c;
                    int32_t value = inside ? row[column * p->in_channels + channel] : p->in_zero_point;
                    acc += value * rnnc_paired_weight(group, o % per_group, per_group, words, d);
                }
            }
            *out++ = rnnc_requantise(acc, o, &p->requant);
        }
    }
}

void rnnc_pointwise_s8(const void *params, const rnnc_job *job) {
    rnnc_conv2d_s8(params, job);
}

void rnnc_depthwise_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    int8_t *out = job->out;
    int32_t taps = p->kernel_h * p->kernel_w;
    for (int32_t x = 0; x < p->out_width; ++x) {
        for (int32_t c = 0; c < p->in_channels; ++c) {
            const int8_t *weights = p->weights + c / 4 * 4 * taps + c % 4;
            int32_t acc = p->bias[c];
            for (int32_t tap = 0; tap < taps; ++tap) {
                const int8_t *row = job->rows[tap / p->kernel_w];
                int32_t column = x * p->stride_w - p->pad_left + tap % p->kernel_w * p->dilation_w;
                int inside = row != NULL && column >= 0 && column < p->in_width;
                int32_t value = inside ? row[column * p->in_channels + c] : p->in_zero_point;
                acc += value * weights[tap * 4];
            }
            *out++ = rnnc_requantise(acc, c, &p->requant);
        }
    }
}

#endif
