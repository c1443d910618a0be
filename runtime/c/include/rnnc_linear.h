/* How weights of convolution and dense kernels are packed.
 *
 * Two output channels stand together, an odd last channel stands alone; depth is padded with zeros to
 * a multiple of four.
 *
 * Dense: words of four of depth, those of two channels alternating.
 *
 * Convolution: words of two of depth by two channels, the channels' bytes alternating, so that SXTB16 gives
 * a pair of depth of either. Depth is [kernel_w] columns of [kernel_h][in / groups], each column padded to
 * an even length; rnnc_conv_rows_s8 has [kernel_h][kernel_w][in] instead. Activations come by words, the
 * even bytes of each before the odd ones, as far as a column's channels (a whole column where kernel_h is
 * 1) are whole words, otherwise one by one. So of a channel that stands alone the same two pairs have their
 * bytes alternating.
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

/* The weight of output channel `o` at `place` of its depth, in a convolution. */
static inline int32_t rnnc_conv_weight(const int8_t *weights, int32_t o, int32_t channels, int32_t steps,
                                       int32_t place) {
    const int8_t *channel = weights + (o & ~1) * steps * 4;
    int32_t second = o & 1;
    if (second != 0 || o + 1 < channels) {
        return channel[place / 2 * 4 + place % 2 * 2 + second];
    }
    return channel[(place & ~3) + place % 2 * 2 + place / 2 % 2];
}

/* Where value `i` of `n` comes to stand when they are taken by words as far as possible. */
static inline int32_t rnnc_word_order(int32_t i, int32_t n) {
    int32_t at = i % 4;
    return i < (n & ~3) && (at == 1 || at == 2) ? i + 3 - 2 * at : i;
}

#endif
