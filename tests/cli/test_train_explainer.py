"""``tvm-fusion train-explainer`` with tiny settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.search.networks import efficientnet_b3
from tvm_fusion.graph import graph_to_json

pytest.importorskip("torch_geometric")


@pytest.fixture
def networks(tmp_path: Path) -> str:
    """Two saved graphs of different names, as the option wants them."""
    paths = []
    for name, size in (("small", 64), ("large", 96)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**graph_to_json(efficientnet_b3(size, stages=2)), "name": name}))
        paths.append(str(path))
    return ",".join(paths)


def train(cli: Cli, folder: Path, networks: str, *more: object) -> dict[str, object]:
    outcome = cli(
        "train-explainer",
        "-o",
        folder,
        "--networks",
        networks,
        "--plans",
        6,
        "--epochs",
        3,
        "--no-explainers",
        "--json",
        *more,
    )
    assert outcome.code == 0, outcome.err
    return {**outcome.json, "notes": outcome.err}


def test_writes_dataset_checkpoint_and_card(cli: Cli, tmp_path: Path, networks: str) -> None:
    from tvm_fusion.explainers.checkpoint import load_card, load_classifier
    from tvm_fusion.explainers.dataset import load_dataset

    folder = tmp_path / "new" / "folder"
    card = train(cli, folder, networks)
    assert {path.name for path in folder.iterdir()} == {"groups.npz", "lbdf.safetensors", "lbdf.json"}
    card.pop("notes")
    assert card == load_card(path=folder / "lbdf.safetensors")
    load_classifier(path=folder / "lbdf.safetensors")
    dataset = load_dataset(folder / "groups.npz")
    assert card["data"]["groups"] == len(dataset)  # type: ignore[index]
    assert dataset.header["command"] == card["command"]
    assert str(tmp_path) not in json.dumps(card)
    assert card["training"]["epochs"] == 3  # type: ignore[index]
    assert 0 < card["metrics"]["held_out_groups"]["accuracy"] <= 1  # type: ignore[index]


def test_goes_on_where_it_was_stopped(cli: Cli, tmp_path: Path, networks: str) -> None:
    folder = tmp_path / "made"
    first = train(cli, folder, networks)
    weights = (folder / "lbdf.safetensors").read_bytes()
    again = train(cli, folder, networks)
    assert "groups taken from" in str(again["notes"])
    assert "classifier taken from" in str(again["notes"])
    assert again["metrics"] == first["metrics"]
    (folder / "lbdf.safetensors").write_bytes(b"half")
    third = train(cli, folder, networks)
    assert "groups taken from" in str(third["notes"])
    assert "training on" in str(third["notes"])
    assert (folder / "lbdf.safetensors").read_bytes() == weights
    other = train(cli, folder, networks, "--seed", 1)
    assert "groups sampled" in str(other["notes"])


def test_brr_has_files_of_its_own_and_measures_networks_apart(cli: Cli, tmp_path: Path, networks: str) -> None:
    from tvm_fusion.explainers.checkpoint import load_classifier

    folder = tmp_path / "made"
    train(cli, folder, networks)
    first, second = networks.split(",")
    card = train(cli, folder, first, "--scheme", "brr", "--apart", second)
    made = {"brr_groups.npz", "brr_groups_apart.npz", "brr.safetensors", "brr.json"}
    assert {path.name for path in folder.iterdir()} == made | {"groups.npz", "lbdf.safetensors", "lbdf.json"}
    load_classifier("brr", folder / "brr.safetensors")
    assert card["scheme"] == card["data"]["scheme"] == "brr"  # type: ignore[index]
    assert list(card["metrics"]["apart"]) == ["large"]  # type: ignore[index]
    assert card["metrics"]["held_out_groups_16_bits"]["samples"] > 0  # type: ignore[index]
    assert str(card["command"]).startswith("tvm-fusion train-explainer --scheme brr -o FOLDER")
    cli("train-explainer", "-o", folder, "--scheme", "layer").refused("--scheme 'layer'", "lbdf, brr")


def test_held_out_networks(cli: Cli, tmp_path: Path, networks: str) -> None:
    folder = tmp_path / "made"
    card = train(cli, folder, networks, "--held-out-networks")
    figures = card["metrics"]["held_out_networks"]  # type: ignore[index]
    assert list(figures) == ["epochs", "small", "large"]
    file = folder / "held_out_networks.json"
    saved = json.loads(file.read_text())
    del saved["scores"]["large"]
    saved["scores"]["small"]["accuracy"] = 0.125
    file.write_text(json.dumps(saved))
    again = train(cli, folder, networks, "--held-out-networks")
    assert str(again["notes"]).count("training on") == 1
    assert again["metrics"]["held_out_networks"]["small"]["accuracy"] == 0.125  # type: ignore[index]
    assert again["metrics"]["held_out_networks"]["large"] == figures["large"]  # type: ignore[index]


def test_table(cli: Cli, tmp_path: Path, networks: str) -> None:
    outcome = cli("train-explainer", "-o", tmp_path / "t", "--networks", networks, "--plans", 6, "--epochs", 1)
    assert outcome.code == 0
    assert "a tenth of the groups" in outcome.out
    assert "accuracy" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--plans", "0"), ("--plans 0",)),
        (("--epochs", "x"), ("--epochs x",)),
        (("--seed", "-1"), ("--seed -1",)),
        (("--networks", ","), ("--networks",)),
        (("--networks", "none.json"), ("none.json",)),
    ],
)
def test_bad_options(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    cli("train-explainer", "-o", tmp_path / "made", *arguments).refused(*words)


def test_folder_that_cannot_be_made(cli: Cli, networks: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    cli("train-explainer", "-o", file, "--networks", networks).refused("cannot make folder")
    cli("train-explainer", "-o", "/proc/none", "--networks", networks).refused("/proc/none")


def test_one_network_twice(cli: Cli, tmp_path: Path, networks: str) -> None:
    copy = tmp_path / "copy.json"
    copy.write_text(Path(networks.partition(",")[0]).read_text())
    cli("train-explainer", "-o", tmp_path / "m", "--networks", f"{networks},{copy}").refused("twice")


def test_without_torch_it_names_the_extra(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from tvm_fusion.cli.main import run\n"
        f"sys.exit(run(['train-explainer', '-o', {str(tmp_path / 'made')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "tvm-fusion[zoo]" in done.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_explainers_are_trained_for_the_classifier_of_the_folder(cli: Cli, tmp_path: Path, networks: str) -> None:
    from tvm_fusion.explainers.checkpoint import load_card

    folder = tmp_path / "made"
    arguments = ("train-explainer", "-o", folder, "--networks", networks, "--plans", 6, "--epochs", 3)
    outcome = cli(*arguments)
    assert outcome.code == 0, outcome.err
    sha256 = load_card(path=folder / "lbdf.safetensors")["sha256"]
    for kind in ("pg", "rg"):
        card = json.loads((folder / f"lbdf_{kind}.json").read_text())
        assert card["classifier_sha256"] == sha256
        assert card["command"].startswith("tvm-fusion train-explainer")
    before = (folder / "lbdf_pg.safetensors").read_bytes()
    (folder / "lbdf_rg.safetensors").write_bytes(b"damaged")
    again = cli(*arguments)
    assert "rgexplainer: epoch" in again.err
    assert "pgexplainer: epoch" not in again.err
    assert (folder / "lbdf_pg.safetensors").read_bytes() == before
