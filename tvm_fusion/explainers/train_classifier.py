"""train_classifier: fit a ValidityClassifier to labelled groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.classifier import ValidityClassifier
from tvm_fusion.explainers.evaluate_classifier import logits_of
from tvm_fusion.explainers.group_parts import GroupParts
from tvm_fusion.explainers.group_tensors import Groups, GroupTensors

# Range of the buffer sizes near a group's requirement that are learned from, in bytes.
_NEAR = (64 * 1024, 4 * 1024 * 1024)

# Called with (epochs done, epochs, accuracy on the validation groups so far).
TrainingProgress = Callable[[int, int, float], None]


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How the classifier is fitted; the defaults are those of the shipped one.

    In an ``epoch`` every group comes once, at a random one of the buffer sizes or, for ``near_share`` of the
    groups, at a random size near its requirement (half an octave deviation), where the decision is hard.
    For ``resized_share`` of the groups, image width and channels (in BRR: bits, 8 or 16, and channels) are other ones,
    up to an octave more or less, so that what is learned holds for other networks. ``check_epochs``: how often the
    validation groups are looked at.
    """

    epochs: int = 80
    batch_groups: int = 256
    learning_rate: float = 2e-3
    near_share: float = 0.5
    resized_share: float = 0.5
    check_epochs: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ExplainerError(f"epochs {self.epochs} is not allowed; at least 1 is needed")


def train_classifier(
    tensors: GroupTensors,
    parts: GroupParts,
    settings: TrainingSettings | None = None,
    progress: TrainingProgress | None = None,
) -> ValidityClassifier:
    """The classifier with the weights that were best on the validation groups, in evaluation mode.

    Binary cross-entropy, Adam, a learning rate that rises for a tenth of the time and falls to nothing. The same
    seed, number of threads and version of torch give the same weights; torch's own random state is left alone.
    """
    settings = settings or TrainingSettings()
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        classifier = ValidityClassifier()
    train, validation = torch.from_numpy(parts.train), torch.from_numpy(parts.validation)
    every = tensors.select(train)
    classifier.scale_to(every.features(_buffers(tensors, every, settings, generator)))
    optimizer = torch.optim.Adam(classifier.parameters(), lr=settings.learning_rate)
    steps = settings.epochs * -(-len(train) // settings.batch_groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(2, steps), pct_start=0.1
    )
    best, best_state = (0.0, float("-inf")), classifier.state_dict()
    for epoch in range(1, settings.epochs + 1):
        for groups in train[torch.randperm(len(train), generator=generator)].split(settings.batch_groups):
            some = _resized(tensors.select(groups), tensors.scheme, settings, generator)
            buffers = _buffers(tensors, some, settings, generator)
            logits = classifier(some.features(buffers), some.edge_index, some.batch).squeeze(1)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, some.invalid(buffers).float())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        if epoch % settings.check_epochs == 0 or epoch == settings.epochs:
            score = _quality(classifier, tensors, validation)
            if score > best:
                best = score
                best_state = {name: value.clone() for name, value in classifier.state_dict().items()}
        if progress is not None:
            progress(epoch, settings.epochs, best[0])
    classifier.load_state_dict(best_state)
    classifier.eval()
    return classifier


def _resized(groups: Groups, scheme: str, settings: TrainingSettings, generator: torch.Generator) -> Groups:
    """Some of the groups with other widths and channels, as far as their requirement stays known."""
    count = len(groups.requirement_bytes)
    if not settings.resized_share:
        return groups
    octaves = torch.rand(2, count, generator=generator, dtype=torch.float64) * 2 - 1
    if scheme != "lbdf":
        octaves[0] = (octaves[0] > 0).double()
    octaves *= torch.rand(count, generator=generator) < settings.resized_share
    return (groups.resized if scheme == "lbdf" else groups.rescaled)(*octaves.exp2())


def _buffers(
    tensors: GroupTensors, groups: Groups, settings: TrainingSettings, generator: torch.Generator
) -> torch.Tensor:
    """A buffer size for each group."""
    count = len(groups.requirement_bytes)
    given = tensors.buffers_bytes[torch.randint(len(tensors.buffers_bytes), (count,), generator=generator)]
    octaves = torch.randn(count, generator=generator, dtype=torch.float64) / 2
    near = (groups.requirement_bytes * octaves.exp2()).clamp(*_NEAR).long()
    return torch.where(torch.rand(count, generator=generator) < settings.near_share, near, given)


def _quality(classifier: ValidityClassifier, tensors: GroupTensors, groups: torch.Tensor) -> tuple[float, float]:
    """Accuracy, then minus the loss: the larger the better. Without validation groups the last weights count."""
    if not len(groups):
        return float("inf"), 0.0
    logits = logits_of(classifier, tensors, groups)
    truth = tensors.requirement_bytes[groups, None] > tensors.buffers_bytes[None, :]
    loss = nn.functional.binary_cross_entropy_with_logits(logits, truth.float())
    return float(((logits > 0) == truth).double().mean()), -float(loss)
