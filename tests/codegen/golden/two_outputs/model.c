/* two outputs, compiled by rnnc: the operators, where their rows live, and the order they run in.
 * Generated: do not edit. */
#include "model.h"

#include <string.h>

#include "weights.h"
#include "rnnc_shape.h"

/* The parameters of each operator. */

/* concat_rows 'join * / ??/ ?': 2x2x3 + 2x2x1 -> 2x2x4 */
static const rnnc_concat_params two_outputs_op00_params = {
    .sizes = two_outputs_op00_sizes,
    .inputs = 2,
    .pixels = 2,
};

/* slice_rows 'cut': 2x2x4 -> 2x2x2 */
static const rnnc_slice_params two_outputs_op01_params = {
    .pixels = 2,
    .pixel_bytes = 4,
    .first = 1,
    .count = 1,
    .distance = 1,
    .block = 2,
};

/* Where the rows of each tensor live: offset, bytes per row, height, rows held, producer, bank, slide. */
static const rnnc_tensor tensors[4] = {
    {16, 6, 2, 2, RNNC_NONE, 0, RNNC_NONE}, /* 0: l [2, 2, 3] */
    {32, 2, 2, 2, RNNC_NONE, 0, RNNC_NONE}, /* 1: r [2, 2, 1] */
    {0, 8, 2, 2, 0, 0, RNNC_NONE}, /* 2: j [2, 2, 4] */
    {16, 4, 2, 2, 1, 0, RNNC_NONE}, /* 3: s [2, 2, 2] */
};

/* The rows that operators read: tensor, rows, stride, dilation, padding above, edge repeated, rows that job 0 needs. */
static const rnnc_window windows[3] = {
    {0, 1, 1, 1, 0, 0, 1},
    {1, 1, 1, 1, 0, 0, 1},
    {2, 1, 1, 1, 0, 0, 1},
};

static const rnnc_op ops[2] = {
    /* 0: concat_rows 'join * / ??/ ?': 2x2x3 + 2x2x1 -> 2x2x4 */
    {.kernel = rnnc_concat,
     .params = &two_outputs_op00_params,
     .scratch = 0,
     .state = 0,
     .scratch_bank = 0,
     .state_bank = 0,
     .first_window = 0,
     .windows = 2,
     .output = 2,
     .jobs = 2,
     .waiter = RNNC_NONE},
    /* 1: slice_rows 'cut': 2x2x4 -> 2x2x2 */
    {.kernel = rnnc_slice,
     .params = &two_outputs_op01_params,
     .scratch = 0,
     .state = 0,
     .scratch_bank = 0,
     .state_bank = 0,
     .first_window = 2,
     .windows = 1,
     .output = 3,
     .jobs = 2,
     .waiter = RNNC_NONE},
};

/* first operator, operators, first sink, sinks, ticks */
static const rnnc_stage stages[2] = {
    {0, 1, 0, 1, 1}, /* stage 0, layer: 1 operator */
    {1, 1, 1, 1, 1}, /* stage 1, layer: 1 operator */
};

static const uint16_t sinks[2] = {
    0,
    1,
};

static const rnnc_port inputs[2] = {
    {.name = "input_left",
     .bytes = TWO_OUTPUTS_INPUT_LEFT_SIZE,
     .row_bytes = TWO_OUTPUTS_INPUT_LEFT_ROW_SIZE,
     .height = TWO_OUTPUTS_INPUT_LEFT_HEIGHT,
     .width = TWO_OUTPUTS_INPUT_LEFT_WIDTH,
     .channels = TWO_OUTPUTS_INPUT_LEFT_CHANNELS,
     .element_bytes = 1,
     .tensor = 0,
     .zero_point = TWO_OUTPUTS_INPUT_LEFT_ZERO_POINT,
     .scale = TWO_OUTPUTS_INPUT_LEFT_SCALE},
    {.name = "input_right",
     .bytes = TWO_OUTPUTS_INPUT_RIGHT_SIZE,
     .row_bytes = TWO_OUTPUTS_INPUT_RIGHT_ROW_SIZE,
     .height = TWO_OUTPUTS_INPUT_RIGHT_HEIGHT,
     .width = TWO_OUTPUTS_INPUT_RIGHT_WIDTH,
     .channels = TWO_OUTPUTS_INPUT_RIGHT_CHANNELS,
     .element_bytes = 1,
     .tensor = 1,
     .zero_point = TWO_OUTPUTS_INPUT_RIGHT_ZERO_POINT,
     .scale = TWO_OUTPUTS_INPUT_RIGHT_SCALE},
};

static const rnnc_port outputs[2] = {
    {.name = "output_joined",
     .bytes = TWO_OUTPUTS_OUTPUT_JOINED_SIZE,
     .row_bytes = TWO_OUTPUTS_OUTPUT_JOINED_ROW_SIZE,
     .height = TWO_OUTPUTS_OUTPUT_JOINED_HEIGHT,
     .width = TWO_OUTPUTS_OUTPUT_JOINED_WIDTH,
     .channels = TWO_OUTPUTS_OUTPUT_JOINED_CHANNELS,
     .element_bytes = 1,
     .tensor = 2,
     .zero_point = TWO_OUTPUTS_OUTPUT_JOINED_ZERO_POINT,
     .scale = TWO_OUTPUTS_OUTPUT_JOINED_SCALE},
    {.name = "output_m_9_cut",
     .bytes = TWO_OUTPUTS_OUTPUT_M_9_CUT_SIZE,
     .row_bytes = TWO_OUTPUTS_OUTPUT_M_9_CUT_ROW_SIZE,
     .height = TWO_OUTPUTS_OUTPUT_M_9_CUT_HEIGHT,
     .width = TWO_OUTPUTS_OUTPUT_M_9_CUT_WIDTH,
     .channels = TWO_OUTPUTS_OUTPUT_M_9_CUT_CHANNELS,
     .element_bytes = 1,
     .tensor = 3,
     .zero_point = TWO_OUTPUTS_OUTPUT_M_9_CUT_ZERO_POINT,
     .scale = TWO_OUTPUTS_OUTPUT_M_9_CUT_SCALE},
};

static const uint32_t bank_size[1] = {TWO_OUTPUTS_ARENA_SIZE};

const rnnc_model two_outputs_model = {
    .name = "two_outputs",
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
    .state_size = sizeof(two_outputs_t),
    .n_tensors = 4,
    .n_ops = 2,
    .n_stages = 2,
    .n_inputs = 2,
    .n_outputs = 2,
    .n_banks = 1,
    .job_rows = 2,
    .stream_output = 0,
    .lent_inputs = 0,
};

int two_outputs_init(two_outputs_t *m, void *arena, size_t size) {
    void *const banks[] = {arena};
    const size_t sizes[] = {size};
    return m == NULL ? RNNC_ERR_ARGUMENT
                     : rnnc_engine_init(&m->engine, &two_outputs_model, m->counters, banks, sizes);
}

int8_t *two_outputs_input_left(const two_outputs_t *m) {
    return rnnc_engine_row(&m->engine, 0, 0);
}

int8_t *two_outputs_input_right(const two_outputs_t *m) {
    return rnnc_engine_row(&m->engine, 1, 0);
}

const int8_t *two_outputs_output_joined(const two_outputs_t *m) {
    return rnnc_engine_row(&m->engine, 2, 0);
}

const int8_t *two_outputs_output_m_9_cut(const two_outputs_t *m) {
    return rnnc_engine_row(&m->engine, 3, 0);
}

void two_outputs_start(two_outputs_t *m) {
    rnnc_engine_start(&m->engine);
    m->engine.given[0] = TWO_OUTPUTS_INPUT_LEFT_HEIGHT;
    m->engine.given[1] = TWO_OUTPUTS_INPUT_RIGHT_HEIGHT;
}

int two_outputs_step(two_outputs_t *m, unsigned budget) {
    return m == NULL ? RNNC_ERR_ARGUMENT : rnnc_engine_step(&m->engine, budget);
}

int two_outputs_run(two_outputs_t *m, const int8_t *input_left, const int8_t *input_right, int8_t *output_joined, int8_t *output_m_9_cut) {
    if (m == NULL) {
        return RNNC_ERR_ARGUMENT;
    }
    if (input_left != NULL && input_left != two_outputs_input_left(m)) {
        memcpy(two_outputs_input_left(m), input_left, TWO_OUTPUTS_INPUT_LEFT_SIZE);
    }
    if (input_right != NULL && input_right != two_outputs_input_right(m)) {
        memcpy(two_outputs_input_right(m), input_right, TWO_OUTPUTS_INPUT_RIGHT_SIZE);
    }
    two_outputs_start(m);
    int status = rnnc_engine_step(&m->engine, RNNC_ALL);
    if (status == RNNC_OK && output_joined != NULL) {
        memcpy(output_joined, two_outputs_output_joined(m), TWO_OUTPUTS_OUTPUT_JOINED_SIZE);
    }
    if (status == RNNC_OK && output_m_9_cut != NULL) {
        memcpy(output_m_9_cut, two_outputs_output_m_9_cut(m), TWO_OUTPUTS_OUTPUT_M_9_CUT_SIZE);
    }
    return status;
}
