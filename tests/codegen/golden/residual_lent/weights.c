/* The constants of residual_lent: weights, biases, multipliers and tables. Generated: do not edit. */
#include "weights.h"

/* join (2,) */
const int32_t residual_lent_op01_sizes[2] = {
    2, 2,
};
