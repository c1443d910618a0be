/* A 1x1 convolution and the depthwise convolution behind it, without the wide tensor between them; the
 * definition is Bottleneck in rnnc/ir/ops/bottleneck.py.
 *
 * The wide rows are made some channels at a time. With `keep`, those that the next job needs again stay
 * in the state; without, they are made again.
 */
#ifndef RNNC_BOTTLENECK_H
#define RNNC_BOTTLENECK_H

#include "rnnc_conv.h"

#define RNNC_BOTTLENECK_ROWS 8 /* the highest depthwise kernel; the pointers are on the stack */

typedef struct {
    rnnc_conv2d expand;    /* 1x1 at stride 1 */
    rnnc_conv2d depthwise; /* its kernel_w, stride_w and pad_left, and kernel_h rows, not dilated */
    int32_t in_height, stride_h, pad_top;
    int32_t chunk; /* wide channels made at a time, a multiple of 4 */
    /* Nonzero only if kernel_h > stride_h; a job then gets only the rows that are new. */
    int32_t keep;
    int32_t warm_up; /* jobs before the one that makes the first output row */
} rnnc_bottleneck;

/* By the depthwise kernel that they call. Scratch and state: see Bottleneck. */
rnnc_kernel rnnc_bottleneck_s8;
rnnc_kernel rnnc_bottleneck3x3_s8;
rnnc_kernel rnnc_bottleneck_strip_s8;

#endif
