"""Arguments and options that several sub-commands share, and how their texts become values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvm_fusion.errors import AcceleratorError, FusionError, PlanError, SearchError

if TYPE_CHECKING:
    from tvm_fusion.cost_models.accelerator import Accelerator

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|)\s*")
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_RANGE = re.compile(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*")

_HARDWARE = "Accelerator"
_SEARCH = "Search"


def whole(option: str, least: int) -> Callable[[Any], int]:
    """A parser of whole numbers of at least ``least`` whose error names the value."""

    def parse(value: Any) -> int:
        if not re.fullmatch(r"-?\d{1,18}", str(value)) or int(value) < least:
            raise FusionError(f"{option} {value!s} is not a whole number of at least {least}")
        return int(value)

    return parse


Net = Annotated[
    str,
    typer.Argument(
        metavar="NET",
        help="timm or torchvision name (efficientnet_b3@300; without @ the model's own input size), .onnx or .pt2 "
        "file, or the .json that 'tvm-fusion graph NET --json' printed.",
    ),
]
Batch = Annotated[
    int,
    typer.Option(
        "--batch", parser=whole("--batch", 1), metavar="N", help="Images of one run: sets a dynamic batch dimension."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show what TVM and torch print on stderr by themselves.")]

AcceleratorName = Annotated[
    str | None,
    typer.Option(
        "--accelerator", metavar="NAME|FILE", help="Preset or TOML file. (default: edge)", rich_help_panel=_HARDWARE
    ),
]
Buffer = Annotated[
    str | None,
    typer.Option("--buffer", metavar="SIZE", help="On-chip buffer: 256KiB, 1MiB, 262144.", rich_help_panel=_HARDWARE),
]
ActivationBits = Annotated[
    str | None,
    typer.Option(
        "--activation-bits",
        metavar="N|dtype",
        help="Bits of an activation; 'dtype': the network's own.",
        rich_help_panel=_HARDWARE,
    ),
]
WeightBits = Annotated[
    str | None,
    typer.Option(
        "--weight-bits",
        metavar="N|dtype",
        help="Bits of a weight; 'dtype': the network's own.",
        rich_help_panel=_HARDWARE,
    ),
]
Scheme = Annotated[
    str,
    typer.Option(
        "--scheme",
        metavar="auto|NAME,NAME",
        help="How groups may execute, each in its cheapest way: lbdf (line buffers), brr (bands), two-pass, "
        "channel-streaming, layer (one operator in tiles, always allowed), or a registered one; auto: all.",
        rich_help_panel=_HARDWARE,
    ),
]
CompileScheme = Annotated[
    str | None,
    typer.Option(
        "--scheme",
        metavar="auto|NAME,NAME",
        help="As of plan. (default: auto; for sources lbdf, for quantised networks lbdf,brr,two-pass: what is lowered)",
        rich_help_panel=_HARDWARE,
    ),
]
PlanScheme = Annotated[
    str | None,
    typer.Option(
        "--scheme",
        metavar="auto|NAME,NAME",
        help="Choose the scheme of every group anew among these. (default: as the plan says)",
        rich_help_panel=_HARDWARE,
    ),
]
ExplainScheme = Annotated[
    str | None,
    typer.Option(
        "--scheme",
        metavar="auto|NAME,NAME",
        help="How the group may execute, as of plan. Shown is the scheme in which it executes or, where it fits in "
        "none, the one that needs least. By default the scheme of --plan's group, else lbdf.",
        rich_help_panel=_HARDWARE,
    ),
]
ObjectiveName = Annotated[
    str,
    typer.Option(
        "--objective",
        metavar="dram|energy|cycles",
        help="What shall be least: DRAM bytes, or estimated energy or cycles.",
        rich_help_panel=_SEARCH,
    ),
]
Recompute = Annotated[
    bool,
    typer.Option(
        "--recompute/--no-recompute",
        help="Whether arithmetic may be executed again to save traffic.",
        rich_help_panel=_HARDWARE,
    ),
]
Algorithm = Annotated[
    str,
    typer.Option(
        "--algorithm",
        metavar="NAME",
        help="best, exact, interval-dp, local-search, random-search, nsga2, or a registered one.",
        rich_help_panel=_SEARCH,
    ),
]
Budget = Annotated[
    int,
    typer.Option(
        "--budget",
        parser=whole("--budget", 1),
        metavar="N",
        help="Plans that a search may propose.",
        rich_help_panel=_SEARCH,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        parser=whole("--seed", 0),
        metavar="N",
        help="The same seed gives the same plan.",
        rich_help_panel=_SEARCH,
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option(
        "--time-limit", metavar="TIME", help="Keep the best plan found by then: 30s, 2m.", rich_help_panel=_SEARCH
    ),
]
BoundSeconds = Annotated[
    str | None,
    typer.Option(
        "--bound-seconds",
        metavar="SECONDS",
        help="Time for a lower bound where the search proves no optimum; 0: none. (default: a fixed amount of work)",
        rich_help_panel=_SEARCH,
    ),
]
Repair = Annotated[
    str,
    typer.Option(
        "--repair",
        metavar="random|explained",
        help="How searches split groups that do not fit: at random, or where --explainer says.",
        rich_help_panel=_SEARCH,
    ),
]
ExplainerName = Annotated[
    str,
    typer.Option(
        "--explainer",
        metavar="NAME",
        help="gnnexplainer, pgexplainer, rgexplainer, occlusion, saliency, random, or a registered one.",
        rich_help_panel=_SEARCH,
    ),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache", metavar="FOLDER", help="Keep what is known of groups there for later runs.", rich_help_panel=_SEARCH
    ),
]
PlanFile = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="A partition plan as JSON.")]


def accelerator_of(
    name: str | None,
    buffer: str | None = None,
    activation_bits: str | None = None,
    weight_bits: str | None = None,
    plan: Any = None,
) -> Accelerator:
    """The accelerator of the options; without a name that of ``plan``'s metadata, else the preset "edge"."""
    from tvm_fusion.cost_models.accelerator import accelerator_from_dict, load_accelerator, parse_size

    saved = plan.metadata.get("accelerator") if plan is not None and name is None else None
    if saved is not None and not isinstance(saved, dict):
        raise PlanError(f"accelerator of the plan must be an object, not {saved!r}")
    accelerator = accelerator_from_dict(saved) if saved is not None else load_accelerator(name or "edge")
    changes: dict[str, Any] = {}
    if buffer is not None:
        changes["buffer_bytes"] = parse_size(buffer)
    for key, text in (("activation_bits", activation_bits), ("weight_bits", weight_bits)):
        if text is not None:
            changes[key] = _bits(key, text)
    return replace(accelerator, **changes)


def _bits(key: str, text: str) -> int | None:
    if text == "dtype":
        return None
    if not re.fullmatch(r"\d{1,4}", text) or not 1 <= int(text) <= 64:
        raise AcceleratorError(f"--{key.replace('_', '-')} {text!r} is neither a whole number 1 .. 64 nor 'dtype'")
    return int(text)


def check_scheme(scheme: str, objective: str = "dram") -> None:
    """Raise SchemeError unless ``scheme`` names schemes that are registered, and ``objective`` is one."""
    from tvm_fusion.cost_models.objective import check_objective
    from tvm_fusion.cost_models.schemes.registry import chosen_schemes

    chosen_schemes(scheme)
    check_objective(objective)


def parse_duration(text: str | None) -> float | None:
    """Seconds of "30s", "2m", "1.5h", "250ms" or "30". Raises SearchError."""
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or not (seconds := float(match[1]) * _SECONDS[match[2]]):
        raise SearchError(f"--time-limit {text!r} is not a positive time such as 30s, 2m, 1h or 500ms")
    return seconds


def parse_bound_seconds(text: str | None) -> float | None:
    """Seconds of "60", "2.5" or "0". Raises SearchError."""
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        raise SearchError(f"--bound-seconds {text!r} is not a number of seconds from 0 such as 60 or 2.5")
    return float(text)


def parse_operators(text: str) -> tuple[int, ...]:
    """Ascending ids of "0,1,2", "3-9" or "0,3-9". Raises PlanError."""
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last - first > 1_000_000:
            raise PlanError(f"--operators {text!r} is not a list of operator ids such as 0,1,2 or 3-9")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def parse_list(text: str, option: str) -> list[str]:
    """Entries of a comma-separated option, repeated ones once. Raises SearchError for none."""
    entries = list(dict.fromkeys(entry.strip() for entry in text.split(",") if entry.strip()))
    if not entries:
        raise SearchError(f"{option} {text!r} names nothing; give a comma-separated list")
    return entries


def parse_seeds(text: str) -> list[int]:
    """Whole numbers of "0,1,2". Raises SearchError."""
    entries = parse_list(text, "--seeds")
    if not all(re.fullmatch(r"\d{1,18}", entry) for entry in entries):
        raise SearchError(f"--seeds {text!r} is not a list of whole numbers such as 0,1,2")
    return [int(entry) for entry in entries]
