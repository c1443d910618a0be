/* RNNPool: the order of the sweeps.
 *
 * An output row is made in groups of `batch` patches. Row summaries that the patch above left in
 * `state` are taken from there. The others are swept RNNC_RNN_LANES at a time: the same row of that
 * many patches, or that many rows of one patch, which holds fewer summaries. Then the products W1 x
 * come from the columns' sweeps, as far as `product_rows` of them wait, or are made again. Column
 * summaries do not depend on the patch, so each column is swept once per output row and waits in a
 * ring until no patch needs it. What is kept of a summary is its product with W2, for that is all
 * that RNN2 reads.
 */
#include "rnnc_rnnpool.h"

#include <string.h>

#if RNNC_USE_DSP && RNNC_CMSIS_DSP
#include "dsp/support_functions.h"
#endif

static void clear(int16_t *values, int32_t count) {
#if RNNC_USE_DSP && RNNC_CMSIS_DSP
    arm_fill_q15(0, values, (uint32_t)count);
#else
    memset(values, 0, (size_t)count * sizeof(*values));
#endif
}

static void copy(int16_t *to, const int16_t *from, int32_t count) {
#if RNNC_USE_DSP && RNNC_RNNPOOL_LIBRARY
    arm_copy_q15(from, to, (uint32_t)count);
#else
    memcpy(to, from, (size_t)count * sizeof(*to));
#endif
}

/* What the input products of a sweep are: there already, or W1 x of a pixel for each lane, made
 * before every step. Lanes are neighbouring columns, which step from row to row, or neighbouring
 * rows, which step from column to column. */
typedef enum { READY, OF_COLUMNS, OF_ROWS } sweep_source;

/* Where the input products of RNNC_RNN_LANES sweeps come from. A lane steps by `delta`, of which neighbours
 * may have two; at its step number `turn` it also leaps, from one end of the ring of `slots` steps to the
 * other. It is on the stack during all that a job calls. */
typedef struct {
    sweep_source source;
    int32_t row, column; /* of the first lane's first pixel, for what is not READY */
    int32_t slot;        /* of this column */
    const int16_t *at[RNNC_RNN_LANES];
    int32_t delta[2];
    int16_t turn[RNNC_RNN_LANES];
    int16_t wait[RNNC_RNN_LANES]; /* steps to let pass before the sweep begins */
    int16_t longest_wait;
    int16_t steady; /* no lane leaps or waits, so that turn and wait mean nothing */
} sweep_inputs;

/* Scratch of one job, sizes as in Geometry.scratch_bytes (rnnc/ir/ops/rnnpool_geometry.py). */
typedef struct {
    const rnnc_rnnpool *p;
    const rnnc_job *job;
    int16_t *pixels;   /* [lane][channels]: (x - zero point) << 7 */
    int16_t *states;   /* states and their recurrent products, each [lane][hidden] */
    int16_t *products; /* W1 x of the pixels under way, [pixel][hidden1] */
    int16_t *shared;   /* W1 x of the last product_rows rows, [row][slot][hidden1] */
    int16_t *window;   /* W2 of row summaries, [patch of the batch][kernel_h][hidden2] */
    int16_t *ring;     /* W2 of column summaries, [slot][hidden2] */
    int32_t slots;
    int32_t column_step; /* covered columns between the starts of neighbouring patches */
    int32_t columns_made;
    const int8_t *at[RNNC_RNN_LANES]; /* pixels whose W1 x is next */
    int8_t blank[4];                  /* a pixel of padding, as far as rnnc_rnn_pixel_product reads */
    sweep_inputs inputs;              /* of the sweep under way */
} work;

static int32_t lane_multiple(int32_t count) {
    return (count + RNNC_RNN_LANES - 1) / RNNC_RNN_LANES * RNNC_RNN_LANES;
}

static int32_t least(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static int32_t most(int32_t a, int32_t b) {
    return a > b ? a : b;
}

static void divide_scratch(work *w) {
    const rnnc_rnnpool *p = w->p;
    int32_t h1 = p->w1.rows, h2 = p->w2.rows, rows = p->kernel_h;
    int32_t columns = RNNC_RNN_LANES, window;
    if (p->batch == 1) { /* whole groups of rows, from the top or from below the kept ones */
        window = most(lane_multiple(rows), p->kept_rows + lane_multiple(rows - p->kept_rows));
    } else {
        int32_t patches = least(RNNC_RNN_LANES, p->out_width);
        columns = lane_multiple((patches - 1) * w->column_step + p->kernel_w);
        window = RNNC_RNN_LANES * rows;
    }
    w->pixels = w->job->scratch;
    w->states = w->pixels + RNNC_RNN_LANES * p->w1.columns;
    w->products = w->states + 2 * RNNC_RNN_LANES * most(h1, h2);
    w->slots = lane_multiple(p->kernel_w + RNNC_RNN_LANES - 1);
    w->shared = w->products + columns * h1;
    w->window = w->shared + w->slots * p->product_rows * h1;
    w->ring = w->window + window * h2;
}

static void begin(work *w, const rnnc_rnnpool *p, const rnnc_job *job) {
    w->p = p;
    w->job = job;
    w->column_step = least(p->stride_w, p->kernel_w);
    w->columns_made = 0;
    for (int32_t channel = 0; channel < (int32_t)sizeof(w->blank); ++channel) {
        w->blank[channel] = (int8_t)p->in_zero_point;
    }
    divide_scratch(w);
}

/* The input column of the n-th column that some patch covers. */
static int32_t column_of(const rnnc_rnnpool *p, int32_t covered) {
    if (p->stride_w <= p->kernel_w) {
        return covered - p->pad_left;
    }
    return covered / p->kernel_w * p->stride_w + covered % p->kernel_w - p->pad_left;
}

/* The pixel of a covered column of a row, or of padding */
static const int8_t *pixel_of(const work *w, const int8_t *row, int32_t covered) {
    int32_t column = column_of(w->p, covered);
    return row != NULL && column >= 0 && column < w->p->in_width ? row + column * w->p->in_channels
                                                                 : w->blank;
}

/* The next pixels are those of RNNC_RNN_LANES covered columns of a row from `first` on. */
static void take_columns(work *w, const int8_t *row, int32_t first) {
    const rnnc_rnnpool *p = w->p;
    int32_t start = column_of(p, first);
    if (row != NULL && p->stride_w <= p->kernel_w && start >= 0 && start + RNNC_RNN_LANES <= p->in_width) {
        const int8_t *pixel = row + start * p->in_channels;
        for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane, pixel += p->in_channels) {
            w->at[lane] = pixel;
        }
    } else {
        for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
            w->at[lane] = pixel_of(w, row, first + lane);
        }
    }
}

/* The next pixels are those of one covered column of RNNC_RNN_LANES rows from `row` on; rows below the
 * patch repeat its last one. */
static void take_rows(work *w, int32_t row, int32_t covered) {
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
        w->at[lane] = pixel_of(w, w->job->rows[least(row + lane, w->p->kernel_h - 1)], covered);
    }
}

/* W1 x of the next pixels */
static RNNC_NOINLINE void input_products(const work *w, int16_t *out) {
    const rnnc_rnnpool *p = w->p;
    int32_t width = p->w1.columns;
    if (p->pixel_weights != NULL) {
        rnnc_rnn_pixel_product(p->pixel_weights, p->w1.rows, w->at, out);
        return;
    }
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
        int16_t *centred = w->pixels + lane * width;
        if (w->at[lane] == w->blank || p->in_channels != width) {
            clear(centred, width);
        }
        if (w->at[lane] != w->blank) {
            rnnc_rnn_centre(w->at[lane], p->in_channels, p->in_zero_point, centred);
        }
    }
    rnnc_rnn_product(&p->w1, w->pixels, out, p->w1.rows);
}

/* The next sweep's input products are made as they are needed, in the one place of w->products, but
 * for columns' products that rows will need too. */
static void read_on_demand(work *w, sweep_source source, int32_t row, int32_t column) {
    w->inputs.source = source;
    w->inputs.row = row;
    w->inputs.column = column;
    w->inputs.slot = column % w->slots;
    w->inputs.longest_wait = 0;
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
        w->inputs.at[lane] = w->products + lane * w->p->w1.rows;
    }
}

static void make_products(work *w, int32_t step) {
    sweep_inputs *inputs = &w->inputs;
    if (inputs->source == OF_ROWS) {
        take_rows(w, inputs->row, inputs->column + step);
        input_products(w, w->products);
        return;
    }
    int32_t h1 = w->p->w1.rows, shared = step - (w->p->kernel_h - w->p->product_rows);
    int16_t *out = w->products;
    if (shared >= 0) {
        out = w->shared + (shared * w->slots + inputs->slot) * h1;
        for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
            inputs->at[lane] = out + lane * h1;
        }
    }
    take_columns(w, w->job->rows[step], inputs->column);
    input_products(w, out);
}

static void advance(sweep_inputs *inputs, int32_t step, int32_t slots) {
    if (inputs->steady) {
        for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
            inputs->at[lane] += inputs->delta[lane % 2];
        }
        return;
    }
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
        int32_t taken = step - inputs->wait[lane];
        if (taken > 0) {
            inputs->at[lane] += inputs->delta[lane % 2] * (taken == inputs->turn[lane] ? 1 - slots : 1);
        }
    }
}

/* Final states [lane][hidden] of RNNC_RNN_LANES sweeps of the same cell. */
static RNNC_NOINLINE const int16_t *sweep(work *w, const rnnc_rnn_cell *cell, int32_t steps) {
    sweep_inputs *inputs = &w->inputs;
    int32_t hidden = cell->recurrent.rows;
    int16_t *state = w->states;
    for (int32_t step = 0; step < steps; ++step) {
        if (inputs->source != READY) {
            make_products(w, step);
        } else if (step > 0) {
            advance(inputs, step, w->slots);
        }
        if (step > 0) {
            rnnc_rnn_step(cell, inputs->at, state);
        } else {
            rnnc_rnn_start(cell, inputs->at, state);
        }
        for (int32_t lane = 0; lane < RNNC_RNN_LANES && step < inputs->longest_wait; ++lane) {
            if (step < inputs->wait[lane]) {
                clear(state + lane * hidden, hidden);
            }
        }
    }
    return state;
}

/* W2 of the summaries of one input row for `patches` patches from `first` on, into row `k` of the
 * window. */
static void summarise_row(work *w, int32_t k, int32_t first, int32_t patches) {
    const rnnc_rnnpool *p = w->p;
    int32_t start = first * w->column_step;
    int32_t span = (patches - 1) * w->column_step + p->kernel_w;
    for (int32_t column = 0; column < span; column += RNNC_RNN_LANES) {
        take_columns(w, w->job->rows[k], start + column);
        input_products(w, w->products + column * p->w1.rows);
    }
    w->inputs.source = READY;
    w->inputs.steady = 1;
    w->inputs.longest_wait = 0;
    w->inputs.delta[0] = w->inputs.delta[1] = p->w1.rows;
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
        /* lanes without a patch repeat the last one */
        w->inputs.at[lane] = w->products + least(lane, patches - 1) * w->column_step * p->w1.rows;
    }
    const int16_t *summaries = sweep(w, &p->rnn1, p->kernel_w);
    rnnc_rnn_product(&p->w2, summaries, w->window + k * p->w2.rows, p->kernel_h * p->w2.rows);
}

/* The next sweep goes along RNNC_RNN_LANES rows, of which `row` is the first, over products that the
 * columns' left. */
static void read_shared(work *w, int32_t row, int32_t column) {
    int32_t h1 = w->p->w1.rows, left = column % w->slots;
    sweep_inputs *inputs = &w->inputs;
    inputs->source = READY;
    inputs->steady = left + w->p->kernel_w <= w->slots;
    inputs->longest_wait = 0;
    inputs->delta[0] = inputs->delta[1] = h1;
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
        int32_t from = least(row + lane, w->p->product_rows - 1); /* rows below repeat the last one */
        inputs->at[lane] = w->shared + (from * w->slots + left) * h1;
        inputs->turn[lane] = (int16_t)(w->slots - left);
        inputs->wait[lane] = 0;
    }
}

/* W2 of the summaries of one patch's rows from `row` on, RNNC_RNN_LANES at a time, into the window. */
static void summarise_patch(work *w, int32_t row, int32_t patch) {
    int32_t column = patch * w->column_step;
    for (; row < w->p->kernel_h; row += RNNC_RNN_LANES) {
        int32_t shared = row - (w->p->kernel_h - w->p->product_rows);
        if (shared < 0) {
            read_on_demand(w, OF_ROWS, row, column);
        } else {
            read_shared(w, shared, column);
        }
        const int16_t *summaries = sweep(w, &w->p->rnn1, w->p->kernel_w);
        rnnc_rnn_product(&w->p->w2, summaries, w->window + row * w->p->w2.rows, w->p->w2.rows);
    }
}

/* W2 of the summaries of the next RNNC_RNN_LANES columns, into the ring. */
static void summarise_columns(work *w) {
    read_on_demand(w, OF_COLUMNS, 0, w->columns_made);
    const int16_t *summaries = sweep(w, &w->p->rnn1, w->p->kernel_h);
    int32_t slot = w->columns_made % w->slots;
    rnnc_rnn_product(&w->p->w2, summaries, w->ring + slot * w->p->w2.rows, w->p->w2.rows);
    w->columns_made += RNNC_RNN_LANES;
}

/* All columns of a patch. */
static void make_columns(work *w, int32_t patch) {
    while (w->columns_made < patch * w->column_step + w->p->kernel_w) {
        summarise_columns(w);
    }
}

/* The next sweeps are RNN2's over the summaries of one patch, both ways over both kinds; the shorter
 * ones wait. Returns the steps that they take. */
static int32_t read_summaries(work *w, int32_t patch, const int16_t *window) {
    sweep_inputs *inputs = &w->inputs;
    int32_t hidden = w->p->w2.rows, slots = w->slots;
    int32_t rows = w->p->kernel_h, columns = w->p->kernel_w, steps = most(rows, columns);
    int32_t left = patch * w->column_step % slots, right = left + columns - 1;
    inputs->source = READY;
    inputs->steady = rows == columns && right < slots;
    inputs->longest_wait = (int16_t)(steps - least(rows, columns));
    right -= right < slots ? 0 : slots;
    for (int32_t back = 0; back < 2; ++back) { /* lanes 0 and 1 rows, lanes 2 and 3 columns */
        inputs->at[back] = window + (back ? rows - 1 : 0) * hidden;
        inputs->at[2 + back] = w->ring + (back ? right : left) * hidden;
        inputs->delta[back] = back ? -hidden : hidden;
        inputs->turn[back] = 0;
        inputs->turn[2 + back] = (int16_t)(back ? right + 1 : slots - left);
        inputs->wait[back] = (int16_t)(steps - rows);
        inputs->wait[2 + back] = (int16_t)(steps - columns);
    }
    return steps;
}

/* RNN2 over the summaries of one patch, both ways over both kinds at once. */
static void finish_patch(work *w, int32_t patch, int32_t lane) {
    const rnnc_rnnpool *p = w->p;
    int32_t hidden = p->w2.rows;
    int32_t steps = read_summaries(w, patch, w->window + lane * p->kernel_h * hidden);
    const int16_t *states = sweep(w, &p->rnn2, steps);
    int8_t *out = (int8_t *)w->job->out + patch * RNNC_RNN_LANES * p->hidden2;
    int32_t used = p->hidden2, shift = p->out_shift;
    int32_t multiplier = p->out_multiplier, zero_point = p->out_zero_point;
    const int16_t *order = p->order2;
    for (int32_t way = 0; way < RNNC_RNN_LANES; ++way, states += hidden, out += used) {
        for (int32_t i = 0; i < used; ++i) {
            int32_t scaled =
                rnnc_high_multiply_add(zero_point, rnnc_shift_left(states[i], shift), multiplier);
            out[order[i]] = (int8_t)rnnc_saturate(scaled);
        }
    }
}

void rnnc_rnnpool_s8(const void *params, const rnnc_job *job) {
    const rnnc_rnnpool *p = params;
    work w;
    begin(&w, p, job);
    int32_t kept = p->kept_rows * p->w2.rows;
    int32_t pitch = p->kernel_h * p->w2.rows;
    int32_t fresh = job->first ? 0 : p->kept_rows; /* first row of the window that is not in state */
    for (int32_t first = 0; first < p->out_width; first += p->batch) {
        int32_t patches = least(p->batch, p->out_width - first);
        int16_t *state = kept > 0 ? (int16_t *)job->state + first * kept : NULL;
        for (int32_t lane = 0; lane < patches && fresh > 0; ++lane) {
            copy(w.window + lane * pitch, state + lane * kept, kept);
        }
        if (p->batch == 1) {
            make_columns(&w, first);
            summarise_patch(&w, fresh, first);
        } else {
            for (int32_t k = fresh; k < p->kernel_h; ++k) {
                summarise_row(&w, k, first, patches);
            }
        }
        for (int32_t lane = 0; lane < patches; ++lane) {
            make_columns(&w, first + lane);
            finish_patch(&w, first + lane, lane);
            if (kept > 0) {
                copy(state + lane * kept, w.window + lane * pitch + pitch - kept, kept);
            }
        }
    }
}
