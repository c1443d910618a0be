/* Convolutions over rows; the definition is Conv2D in rnnc/ir/ops/conv.py. */
#ifndef RNNC_CONV_H
#define RNNC_CONV_H

#include "rnnc_linear.h"

/* Weights of dense kernels: group by group, packed as rnnc_linear.h says. Of depthwise ones:
 * [channels / 4][kernel_h * kernel_w][4], padded with zeros. */
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

/* Any group, stride, padding, dilation; scratch: the windows of `pixels` pixels, see Conv2D.scratch_bytes. */
rnnc_kernel rnnc_conv2d_s8;
/* The same for 1x1 of one group at stride_w 1 without padding, where windows are placed with less ado. */
rnnc_kernel rnnc_pointwise_columns_s8;
/* One group, not dilated, channels in whole words, straight from the rows; scratch: 12 bytes for each tap
 * and one more, and a kernel row of bytes. The pointwise one is for no padding and needs no scratch. */
rnnc_kernel rnnc_conv_rows_s8;
rnnc_kernel rnnc_pointwise_rows_s8;
/* For other kernels to call, 1x1 of one group at stride_w 1 without padding: rnnc_pointwise_rows_s8
 * where `pixels` is 1 and channels are whole words, otherwise rnnc_pointwise_columns_s8. */
rnnc_kernel rnnc_pointwise_s8;
rnnc_kernel rnnc_depthwise_s8; /* groups == in_channels == out_channels */
/* The same for 3x3 taps side by side at stride 1 or 2; scratch: the channels of one pixel in whole words. */
rnnc_kernel rnnc_depthwise3x3_s8;

/* Places of one column in the depth of a window made of columns. */
static inline int32_t rnnc_column_length(const rnnc_conv2d *p) {
    return (p->kernel_h * (p->in_channels / p->groups) + 1) & ~1;
}

/* Bytes of weights for one output channel, where windows are made of columns. */
static inline int32_t rnnc_conv_bytes(const rnnc_conv2d *p) {
    return (p->kernel_w * rnnc_column_length(p) + 3) & ~3;
}

/* Narrows a convolution to `channels` output channels from `first`, a multiple of 4, on; `bytes` are the
 * weights of one. */
static inline void rnnc_conv_slice(rnnc_conv2d *part, int32_t first, int32_t channels, int32_t bytes) {
    part->weights += first * bytes;
    part->bias += first;
    part->requant.multipliers += first;
    if (part->requant.shifts != NULL) {
        part->requant.shifts += first;
    }
    part->out_channels = channels;
}

/* Output pixels of a row, `width` of them, and the input columns that they read, from `first` on; `padding`
 * is that before the first. */
typedef struct {
    int32_t width, first, columns, padding;
} rnnc_stretch;

/* `width` output pixels from x on, or as many as there are. */
static inline rnnc_stretch rnnc_stretch_at(const rnnc_conv2d *p, int32_t x, int32_t width) {
    width = width < p->out_width - x ? width : p->out_width - x;
    int32_t left = x * p->stride_w - p->pad_left;
    int32_t right = left + (width - 1) * p->stride_w + p->kernel_w;
    int32_t first = rnnc_clamp(left, 0, p->in_width);
    right = rnnc_clamp(right, first, p->in_width);
    return (rnnc_stretch){width, first, right - first, first - left};
}

/* Narrows a convolution to a stretch, given rows from its first column on; taps must stand side by side. */
static inline void rnnc_conv_narrow(rnnc_conv2d *part, rnnc_stretch t) {
    part->in_width = t.columns;
    part->out_width = t.width;
    part->pad_left = t.padding;
}

typedef enum { RNNC_ANY_TAPS, RNNC_TAPS_3X3 } rnnc_depthwise_kind;

/* With a literal kind, a call of just one kernel. */
static inline __attribute__((always_inline)) void rnnc_depthwise_of_kind(rnnc_depthwise_kind kind,
                                                                         const rnnc_conv2d *p,
                                                                         const rnnc_job *job) {
    if (kind == RNNC_TAPS_3X3) {
        rnnc_depthwise3x3_s8(p, job);
    } else {
        rnnc_depthwise_s8(p, job);
    }
}

#endif
