/* A depthwise and a 1x1 convolution without the row between them; the definition is Separable in
 * rnnc/ir/ops/inverted.py. */
#ifndef RNNC_SEPARABLE_H
#define RNNC_SEPARABLE_H

#include "rnnc_conv.h"

#define RNNC_SEPARABLE_ROWS 8 /* the highest depthwise kernel; the pointers are on the stack */

typedef struct {
    rnnc_conv2d depthwise; /* not dilated */
    rnnc_conv2d project;   /* 1x1 at stride 1 */
    int32_t tile;          /* output pixels made at a time */
} rnnc_separable;

/* By the depthwise kernel that they call. Scratch: the depthwise convolution's pixels of a tile, and what
 * the two kernels need. */
rnnc_kernel rnnc_separable_s8;
rnnc_kernel rnnc_separable3x3_s8;

#endif
