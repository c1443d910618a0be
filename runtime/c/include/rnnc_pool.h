/* Pooling over windows of rows; the definitions are MaxPool2D and AveragePool2D in
 * rnnc/ir/ops/pool.py. */
#ifndef RNNC_POOL_H
#define RNNC_POOL_H

#include "rnnc_requant.h"

typedef struct {
    int32_t in_width, channels, out_width;
    int32_t kernel_h, kernel_w;
    int32_t stride_w, dilation_w, pad_left;
} rnnc_max_pool;

typedef struct {
    int32_t in_width, channels, out_width;
    int32_t kernel_h, kernel_w;
    int32_t stride_w, dilation_w, pad_left;
    int32_t zero_point;
    int32_t first_count;   /* taps that multiplier 0 stands for; the next ones are for one tap more
                              each */
    int32_t count_padding; /* nonzero: multiplier 0 serves all windows */
    rnnc_requant requant;
} rnnc_average_pool;

rnnc_kernel rnnc_max_pool_s8;
rnnc_kernel rnnc_average_pool_s8;
rnnc_kernel rnnc_average_pool_plain_s8; /* the stored integers' average, rounded half away from zero */

#endif
