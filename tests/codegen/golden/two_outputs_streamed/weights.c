/* The constants of two_outputs_streamed: weights, biases, multipliers and tables. Generated: do not edit. */
#include "weights.h"

/* join * / ??/ ? (2,) */
const int32_t two_outputs_streamed_op00_sizes[2] = {
    3, 1,
};
