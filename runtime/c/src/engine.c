/* The row engine: runs a model's operators one row at a time, as rows are needed for what each stage must
 * deliver.
 *
 * Every sink waits for its next row; an operator whose window is not there yet waits for the producer of the
 * first missing row, and so on. Where such chains end in operators that can run, the last of these in the
 * order of the model does, so that rows are used as soon as they are made. Where all end outside of the
 * stage, the stage gets the next part of what it reads. Because rows are made only when waited for, rings
 * hold no more than the windows need.
 */
#include "rnnc.h"
#include "rnnc_config.h"

#include <string.h>

/* Words of `seen`, which stands behind the other counters. */
#define SEEN_WORDS(model) ((model)->n_ops / 16u + 1u)

/* 0 or less before the first one. */
static inline int32_t rows_present(const rnnc_engine *e, uint16_t tensor) {
    const rnnc_tensor *t = &e->model->tensors[tensor];
    if (t->producer == RNNC_NONE) {
        return e->given[tensor]; /* graph inputs are the first tensors */
    }
    return (int32_t)e->done[t->producer] - e->model->ops[t->producer].jobs + t->height;
}

static inline int is_outside(const rnnc_engine *e, uint16_t producer) {
    return producer == RNNC_NONE || producer < e->model->stages[e->stage].first_op;
}

/* Whether the current stage gets what it reads from outside in more than one part. */
static inline int in_parts(const rnnc_engine *e) {
    return e->model->stages[e->stage].ticks != 1;
}

/* Rows of a tensor that the current stage may read by now. */
static inline int32_t rows_allowed(const rnnc_engine *e, const rnnc_tensor *t) {
    uint32_t ticks = e->model->stages[e->stage].ticks;
    if (ticks == 1 || !is_outside(e, t->producer)) {
        return t->height;
    }
    return (int32_t)(((e->tick + 1u) * t->height + ticks - 1u) / ticks);
}

static inline int32_t clamp(int32_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : x;
}

/* The first input tensor that lacks rows for the next job of `op`, or RNNC_NONE. */
static inline uint16_t missing_input(const rnnc_engine *e, const rnnc_op *op, int32_t job, int parts) {
    const rnnc_window *w = &e->model->windows[op->first_window];
    for (const rnnc_window *end = w + op->windows; w != end; ++w) {
        const rnnc_tensor *t = &e->model->tensors[w->tensor];
        int32_t need = clamp(job * w->stride + w->reach, w->edge, t->height);
        if (need > rows_present(e, w->tensor) || (parts && need > rows_allowed(e, t))) {
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

/* Where a row of a ring that slides lies while its first row is `oldest`. */
static uint8_t *place_of_row(const rnnc_engine *e, const rnnc_slide *slide, int32_t row, int32_t oldest) {
    const rnnc_tensor *t = &e->model->tensors[slide->tensor];
    int32_t slot = row - oldest;
    if (slot < slide->stay) {
        return e->bank[t->bank] + t->offset + (uint32_t)slot * t->row_bytes;
    }
    return e->bank[slide->landing_bank] + slide->landing + (uint32_t)(slot - slide->stay) * t->row_bytes;
}

static RNNC_NOINLINE uint8_t *row_address(const rnnc_engine *e, uint16_t tensor, int32_t row) {
    const rnnc_tensor *t = &e->model->tensors[tensor];
    if (t->slide != RNNC_NONE) {
        const rnnc_slide *slide = &e->model->slides[t->slide];
        return place_of_row(e, slide, row, oldest_row(e, slide));
    }
    return e->bank[t->bank] + t->offset + (uint32_t)(row % t->ring) * t->row_bytes;
}

/* Moves what stays of a ring whose first row was `oldest` until now. */
static RNNC_NOINLINE void move_rows(const rnnc_engine *e, const rnnc_slide *slide, int32_t oldest) {
    int32_t now = oldest_row(e, slide), end = rows_present(e, slide->tensor);
    for (int32_t row = now; now > oldest && row < end; ++row) {
        memcpy(place_of_row(e, slide, row, now), place_of_row(e, slide, row, oldest),
               e->model->tensors[slide->tensor].row_bytes);
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

/* Moves what stays of the rings that slide, of which the job that is about to count as done read rows. */
static void slide_rings(rnnc_engine *e, uint16_t index) {
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
}

/* Where the rows of a tensor to read begin: in the arena, or in a frame of the caller's. */
static inline const uint8_t *rows_to_read(const rnnc_engine *e, uint16_t tensor) {
    const rnnc_tensor *t = &e->model->tensors[tensor];
    if (e->model->lent_inputs == 0 || t->producer != RNNC_NONE) {
        return e->bank[t->bank] + t->offset;
    }
    const uint8_t *const *frames = (const void *)((const uint8_t *)e + e->model->lent_inputs);
    return frames[tensor]; /* graph inputs are the first tensors */
}

/* The rows of one window that slides. */
static const void **gather_sliding(const rnnc_engine *e, const rnnc_window *w, int32_t tap,
                                   const void **rows) {
    const rnnc_slide *slide = &e->model->slides[e->model->tensors[w->tensor].slide];
    int32_t last = e->model->tensors[w->tensor].height - 1, oldest = oldest_row(e, slide);
    for (const void **end = rows + w->rows; rows != end; ++rows, tap += w->dilation) {
        int32_t row = clamp(tap, 0, last);
        *rows = row == tap || w->edge ? place_of_row(e, slide, row, oldest) : NULL;
    }
    return rows;
}

static RNNC_NOINLINE void gather_rows(const rnnc_engine *e, const rnnc_op *op, int32_t job,
                                      const void **rows) {
    const rnnc_window *w = &e->model->windows[op->first_window];
    for (const rnnc_window *behind = w + op->windows; w != behind; ++w) {
        const rnnc_tensor *t = &e->model->tensors[w->tensor];
        int32_t tap = job * w->stride - w->pad, last = t->height - 1;
        if (t->slide != RNNC_NONE) {
            rows = gather_sliding(e, w, tap, rows);
            continue;
        }
        const uint8_t *first = rows_to_read(e, w->tensor);
        int32_t row = clamp(tap, 0, last), slot = row % t->ring;
        for (const void **end = rows + w->rows; rows != end; ++rows, tap += w->dilation) {
            int32_t next = clamp(tap, 0, last);
            for (slot += next - row, row = next; slot >= t->ring; slot -= t->ring) {
            }
            *rows = row == tap || w->edge ? first + (uint32_t)slot * t->row_bytes : NULL;
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

/* The row that the next job of an operator makes; less than 0 if it only takes in rows. */
static inline int32_t next_row(const rnnc_engine *e, const rnnc_op *op, uint16_t index) {
    return e->done[index] - op->jobs + e->model->tensors[op->output].height;
}

/* Runs the kernel on the next job of an operator, and returns where its row is, if it makes one. The stack of
 * all kernels comes on top of this frame, so that it has nothing else in it. */
static RNNC_NOINLINE const void *run_kernel(const rnnc_engine *e, uint16_t index) {
    const rnnc_op *op = &e->model->ops[index];
    const void *rows[RNNC_JOB_ROWS];
    int32_t number = e->done[index], row = next_row(e, op, index);
    rnnc_job job = {.rows = rows,
                    .out = row_address(e, op->output, row > 0 ? row : 0),
                    .scratch = e->bank[op->scratch_bank] + op->scratch,
                    .state = e->bank[op->state_bank] + op->state,
                    .job = number,
                    .first = number == 0};
    gather_rows(e, op, number, rows);
#ifdef RNNC_HOOKS
    rnnc_marker_layer(index);
#endif
    op->kernel(op->params, &job);
    return job.out;
}

static RNNC_NOINLINE void finish_job(rnnc_engine *e, uint16_t index, const void *out) {
    int32_t row = next_row(e, &e->model->ops[index], index);
    if (row >= 0) {
        show_row(e, index, row, out); /* now: the next job may reuse the place of a streamed row */
    }
    if (e->model->slides != NULL) {
        slide_rings(e, index);
    }
    ++e->done[index];
    e->latest = index;
}

int rnnc_engine_init(rnnc_engine *e, const rnnc_model *model, uint16_t *counters, void *const *banks,
                     const size_t *sizes) {
    if (e == NULL || model == NULL || counters == NULL || model->job_rows > RNNC_JOB_ROWS) {
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
    e->given = e->done + model->n_ops;
    e->seen = e->given + model->n_inputs;
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
    e->stage = e->tick = 0;
    e->latest = RNNC_NONE;
}

/* Marks an operator as seen and says whether it was. */
static inline int is_seen(rnnc_engine *e, uint16_t op) {
    uint16_t bit = (uint16_t)(1u << op % 16), before = e->seen[op / 16];
    e->seen[op / 16] = before | bit;
    return (before & bit) != 0;
}

/* Follows the chain of operators that wait for each other, from `op` on to one that can run, which it
 * returns. If it meets one that was seen before (`several` chains are followed), or ends outside of the
 * stage, RNNC_NONE; `asked` is set if the caller has the row. */
static inline uint16_t end_of_chain(rnnc_engine *e, uint16_t op, int several, int *asked) {
    int parts = in_parts(e);
    while (!several || !is_seen(e, op)) {
        uint16_t missing = missing_input(e, &e->model->ops[op], e->done[op], parts);
        if (missing == RNNC_NONE) {
            return op;
        }
        const rnnc_tensor *t = &e->model->tensors[missing];
        if (is_outside(e, t->producer)) {
            *asked |= rows_present(e, missing) < rows_allowed(e, t); /* the caller has the row */
            break;
        }
        op = t->producer;
    }
    return RNNC_NONE;
}

/* The operator that runs next in the current tick, or RNNC_NONE. */
static uint16_t next_op(rnnc_engine *e, int *asked) {
    const rnnc_stage *stage = &e->model->stages[e->stage];
    uint16_t last = RNNC_NONE;
    if (stage->sinks == 1) { /* one chain, and above who waits for the latest job nothing has changed */
        uint16_t waiter = e->latest == RNNC_NONE ? RNNC_NONE : e->model->ops[e->latest].waiter;
        if (waiter != RNNC_NONE) {
            return end_of_chain(e, waiter, 0, asked);
        }
        uint16_t sink = e->model->sinks[stage->first_sink];
        return e->done[sink] < e->model->ops[sink].jobs ? end_of_chain(e, sink, 0, asked) : RNNC_NONE;
    }
    memset(e->seen, 0, SEEN_WORDS(e->model) * sizeof(*e->seen));
    for (uint16_t i = stage->sinks; i-- > 0;) {
        uint16_t sink = e->model->sinks[stage->first_sink + i];
        if (last != RNNC_NONE && sink < last) {
            break; /* chains lead to operators that come earlier */
        }
        if (e->done[sink] < e->model->ops[sink].jobs) {
            uint16_t op = end_of_chain(e, sink, 1, asked);
            last = op != RNNC_NONE && (last == RNNC_NONE || op > last) ? op : last;
        }
    }
    return last;
}

/* RNNC_BUSY if a job of `op` can run; else RNNC_NEED_INPUT or RNNC_OK. */
static int find_job(rnnc_engine *e, uint16_t *op) {
    for (; e->stage < e->model->n_stages; ++e->stage, e->tick = 0, e->latest = RNNC_NONE) {
        for (; e->tick < e->model->stages[e->stage].ticks; ++e->tick) {
            int asked = 0;
            *op = next_op(e, &asked);
            if (*op != RNNC_NONE) {
                return RNNC_BUSY;
            }
            if (asked) {
                return RNNC_NEED_INPUT;
            }
        }
    }
    return RNNC_OK;
}

int rnnc_engine_step(rnnc_engine *e, unsigned budget) {
    uint16_t op;
    int status = find_job(e, &op);
    for (; status == RNNC_BUSY && budget != 0; --budget) {
        finish_job(e, op, run_kernel(e, op));
        status = find_job(e, &op);
    }
    return status;
}

int rnnc_engine_offer(rnnc_engine *e, const int8_t *row) {
    const rnnc_tensor *t = &e->model->tensors[0];
    uint16_t op;
    int status = find_job(e, &op);
    if (status == RNNC_OK && e->given[0] == t->height) {
        rnnc_engine_start(e);
        status = find_job(e, &op);
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

void rnnc_engine_lend(rnnc_engine *e, unsigned input, const int8_t *frame) {
    const int8_t **frames = (void *)((uint8_t *)e + e->model->lent_inputs);
    frames[input] = frame;
    e->given[input] = e->model->tensors[input].height;
}

void *rnnc_engine_row(const rnnc_engine *e, unsigned tensor, unsigned row) {
    return row_address(e, (uint16_t)tensor, (int32_t)row);
}
