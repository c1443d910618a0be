/* residual, compiled by rnnc: the operators, where their rows live, and the order they run in.
 * Generated: do not edit. */
#include "model.h"

#include <string.h>

#include "weights.h"
#include "rnnc_pool.h"
#include "rnnc_shape.h"

/* The parameters of each operator. */

/* max_pool2d 'pool': 4x3x2 -> 4x3x2 */
static const rnnc_max_pool residual_op00_params = {
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
static const rnnc_concat_params residual_op01_params = {
    .sizes = residual_op01_sizes,
    .inputs = 2,
    .pixels = 3,
};

/* Where the rows of each tensor live: offset, bytes per row, height, rows held, producer, bank, slide. */
static const rnnc_tensor tensors[3] = {
    {48, 6, 4, 3, RNNC_NONE, 0, RNNC_NONE}, /* 0: x [4, 3, 2] */
    {72, 6, 4, 1, 0, 0, RNNC_NONE}, /* 1: a [4, 3, 2] */
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
     .params = &residual_op00_params,
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
     .params = &residual_op01_params,
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
     .bytes = RESIDUAL_INPUT_SIZE,
     .row_bytes = RESIDUAL_INPUT_ROW_SIZE,
     .height = RESIDUAL_INPUT_HEIGHT,
     .width = RESIDUAL_INPUT_WIDTH,
     .channels = RESIDUAL_INPUT_CHANNELS,
     .element_bytes = 1,
     .tensor = 0,
     .zero_point = RESIDUAL_INPUT_ZERO_POINT,
     .scale = RESIDUAL_INPUT_SCALE},
};

static const rnnc_port outputs[1] = {
    {.name = "output",
     .bytes = RESIDUAL_OUTPUT_SIZE,
     .row_bytes = RESIDUAL_OUTPUT_ROW_SIZE,
     .height = RESIDUAL_OUTPUT_HEIGHT,
     .width = RESIDUAL_OUTPUT_WIDTH,
     .channels = RESIDUAL_OUTPUT_CHANNELS,
     .element_bytes = 1,
     .tensor = 2,
     .zero_point = RESIDUAL_OUTPUT_ZERO_POINT,
     .scale = RESIDUAL_OUTPUT_SCALE},
};

static const uint32_t bank_size[1] = {RESIDUAL_ARENA_SIZE};

const rnnc_model residual_model = {
    .name = "residual",
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
    .state_size = sizeof(residual_t),
    .n_tensors = 3,
    .n_ops = 2,
    .n_stages = 1,
    .n_inputs = 1,
    .n_outputs = 1,
    .n_banks = 1,
    .job_rows = 3,
    .stream_output = 0,
    .lent_inputs = 0,
};

int residual_init(residual_t *m, void *arena, size_t size) {
    void *const banks[] = {arena};
    const size_t sizes[] = {size};
    return m == NULL ? RNNC_ERR_ARGUMENT
                     : rnnc_engine_init(&m->engine, &residual_model, m->counters, banks, sizes);
}

const int8_t *residual_output(const residual_t *m) {
    return rnnc_engine_row(&m->engine, 2, 0);
}

int residual_push_rows(residual_t *m, const int8_t *rows, size_t n) {
    return m == NULL || rows == NULL ? RNNC_ERR_ARGUMENT : rnnc_engine_push(&m->engine, rows, n);
}

int residual_offer_row(residual_t *m, const int8_t *row) {
    return m == NULL || row == NULL ? RNNC_ERR_ARGUMENT : rnnc_engine_offer(&m->engine, row);
}

void residual_start(residual_t *m) {
    rnnc_engine_start(&m->engine);
}

int residual_step(residual_t *m, unsigned budget) {
    return m == NULL ? RNNC_ERR_ARGUMENT : rnnc_engine_work(&m->engine, budget);
}

int residual_run(residual_t *m, const int8_t *input, int8_t *output) {
    if (m == NULL || input == NULL) {
        return RNNC_ERR_ARGUMENT;
    }
    residual_start(m);
    int status = rnnc_engine_push(&m->engine, input, RESIDUAL_INPUT_HEIGHT);
    if (status == RNNC_OK && output != NULL) {
        memcpy(output, residual_output(m), RESIDUAL_OUTPUT_SIZE);
    }
    return status;
}
