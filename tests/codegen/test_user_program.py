"""A program of a user's own: the generated functions do what model.h says of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from rnnc.bundle import Bundle, read_bundle
from rnnc.compile import Options, compile_model
from rnnc.execute import execute
from rnnc.ir.types import Array
from rnnc.scheduler.plan import InputMode, OutputMode
from tests.small_models import MODELS

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

# prints the line of a check that fails
CHECK = r"""#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s\n", __LINE__, #condition); \
            failures++; \
        } \
    } while (0)
"""

# two models, one held in a buffer, one fed row by row, in one program; every check prints its line
PROGRAM = (
    r"""
#include <stdio.h>
#include <string.h>

#include "two/model.h"
#include "pooled/model.h"

"""
    + CHECK
    + r"""#define ALIGNED __attribute__((aligned(RNNC_ALIGN)))

static int failures;
static two_t two;
static pooled_t pooled;
static uint8_t two_arena[TWO_ARENA_SIZE + RNNC_ALIGN] ALIGNED;
static uint8_t pooled_arena[POOLED_ARENA_SIZE] ALIGNED;
static int8_t a[TWO_INPUT_A_SIZE], b[TWO_INPUT_B_SIZE], y[TWO_OUTPUT_Y_SIZE], z[TWO_OUTPUT_Z_SIZE];
static int8_t again[TWO_OUTPUT_Y_SIZE];
static int8_t image[POOLED_INPUT_SIZE], label[POOLED_OUTPUT_SIZE], label_again[POOLED_OUTPUT_SIZE];

static void refusals(void) {
    CHECK(two_init(NULL, two_arena, TWO_ARENA_SIZE) == RNNC_ERR_ARGUMENT);
    rnnc_model wide = two_model;
    wide.job_rows = 65; /* more than any runtime has room for */
    void *const banks[] = {two_arena};
    const size_t sizes[] = {TWO_ARENA_SIZE};
    CHECK(rnnc_engine_init(&two.engine, &wide, two.counters, banks, sizes) == RNNC_ERR_ARGUMENT);
    CHECK(two_init(&two, NULL, TWO_ARENA_SIZE) == RNNC_ERR_ARENA);
    CHECK(two_init(&two, two_arena, TWO_ARENA_SIZE - 1) == RNNC_ERR_ARENA);
    CHECK(two_init(&two, two_arena + 1, TWO_ARENA_SIZE) == RNNC_ERR_ARENA);
    CHECK(two_init(&two, two_arena, TWO_ARENA_SIZE) == RNNC_OK);
    CHECK(two_run(NULL, a, b, y, z) == RNNC_ERR_ARGUMENT);
    CHECK(two_step(NULL, 1) == RNNC_ERR_ARGUMENT);
    CHECK(pooled_init(&pooled, pooled_arena, sizeof(pooled_arena)) == RNNC_OK);
    CHECK(pooled_push_rows(&pooled, NULL, 1) == RNNC_ERR_ARGUMENT);
    CHECK(pooled_push_rows(NULL, image, 1) == RNNC_ERR_ARGUMENT);
    CHECK(pooled_run(&pooled, NULL, label) == RNNC_ERR_ARGUMENT);
    CHECK(pooled_run(NULL, image, label) == RNNC_ERR_ARGUMENT);
}

static void buffered(void) {
    CHECK(two_run(&two, a, b, y, z) == RNNC_OK);
    CHECK(memcmp(two_output_y(&two), y, sizeof(y)) == 0);
    CHECK(memcmp(two_output_z(&two), z, sizeof(z)) == 0);

    /* in place: the inputs are written where they lie, no output is copied */
    memcpy(two_input_a(&two), a, sizeof(a));
    memcpy(two_input_b(&two), b, sizeof(b));
    CHECK(two_run(&two, NULL, NULL, NULL, NULL) == RNNC_OK);
    CHECK(memcmp(two_output_y(&two), y, sizeof(y)) == 0);

    /* in slices */
    memcpy(two_input_a(&two), a, sizeof(a));
    memcpy(two_input_b(&two), b, sizeof(b));
    two_start(&two);
    int steps = 1, status;
    while ((status = two_step(&two, 1)) == RNNC_BUSY) {
        steps++;
    }
    CHECK(status == RNNC_OK);
    CHECK(steps > TWO_OUTPUT_Y_HEIGHT);
    CHECK(memcmp(two_output_y(&two), y, sizeof(y)) == 0);
    CHECK(two_run(&two, a, b, again, NULL) == RNNC_OK);
    CHECK(memcmp(again, y, sizeof(y)) == 0);
}

static void streamed(void) {
    CHECK(pooled_run(&pooled, image, label) == RNNC_OK);
    for (int round = 0; round < 2; round++) {
        for (size_t row = 0; row < POOLED_INPUT_HEIGHT; row++) {
            int status = pooled_push_rows(&pooled, image + row * POOLED_INPUT_ROW_SIZE, 1);
            CHECK(status == (row + 1 < POOLED_INPUT_HEIGHT ? RNNC_NEED_INPUT : RNNC_OK));
        }
        memcpy(label_again, pooled_output(&pooled), sizeof(label_again));
        CHECK(memcmp(label, label_again, sizeof(label)) == 0);
    }
    /* a start in the middle of one */
    CHECK(pooled_push_rows(&pooled, image, POOLED_INPUT_HEIGHT - 1) == RNNC_NEED_INPUT);
    CHECK(pooled_run(&pooled, image, label_again) == RNNC_OK);
    CHECK(memcmp(label, label_again, sizeof(label)) == 0);
}

static void conversions(void) {
    CHECK(two_quantise_input_a(0.0f) == TWO_INPUT_A_ZERO_POINT);
    CHECK(two_quantise_input_a(1e30f) == 127);
    CHECK(two_quantise_input_a(-1e30f) == -128);
    float nothing = 0.0f;
    CHECK(two_quantise_input_a(nothing / nothing) == -128);
    for (int stored = -128; stored < 128; stored++) {
        float real = TWO_INPUT_A_SCALE * (float)(stored - TWO_INPUT_A_ZERO_POINT);
        CHECK(two_quantise_input_a(real) == stored);
    }
    CHECK(two_dequantise_output_y((int8_t)TWO_OUTPUT_Y_ZERO_POINT) == 0.0f);
}

int main(void) {
    FILE *in = fopen("input.bin", "rb"), *out = fopen("output.bin", "wb");
    if (in == NULL || out == NULL || fread(a, 1, sizeof(a), in) != sizeof(a) ||
        fread(b, 1, sizeof(b), in) != sizeof(b) || fread(image, 1, sizeof(image), in) != sizeof(image)) {
        return 2;
    }
    refusals();
    buffered();
    streamed();
    conversions();
    CHECK(two_model.n_inputs == 2 && strcmp(pooled_model.name, "pooled") == 0);
    fwrite(y, 1, sizeof(y), out);
    fwrite(z, 1, sizeof(z), out);
    fwrite(label, 1, sizeof(label), out);
    fclose(in);
    fclose(out);
    return failures != 0;
}
"""
)


# one model with held inputs and streamed outputs, one with both streamed
STREAMING_PROGRAM = (
    r"""
#include <stdio.h>
#include <string.h>

#include "two/model.h"
#include "quantised/model.h"

"""
    + CHECK
    + r"""#define ALIGNED __attribute__((aligned(RNNC_ALIGN)))

/* What a sink was told: the rows, and how many of each output. */
typedef struct {
    int8_t *to[2];
    unsigned rows[2];
} seen;

static int failures;
static two_t two;
static quantised_t quantised;
static uint8_t two_arena[TWO_ARENA_SIZE] ALIGNED, quantised_arena[QUANTISED_ARENA_SIZE] ALIGNED;
static int8_t a[TWO_INPUT_A_SIZE], b[TWO_INPUT_B_SIZE], image[QUANTISED_INPUT_SIZE];
static int8_t y[TWO_OUTPUT_Y_SIZE], z[TWO_OUTPUT_Z_SIZE], copy[TWO_OUTPUT_Y_SIZE];
static int8_t map[QUANTISED_OUTPUT_SIZE], map_copy[QUANTISED_OUTPUT_SIZE];

static void collect(void *context, unsigned output, unsigned row, const void *data, size_t bytes) {
    seen *s = context;
    CHECK(row == s->rows[output]); /* in order, each once */
    memcpy(s->to[output] + row * bytes, data, bytes);
    s->rows[output]++;
}

static void held_inputs(void) {
    seen s = {{y, z}, {0, 0}};
    CHECK(two_init(&two, two_arena, sizeof(two_arena)) == RNNC_OK);
    CHECK(two_run(&two, a, b, NULL, NULL) == RNNC_OK); /* nobody listens */
    two_on_row(&two, collect, &s);
    CHECK(two_run(&two, a, b, NULL, NULL) == RNNC_OK);
    CHECK(s.rows[0] == TWO_OUTPUT_Y_HEIGHT && s.rows[1] == TWO_OUTPUT_Z_HEIGHT);

    /* a copy beside the sink; and of one output alone, without */
    s.rows[0] = s.rows[1] = 0;
    CHECK(two_run(&two, a, b, copy, NULL) == RNNC_OK);
    CHECK(s.rows[0] == TWO_OUTPUT_Y_HEIGHT);
    CHECK(memcmp(copy, y, sizeof(y)) == 0);
    two_on_row(&two, NULL, NULL);
    int8_t means[TWO_OUTPUT_Z_SIZE];
    CHECK(two_run(&two, a, b, NULL, means) == RNNC_OK);
    CHECK(memcmp(means, z, sizeof(z)) == 0);

    /* in slices, each row as soon as it is made; a run's copies have ended with it */
    memset(y, 0, sizeof(y));
    memset(means, 0, sizeof(means));
    s.rows[0] = s.rows[1] = 0;
    two_on_row(&two, collect, &s);
    memcpy(two_input_a(&two), a, sizeof(a));
    memcpy(two_input_b(&two), b, sizeof(b));
    two_start(&two);
    int status;
    unsigned most = 0;
    while ((status = two_step(&two, 1)) == RNNC_BUSY) {
        CHECK(s.rows[0] - most <= 1);
        most = s.rows[0];
    }
    CHECK(status == RNNC_OK);
    CHECK(memcmp(copy, y, sizeof(y)) == 0);
    CHECK(means[0] == 0 && means[1] == 0);
}

static void both_streamed(void) {
    seen s = {{map, NULL}, {0, 0}};
    CHECK(quantised_init(&quantised, quantised_arena, sizeof(quantised_arena)) == RNNC_OK);
    CHECK(quantised_offer_row(NULL, image) == RNNC_ERR_ARGUMENT);
    CHECK(quantised_offer_row(&quantised, NULL) == RNNC_ERR_ARGUMENT);
    CHECK(quantised_step(NULL, 1) == RNNC_ERR_ARGUMENT);
    CHECK(quantised_run(&quantised, image, map_copy) == RNNC_OK);
    quantised_on_row(&quantised, collect, &s);
    /* a frame that breaks off */
    CHECK(quantised_push_rows(&quantised, image, 2) == RNNC_NEED_INPUT);
    quantised_start(&quantised);
    for (int round = 0; round < 2; round++) {
        s.rows[0] = 0;
        for (size_t row = 0; row < QUANTISED_INPUT_HEIGHT; row++) {
            const int8_t *next = image + row * QUANTISED_INPUT_ROW_SIZE;
            CHECK(quantised_offer_row(&quantised, next) == RNNC_OK);
            if (row > 0) { /* its output row waits, and so must the input */
                CHECK(quantised_step(&quantised, 0) == RNNC_BUSY);
                CHECK(quantised_offer_row(&quantised, next) == RNNC_BUSY);
            }
            int status;
            while ((status = quantised_step(&quantised, 1)) == RNNC_BUSY) {
            }
            CHECK(status == (row + 1 < QUANTISED_INPUT_HEIGHT ? RNNC_NEED_INPUT : RNNC_OK));
            CHECK(s.rows[0] == (row + 1 < QUANTISED_INPUT_HEIGHT ? row : row + 1));
        }
        CHECK(quantised_step(&quantised, 1) == RNNC_OK);
        CHECK(memcmp(map, map_copy, sizeof(map)) == 0);
    }
    /* pushed behind a row that was only offered */
    s.rows[0] = 0;
    CHECK(quantised_offer_row(&quantised, image) == RNNC_OK);
    CHECK(quantised_offer_row(&quantised, image + QUANTISED_INPUT_ROW_SIZE) == RNNC_OK);
    CHECK(quantised_push_rows(&quantised, image + 2 * QUANTISED_INPUT_ROW_SIZE, QUANTISED_INPUT_HEIGHT - 2) == RNNC_OK);
    CHECK(s.rows[0] == QUANTISED_OUTPUT_HEIGHT && memcmp(map, map_copy, sizeof(map)) == 0);
}

int main(void) {
    FILE *in = fopen("input.bin", "rb"), *out = fopen("output.bin", "wb");
    if (in == NULL || out == NULL || fread(a, 1, sizeof(a), in) != sizeof(a) ||
        fread(b, 1, sizeof(b), in) != sizeof(b) || fread(image, 1, sizeof(image), in) != sizeof(image)) {
        return 2;
    }
    held_inputs();
    both_streamed();
    fwrite(y, 1, sizeof(y), out);
    fwrite(z, 1, sizeof(z), out);
    fwrite(map, 1, sizeof(map), out);
    fclose(in);
    fclose(out);
    return failures != 0;
}
"""
)


# one model that reads its frames where the caller has them, in memory that cannot be written
LENT_PROGRAM = (
    r"""
#include <stdio.h>
#include <string.h>

#include "two/model.h"
#include "frames.h"

"""
    + CHECK
    + r"""
static int failures;
static two_t two;
static uint8_t arena[TWO_ARENA_SIZE] __attribute__((aligned(RNNC_ALIGN)));
static int8_t y[TWO_OUTPUT_Y_SIZE], z[TWO_OUTPUT_Z_SIZE], again[TWO_OUTPUT_Y_SIZE];

int main(void) {
    FILE *out = fopen("output.bin", "wb");
    CHECK(two_init(&two, arena, sizeof(arena)) == RNNC_OK);
    CHECK(two_run(&two, NULL, frame_b, y, z) == RNNC_ERR_ARGUMENT);
    CHECK(two_run(&two, frame_a, NULL, y, z) == RNNC_ERR_ARGUMENT);
    CHECK(two_run(&two, frame_a, frame_b, y, z) == RNNC_OK);

    /* in slices, from another place at an odd address */
    static int8_t odd[TWO_INPUT_A_SIZE + 1];
    memcpy(odd + 1, frame_a, TWO_INPUT_A_SIZE);
    two_start(&two, odd + 1, frame_b);
    int status;
    while ((status = two_step(&two, 1)) == RNNC_BUSY) {
    }
    CHECK(status == RNNC_OK);
    CHECK(memcmp(two_output_y(&two), y, sizeof(y)) == 0);
    CHECK(memcmp(odd + 1, frame_a, TWO_INPUT_A_SIZE) == 0);
    CHECK(two_run(&two, frame_a, frame_b, again, NULL) == RNNC_OK);
    CHECK(memcmp(again, y, sizeof(y)) == 0);
    fwrite(y, 1, sizeof(y), out);
    fwrite(z, 1, sizeof(z), out);
    fclose(out);
    return failures != 0;
}
"""
)


def bundle_of(name: str, folder: Path, input_mode: InputMode, output_mode: OutputMode = "buffer") -> Bundle:
    onnx.save(MODELS[name](), folder / f"{name}.onnx")
    modes: dict[str, Any] = {"input_mode": input_mode, "output_mode": output_mode}
    compile_model(Options(folder / f"{name}.onnx", folder / name, target="host", **modes))
    return read_bundle(folder / name)


def inputs_of(bundle: Bundle, rng: np.random.Generator) -> dict[str, Array]:
    return {p.name: rng.integers(-128, 128, (1, *p.value.type.shape)).astype(np.int8) for p in bundle.graph.inputs}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_two_models_in_one_program(compiler: str, tmp_path: Path) -> None:
    two, pooled = bundle_of("two", tmp_path, "buffer"), bundle_of("pooled", tmp_path, "stream")
    assert_runs(PROGRAM, (two, pooled), compiler, tmp_path)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_streamed_outputs(compiler: str, tmp_path: Path) -> None:
    two, both = bundle_of("two", tmp_path, "buffer", "stream"), bundle_of("quantised", tmp_path, "stream", "stream")
    assert "int8_t *two_output" not in (two.folder / "model.h").read_text(), "there is nothing to point to"
    assert_runs(STREAMING_PROGRAM, (two, both), compiler, tmp_path)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_lent_frames(compiler: str, tmp_path: Path) -> None:
    two = bundle_of("two", tmp_path, "lent")
    frames = inputs_of(two, np.random.default_rng(6))
    text = "".join(
        f"static const int8_t frame_{name}[] = {{{', '.join(map(str, array.ravel()))}}};\n"
        for name, array in frames.items()
    )
    (tmp_path / "frames.h").write_text(text)
    assert "two_input_a(" not in (two.folder / "model.h").read_text(), "there is nothing to point to"
    assert_runs(LENT_PROGRAM, (two,), compiler, tmp_path)


def assert_runs(text: str, bundles: tuple[Bundle, ...], compiler: str, folder: Path) -> None:
    """The program finds nothing wrong, and writes the outputs of both models that Python computes."""
    (folder / "main.c").write_text(text)
    # the runtime once: what the second model needs beside its own two files and those of the first
    sources = {path.name: path for bundle in bundles for path in bundle.folder.glob("rnnc_*.c")}
    own = [bundle.folder / file for bundle in bundles for file in ("model.c", "weights.c")]
    program = folder / "program"
    command = [compiler, *FLAGS, "-I", folder, folder / "main.c", *own, *sources.values(), "-o", program]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rng = np.random.default_rng(6)
    data, wanted = b"", b""
    for bundle in bundles:
        given = inputs_of(bundle, rng)
        data += b"".join(given[port.name].tobytes() for port in bundle.graph.inputs)
        outputs = execute(bundle, given, "python").outputs
        wanted += b"".join(outputs[port.name].tobytes() for port in bundle.graph.outputs)
    (folder / "input.bin").write_bytes(data)
    done = subprocess.run([program], capture_output=True, text=True, check=False, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (folder / "output.bin").read_bytes() == wanted
