/* What convolution and dense kernels share: how their weights are packed.
 *
 * A channel's weights are words of four bytes, padded with zeros. Two output channels stand
 * together, their words alternating; an odd last channel stands alone.
 */
#ifndef RNNC_LINEAR_H
#define RNNC_LINEAR_H

#include "rnnc_requant.h"
#include "rnnc_simd.h"

/* acc + the products of n elements and the weights of output channel `o` (of `channels`) that
 * begin at `offset`, a multiple of 4; a channel has `words` words. */
static inline int32_t rnnc_dot(int32_t acc, const int8_t *x, int32_t n, const int8_t *weights, int32_t o,
                               int32_t channels, int32_t words, int32_t offset) {
    int32_t second = o & 1;
    int32_t paired = second != 0 || o + 1 < channels;
    int32_t step = paired ? 8 : 4;
    const int8_t *w = weights + (o - second) * words * 4 + second * 4 + offset / 4 * step;
    for (; n >= 4; n -= 4, x += 4, w += step) {
        acc += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
    }
    for (int32_t i = 0; i < n; ++i) {
        acc += x[i] * w[i];
    }
    return acc;
}

#endif
