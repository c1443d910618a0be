/* model.c: the tables of the fixture model, one operator and its engine calls. */
#include "model.h"

#include <string.h>

#ifdef RNNC_CMSIS_DSP
#include "dsp/basic_math_functions.h"
#endif

#define ROWS 4
#define ROW_BYTES 5

extern const int8_t tiny_increment[1];

static void add_one(const void *params, const rnnc_job *job) {
    const int8_t *in = job->rows[0];
    int8_t *out = job->out;
    (void)params;
#ifdef RNNC_CMSIS_DSP
    arm_offset_q7(in, tiny_increment[0], out, ROW_BYTES);
#else
    for (int i = 0; i < ROW_BYTES; ++i) {
        int sum = in[i] + tiny_increment[0];
        out[i] = (int8_t)(sum < INT8_MAX ? sum : INT8_MAX);
    }
#endif
}

static const rnnc_tensor tensors[] = {
    {.offset = 0, .row_bytes = 5, .height = 4, .ring = 4, .producer = RNNC_NONE, .slide = RNNC_NONE},
    {.offset = 20, .row_bytes = 5, .height = 4, .ring = 4, .producer = 0, .slide = RNNC_NONE},
};
static const rnnc_window windows[] = {{.tensor = 0, .rows = 1, .stride = 1, .dilation = 1, .reach = 1}};
static const rnnc_op ops[] = {{.kernel = add_one, .windows = 1, .output = 1, .jobs = 4, .waiter = RNNC_NONE}};
static const uint16_t sinks[] = {0};
static const rnnc_stage stages[] = {{.ops = 1, .sinks = 1, .ticks = 4}};
static const rnnc_port inputs[] = {{.name = "x",
                                    .bytes = 20,
                                    .row_bytes = 5,
                                    .height = 4,
                                    .width = 5,
                                    .channels = 1,
                                    .element_bytes = 1,
                                    .scale = 1.0f}};
static const rnnc_port outputs[] = {{.name = "y",
                                     .bytes = 20,
                                     .row_bytes = 5,
                                     .height = 4,
                                     .width = 5,
                                     .channels = 1,
                                     .element_bytes = 1,
                                     .tensor = 1,
                                     .scale = 1.0f}};
static const uint32_t bank_size[] = {TINY_ARENA_SIZE};

const rnnc_model tiny_model = {
    .name = "tiny",
    .tensors = tensors,
    .windows = windows,
    .ops = ops,
    .stages = stages,
    .sinks = sinks,
    .inputs = inputs,
    .outputs = outputs,
    .bank_size = bank_size,
    .state_size = sizeof(tiny_t),
    .n_tensors = 2,
    .n_ops = 1,
    .n_stages = 1,
    .n_inputs = 1,
    .n_outputs = 1,
    .n_banks = 1,
};

int tiny_init(tiny_t *m, void *arena, size_t size) {
    void *banks[1];
    size_t sizes[1];
    banks[0] = arena;
    sizes[0] = size;
    return m == NULL ? RNNC_ERR_ARGUMENT
                     : rnnc_engine_init(&m->engine, &tiny_model, m->counters, banks, sizes);
}

int tiny_run(tiny_t *m, const int8_t *input, int8_t *output) {
    int result;
    rnnc_engine_start(&m->engine);
    memcpy(rnnc_engine_row(&m->engine, 0, 0), input, ROWS * ROW_BYTES);
    m->engine.given[0] = ROWS;
    do {
        result = rnnc_engine_step(&m->engine, 1000);
    } while (result == RNNC_BUSY);
    memcpy(output, rnnc_engine_row(&m->engine, 1, 0), ROWS * ROW_BYTES);
    return result;
}
