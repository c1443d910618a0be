/* Softmax over the channels of each pixel; the definitions are in rnnc/ir/ops/softmax.py. */
#ifndef RNNC_SOFTMAX_H
#define RNNC_SOFTMAX_H

#include "rnnc_requant.h"

typedef struct {
    const int32_t *exps; /* exp(-distance * scale), by the distance from the pixel's maximum; 0 beyond */
    int32_t n_exps;
    int32_t width, channels;
    int32_t multiplier, shift; /* 1 / output scale = multiplier * 2^(shift - 31) */
    int32_t zero_point;
} rnnc_softmax;

typedef struct {
    const int32_t *exps; /* Q0.31 */
    int32_t n_exps;
    int32_t width, channels;
} rnnc_softmax_tflite;

rnnc_kernel rnnc_softmax_s8;        /* any output quantisation; may run in place */
rnnc_kernel rnnc_softmax_tflite_s8; /* output scale 1/256, zero point -128; may run in place */

#endif
