/* Expansion, depthwise convolution and projection, tile by tile, on the kernels of all three. */
#include "rnnc_inverted.h"

#include <string.h>

/* The memory of a job. */
typedef struct {
    const rnnc_inverted *p;
    const rnnc_job *job;
    int8_t *window;    /* wide columns of one chunk, for each row that the job makes */
    int8_t *line;      /* depthwise output of one chunk */
    int8_t *middle;    /* of all */
    int8_t *halo;      /* by chunk and row: columns of the window that the next tile reads again */
    void *scratch;     /* of the kernels that it calls */
    rnnc_conv2d *part; /* what is called next: one on the stack serves all three convolutions */
    int32_t columns;   /* that a row of the window has room for */
    int32_t overlap;   /* columns in a row of the halo */
    int32_t chunks, fresh_rows;
    int32_t top; /* input row of the first tap */
} rnnc_inverted_job;

static rnnc_inverted_job begin(const rnnc_inverted *p, const rnnc_job *job, rnnc_conv2d *part) {
    const rnnc_conv2d *depthwise = &p->depthwise;
    int32_t reach = (p->tile - 1) * depthwise->stride_w + depthwise->kernel_w;
    int32_t overlap = depthwise->kernel_w - depthwise->stride_w;
    rnnc_inverted_job b = {
        .p = p,
        .job = job,
        .window = job->scratch,
        .part = part,
        .columns = reach < depthwise->in_width ? reach : depthwise->in_width,
        .overlap = overlap > 0 && p->tile < depthwise->out_width ? overlap : 0,
        .chunks = (p->expand.out_channels + p->chunk - 1) / p->chunk,
        .fresh_rows = depthwise->kernel_h - p->kept_rows,
        .top = (job->job - p->warm_up) * p->stride_h - p->pad_top,
    };
    b.line = b.window + rnnc_aligned(b.fresh_rows * b.columns * p->chunk);
    b.middle = b.line + rnnc_aligned(p->tile * p->chunk);
    b.halo = b.middle + rnnc_aligned(p->tile * p->expand.out_channels);
    b.scratch = b.halo + rnnc_aligned(b.fresh_rows * b.overlap * b.chunks * p->chunk);
    return b;
}

static int is_inside(const rnnc_inverted_job *b, int32_t tap) {
    return b->top + tap >= 0 && b->top + tap < b->p->wide_height;
}

/* The whole wide row of one chunk that is kept, or will be, for the row of a tap. */
static int8_t *kept_row(const rnnc_inverted_job *b, int32_t chunk, int32_t tap) {
    const rnnc_inverted *p = b->p;
    int32_t slot = (b->top + tap) % p->kept_rows;
    return (int8_t *)b->job->state + (chunk * p->kept_rows + slot) * p->depthwise.in_width * p->chunk;
}

static int8_t *fresh_row(const rnnc_inverted_job *b, int32_t tap) {
    return b->window + (tap - b->p->kept_rows) * b->columns * b->p->chunk;
}

static int8_t *halo_row(const rnnc_inverted_job *b, int32_t chunk, int32_t tap) {
    return b->halo + (chunk * b->fresh_rows + tap - b->p->kept_rows) * b->overlap * b->p->chunk;
}

/* The columns of a tile, of one chunk, for the rows that the job makes; `known` of them are in the halo. */
static inline void make_window(const rnnc_inverted_job *b, rnnc_stretch t, int32_t known, int32_t chunk,
                               int32_t channels, int pointwise) {
    const rnnc_conv2d *whole = &b->p->expand;
    *b->part = *whole;
    rnnc_conv_slice(b->part, chunk * b->p->chunk, channels, rnnc_conv_bytes(whole));
    rnnc_stretch fresh = rnnc_stretch_at(whole, t.first + known, t.columns - known);
    rnnc_conv_narrow(b->part, fresh);
    const void *const *given = b->job->rows;
    for (int32_t tap = b->p->kept_rows; tap < b->p->depthwise.kernel_h;
         ++tap, given += b->p->expand_stride_h) {
        const void *rows[RNNC_INVERTED_ROWS];
        int8_t *row = fresh_row(b, tap);
        if (!is_inside(b, tap)) {
            continue;
        }
        for (int32_t i = 0; i < whole->kernel_h; ++i) {
            rows[i] = given[i] == NULL ? NULL : (const int8_t *)given[i] + fresh.first * whole->in_channels;
        }
        memcpy(row, halo_row(b, chunk, tap), (size_t)(known * channels));
        rnnc_job job = {.rows = rows, .out = row + known * channels, .scratch = b->scratch};
        if (pointwise) {
            rnnc_pointwise_s8(b->part, &job);
        } else {
            rnnc_conv2d_s8(b->part, &job);
        }
    }
}

/* Columns from `next` on stay for the next tile; those before it take the place of columns that no tile
 * of this job reads any more, in rows that no later job reads. */
static void keep_window(const rnnc_inverted_job *b, rnnc_stretch t, int32_t next, int32_t chunk,
                        int32_t channels) {
    const rnnc_inverted *p = b->p;
    int32_t done = next - t.first < t.columns ? next - t.first : t.columns;
    for (int32_t tap = p->kept_rows; tap < p->depthwise.kernel_h; ++tap) {
        if (!is_inside(b, tap)) {
            continue;
        }
        const int8_t *row = fresh_row(b, tap);
        memcpy(halo_row(b, chunk, tap), row + done * channels, (size_t)((t.columns - done) * channels));
        if (tap >= p->stride_h && p->kept_rows != 0) {
            memcpy(kept_row(b, chunk, tap) + t.first * channels, row, (size_t)(done * channels));
        }
    }
}

/* The chunk's part of each pixel of the tile. */
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

/* The depthwise output of one chunk. */
static inline void run_depthwise(const rnnc_inverted_job *b, rnnc_stretch t, int32_t chunk, int32_t channels,
                                 rnnc_depthwise_kind kind) {
    const rnnc_inverted *p = b->p;
    const void *rows[RNNC_INVERTED_ROWS];
    for (int32_t tap = 0; tap < p->depthwise.kernel_h; ++tap) {
        if (!is_inside(b, tap)) {
            rows[tap] = NULL;
        } else {
            rows[tap] = tap < p->kept_rows ? kept_row(b, chunk, tap) + t.first * channels : fresh_row(b, tap);
        }
    }
    int32_t first = chunk * p->chunk;
    int32_t taps = p->depthwise.kernel_h * p->depthwise.kernel_w;
    *b->part = p->depthwise;
    rnnc_conv_slice(b->part, first, channels, taps);
    rnnc_conv_narrow(b->part, t);
    b->part->in_channels = b->part->groups = channels;
    int8_t *out = b->chunks == 1 ? b->middle : b->line;
    rnnc_depthwise_of_kind(kind, b->part, &(rnnc_job){.rows = rows, .out = out, .scratch = b->scratch});
    if (b->chunks != 1) {
        spread(b->line, t.width, channels, b->middle + first, p->expand.out_channels);
    }
}

/* Calls that the linker can see, and no pointer to the kernel, keep the other kernels out of the program. */
static inline void run(const rnnc_inverted *p, const rnnc_job *job, int pointwise, rnnc_depthwise_kind kind) {
    rnnc_conv2d part;
    rnnc_inverted_job b = begin(p, job, &part);
    int32_t end = p->depthwise.out_width;
    rnnc_stretch t = rnnc_stretch_at(&p->depthwise, 0, p->tile);
    for (int32_t x = 0, made = 0; x < end; x += p->tile) {
        rnnc_stretch next = rnnc_stretch_at(&p->depthwise, x + p->tile, p->tile);
        int32_t known = made > t.first ? made - t.first : 0;
        for (int32_t chunk = 0; chunk < b.chunks; ++chunk) {
            int32_t rest = p->expand.out_channels - chunk * p->chunk;
            int32_t channels = rest < p->chunk ? rest : p->chunk;
            make_window(&b, t, known, chunk, channels, pointwise);
            if (job->job >= p->warm_up) {
                run_depthwise(&b, t, chunk, channels, kind);
            }
            keep_window(&b, t, x + p->tile < end ? next.first : t.first + t.columns, chunk, channels);
        }
        if (job->job >= p->warm_up) {
            const void *middle = b.middle;
            int8_t *out = (int8_t *)job->out + x * p->project.out_channels;
            part = p->project;
            part.out_width = t.width;
            rnnc_pointwise_s8(&part, &(rnnc_job){.rows = &middle, .out = out, .scratch = b.scratch});
        }
        made = t.first + t.columns;
        t = next;
    }
}

void rnnc_inverted_s8(const void *params, const rnnc_job *job) {
    run(params, job, 1, RNNC_ANY_TAPS);
}

void rnnc_inverted3x3_s8(const void *params, const rnnc_job *job) {
    run(params, job, 1, RNNC_TAPS_3X3);
}

void rnnc_stem_s8(const void *params, const rnnc_job *job) {
    run(params, job, 0, RNNC_ANY_TAPS);
}

void rnnc_stem3x3_s8(const void *params, const rnnc_job *job) {
    run(params, job, 0, RNNC_TAPS_3X3);
}
