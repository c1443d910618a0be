/* Expansion, depthwise convolution and projection, tile by tile, on the kernels of all three. */
#include "rnnc_inverted.h"

#include <string.h>

/* A job under way. It lies on the stack below the kernels, so the functions that fill in the parts of it are
 * apart: of these only this is left while a kernel runs. */
typedef struct {
    const rnnc_inverted *p;
    const rnnc_job *job;
    int8_t *line;     /* depthwise output of one chunk, behind the window: the wide columns of one chunk */
    int8_t *middle;   /* of all */
    int8_t *halo;     /* by chunk and row: columns of the window that the next tile reads again */
    int32_t columns;  /* that a row of the window has room for */
    int32_t overlap;  /* columns in a row of the halo */
    int32_t top;      /* input row of the first tap */
    int32_t known;    /* columns of the tile that are in the halo */
    int32_t channels; /* of the chunk */
    rnnc_stretch t;   /* the tile */
    rnnc_conv2d part; /* what is called next, and its job */
    rnnc_job next;
    const void *rows[RNNC_INVERTED_ROWS];
} rnnc_inverted_job;

static int32_t chunks_of(const rnnc_inverted *p) {
    return (p->expand.out_channels + p->chunk - 1) / p->chunk;
}

static RNNC_NOINLINE void begin(rnnc_inverted_job *b, const rnnc_inverted *p, const rnnc_job *job) {
    const rnnc_conv2d *depthwise = &p->depthwise;
    int32_t reach = (p->tile - 1) * depthwise->stride_w + depthwise->kernel_w;
    int32_t overlap = depthwise->kernel_w - depthwise->stride_w;
    int32_t fresh_rows = depthwise->kernel_h - p->kept_rows;
    b->p = p;
    b->job = job;
    b->columns = reach < depthwise->in_width ? reach : depthwise->in_width;
    b->overlap = overlap > 0 && p->tile < depthwise->out_width ? overlap : 0;
    b->top = (job->job - p->warm_up) * p->stride_h - p->pad_top;
    b->line = (int8_t *)job->scratch + rnnc_aligned(fresh_rows * b->columns * p->chunk);
    b->middle = b->line + rnnc_aligned(p->tile * p->chunk);
    b->halo = b->middle + rnnc_aligned(p->tile * p->expand.out_channels);
    b->next.rows = b->rows;
    b->next.scratch = b->halo + rnnc_aligned(fresh_rows * b->overlap * chunks_of(p) * p->chunk);
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
    return (int8_t *)b->job->scratch + (tap - b->p->kept_rows) * b->columns * b->p->chunk;
}

static int8_t *halo_row(const rnnc_inverted_job *b, int32_t chunk, int32_t tap) {
    const rnnc_inverted *p = b->p;
    int32_t fresh_rows = p->depthwise.kernel_h - p->kept_rows;
    return b->halo + (chunk * fresh_rows + tap - p->kept_rows) * b->overlap * p->chunk;
}

/* The expansion of one chunk, for the columns of the tile that are not known. */
static RNNC_NOINLINE void prepare_expansion(rnnc_inverted_job *b, int32_t chunk) {
    const rnnc_inverted *p = b->p;
    const rnnc_conv2d *whole = &p->expand;
    int32_t rest = whole->out_channels - chunk * p->chunk;
    b->channels = rest < p->chunk ? rest : p->chunk;
    b->part = *whole;
    rnnc_conv_slice(&b->part, chunk * p->chunk, b->channels, rnnc_conv_bytes(whole));
    rnnc_conv_narrow(&b->part, rnnc_stretch_at(whole, b->t.first + b->known, b->t.columns - b->known));
}

/* The row of a tap, up to what is known of it; 0 if it is none. */
static RNNC_NOINLINE int prepare_row(rnnc_inverted_job *b, int32_t chunk, int32_t tap) {
    const rnnc_inverted *p = b->p;
    const rnnc_conv2d *whole = &p->expand;
    const void *const *given = b->job->rows + (tap - p->kept_rows) * p->expand_stride_h;
    int32_t left = (b->t.first + b->known) * whole->stride_w - whole->pad_left;
    int32_t offset = rnnc_clamp(left, 0, whole->in_width) * whole->in_channels;
    if (!is_inside(b, tap)) {
        return 0;
    }
    for (int32_t i = 0; i < whole->kernel_h; ++i) {
        b->rows[i] = given[i] == NULL ? NULL : (const int8_t *)given[i] + offset;
    }
    int8_t *row = fresh_row(b, tap);
    memcpy(row, halo_row(b, chunk, tap), (size_t)(b->known * b->channels));
    b->next.out = row + b->known * b->channels;
    return 1;
}

/* Columns from `next` on stay for the next tile; those before it take the place of columns that no tile
 * of this job reads any more, in rows that no later job reads. */
static RNNC_NOINLINE void keep_window(const rnnc_inverted_job *b, int32_t next, int32_t chunk) {
    const rnnc_inverted *p = b->p;
    int32_t done = next - b->t.first < b->t.columns ? next - b->t.first : b->t.columns;
    for (int32_t tap = p->kept_rows; tap < p->depthwise.kernel_h; ++tap) {
        if (!is_inside(b, tap)) {
            continue;
        }
        const int8_t *row = fresh_row(b, tap);
        size_t left = (size_t)((b->t.columns - done) * b->channels);
        memcpy(halo_row(b, chunk, tap), row + done * b->channels, left);
        if (tap >= p->stride_h && p->kept_rows != 0) {
            memcpy(kept_row(b, chunk, tap) + b->t.first * b->channels, row, (size_t)(done * b->channels));
        }
    }
}

/* The depthwise convolution of one chunk. */
static RNNC_NOINLINE void prepare_depthwise(rnnc_inverted_job *b, int32_t chunk) {
    const rnnc_inverted *p = b->p;
    for (int32_t tap = 0; tap < p->depthwise.kernel_h; ++tap) {
        if (!is_inside(b, tap)) {
            b->rows[tap] = NULL;
        } else if (tap < p->kept_rows) {
            b->rows[tap] = kept_row(b, chunk, tap) + b->t.first * b->channels;
        } else {
            b->rows[tap] = fresh_row(b, tap);
        }
    }
    b->part = p->depthwise;
    rnnc_conv_slice(&b->part, chunk * p->chunk, b->channels, p->depthwise.kernel_h * p->depthwise.kernel_w);
    rnnc_conv_narrow(&b->part, b->t);
    b->part.in_channels = b->part.groups = b->channels;
    b->next.out = b->channels == p->expand.out_channels ? b->middle : b->line;
}

/* The chunk's part of each pixel of the tile. */
static RNNC_NOINLINE void spread(const rnnc_inverted_job *b, int32_t chunk) {
    const int8_t *line = b->line;
    int32_t channels = b->channels, pitch = b->p->expand.out_channels;
    int8_t *out = b->middle + chunk * b->p->chunk;
    for (int32_t x = 0; x < b->t.width; ++x, line += channels, out += pitch) {
        int32_t c = 0;
        for (; c + 4 <= channels; c += 4) {
            memcpy(out + c, line + c, 4);
        }
        for (; c < channels; ++c) {
            out[c] = line[c];
        }
    }
}

/* The projection of the tile, which begins at output pixel x. */
static RNNC_NOINLINE void prepare_projection(rnnc_inverted_job *b, int32_t x) {
    const rnnc_conv2d *whole = &b->p->project;
    b->part = *whole;
    b->part.out_width = b->t.width;
    b->rows[0] = b->middle;
    b->next.out = (int8_t *)b->job->out + x * whole->out_channels;
}

/* Calls that the linker can see, and no pointer to the kernel, keep the other kernels out of the program. */
static inline void run(const rnnc_inverted *p, const rnnc_job *job, int pointwise, rnnc_depthwise_kind kind) {
    rnnc_inverted_job b;
    begin(&b, p, job);
    for (int32_t x = 0, made = 0; x < p->depthwise.out_width; x += p->tile) {
        b.t = rnnc_stretch_at(&p->depthwise, x, p->tile);
        b.known = made > b.t.first ? made - b.t.first : 0;
        made = b.t.first + b.t.columns;
        int32_t next = x + p->tile < p->depthwise.out_width
                           ? rnnc_stretch_at(&p->depthwise, x + p->tile, p->tile).first
                           : made;
        for (int32_t chunk = 0; chunk * p->chunk < p->expand.out_channels; ++chunk) {
            prepare_expansion(&b, chunk);
            for (int32_t tap = p->kept_rows; tap < p->depthwise.kernel_h; ++tap) {
                if (!prepare_row(&b, chunk, tap)) {
                    continue;
                }
                if (pointwise) {
                    rnnc_pointwise_s8(&b.part, &b.next);
                } else {
                    rnnc_conv2d_s8(&b.part, &b.next);
                }
            }
            if (job->job >= p->warm_up) {
                prepare_depthwise(&b, chunk);
                rnnc_depthwise_of_kind(kind, &b.part, &b.next);
                if (b.next.out == b.line) {
                    spread(&b, chunk);
                }
            }
            keep_window(&b, next, chunk);
        }
        if (job->job >= p->warm_up) {
            prepare_projection(&b, x);
            rnnc_pointwise_s8(&b.part, &b.next);
        }
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
