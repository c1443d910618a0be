"""report.html: a compiled model's memory schedule to look at, made from its report.json and its plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rnnc.ir.graph import Graph
from rnnc.pages.arena import COLOURS, picture
from rnnc.pages.html import Html, bar, cards, html, listed, name, page, paragraph, section, stacked, table
from rnnc.scheduler.plan import Plan
from rnnc.scheduler.usage import Usage, usage

Report = Mapping[str, Any]
BOUND = "what no one-pass schedule can do without"


def report_page(data: Report, graph: Graph, plan: Plan) -> str:
    """The page of a model: ``data`` is its report.json, ``graph`` and ``plan`` what it was made from."""
    used = usage(graph, plan)
    banks = [(bank["name"], bank["used"]) for bank in data["ram"]["banks"]]
    body = [
        Html(f"<h1>{html(data['model'])}</h1>"),
        paragraph(
            f"{data['source']}, {data['schedule']} schedule, {data['arithmetic']} arithmetic, input mode "
            f"{data['input_mode']}, output mode {data['output_mode']}, for {data['target']}. Sizes in bytes.",
            kind="sub",
        ),
        _figures(data),
        section(
            "The arena, step by step",
            Html(picture(used, banks, plan.peak_step, data["lower_bound"]["bytes"])),
            paragraph(
                "Filled: bytes that hold something still needed; outlined: the whole buffer. An output may grow into "
                "rows that its input no longer needs. Dashed: the fullest step. Point at a buffer for its name.",
                kind="note",
            ),
        ),
        section("The peak", *_peak(data, used, plan)),
        section("How little is possible", *_bounds(data)),
        section("Where RAM and flash go", *_memory(data)),
        section("Stages", _stages(data, used)),
        section("Operators", _operators(data)),
        section("Buffers", _buffers(data)),
        section("What the compiler did", listed(f"{note['pass']}: {note['text']}" for note in data["notes"])),
    ]
    return page(f"{data['model']}: memory schedule", body)


def _figures(data: Report) -> Html:
    ram, flash, macs, bound = data["ram"], data["flash"], data["macs"], data["lower_bound"]
    stack = "stack not measured" if ram["stack"] is None else f"stack {ram['stack']:,}"
    ratio = f"{macs['executed'] / macs['nominal']:.2f} times the {macs['nominal']:,} given" if macs["nominal"] else ""
    whole = flash["weights"] if flash["total"] is None else flash["total"]
    code = "weights; code not measured" if flash["code"] is None else f"code {flash['code']:,}"
    return cards(
        [
            ("RAM", ram["total"], f"{stack}, static {ram['static']:,}"),
            ("arena", ram["arena"], f"{data['peak']['live_bytes']:,} in use at the peak"),
            ("lower bound", bound["bytes"], f"the arena is {bound['gap']:.2f} times that" if bound["gap"] else ""),
            ("flash", whole, code),
            ("MACs", macs["executed"], ratio),
        ]
    )


def _peak(data: Report, used: Usage, plan: Plan) -> Iterator[Html]:
    step, live = plan.peak_step, data["peak"]["live_bytes"]
    yield paragraph(
        f"Most is in use at step {step:,} of {data['steps']:,}, when ",
        name(used.node[step]),
        f" runs: {live:,} bytes. A smaller model would have to be smaller here.",
    )
    rows = []
    for place in used.places:
        index = step - place.first
        if 0 <= index < len(place.low) and place.low[index] < place.high[index]:
            rows.append((int(place.high[index] - place.low[index]), place))
    rows.sort(key=lambda row: (-row[0], row[1].names))
    yield table(
        ("~buffer", "<kind", "in use", "|", "of its", "offset"),
        [(name(" / ".join(p.names)), p.kind, size, bar(size, rows[0][0]), p.size, p.offset) for size, p in rows],
    )


def _bounds(data: Report) -> Iterator[Html]:
    bound, search, arena = data["lower_bound"], data["search"], data["ram"]["arena"]
    job = bound["one_job"]
    entries: list[tuple[int, str]] = [
        (bound["layerwise"]["bytes"], "whole tensors side by side, layer by layer"),
        (arena, "this plan's arena"),
        (data["peak"]["live_bytes"], "in use at its fullest step"),
        (search["least_live"], "least in use at the fullest step, of the plans compared"),
        (job["bytes"], Html(f"input rows and output row of one job of {name(job['node'])}")),
        (bound["bytes"], f"lower bound: {bound['of']}"),
    ]
    if bound["partial_sums"] is not None:
        entries.append((bound["partial_sums"]["bytes"], "lower bound if every operator could keep partial sums"))
    longest = max(size for size, _ in entries)
    yield table(("bytes", "|", "~what"), [(size, bar(size, longest), what) for size, what in entries])
    yield listed(search["statements"])
    if bound["row_cut"] is not None:
        cut = bound["row_cut"]
        yield paragraph(f"The bound's cut, after {cut['after_rows']} input rows:")
        yield table(
            ("<value", "rows", "bytes"),
            [(_part(part), part["rows"], part["bytes"]) for part in cut["through"]],
        )


def _part(part: Mapping[str, Any]) -> Html:
    return Html(name(part["value"]) + (" (partial sums)" if part["partial"] else ""))


def _memory(data: Report) -> Iterator[Html]:
    ram, flash = data["ram"], data["flash"]
    yield paragraph(f"RAM, {ram['total']:,} bytes")
    yield stacked(
        [
            ("arena", ram["arena"], COLOURS["tensor"]),
            ("stack, worst case", ram["stack"] or 0, COLOURS["state"]),
            ("static", ram["static"], COLOURS["input"]),
        ]
    )
    yield table(("<bank", "used", "size"), [(bank["name"], bank["used"], bank["size"]) for bank in ram["banks"]])
    if flash["total"] is not None:
        yield paragraph(f"Flash, {flash['total']:,} bytes")
        yield stacked(
            [
                ("weights", flash["weights"], COLOURS["tensor"]),
                ("code", flash["code"], COLOURS["scratch"]),
                ("tables", flash["tables"], COLOURS["input"]),
            ]
        )
    if data["stack_path"]:
        yield paragraph("Deepest stack: ", " > ".join(data["stack_path"]), kind="note")


def _stages(data: Report, used: Usage) -> Html:
    begins = (0, *used.stage_ends)
    rows = []
    for index, stage in enumerate(data["stages"]):
        begin, end = begins[index], used.stage_ends[index]
        live = int(used.live[begin:end].max(initial=0))
        steps = f"{begin:,} … {end - 1:,}" if end > begin else "none"
        nodes = list(dict.fromkeys((stage["nodes"][0], stage["nodes"][-1])))
        which = Html(" … ".join(name(node) for node in nodes))
        rows.append((index, stage["kind"], len(stage["nodes"]), steps, live, which))
    return table(("stage", "<kind", "operators", "steps", "most in use", "~which"), rows)


def _operators(data: Report) -> Html:
    stage_of = {node: index for index, stage in enumerate(data["stages"]) for node in stage["nodes"]}
    most = max((op["macs"] for op in data["ops"]), default=0)
    rows = [
        (
            index,
            op["op"],
            name(op["name"]),
            stage_of[op["name"]],
            "×".join(map(str, op["output"])),
            op["macs"],
            bar(op["macs"], most),
            op["weights"],
            op["ram"],
        )
        for index, op in enumerate(data["ops"])
    ]
    columns = ("#", "<operator", "~name", "stage", "output", "MACs", "|", "weights", "most in use")
    return table(columns, rows)


def _buffers(data: Report) -> Html:
    buffers = sorted(data["buffers"], key=lambda item: (item["first_step"], item["offset"]))
    rows = [
        (
            name(item["name"]),
            item["kind"],
            item["size"],
            data["ram"]["banks"][item["bank"]]["name"],
            item["offset"],
            f"{item['first_step']:,} … {item['last_step']:,}",
            name(item["shares_with"]),
        )
        for item in buffers
    ]
    return table(("~buffer", "<kind", "bytes", "<bank", "offset", "steps", "~in the place of"), rows)
