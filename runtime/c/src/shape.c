/* Concatenation, slices and padding: bytes are copied, never computed on. */
#include "rnnc_shape.h"

#include <string.h>

void rnnc_concat(const void *params, const rnnc_job *job) {
    const rnnc_concat_params *p = params;
    uint8_t *out = job->out;
    for (int32_t x = 0; x < p->pixels; ++x) {
        for (int32_t i = 0; i < p->inputs; ++i) {
            const uint8_t *row = job->rows[i];
            if (row != NULL) {
                memcpy(out, row + x * p->sizes[i], (size_t)p->sizes[i]);
                out += p->sizes[i];
            }
        }
    }
}

void rnnc_slice(const void *params, const rnnc_job *job) {
    const rnnc_slice_params *p = params;
    uint8_t *out = job->out;
    const uint8_t *pixel = job->rows[0];
    for (int32_t x = 0; x < p->pixels; ++x, pixel += p->pixel_bytes) {
        const uint8_t *from = pixel + p->first;
        for (int32_t i = 0; i < p->count; ++i, from += p->distance) {
            memcpy(out, from, (size_t)p->block);
            out += p->block;
        }
    }
}

static int8_t *fill(int8_t *out, int32_t value, int32_t count) {
    memset(out, value, (size_t)count);
    return out + count;
}

static int8_t *repeat_pixel(int8_t *out, const int8_t *pixel, int32_t channels, int32_t count) {
    for (int32_t i = 0; i < count; ++i, out += channels) {
        memcpy(out, pixel, (size_t)channels);
    }
    return out;
}

void rnnc_pad_s8(const void *params, const rnnc_job *job) {
    const rnnc_pad *p = params;
    int8_t *out = job->out;
    const int8_t *row = job->rows[0];
    int32_t out_channels = p->front + p->in_channels + p->back;
    if (row == NULL) {
        fill(out, p->value, (p->left + p->in_width + p->right) * out_channels);
        return;
    }
    const int8_t *last = row + (p->in_width - 1) * p->in_channels;
    out = p->edge ? repeat_pixel(out, row, p->in_channels, p->left)
                  : fill(out, p->value, p->left * out_channels);
    for (int32_t x = 0; x < p->in_width; ++x) {
        out = fill(out, p->value, p->front);
        memcpy(out, row + x * p->in_channels, (size_t)p->in_channels);
        out = fill(out + p->in_channels, p->value, p->back);
    }
    if (p->edge) {
        repeat_pixel(out, last, p->in_channels, p->right);
    } else {
        fill(out, p->value, p->right * out_channels);
    }
}
