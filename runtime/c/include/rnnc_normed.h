/* L2 normalisation and a convolution without the rows between them; the definition is NormedConv in
 * rnnc/ir/ops/normed.py. */
#ifndef RNNC_NORMED_H
#define RNNC_NORMED_H

#include "rnnc_conv.h"
#include "rnnc_norm.h"

#define RNNC_NORMED_ROWS 8 /* the highest kernel; the pointers are on the stack */

typedef struct {
    rnnc_lp_norm norm;
    rnnc_conv2d conv;
} rnnc_normed_conv;

/* By the kernel that they call; scratch: the rows of the window, and what that needs. */
rnnc_kernel rnnc_normed_conv2d_s8;
rnnc_kernel rnnc_normed_conv_rows_s8;

#endif
