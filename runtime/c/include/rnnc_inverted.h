/* MobileNetV2's block without the wide tensors inside it: a convolution, a depthwise one and a 1x1 one; the
 * definition is InvertedBottleneck in rnnc/ir/ops/inverted.py.
 *
 * The output row is made `tile` pixels at a time, the wide channels within a tile `chunk` at a time.
 * Between the two lie only the wide columns that a tile reads and the tile's pixels.
 */
#ifndef RNNC_INVERTED_H
#define RNNC_INVERTED_H

#include "rnnc_conv.h"

#define RNNC_INVERTED_ROWS 8 /* the highest kernel; the pointers are on the stack */

typedef struct {
    rnnc_conv2d expand;    /* in one group, not dilated */
    rnnc_conv2d depthwise; /* its kernel_w, stride_w and pad_left, and kernel_h rows, not dilated */
    rnnc_conv2d project;   /* 1x1 at stride 1 */
    int32_t wide_height, expand_stride_h; /* rows of the expansion's output, and its step in x */
    int32_t stride_h, pad_top;            /* of the depthwise convolution */
    int32_t tile;                         /* output pixels made at a time */
    int32_t chunk;                        /* wide channels made at a time, a multiple of 4 */
    /* Wide rows that stay in the state for the next job, which then gets only rows that are new:
     * kernel_h - stride_h of them, or 0, and all are made again. */
    int32_t kept_rows;
    int32_t warm_up; /* jobs before the one that makes the first output row */
} rnnc_inverted;

/* By the kernels that they call. Scratch and state: see InvertedBottleneck. The first two are for an
 * expansion that is 1x1 at stride 1, the others for any. */
rnnc_kernel rnnc_inverted_s8;
rnnc_kernel rnnc_inverted3x3_s8;
rnnc_kernel rnnc_stem_s8;
rnnc_kernel rnnc_stem3x3_s8;

#endif
