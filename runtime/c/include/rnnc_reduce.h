/* Reduction over the channels of each pixel; the definition is ChannelMax in rnnc/ir/ops/reduce.py.
 */
#ifndef RNNC_REDUCE_H
#define RNNC_REDUCE_H

#include "rnnc.h"

typedef struct {
    int32_t width, channels;
} rnnc_channel_max;

rnnc_kernel rnnc_channel_max_s8;

#endif
