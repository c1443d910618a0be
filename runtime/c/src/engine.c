/* The row engine: runs a model's operators one row at a time, pulled by the rows that each stage must
 * deliver.
 *
 * A sink asks for its next row; an operator whose window is not there yet asks the producer of the first
 * missing row, and so on until one can run. The chain of askers is `path`, so there is no recursion and a
 * step can stop after any job. Because rows are made only when asked for, rings hold no more than the windows
 * need.
 */
#include "rnnc.h"
#include "rnnc_config.h"

#include <string.h>

static uint16_t rows_present(const rnnc_engine *e, uint16_t tensor) {
    const rnnc_tensor *t = &e->model->tensors[tensor];
    if (t->producer == RNNC_NONE) {
        return e->given[tensor]; /* graph inputs are the first tensors */
    }
    int32_t made = (int32_t)e->done[t->producer] - e->model->ops[t->producer].jobs + t->height;
    return made > 0 ? (uint16_t)made : 0;
}

static int32_t clamp(int32_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : x;
}

/* The first input tensor that lacks rows for the next job of `op`, or RNNC_NONE. */
static uint16_t missing_input(const rnnc_engine *e, const rnnc_op *op, int32_t job) {
    for (uint16_t i = 0; i < op->windows; ++i) {
        const rnnc_window *w = &e->model->windows[op->first_window + i];
        int32_t need = job * w->stride - w->pad + (w->rows - 1) * w->dilation + 1;
        int32_t height = e->model->tensors[w->tensor].height;
        if (rows_present(e, w->tensor) < clamp(need, w->edge, height)) {
            return w->tensor;
        }
    }
    return RNNC_NONE;
}

/* The first row of a ring that slides: the first that a job to come reads, if it is made yet. */
static int32_t oldest_row(const rnnc_engine *e, const rnnc_slide *slide) {
    int32_t oldest = rows_present(e, slide->tensor);
    for (uint16_t i = 0; i < slide->readers; ++i) {
        const rnnc_reader *reader = &e->model->readers[slide->first_reader + i];
        const rnnc_window *w = &e->model->windows[reader->window];
        int32_t needed = e->done[reader->op] * w->stride - w->pad;
        if (w->edge) {
            needed = clamp(needed, 0, e->model->tensors[w->tensor].height - 1);
        }
        if (e->done[reader->op] < e->model->ops[reader->op].jobs && needed < oldest) {
            oldest = needed;
        }
    }
    return oldest > 0 ? oldest : 0;
}

static uint8_t *row_address(const rnnc_engine *e, uint16_t tensor, int32_t row) {
    const rnnc_tensor *t = &e->model->tensors[tensor];
    int32_t slot;
    if (t->slide == RNNC_NONE) {
        slot = row % t->ring;
    } else {
        const rnnc_slide *slide = &e->model->slides[t->slide];
        slot = row - oldest_row(e, slide);
        slot = slide->downward ? t->ring - 1 - slot : slot;
    }
    return e->bank[t->bank] + t->offset + (uint32_t)slot * t->row_bytes;
}

/* Moves what stays of a ring whose first row was `oldest` until now. */
static void move_rows(const rnnc_engine *e, const rnnc_slide *slide, int32_t oldest) {
    const rnnc_tensor *t = &e->model->tensors[slide->tensor];
    int32_t now = oldest_row(e, slide);
    int32_t rows = rows_present(e, slide->tensor) - now;
    int32_t from = slide->downward ? t->ring - rows - (now - oldest) : now - oldest;
    int32_t to = slide->downward ? t->ring - rows : 0;
    if (from != to && rows > 0) {
        uint8_t *place = e->bank[t->bank] + t->offset;
        memmove(place + (uint32_t)to * t->row_bytes, place + (uint32_t)from * t->row_bytes,
                (uint32_t)rows * t->row_bytes);
    }
}

/* The ring that slides which window `i` of an operator reads, RNNC_NONE if it reads none, or if an earlier
 * window reads it. */
static uint16_t slide_read(const rnnc_engine *e, const rnnc_op *op, uint16_t i) {
    const rnnc_window *windows = &e->model->windows[op->first_window];
    uint16_t slide = e->model->tensors[windows[i].tensor].slide;
    for (uint16_t earlier = 0; earlier < i; ++earlier) {
        if (e->model->tensors[windows[earlier].tensor].slide == slide) {
            return RNNC_NONE;
        }
    }
    return slide;
}

/* Counts a job as done, which may end the need for rows that it read. */
static void finish_job(rnnc_engine *e, uint16_t index) {
    const rnnc_op *op = &e->model->ops[index];
    for (uint16_t i = 0; i < op->windows; ++i) {
        uint16_t slide = slide_read(e, op, i);
        if (slide != RNNC_NONE) {
            int32_t oldest = oldest_row(e, &e->model->slides[slide]);
            ++e->done[index];
            move_rows(e, &e->model->slides[slide], oldest);
            --e->done[index];
        }
    }
    ++e->done[index];
}

static void gather_rows(const rnnc_engine *e, const rnnc_op *op, int32_t job, const void **rows) {
    for (uint16_t i = 0; i < op->windows; ++i) {
        const rnnc_window *w = &e->model->windows[op->first_window + i];
        int32_t tap = job * w->stride - w->pad, last = e->model->tensors[w->tensor].height - 1;
        for (uint16_t k = 0; k < w->rows; ++k, tap += w->dilation) {
            int32_t row = clamp(tap, 0, last);
            *rows++ = row == tap || w->edge ? row_address(e, w->tensor, row) : NULL;
        }
    }
}

/* Gives a row to the caller, by every output that shows its tensor. */
static void deliver_row(const rnnc_engine *e, uint16_t tensor, unsigned row, const void *data, size_t bytes) {
    const rnnc_row_engine *to = (const rnnc_row_engine *)e;
    for (uint16_t i = 0; i < e->model->n_outputs; ++i) {
        if (e->model->outputs[i].tensor != tensor) {
            continue;
        }
        if (to->copies != NULL && to->copies[i] != NULL) {
            memcpy(to->copies[i] + row * bytes, data, bytes);
        }
        if (to->sink != NULL) {
            to->sink(to->context, i, row, data, bytes);
        }
    }
}

/* Shows the row that an operator's job made: to the caller if outputs are streamed, and to a trace. */
static void show_row(const rnnc_engine *e, uint16_t index, int32_t row, const void *data) {
    const rnnc_op *op = &e->model->ops[index];
    size_t bytes = e->model->tensors[op->output].row_bytes;
#ifdef RNNC_HOOKS
    rnnc_trace_row(index, (uint32_t)row, data, bytes);
#endif
    if (e->model->stream_output) {
        deliver_row(e, op->output, (uint32_t)row, data, bytes);
    }
}

static void run_job(rnnc_engine *e, uint16_t index) {
    const rnnc_op *op = &e->model->ops[index];
    const void *rows[RNNC_JOB_ROWS];
    int32_t number = e->done[index];
    int32_t row = number - op->jobs + e->model->tensors[op->output].height;
    gather_rows(e, op, number, rows);
    rnnc_job job = {.rows = rows,
                    .out = row_address(e, op->output, row > 0 ? row : 0),
                    .scratch = e->bank[op->scratch_bank] + op->scratch,
                    .state = e->bank[op->state_bank] + op->state,
                    .job = number,
                    .first = number == 0};
#ifdef RNNC_HOOKS
    rnnc_marker_layer(index);
#endif
    op->kernel(op->params, &job);
    if (row >= 0) {
        show_row(e, index, row, job.out); /* now: the next job may reuse the place of a streamed row */
    }
    finish_job(e, index);
}

/* The next operator that the current stage must deliver a row of, moving on through ticks and stages;
 * RNNC_NONE when the inference is complete. */
static uint16_t next_sink(rnnc_engine *e) {
    while (e->stage < e->model->n_stages) {
        const rnnc_stage *stage = &e->model->stages[e->stage];
        while (e->tick < stage->ticks) {
            while (e->sink < stage->sinks) {
                const rnnc_sink *sink = &e->model->sinks[stage->first_sink + e->sink];
                uint32_t jobs = e->model->ops[sink->op].jobs;
                uint32_t target = ((e->tick + 1u) * jobs + stage->ticks - 1u) / stage->ticks + sink->lead;
                if (e->done[sink->op] < (target < jobs ? target : jobs)) {
                    return sink->op;
                }
                ++e->sink;
            }
            e->sink = 0;
            ++e->tick;
        }
        e->tick = 0;
        ++e->stage;
    }
    return RNNC_NONE;
}

int rnnc_engine_init(rnnc_engine *e, const rnnc_model *model, uint16_t *counters, void *const *banks,
                     const size_t *sizes) {
    if (e == NULL || model == NULL || counters == NULL) {
        return RNNC_ERR_ARGUMENT;
    }
    for (uint16_t i = 0; i < model->n_banks; ++i) {
        if (banks[i] == NULL || sizes[i] < model->bank_size[i] || (uintptr_t)banks[i] % RNNC_ALIGN != 0) {
            return RNNC_ERR_ARENA;
        }
        e->bank[i] = banks[i];
    }
    e->model = model;
    e->done = counters;
    e->path = e->done + model->n_ops;
    e->given = e->path + model->n_ops;
    if (model->stream_output) {
        rnnc_row_engine *to = (rnnc_row_engine *)e;
        to->sink = NULL;
        to->context = NULL;
        to->copies = NULL;
    }
    rnnc_engine_start(e);
    return RNNC_OK;
}

void rnnc_engine_start(rnnc_engine *e) {
    for (uint16_t i = 0; i < e->model->n_ops; ++i) {
        e->done[i] = 0;
    }
    for (uint16_t i = 0; i < e->model->n_inputs; ++i) {
        e->given[i] = 0;
    }
    e->depth = e->stage = e->tick = e->sink = 0;
}

/* RNNC_BUSY if a job can run, its operator then being the last of `path`; else RNNC_NEED_INPUT or RNNC_OK. */
static int find_job(rnnc_engine *e) {
    for (;;) {
        if (e->depth == 0) {
            uint16_t sink = next_sink(e);
            if (sink == RNNC_NONE) {
                return RNNC_OK;
            }
            e->path[e->depth++] = sink;
        }
        uint16_t index = e->path[e->depth - 1];
        uint16_t tensor = missing_input(e, &e->model->ops[index], e->done[index]);
        if (tensor == RNNC_NONE) {
            return RNNC_BUSY;
        }
        if (e->model->tensors[tensor].producer == RNNC_NONE) {
            return RNNC_NEED_INPUT;
        }
        e->path[e->depth++] = e->model->tensors[tensor].producer;
    }
}

int rnnc_engine_step(rnnc_engine *e, unsigned budget) {
    int status = find_job(e);
    for (; status == RNNC_BUSY && budget != 0; --budget) {
        run_job(e, e->path[--e->depth]);
        status = find_job(e);
    }
    return status;
}

int rnnc_engine_offer(rnnc_engine *e, const int8_t *row) {
    const rnnc_tensor *t = &e->model->tensors[0];
    int status = find_job(e);
    if (status == RNNC_OK && e->given[0] == t->height) {
        rnnc_engine_start(e);
        status = find_job(e);
    }
    if (status == RNNC_BUSY) {
        return RNNC_BUSY;
    }
    if (status == RNNC_NEED_INPUT) { /* rows that no output depends on are only counted */
        memcpy(row_address(e, 0, e->given[0]), row, t->row_bytes);
    }
    ++e->given[0];
    return RNNC_OK;
}

int rnnc_engine_work(rnnc_engine *e, unsigned budget) {
    int status = rnnc_engine_step(e, budget);
    return status == RNNC_OK && e->given[0] < e->model->tensors[0].height ? RNNC_NEED_INPUT : status;
}

int rnnc_engine_push(rnnc_engine *e, const int8_t *rows, size_t n) {
    int status = RNNC_NEED_INPUT;
    for (size_t i = 0; i < n; ++i, rows += e->model->tensors[0].row_bytes) {
        while (rnnc_engine_offer(e, rows) == RNNC_BUSY) {
            (void)rnnc_engine_step(e, RNNC_ALL);
        }
        status = rnnc_engine_work(e, RNNC_ALL);
    }
    return status;
}

void *rnnc_engine_row(const rnnc_engine *e, unsigned tensor, unsigned row) {
    return row_address(e, (uint16_t)tensor, (int32_t)row);
}
