/* Convolutions over rows; the definition is Conv2D in rnnc/ir/ops/conv.py. */
#ifndef RNNC_CONV_H
#define RNNC_CONV_H

#include "rnnc_linear.h"

/* Weights of conv2d and pointwise: group by group, packed as rnnc_linear.h says; a channel's depth
 * is [kernel_h][kernel_w][in / groups] in one piece. Of the others: [channels / 4][kernel_h *
 * kernel_w][4], padded with zeros. */
typedef struct {
    const int8_t *weights;
    const int32_t *bias; /* with the input zero point folded in */
    rnnc_requant requant;
    int32_t in_width, in_channels;
    int32_t out_width, out_channels;
    int32_t kernel_h, kernel_w;
    int32_t stride_w, dilation_w, pad_left;
    int32_t groups;
    int32_t in_zero_point;
    int32_t pixels; /* that scratch has room for, side by side */
} rnnc_conv2d;

/* Scratch of the first two: `pixels` (1 to 3) columns of int16, and one of int8 where a tap's channels
 * are not whole words. For one pixel just a column of int8, and none for the pointwise one in whole
 * words. */
rnnc_kernel rnnc_conv2d_s8;       /* any group, stride, padding, dilation */
rnnc_kernel rnnc_pointwise_s8;    /* 1x1, one group, no padding, any stride */
rnnc_kernel rnnc_depthwise_s8;    /* groups == in_channels == out_channels */
rnnc_kernel rnnc_depthwise3x3_s8; /* the same for 3x3 taps; scratch: the channels of one pixel */
/* The same for 3x3 taps side by side at stride 1, for wide rows; scratch: 48 bytes for every two
 * input columns of `pixels` output pixels. */
rnnc_kernel rnnc_depthwise_strip_s8;

/* The part of a convolution that makes `channels` output channels from `first`, a multiple of 4, on; `bytes`
 * are the weights of one. */
static inline rnnc_conv2d rnnc_conv_slice(const rnnc_conv2d *whole, int32_t first, int32_t channels,
                                          int32_t bytes) {
    rnnc_conv2d part = *whole;
    part.weights += first * bytes;
    part.bias += first;
    part.requant.multipliers += first;
    if (part.requant.shifts != NULL) {
        part.requant.shifts += first;
    }
    part.out_channels = channels;
    return part;
}

#endif
