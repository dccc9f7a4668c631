"""Networks by the names of timm and torchvision, with random weights."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from typing import Any

from tvm_fusion.errors import FrontendError
from tvm_fusion.frontends.exported_program import import_program, import_torch, one_line
from tvm_fusion.frontends.network import Network

LIBRARIES = ("timm", "torchvision")


def load_model(spec: str, batch: int, seed: int) -> Network:
    """``[timm:|torchvision:]name[@size]``; a name that both know is timm's."""
    torch = import_torch()
    library, name, size = parse_name(spec)
    library, build, default_size = _find(library, name)
    torch.manual_seed(seed)
    height = size or default_size
    try:
        model = build(height if size else None).eval()
    except Exception as error:  # any model's own constructor
        raise FrontendError(f"{library} cannot build {spec!r}: {one_line(error)}") from None
    channels = getattr(model, "default_cfg", {}).get("input_size", (3,))[0]
    example = torch.zeros(batch, channels, height, height)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(model, (example,))
    except Exception as error:  # torch.export raises many kinds
        raise FrontendError(f"torch cannot export {spec!r} at {height} x {height}: {one_line(error)}") from None
    return Network(import_program(program, batch, spec), f"{name}@{height}", library)


def parse_name(spec: str) -> tuple[str | None, str, int | None]:
    """Library (or None), name and size (or None) of a model specification."""
    library, _, rest = spec.rpartition(":")
    if library and library not in LIBRARIES:
        raise FrontendError(f"model library {library!r} is unknown; allowed: {', '.join(LIBRARIES)}")
    name, at, size = rest.partition("@")
    if at and not (size.isdecimal() and int(size) > 0):
        raise FrontendError(f"input size {size!r} of {spec!r} is no positive number of pixels, such as {name}@224")
    return library or None, name, int(size) if at else None


def _find(library: str | None, name: str) -> tuple[str, Callable[[int | None], Any], int]:
    known: list[str] = []
    for candidate, finder in (("timm", _timm), ("torchvision", _torchvision)):
        if library in (None, candidate):
            found, names = finder(name)
            if found is not None:
                return candidate, *found
            known += names
    if not known:
        raise FrontendError(f"{library or 'neither timm nor torchvision'} is installed; pip install 'tvm-fusion[zoo]'")
    near = difflib.get_close_matches(name, sorted(set(known)), 5, 0.6)
    hint = f"; near names: {', '.join(near)}" if near else "; timm.list_models() lists names"
    raise FrontendError(f"model {name!r} is unknown{hint}")


Found = tuple[Callable[[int | None], Any], int]


def _timm(name: str) -> tuple[Found | None, list[str]]:
    try:
        import timm
        from timm.layers import set_fused_attn
    except ImportError:
        return None, []
    if not timm.is_model(name):
        return None, list(timm.list_models())
    config = timm.get_pretrained_cfg(name)
    default = int(config.input_size[-1]) if config is not None else 224

    def build(size: int | None) -> Any:
        # Attention written out needs no guard against rows that are wholly masked.
        set_fused_attn(False)
        try:
            if size is not None and size != default:
                try:
                    return timm.create_model(name, pretrained=False, img_size=size)
                except TypeError:
                    pass  # a network that takes any size has no such parameter
            return timm.create_model(name, pretrained=False)
        finally:
            set_fused_attn(True)

    return (build, default), []


def _torchvision(name: str) -> tuple[Found | None, list[str]]:
    try:
        from torchvision import models
    except ImportError:
        return None, []
    names = models.list_models(module=models)
    if name not in names:
        return None, list(names)
    default = 299 if name == "inception_v3" else 224

    def build(size: int | None) -> Any:
        options: dict[str, Any] = {"weights": None}
        if name in ("inception_v3", "googlenet"):
            options |= {"init_weights": True, "aux_logits": False}
        if size is not None and name.startswith("vit_"):
            options["image_size"] = size
        return models.get_model(name, **options)

    return (build, default), []
