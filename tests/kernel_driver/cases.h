/* cases.h: what the generated cases.c tells the driver. */
#ifndef RNNC_TEST_CASES_H
#define RNNC_TEST_CASES_H

#include "rnnc.h"

#define NO_WINDOW 0xFFu

typedef struct {
    uint32_t row_bytes;
    uint32_t height;
    uint32_t element_bytes;
} case_tensor;

/* `windows` name inputs by their number within `inputs`. */
typedef struct {
    const char *label;
    rnnc_kernel *kernel;
    const void *params;
    const case_tensor *inputs;
    const rnnc_window *windows;
    uint32_t n_inputs, n_windows;
    case_tensor output;
    uint32_t scratch_bytes, state_bytes;
    uint32_t jobs;
    uint32_t trials;
} kernel_case;

extern const kernel_case kernel_cases[];
extern const uint32_t n_kernel_cases;

/* Room for all inputs of the largest case. */
extern uint8_t kernel_inputs[];

#endif
