/* An expansion and a depthwise convolution, chunk of channels by chunk, on the kernels of both. */
#include "rnnc_bottleneck.h"

#include <string.h>

/* The memory of a job: rows of one chunk that only it needs, the chunk's output row, and scratch of the
 * kernels that it calls. */
typedef struct {
    const rnnc_bottleneck *p;
    const rnnc_job *job;
    int8_t *fresh, *line;
    void *scratch;
    int32_t row_bytes; /* of a wide row of one chunk */
    int32_t chunks;
    int32_t number; /* of the output row; below zero while warming up */
} rnnc_bottleneck_job;

static int32_t aligned(int32_t bytes) {
    return (bytes + RNNC_ALIGN - 1) / RNNC_ALIGN * RNNC_ALIGN;
}

/* How many rows of each job the following ones read again and are kept together, as one unit. */
static int32_t kept_rows(const rnnc_bottleneck *p) {
    int32_t overlap = p->depthwise.kernel_h - p->stride_h;
    return !p->keep ? 0 : overlap < p->stride_h ? overlap : p->stride_h;
}

static rnnc_bottleneck_job begin(const rnnc_bottleneck *p, const rnnc_job *job) {
    int32_t row_bytes = p->expand.out_width * p->chunk;
    int32_t fresh_rows = p->keep ? p->stride_h - kept_rows(p) : p->depthwise.kernel_h;
    int8_t *line = (int8_t *)job->scratch + aligned(fresh_rows * row_bytes);
    return (rnnc_bottleneck_job){
        .p = p,
        .job = job,
        .fresh = job->scratch,
        .line = line,
        .scratch = line + aligned(p->depthwise.out_width * p->chunk),
        .row_bytes = row_bytes,
        .chunks = (p->expand.out_channels + p->chunk - 1) / p->chunk,
        .number = job->job - p->warm_up,
    };
}

/* Where the wide row of a tap lies. Kept units of all chunks form one ring in the order in which they are
 * made: a unit takes the place of the one that nobody needs any more, so that nothing is ever moved. */
static int8_t *wide_row(const rnnc_bottleneck_job *b, int32_t chunk, int32_t tap) {
    const rnnc_bottleneck *p = b->p;
    if (!p->keep) {
        return b->fresh + tap * b->row_bytes;
    }
    int32_t unit = kept_rows(p);
    int32_t jobs_back = (p->depthwise.kernel_h - 1 - tap) / p->stride_h;
    int32_t rows_back = (p->depthwise.kernel_h - 1 - tap) % p->stride_h;
    if (rows_back >= unit) {
        return b->fresh + (rows_back - unit) * b->row_bytes;
    }
    int32_t reach = (p->depthwise.kernel_h - p->stride_h + unit - 1) / unit;
    int32_t made = (b->number - jobs_back + reach) * b->chunks + chunk;
    int32_t slot = made % (reach * b->chunks + 1);
    return (int8_t *)b->job->state + (slot * unit + unit - 1 - rows_back) * b->row_bytes;
}

/* The wide rows of one chunk: a pointer by tap, NULL for padding. What the job was given rows for is made. */
static void make_rows(const rnnc_bottleneck_job *b, int32_t chunk, int32_t channels, const void **rows) {
    const rnnc_bottleneck *p = b->p;
    int32_t words = (p->expand.in_channels + 3) / 4;
    int32_t given = p->keep ? p->depthwise.kernel_h - p->stride_h : 0;
    int32_t top = b->number * p->stride_h - p->pad_top;
    rnnc_conv2d expand = rnnc_conv_slice(&p->expand, chunk * p->chunk, channels, 4 * words);
    for (int32_t tap = 0; tap < p->depthwise.kernel_h; ++tap) {
        int inside = top + tap >= 0 && top + tap < p->in_height;
        int8_t *row = inside ? wide_row(b, chunk, tap) : NULL;
        if (inside && tap >= given) {
            rnnc_job job = {.rows = &b->job->rows[tap - given], .out = row, .scratch = b->scratch};
            rnnc_pointwise_s8(&expand, &job);
        }
        rows[tap] = row;
    }
}

/* The chunk's part of each pixel of the output row. */
static void spread(const int8_t *line, int32_t width, int32_t channels, int8_t *out, int32_t pitch) {
    for (int32_t x = 0; x < width; ++x, line += channels, out += pitch) {
        int32_t c = 0;
        for (; c + 4 <= channels; c += 4) {
            memcpy(out + c, line + c, 4);
        }
        for (; c < channels; ++c) {
            out[c] = line[c];
        }
    }
}

typedef enum { ANY_TAPS, TAPS_3X3, TAPS_3X3_IN_STRIPS } depthwise_kind;

/* Calls that the linker can see, and no pointer to the kernel, keep the other kernels out of the program. */
static inline void run(const rnnc_bottleneck *p, const rnnc_job *job, depthwise_kind kind) {
    rnnc_bottleneck_job b = begin(p, job);
    int32_t taps = p->depthwise.kernel_h * p->depthwise.kernel_w;
    int32_t all = p->expand.out_channels;
    for (int32_t chunk = 0; chunk < b.chunks; ++chunk) {
        const void *rows[RNNC_BOTTLENECK_ROWS];
        int32_t first = chunk * p->chunk;
        int32_t channels = all - first < p->chunk ? all - first : p->chunk;
        make_rows(&b, chunk, channels, rows);
        if (b.number < 0) {
            continue;
        }
        rnnc_conv2d part = rnnc_conv_slice(&p->depthwise, first, channels, taps);
        part.in_channels = part.groups = channels;
        int8_t *out = channels == all ? job->out : b.line;
        rnnc_job inner = {.rows = rows, .out = out, .scratch = b.scratch};
        if (kind == TAPS_3X3) {
            rnnc_depthwise3x3_s8(&part, &inner);
        } else if (kind == TAPS_3X3_IN_STRIPS) {
            rnnc_depthwise_strip_s8(&part, &inner);
        } else {
            rnnc_depthwise_s8(&part, &inner);
        }
        if (channels != all) {
            spread(b.line, part.out_width, channels, (int8_t *)job->out + first, all);
        }
    }
}

void rnnc_bottleneck_s8(const void *params, const rnnc_job *job) {
    run(params, job, ANY_TAPS);
}

void rnnc_bottleneck3x3_s8(const void *params, const rnnc_job *job) {
    run(params, job, TAPS_3X3);
}

void rnnc_bottleneck_strip_s8(const void *params, const rnnc_job *job) {
    run(params, job, TAPS_3X3_IN_STRIPS);
}
