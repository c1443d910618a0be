"""A program of a user's own: the generated functions do what model.h says of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from rnnc.bundle import Bundle, read_bundle
from rnnc.compile import Options, compile_model
from rnnc.execute import execute
from rnnc.ir.types import Array
from rnnc.scheduler.plan import InputMode
from tests.small_models import MODELS

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

# two models, one held in a buffer, one fed row by row, in one program; every check prints its line
PROGRAM = r"""
#include <stdio.h>
#include <string.h>

#include "two/model.h"
#include "pooled/model.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s\n", __LINE__, #condition); \
            failures++; \
        } \
    } while (0)
#define ALIGNED __attribute__((aligned(RNNC_ALIGN)))

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


def bundle_of(name: str, folder: Path, mode: InputMode) -> Bundle:
    onnx.save(MODELS[name](), folder / f"{name}.onnx")
    compile_model(Options(folder / f"{name}.onnx", folder / name, target="host", input_mode=mode))
    return read_bundle(folder / name)


def inputs_of(bundle: Bundle, rng: np.random.Generator) -> dict[str, Array]:
    return {p.name: rng.integers(-128, 128, (1, *p.value.type.shape)).astype(np.int8) for p in bundle.graph.inputs}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_two_models_in_one_program(compiler: str, tmp_path: Path) -> None:
    two, pooled = bundle_of("two", tmp_path, "buffer"), bundle_of("pooled", tmp_path, "stream")
    (tmp_path / "main.c").write_text(PROGRAM)
    # the runtime once: what the second model needs beside its own two files and those of the first
    sources = {path.name: path for path in (*pooled.folder.glob("rnnc_*.c"), *two.folder.glob("rnnc_*.c"))}
    own = [bundle.folder / file for bundle in (two, pooled) for file in ("model.c", "weights.c")]
    program = tmp_path / "program"
    command = [compiler, *FLAGS, "-I", tmp_path, tmp_path / "main.c", *own, *sources.values(), "-o", program]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rng = np.random.default_rng(6)
    data, wanted = b"", b""
    for bundle in (two, pooled):
        given = inputs_of(bundle, rng)
        data += b"".join(given[port.name].tobytes() for port in bundle.graph.inputs)
        outputs = execute(bundle, given, "python").outputs
        wanted += b"".join(outputs[port.name].tobytes() for port in bundle.graph.outputs)
    (tmp_path / "input.bin").write_bytes(data)
    done = subprocess.run([program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "output.bin").read_bytes() == wanted
