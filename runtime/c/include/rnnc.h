/* rnnc.h: the contracts between generated code, kernels, the row engine and the firmware.
 *
 * A model is a table of tensors, a table of operators and a table of stages, all constant. The row engine
 * (src/engine.c) runs the operators one row at a time; a kernel sees row pointers only, so it cannot tell a
 * ring buffer from a whole tensor. Nothing allocates, nothing recurses, no global is written.
 */
#ifndef RNNC_H
#define RNNC_H

#include <stddef.h>
#include <stdint.h>

/* DSP kernels are used where the core has the Armv7E-M SIMD instructions, unless RNNC_PORTABLE is defined. */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && !defined(RNNC_PORTABLE)
#define RNNC_USE_DSP 1
#else
#define RNNC_USE_DSP 0
#endif

/* A function of its own: what it needs takes stack during its calls only, not during all that its caller
 * calls. GCC's clones have more parameters, and so larger frames. */
#if defined(__clang__)
#define RNNC_NOINLINE __attribute__((noinline))
#elif defined(__GNUC__)
#define RNNC_NOINLINE __attribute__((noinline, noclone))
#else
#define RNNC_NOINLINE
#endif

#define RNNC_OK 0
#define RNNC_NEED_INPUT 1      /* stream mode: push the next row and step again */
#define RNNC_BUSY 2            /* the budget of a step is used up; step again */
#define RNNC_ERR_ARENA (-1)    /* arena NULL, too small or not aligned to RNNC_ALIGN */
#define RNNC_ERR_ARGUMENT (-2) /* a NULL pointer or a count out of range */
#define RNNC_ERR_STATE (-3)    /* called out of order, e.g. rows pushed past the end of the input */

#define RNNC_ALIGN 8
#define RNNC_NONE 0xFFFFu
#define RNNC_MAX_ROWS 64     /* row pointers that one job may need */
#define RNNC_ALL 0xFFFFFFFFu /* the budget of a step that need not stop */

/* Where a part of scratch that comes after `bytes` others may start. */
static inline int32_t rnnc_aligned(int32_t bytes) {
    return (bytes + RNNC_ALIGN - 1) / RNNC_ALIGN * RNNC_ALIGN;
}

/* One row of work, as a kernel sees it. */
typedef struct {
    const void *const *rows; /* of each input window, window after window; NULL is a row of padding */
    void *out;     /* the output row; not to be written by the first jobs - height jobs of an operator */
    void *scratch; /* RNNC_ALIGN-aligned, contents undefined on entry */
    void *state;   /* kept from the first job of a run to its last */
    int32_t job;   /* 0 .. jobs-1; the output row, or that plus the jobs that only take in rows */
    int32_t first; /* nonzero on the first job of a run: state must be initialised */
} rnnc_job;

typedef void rnnc_kernel(const void *params, const rnnc_job *job);

/* Where the rows of one tensor live: row y is at bank + offset + (y % ring) * row_bytes, unless it slides. */
typedef struct {
    uint32_t offset;
    uint32_t row_bytes;
    uint16_t height;   /* rows of the whole tensor */
    uint16_t ring;     /* rows held at a time; equal to height for a whole tensor */
    uint16_t producer; /* operator that writes it, RNNC_NONE for a graph input */
    uint16_t bank;
    uint16_t slide; /* RNNC_NONE: it does not */
} rnnc_tensor;

/* A ring whose rows move when the oldest are not needed any more, so that what is free of it stays in one
 * place. The oldest row that a job to come reads lies first; from row `stay` on they are at `landing`. */
typedef struct {
    uint32_t landing; /* offset in its bank */
    uint16_t landing_bank;
    uint16_t tensor; /* the first to be written of those that share the place */
    uint16_t first_reader;
    uint16_t readers;
    uint16_t stay;
} rnnc_slide;

/* An operator that reads a ring that slides, and by which window. */
typedef struct {
    uint16_t op;
    uint16_t window;
} rnnc_reader;

/* The input rows that job j needs: j * stride - pad + i * dilation for i in 0 .. rows-1.
 * Those outside 0 .. height-1 are padding, given to the kernel as NULL, or the nearest row if `edge`. */
typedef struct {
    uint16_t tensor;
    uint16_t rows;
    uint16_t stride;
    uint16_t dilation;
    int16_t pad;
    uint16_t edge;
    int16_t reach; /* rows of the tensor that job 0 needs */
} rnnc_window;

typedef struct {
    rnnc_kernel *kernel;
    const void *params;
    uint32_t scratch; /* offset in its bank */
    uint32_t state;
    uint16_t scratch_bank;
    uint16_t state_bank;
    uint16_t first_window;
    uint16_t windows;
    uint16_t output; /* tensor */
    uint16_t jobs;   /* at least the height of the output; the first jobs - height only take in rows */
    uint16_t waiter; /* the one operator of the stage that reads the output, RNNC_NONE if that is not so */
} rnnc_op;

/* A piece of the graph that runs row by row: ops first_op .. first_op + ops - 1. Their jobs are done because
 * sinks, whose outputs leave the stage, wait for them; see docs/scheduling.md. */
typedef struct {
    uint16_t first_op;
    uint16_t ops;
    uint16_t first_sink;
    uint16_t sinks;
    uint16_t ticks; /* equal parts in which it gets what it reads from outside */
} rnnc_stage;

typedef struct {
    const char *name;
    uint32_t bytes; /* of the whole tensor, on the device (channels last) */
    uint32_t row_bytes;
    uint16_t height, width, channels;
    uint16_t element_bytes; /* 1: int8, 2: int16 */
    uint16_t tensor;
    int32_t zero_point;
    float scale;
} rnnc_port;

/* Everything a program needs to run a model that it does not know; nothing here is ever written. */
typedef struct {
    const char *name;
    const rnnc_tensor *tensors;
    const rnnc_window *windows;
    const rnnc_slide *slides; /* NULL if there are none */
    const rnnc_reader *readers;
    const rnnc_op *ops;
    const rnnc_stage *stages;
    const uint16_t *sinks; /* operators, stage by stage */
    const rnnc_port *inputs;
    const rnnc_port *outputs;
    const uint32_t *bank_size;
    uint32_t state_size; /* bytes of the model's own struct */
    uint16_t n_tensors, n_ops, n_stages, n_inputs, n_outputs, n_banks;
    uint16_t job_rows;      /* row pointers that one job needs; RNNC_JOB_ROWS must not be less */
    uint16_t stream_output; /* nonzero: outputs are not held; its struct begins with rnnc_row_engine */
    uint16_t lent_inputs; /* where its struct has const int8_t *[n_inputs], the frames that the caller lends;
                             or 0 */
} rnnc_model;

/* The written part of a model: the generated struct NAME_t begins with it. */
typedef struct {
    const rnnc_model *model;
    uint8_t *bank[2];
    uint16_t *done;  /* jobs finished, by operator (n_ops entries) */
    uint16_t *given; /* rows present, by graph input (n_inputs entries) */
    uint16_t *seen;  /* a bit by operator, for the search of the next job */
    uint16_t stage;
    uint16_t tick;
    uint16_t latest; /* operator of the latest job in this stage, or RNNC_NONE */
} rnnc_engine;

/* Told of each row of each output as soon as it is made, the rows of one output in order. `data` is valid
 * until the sink returns; the sink must not call the model. */
typedef void rnnc_row_sink(void *context, unsigned output, unsigned row, const void *data, size_t bytes);

/* The written part of a model with streamed outputs; one without pays nothing for them. */
typedef struct {
    rnnc_engine engine;    /* first, so that the engine can find the rest */
    rnnc_row_sink *sink;   /* or NULL */
    void *context;         /* the sink's own */
    int8_t *const *copies; /* by output, where its rows are copied to, or NULL; NULL for no copies at all */
} rnnc_row_engine;

int rnnc_engine_init(rnnc_engine *e, const rnnc_model *model, uint16_t *counters, void *const *banks,
                     const size_t *sizes);
void rnnc_engine_start(rnnc_engine *e);                /* before each inference: forget all rows */
int rnnc_engine_step(rnnc_engine *e, unsigned budget); /* at most `budget` jobs; RNNC_OK when all is done */
/* Input stream mode: the next n rows of input 0; does all the work they allow. RNNC_NEED_INPUT, or RNNC_OK
 * with the last row; the row after that starts a new inference. */
int rnnc_engine_push(rnnc_engine *e, const int8_t *rows, size_t n);
/* The same in slices. offer takes one row and does no work: RNNC_OK, or RNNC_BUSY while the rows before it
 * have work left. work is rnnc_engine_step, but RNNC_NEED_INPUT until every row was given, needed or not. */
int rnnc_engine_offer(rnnc_engine *e, const int8_t *row);
int rnnc_engine_work(rnnc_engine *e, unsigned budget);
/* Lent inputs, after a start: the whole frame of one of them, to stay as it is until the run is over. */
void rnnc_engine_lend(rnnc_engine *e, unsigned input, const int8_t *frame);
/* Where a row lies that is present, or will lie that comes next. */
void *rnnc_engine_row(const rnnc_engine *e, unsigned tensor, unsigned row);

/* Hooks, called only in code built with RNNC_HOOKS; the program that links the model defines them. */
#ifdef RNNC_HOOKS
void rnnc_marker_layer(unsigned op);
void rnnc_trace_row(unsigned op, unsigned row, const void *data, size_t bytes);
#endif

#endif
