/* residual, compiled by rnnc: the operators, where their rows live, and the order they run in.
 * Generated: do not edit. */
#include "model.h"

#include <string.h>

#include "weights.h"
#include "rnnc_pool.h"
#include "rnnc_shape.h"

/* The parameters of each operator. */

/* max_pool2d 'pool': 4x3x2 -> 4x3x2 */
static const rnnc_max_pool residual_lent_op00_params = {
    .in_width = 3,
    .channels = 2,
    .out_width = 3,
    .kernel_h = 3,
    .kernel_w = 1,
    .stride_w = 1,
    .dilation_w = 1,
    .pad_left = 0,
};

/* concat_rows 'join': 4x3x2 + 4x3x2 -> 4x3x4 */
static const rnnc_concat_params residual_lent_op01_params = {
    .sizes = residual_lent_op01_sizes,
    .inputs = 2,
    .pixels = 3,
};

/* Where the rows of each tensor live: offset, bytes per row, height, rows held, producer, bank, slide. */
static const rnnc_tensor tensors[3] = {
    {0, 6, 4, 4, RNNC_NONE, 0, RNNC_NONE}, /* 0: x [4, 3, 2], lent */
    {48, 6, 4, 1, 0, 0, RNNC_NONE}, /* 1: a [4, 3, 2] */
    {0, 12, 4, 4, 1, 0, RNNC_NONE}, /* 2: y [4, 3, 4] */
};

/* The rows that operators read: tensor, rows, stride, dilation, padding above, edge repeated, rows that job 0 needs. */
static const rnnc_window windows[3] = {
    {0, 3, 1, 1, 1, 0, 2},
    {1, 1, 1, 1, 0, 0, 1},
    {0, 1, 1, 1, 0, 0, 1},
};

static const rnnc_op ops[2] = {
    /* 0: max_pool2d 'pool': 4x3x2 -> 4x3x2 */
    {.kernel = rnnc_max_pool_s8,
     .params = &residual_lent_op00_params,
     .scratch = 0,
     .state = 0,
     .scratch_bank = 0,
     .state_bank = 0,
     .first_window = 0,
     .windows = 1,
     .output = 1,
     .jobs = 4,
     .waiter = 1},
    /* 1: concat_rows 'join': 4x3x2 + 4x3x2 -> 4x3x4 */
    {.kernel = rnnc_concat,
     .params = &residual_lent_op01_params,
     .scratch = 0,
     .state = 0,
     .scratch_bank = 0,
     .state_bank = 0,
     .first_window = 1,
     .windows = 2,
     .output = 2,
     .jobs = 4,
     .waiter = RNNC_NONE},
};

/* first operator, operators, first sink, sinks, ticks */
static const rnnc_stage stages[1] = {
    {0, 2, 0, 1, 1}, /* stage 0, rows: 2 operators */
};

static const uint16_t sinks[1] = {
    1,
};

static const rnnc_port inputs[1] = {
    {.name = "input",
     .bytes = RESIDUAL_LENT_INPUT_SIZE,
     .row_bytes = RESIDUAL_LENT_INPUT_ROW_SIZE,
     .height = RESIDUAL_LENT_INPUT_HEIGHT,
     .width = RESIDUAL_LENT_INPUT_WIDTH,
     .channels = RESIDUAL_LENT_INPUT_CHANNELS,
     .element_bytes = 1,
     .tensor = 0,
     .zero_point = RESIDUAL_LENT_INPUT_ZERO_POINT,
     .scale = RESIDUAL_LENT_INPUT_SCALE},
};

static const rnnc_port outputs[1] = {
    {.name = "output",
     .bytes = RESIDUAL_LENT_OUTPUT_SIZE,
     .row_bytes = RESIDUAL_LENT_OUTPUT_ROW_SIZE,
     .height = RESIDUAL_LENT_OUTPUT_HEIGHT,
     .width = RESIDUAL_LENT_OUTPUT_WIDTH,
     .channels = RESIDUAL_LENT_OUTPUT_CHANNELS,
     .element_bytes = 1,
     .tensor = 2,
     .zero_point = RESIDUAL_LENT_OUTPUT_ZERO_POINT,
     .scale = RESIDUAL_LENT_OUTPUT_SCALE},
};

static const uint32_t bank_size[1] = {RESIDUAL_LENT_ARENA_SIZE};

const rnnc_model residual_lent_model = {
    .name = "residual_lent",
    .tensors = tensors,
    .windows = windows,
    .slides = NULL,
    .readers = NULL,
    .ops = ops,
    .stages = stages,
    .sinks = sinks,
    .inputs = inputs,
    .outputs = outputs,
    .bank_size = bank_size,
    .state_size = sizeof(residual_lent_t),
    .n_tensors = 3,
    .n_ops = 2,
    .n_stages = 1,
    .n_inputs = 1,
    .n_outputs = 1,
    .n_banks = 1,
    .job_rows = 3,
    .stream_output = 0,
    .lent_inputs = offsetof(residual_lent_t, lent),
};

int residual_lent_init(residual_lent_t *m, void *arena, size_t size) {
    void *const banks[] = {arena};
    const size_t sizes[] = {size};
    return m == NULL ? RNNC_ERR_ARGUMENT
                     : rnnc_engine_init(&m->engine, &residual_lent_model, m->counters, banks, sizes);
}

const int8_t *residual_lent_output(const residual_lent_t *m) {
    return rnnc_engine_row(&m->engine, 2, 0);
}

void residual_lent_start(residual_lent_t *m, const int8_t *input) {
    rnnc_engine_start(&m->engine);
    rnnc_engine_lend(&m->engine, 0, input);
}

int residual_lent_step(residual_lent_t *m, unsigned budget) {
    return m == NULL ? RNNC_ERR_ARGUMENT : rnnc_engine_step(&m->engine, budget);
}

int residual_lent_run(residual_lent_t *m, const int8_t *input, int8_t *output) {
    if (m == NULL || input == NULL) {
        return RNNC_ERR_ARGUMENT;
    }
    residual_lent_start(m, input);
    int status = rnnc_engine_step(&m->engine, RNNC_ALL);
    if (status == RNNC_OK && output != NULL) {
        memcpy(output, residual_lent_output(m), RESIDUAL_LENT_OUTPUT_SIZE);
    }
    return status;
}
