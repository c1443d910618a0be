/* L2 normalisation over the channels of each pixel; the definition is LpNormInt8 in
 * rnnc/ir/ops/norm.py. */
#ifndef RNNC_NORM_H
#define RNNC_NORM_H

#include "rnnc_requant.h"

typedef struct {
    const int32_t *gains; /* by channel */
    int32_t shift;        /* 33 .. 61 */
    int32_t width, channels;
    int32_t zero_point, out_zero_point;
} rnnc_lp_norm;

rnnc_kernel rnnc_lp_norm_s8; /* may run in place */

#endif
