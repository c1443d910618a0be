/* A 1x1 convolution whose map is only averaged, some channels at a time, so that the wide map is never held;
 * the definition is PooledPointwise in rnnc/ir/ops/pooled.py.
 */
#ifndef RNNC_POOLED_H
#define RNNC_POOLED_H

#include "rnnc_conv.h"
#include "rnnc_global_pool.h"

typedef struct {
    rnnc_conv2d conv; /* 1x1, of every row that the job is given */
    rnnc_global_average mean;
    int32_t rows;
    int32_t chunk; /* channels made at a time, a multiple of 4 */
} rnnc_pooled;

rnnc_kernel rnnc_pooled_pointwise_s8; /* scratch: sums and one row of a chunk, then the convolution's */

#endif
