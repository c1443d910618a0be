/* Elementwise functions of one value; the definition is Lut in rnnc/ir/ops/activation.py. */
#ifndef RNNC_ACTIVATION_H
#define RNNC_ACTIVATION_H

#include "rnnc.h"

typedef struct {
    const int8_t *table; /* 256 entries by the bit pattern of the input: 0 .. 127, -128 .. -1 */
    int32_t elements;    /* in a row */
} rnnc_lut;

rnnc_kernel rnnc_lut_s8; /* may run in place */

#endif
