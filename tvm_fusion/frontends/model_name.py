"""Networks by the names of timm and torchvision, with random weights."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tvm_fusion.errors import FrontendError
from tvm_fusion.frontends.exported_program import import_program, import_torch
from tvm_fusion.frontends.messages import first_line
from tvm_fusion.frontends.network import Network

LIBRARIES = ("timm", "torchvision")
LARGEST_SIZE = 16384


class UnknownModelError(FrontendError):
    """No library knows a model of that name."""


@dataclass(frozen=True)
class Model:
    """A network that a library knows: how to build it for a size (None: its own), and its own (height, width)."""

    build: Callable[[int | None], Any]
    height: int
    width: int


@dataclass(frozen=True)
class BuiltModel:
    """A torch module ready to infer, the shape of one image of it, and ``name``: "mobilenetv2_100@224"."""

    module: Any
    image_shape: tuple[int, int, int]
    name: str
    library: str


def load_model(spec: str, batch: int, seed: int) -> Network:
    """``[timm:|torchvision:]name[@size]``; a name that both know is timm's."""
    torch = import_torch()
    built = build_model(spec, seed)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(built.module, (torch.zeros(batch, *built.image_shape),))
        except Exception as error:  # torch.export raises many kinds
            height, width = built.image_shape[1:]
            raise FrontendError(
                f"{built.library} cannot run {spec!r} at {height} x {width}: {first_line(error)}"
            ) from None
    return Network(import_program(program, batch, spec), built.name, built.library)


def build_model(spec: str, seed: int) -> BuiltModel:
    """The torch module that :func:`load_model` imports, with weights drawn from ``seed``."""
    torch = import_torch()
    library, name, size = parse_name(spec)
    library, known = find_model(library, name)
    height, width = (size, size) if size else (known.height, known.width)
    shown = f"{height}" if height == width else f"{height}x{width}"
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        try:
            model = known.build(size).eval()
        except Exception as error:  # any model's own constructor
            raise FrontendError(f"{library} cannot build {spec!r}: {first_line(error)}") from None
    channels = (getattr(model, "default_cfg", None) or {}).get("input_size", (3,))[0]
    return BuiltModel(model, (channels, height, width), f"{name}@{shown}", library)


def parse_name(spec: str) -> tuple[str | None, str, int | None]:
    """Library (or None), name and size (or None) of a model specification."""
    library, _, rest = spec.rpartition(":")
    if library and library not in LIBRARIES:
        raise FrontendError(f"model library {library!r} is unknown; allowed: {', '.join(LIBRARIES)}")
    name, at, size = rest.partition("@")
    if not name:
        raise FrontendError(f"network {spec!r} has no model name; give one such as resnet18")
    if not at:
        return library or None, name, None
    if not re.fullmatch(r"[0-9]{1,9}", size) or not 0 < int(size) <= LARGEST_SIZE:
        raise FrontendError(
            f"input size {size!r} of {spec!r} is no whole number of pixels from 1 to {LARGEST_SIZE}, such as {name}@224"
        )
    return library or None, name, int(size)


def find_model(library: str | None, name: str) -> tuple[str, Model]:
    """The library that knows a model, and the model. Raises UnknownModelError with near names."""
    known: list[str] = []
    for candidate, finder in (("timm", _timm), ("torchvision", _torchvision)):
        if library in (None, candidate):
            found, names = finder(name)
            if found is not None:
                return candidate, found
            known += names
    if not known:
        missing = f"{library} is not" if library else "neither timm nor torchvision is"
        raise FrontendError(f"{missing} installed; pip install 'tvm-fusion[zoo]' brings it")
    near = difflib.get_close_matches(name, sorted(set(known)), 5, 0.6)
    hint = f"; near names: {', '.join(near)}" if near else "; timm.list_models() lists names"
    raise UnknownModelError(f"model {name!r} is unknown{hint}")


def _timm(name: str) -> tuple[Model | None, list[str]]:
    try:
        import timm
    except ImportError:
        return None, []
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        return None, list(timm.list_models())
    if tag and name not in (tagged := timm.list_pretrained(f"{architecture}.*")):
        raise FrontendError(f"timm has no weights {tag!r} of {architecture!r}; it has: {', '.join(tagged) or 'none'}")
    config = timm.get_pretrained_cfg(name)
    height, width = config.input_size[1:] if config is not None else (224, 224)

    def build(size: int | None) -> Any:
        with _attention_written_out():
            if size is not None and (size, size) != (height, width):
                try:
                    return timm.create_model(name, pretrained=False, img_size=size)
                except TypeError:
                    pass  # a network that takes any size has no such parameter
            return timm.create_model(name, pretrained=False)

    return Model(build, int(height), int(width)), []


@contextmanager
def _attention_written_out() -> Iterator[None]:
    """Attention as products and a softmax: the fused form guards against rows that are wholly masked."""
    from timm.layers import set_fused_attn, use_fused_attn

    before = use_fused_attn(), use_fused_attn(experimental=True)
    set_fused_attn(False)
    try:
        yield
    finally:
        set_fused_attn(*before)


def _torchvision(name: str) -> tuple[Model | None, list[str]]:
    try:
        from torchvision import models
    except ImportError:
        return None, []
    segmentation = models.list_models(module=models.segmentation)
    names = [*models.list_models(module=models), *segmentation]
    if name not in names:
        if name in models.list_models():
            raise FrontendError(
                f"model {name!r} is torchvision's for detection, video, optical flow or quantized inference; "
                "only networks that classify or segment images are allowed"
            )
        return None, names

    def build(size: int | None) -> Any:
        options: dict[str, Any] = {"weights": None}
        if name in segmentation:
            options["weights_backbone"] = None
        if name in ("inception_v3", "googlenet"):
            options |= {"init_weights": True, "aux_logits": False}
        if size is not None and name.startswith("vit_"):
            options["image_size"] = size
        if size is not None and name.startswith("maxvit_"):
            options["input_size"] = (size, size)
        return models.get_model(name, **options)

    own = _own_size(models, name)
    return Model(build, own, own), []


def _own_size(models: Any, name: str) -> int:
    """Size of the images that the first published weights of a torchvision network were trained for."""
    if name.startswith("vit_"):
        return 224  # its weights differ in this, and without weights it is built for 224
    weights = list(models.get_model_weights(name))
    transforms = weights[0].transforms() if weights else None
    sizes = getattr(transforms, "crop_size", None) or getattr(transforms, "resize_size", None) or [224]
    return int(sizes[0])
