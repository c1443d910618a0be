/* Convolutions whose weights are int16; the definitions are in rnnc/ir/ops/conv_wide.py. */
#ifndef RNNC_WIDE_H
#define RNNC_WIDE_H

#include "rnnc_conv.h"

/* `conv` without weights of its own. */
typedef struct {
    const int16_t *weights;
    rnnc_conv2d conv;
} rnnc_conv_wide;

/* As rnnc_conv2d_s8, for one group. Weights are words of two of depth, those of two channels alternating; an
 * odd last channel has one of zeros beside it. Depth is as in rnnc_linear.h. */
rnnc_kernel rnnc_conv_wide_s8;

/* Taps of three columns at stride 1, one group, channels in whole words, two pixels at a time: for inputs
 * c0 .. c3 and taps g0 .. g2 of a row, the outputs are half of
 *
 *     (c0 - c2) * 2 g0 + (c1 + c2) * (g0 + g1 + g2) + (c2 - c1) * (g0 - g1 + g2)
 *     (c1 + c2) * (g0 + g1 + g2) - (c2 - c1) * (g0 - g1 + g2) + (c1 - c3) * -2 g2
 *
 * which is Winograd's F(2, 3) in integers, exactly: four products instead of six. Weights are the factors on
 * the right, in the order RNNC_SUM, RNNC_DIFFERENCE, RNNC_FIRST, RNNC_LAST, each with words of two of depth
 * by two channels, pair of channels after pair; an odd last channel has one of zeros beside it. Depth is
 * [kernel_h][in], the even bytes of each word before the odd ones. Scratch: the products' inputs of up to
 * three pairs of pixels, 8 bytes for each value of depth, and a column of bytes. */
rnnc_kernel rnnc_conv_pairs_s8;

enum { RNNC_SUM, RNNC_DIFFERENCE, RNNC_FIRST, RNNC_LAST, RNNC_FACTORS };

#endif
