/* A convolution by input rows; the definition is ScatteredConv in rnnc/ir/ops/scattered.py. */
#ifndef RNNC_SCATTERED_H
#define RNNC_SCATTERED_H

#include "rnnc_conv.h"

/* One group, stride 1 down the rows, no dilation. The weights of each row of the kernel are packed by
 * themselves, as rnnc_linear.h says. */
typedef struct {
    rnnc_conv2d conv;
    int32_t out_height;
} rnnc_scattered_conv;

/* Job j is given input row j - padding. State: int32 sums of kernel_h - 1 output rows; scratch: a row of
 * the kernel in whole words. */
rnnc_kernel rnnc_scattered_conv_s8;

#endif
