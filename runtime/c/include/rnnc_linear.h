/* What convolution and dense kernels share: how their weights are packed.
 *
 * A channel's weights are words of four bytes, padded with zeros. Two output channels stand together, their words
 * alternating; an odd last channel stands alone.
 */
#ifndef RNNC_LINEAR_H
#define RNNC_LINEAR_H

#include "rnnc_requant.h"
#include "rnnc_simd.h"

/* The weight of output channel `o` (of `channels`) at depth d; a channel has `words` words. */
static inline int32_t rnnc_paired_weight(const int8_t *weights, int32_t o, int32_t channels, int32_t words,
                                         int32_t d) {
    int32_t second = o & 1;
    int32_t alone = second == 0 && o + 1 == channels;
    const int8_t *pair = weights + (o - second) * words * 4;
    return alone ? pair[d] : pair[d / 4 * 8 + second * 4 + d % 4];
}

#endif
