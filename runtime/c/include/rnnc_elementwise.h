/* Operators over two rows; the definitions are in rnnc/ir/ops/elementwise.py.
 *
 * Element i of the first row meets element i % period of the second: period is a whole row, or one
 * pixel that serves all. The output may lie on any input that has its shape.
 */
#ifndef RNNC_ELEMENTWISE_H
#define RNNC_ELEMENTWISE_H

#include "rnnc_requant.h"

typedef struct {
    int32_t elements, period;
    int32_t multiplier_a, multiplier_b; /* of 16 bits */
    int32_t bias;                       /* zero points and the rounding of the shift folded in */
    int32_t shift;
    int32_t low, high;
} rnnc_add;

typedef struct {
    int32_t elements, period;
    int32_t zero_point_a, zero_point_b;
    int32_t sign_a, sign_b; /* 1 or -1 */
    int32_t multiplier_a, shift_a;
    int32_t multiplier_b, shift_b;
    int32_t multiplier_out, shift_out;
    int32_t out_zero_point;
    int32_t low, high;
} rnnc_add_tflite;

typedef struct {
    int32_t elements, period;
    int32_t zero_point_a, zero_point_b;
    rnnc_requant requant; /* one multiplier */
} rnnc_mul;

rnnc_kernel rnnc_add_s8;
rnnc_kernel rnnc_add_tflite_s8;
rnnc_kernel rnnc_mul_s8;

#endif
