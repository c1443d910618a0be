/* model.c: the tables of the fixture model, one operator and its engine calls. */
#include "model.h"

#include <string.h>

#define ROWS 4
#define ROW_BYTES 3

extern const int8_t tiny_sample[ROWS * ROW_BYTES];

static void add_one(const void *params, const rnnc_job *job) {
    const int8_t *in = job->rows[0];
    int8_t *out = job->out;
    (void)params;
    for (int i = 0; i < ROW_BYTES; ++i) {
        out[i] = (int8_t)(in[i] + 1);
    }
}

static const rnnc_tensor tensors[] = {
    {.offset = 0, .row_bytes = 3, .height = 4, .ring = 4, .producer = RNNC_NONE},
    {.offset = 12, .row_bytes = 3, .height = 4, .ring = 4, .producer = 0},
};
static const rnnc_window windows[] = {{.tensor = 0, .rows = 1, .stride = 1, .dilation = 1}};
static const rnnc_op ops[] = {{.kernel = add_one, .windows = 1, .output = 1, .jobs = 4}};
static const uint16_t sinks[] = {0};
static const rnnc_stage stages[] = {{.ops = 1, .sinks = 1, .ticks = 4}};
static const rnnc_port inputs[] = {{.name = "x", .bytes = 12, .row_bytes = 3, .height = 4, .width = 3,
                                    .channels = 1, .element_bytes = 1, .scale = 1.0f}};
static const rnnc_port outputs[] = {{.name = "y", .bytes = 12, .row_bytes = 3, .height = 4, .width = 3,
                                     .channels = 1, .element_bytes = 1, .tensor = 1, .scale = 1.0f}};
static const char *const op_names[] = {"add_one"};
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
    .op_names = op_names,
    .sample = tiny_sample,
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
    memcpy(rnnc_engine_tensor(&m->engine, 0), input, ROWS * ROW_BYTES);
    m->engine.given[0] = ROWS;
    do {
        result = rnnc_engine_step(&m->engine, 1000);
    } while (result == RNNC_BUSY);
    memcpy(output, rnnc_engine_tensor(&m->engine, 1), ROWS * ROW_BYTES);
    return result;
}
