/* Dense layer over all elements of its input; the definition is DenseInt in rnnc/ir/ops/dense.py.
 */
#ifndef RNNC_DENSE_H
#define RNNC_DENSE_H

#include "rnnc_linear.h"

typedef struct {
    const int8_t *weights; /* packed as rnnc_linear.h says; each input row begins a new word */
    const int32_t *bias;   /* with the input zero point folded in */
    rnnc_requant requant;
    int32_t rows;     /* input rows, all of which one job reads */
    int32_t row_size; /* elements of a row */
    int32_t outputs;
} rnnc_dense;

rnnc_kernel rnnc_dense_s8;

#endif
