"""Networks by the names of timm and torchvision."""

from __future__ import annotations

import pytest

from tests.frontends.running import assert_close, noise, outputs_of, same_weights
from tvm_fusion import load_graph, load_network
from tvm_fusion.errors import FrontendError
from tvm_fusion.frontends.model_name import find_model, parse_name

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("torchvision")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("resnet18", (None, "resnet18", None)),
        ("efficientnet_b3@300", (None, "efficientnet_b3", 300)),
        ("timm:resnet18@64", ("timm", "resnet18", 64)),
        ("torchvision:resnet18", ("torchvision", "resnet18", None)),
        ("resnet50.a1_in1k@64", (None, "resnet50.a1_in1k", 64)),
    ],
)
def test_names(spec: str, expected: tuple[str | None, str, int | None]) -> None:
    assert parse_name(spec) == expected


@pytest.mark.parametrize("size", ["abc", "0", "", "-3", "1.5", " 64", "64@32", "²", "٣", "9" * 30, "16385"])
def test_sizes_that_are_none(size: str) -> None:
    with pytest.raises(FrontendError, match="no whole number of pixels from 1 to 16384, such as resnet18@224"):
        load_network(f"resnet18@{size}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("efficientnet_b33", "model 'efficientnet_b33' is unknown; near names: .*efficientnet_b3"),
        ("Resnet18", "near names: resnet18"),
        ("timm:squeezenet1_1", "model 'squeezenet1_1' is unknown"),
        ("torchvision:efficientnet_b33", "near names: .*efficientnet_b3"),
        ("zzzzzzzz", r"unknown; timm.list_models\(\) lists names"),
        ("keras:resnet18", "model library 'keras' is unknown; allowed: timm, torchvision"),
        ("@64", "network '@64' has no model name"),
        ("resnet18.nope@64", "timm has no weights 'nope' of 'resnet18'; it has: .*a1_in1k"),
        (
            "fasterrcnn_resnet50_fpn@64",
            "'fasterrcnn_resnet50_fpn' is torchvision's for detection, video",
        ),
        ("raft_small", "only networks that classify or segment images are allowed"),
    ],
)
def test_unknown(spec: str, message: str) -> None:
    with pytest.raises(FrontendError, match=message) as caught:
        load_network(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("inception_v3@32", "cannot run 'inception_v3@32' at 32 x 32: .*Kernel size"),
        ("torchvision:vit_b_16@70", "cannot build 'torchvision:vit_b_16@70': .*indivisible by patch size"),
    ],
)
def test_size_that_the_network_cannot_take(spec: str, message: str) -> None:
    with pytest.raises(FrontendError, match=message) as caught:
        load_network(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("library", "name", "size"),
    [
        ("timm", "resnet18", 224),
        ("timm", "inception_v3", 299),
        ("torchvision", "resnet18", 224),
        ("torchvision", "inception_v3", 299),
        ("torchvision", "efficientnet_b3", 300),
        ("torchvision", "swin_v2_t", 256),
        ("torchvision", "vit_h_14", 224),
        ("torchvision", "fcn_resnet50", 520),
    ],
)
def test_own_input_size(library: str, name: str, size: int) -> None:
    found, model = find_model(library, name)
    assert (found, model.height, model.width) == (library, size, size)


def test_own_input_size_that_is_no_square() -> None:
    _, model = find_model("timm", "vit_base_patch16_sapiens2")
    assert (model.height, model.width) == (1024, 768)


def test_name_that_both_know_is_timm_s() -> None:
    assert find_model(None, "resnet18")[0] == "timm"
    assert find_model(None, "squeezenet1_1")[0] == "torchvision"


def test_network() -> None:
    graph = load_graph("torchvision:squeezenet1_1@40", batch=3)
    assert graph.name == "squeezenet1_1@40"
    assert [(tensor.shape, tensor.batch) for tensor in graph.inputs] == [((3, 3, 40, 40), 3)]
    assert not graph.warnings


def test_seed_makes_the_weights() -> None:
    first, again, other = (load_network("squeezenet1_1@32", seed=seed) for seed in (1, 1, 2))
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_state_of_torch_and_timm_is_left_alone() -> None:
    from timm.layers import set_fused_attn, use_fused_attn

    before = use_fused_attn()
    torch.manual_seed(7)
    expected = torch.rand(3)
    try:
        for enabled in (True, False):
            torch.manual_seed(7)
            set_fused_attn(enabled)
            load_network("lcnet_035@32", seed=3)
            assert use_fused_attn() is enabled
            assert torch.equal(torch.rand(3), expected)
            assert torch.is_grad_enabled()
    finally:
        set_fused_attn(before)


def eager_matches(spec: str, batch: int = 1) -> None:
    """TVM's results on the imported network equal torch's own on the model of the same seed."""
    library, name, size = parse_name(spec)
    torch.manual_seed(3)
    model = find_model(library, name)[1].build(size).eval()
    network = load_network(spec, seed=3, batch=batch)
    x = noise(batch, 3, size or 224, size or 224)
    with torch.no_grad():
        result = model(torch.from_numpy(x))
    expected = list(result.values()) if isinstance(result, dict) else [result]
    assert_close(outputs_of(network, [x]), [array.numpy() for array in expected])


def test_results_equal_torch_s() -> None:
    eager_matches("lcnet_035@32")


def test_results_of_a_transformer_equal_torch_s() -> None:
    eager_matches("test_vit3@32")


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        "resnet18@64",
        "mobilenetv2_100@64",
        "efficientnet_b0@64",
        "deit_tiny_patch16_224@64",
        "mobilevit_xxs@64",
        "levit_128s@64",
        "convnext_atto@64",
        "swin_tiny_patch4_window7_224@64",
        "eva02_tiny_patch14_224@56",
        "torchvision:shufflenet_v2_x0_5@64",
        "torchvision:lraspp_mobilenet_v3_large@64",
        "torchvision:swin_t@64",
    ],
)
def test_results_of_many_networks_equal_torch_s(spec: str) -> None:
    eager_matches(spec, batch=2)
