"""CProgram -> files of C, through Jinja templates that decide nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import jinja2

from rnnc.codegen.cprint import array_values
from rnnc.codegen.program import CArray, CProgram
from rnnc.resources import runtime_dir, templates_dir

TEMPLATES = ("model.h", "model.c", "weights.h", "weights.c", "rnnc_config.h", "rnnc_firmware.h")


@dataclass(frozen=True, slots=True)
class Api:
    """The parameter lists of the generated functions, as C text."""

    init_parameters: str
    init_arguments: str
    run_parameters: str
    run_arguments: str
    start_parameters: str
    start_arguments: str
    missing: str
    """The condition under which a run lacks an argument that it cannot do without."""
    banks: str
    sizes: str
    bank_macros: str
    first_output: str
    outputs: str
    engine_type: str
    engine_member: str
    engine: str
    """The rnnc_engine within ``m``."""


def api_of(program: CProgram) -> Api:
    banks = ["arena", *(f"bank{index}" for index in range(1, len(program.bank_sizes)))]
    sizes = ["size", *(f"size{index}" for index in range(1, len(program.bank_sizes)))]
    pairs = ", ".join(f"void *{bank}, size_t {size}" for bank, size in zip(banks, sizes, strict=True))
    inputs = [f"const int8_t *{port.argument}" for port in program.inputs]
    outputs = [f"int8_t *{port.argument}" for port in program.outputs]
    given = [port.argument for port in program.inputs]
    arguments = [port.argument for port in (*program.inputs, *program.outputs)]
    return Api(
        init_parameters=f"{program.name}_t *m, {pairs}",
        init_arguments=", ".join(f"{bank}, sizeof({bank})" for bank in banks),
        run_parameters=", ".join([f"{program.name}_t *m", *inputs, *outputs]),
        run_arguments=", ".join(arguments),
        start_parameters=", ".join([f"{program.name}_t *m", *(inputs if program.lent_input else [])]),
        start_arguments=", ".join(["m", *(given if program.lent_input else [])]),
        missing=" || ".join(f"{name} == NULL" for name in ["m", *([] if program.held_input else given)]),
        banks=", ".join(banks),
        sizes=", ".join(sizes),
        bank_macros=", ".join(f"{program.upper}_ARENA{index or ''}_SIZE" for index in range(len(program.bank_sizes))),
        first_output=f"{program.name}_{program.outputs[0].argument}",
        outputs=", ".join(port.argument for port in program.outputs),
        engine_type="rnnc_row_engine" if program.stream_output else "rnnc_engine",
        engine_member="rows" if program.stream_output else "engine",
        engine="m->rows.engine" if program.stream_output else "m->engine",
    )


def render(program: CProgram) -> dict[str, str]:
    """Generated files by name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    environment.filters["values"] = _values
    api = api_of(program)
    return {name: environment.get_template(f"{name}.j2").render(p=program, api=api) for name in TEMPLATES}


def runtime_files(program: CProgram) -> dict[str, str]:
    """The runtime sources and headers that the program needs, by the name they get in the bundle."""
    root = runtime_dir()
    sources: dict[str, str] = {}
    for stem in program.runtime:
        for source in sorted((root / "src").glob(f"{stem}.c")):
            sources[f"rnnc_{source.name}"] = source.read_text()
        for source in sorted((root / "src" / "dsp").glob(f"{stem}*.c")):
            sources[f"rnnc_{source.stem}_dsp.c"] = source.read_text()
    headers = {header.name: header.read_text() for header in (root / "include").glob("*.h")}
    # the template writes the bundle's own
    del headers["rnnc_config.h"]
    wanted = closure({*program.headers, *included(sources.values())}, headers)
    return {name: headers[name] for name in sorted(wanted & headers.keys())} | sources


def included(texts: Iterable[str]) -> set[str]:
    """The headers that C files name."""
    return {name for text in texts for name in re.findall(r'#include "(\w+\.h)"', text)}


def closure(wanted: set[str], headers: Mapping[str, str]) -> set[str]:
    """Header names with everything that they include, directly or not."""
    found: set[str] = set()
    todo = wanted
    while todo:
        found |= todo
        todo = included(headers.get(name, "") for name in todo) - found
    return found


def _values(array: CArray) -> str:
    return array_values(array.values)
