/* The constants of two_outputs: weights, biases, multipliers and tables. Generated: do not edit. */
#include "weights.h"

/* join * / ??/ ? (2,) */
const int32_t two_outputs_op00_sizes[2] = {
    3, 1,
};
