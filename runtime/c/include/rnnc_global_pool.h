/* Pooling over whole maps, an input row per job; the definitions are in rnnc/ir/ops/global_pool.py.
 */
#ifndef RNNC_GLOBAL_POOL_H
#define RNNC_GLOBAL_POOL_H

#include "rnnc_requant.h"

typedef struct {
    int32_t width, channels, last_job;
    int32_t initial; /* of the sums: input zero points folded in */
    int32_t divisor; /* nonzero: divide by it, rounding half away from zero, and clamp */
    rnnc_requant requant;
} rnnc_global_average;

typedef struct {
    int32_t width, channels, last_job;
} rnnc_global_max;

rnnc_kernel rnnc_global_average_s8; /* state: int32 by channel */
rnnc_kernel rnnc_global_max_s8;     /* state: int8 by channel */

/* x / divisor, rounded half away from zero */
static inline int32_t rnnc_rounded_quotient(int32_t x, int32_t divisor) {
    return (x < 0 ? x - divisor / 2 : x + divisor / 2) / divisor;
}

/* The mean of a channel from its sum. */
static inline int8_t rnnc_mean_of(const rnnc_global_average *p, int32_t sum) {
    if (p->divisor != 0) {
        int32_t mean = rnnc_rounded_quotient(sum, p->divisor);
        return (int8_t)rnnc_clamp(mean, p->requant.low, p->requant.high);
    }
    return rnnc_requantise(sum, 0, &p->requant);
}

#endif
