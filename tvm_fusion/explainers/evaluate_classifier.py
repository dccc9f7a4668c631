"""evaluate_classifier: how often the classifier is right on groups of a dataset."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tvm_fusion.explainers.classifier import ValidityClassifier
from tvm_fusion.explainers.group_tensors import GroupTensors

_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class ClassifierScores:
    """Figures over all samples (groups times buffer sizes); "invalid" is the positive class.

    ``f1`` is 1 where no sample is invalid and none was called so. ``by_buffer``: accuracy at each size in bytes.
    """

    groups: int
    samples: int
    invalid_share: float
    accuracy: float
    f1: float
    precision: float
    recall: float
    by_buffer: dict[int, float]

    def to_json(self) -> dict[str, object]:
        """All fields by name, shares with five digits."""
        found = {name: round(v, 5) if isinstance(v, float) else v for name, v in asdict(self).items()}
        found["by_buffer"] = {str(size): round(share, 5) for size, share in self.by_buffer.items()}
        return found


def logits_of(classifier: ValidityClassifier, tensors: GroupTensors, groups: torch.Tensor) -> torch.Tensor:
    """Logits (groups, buffer sizes) without gradients; ``groups`` (n,) are positions in the dataset."""
    was_training = classifier.training
    classifier.eval()
    parts = []
    with torch.no_grad():
        for some in groups.split(_AT_ONCE):
            chosen = tensors.select(some)
            columns = [
                classifier(chosen.features(size.expand(len(some))), chosen.edge_index, chosen.batch)
                for size in tensors.buffers_bytes
            ]
            parts.append(torch.cat(columns, dim=1))
    classifier.train(was_training)
    return torch.cat(parts)


def evaluate_classifier(
    classifier: ValidityClassifier, tensors: GroupTensors, groups: NDArray[np.int64]
) -> ClassifierScores:
    """Scores on the groups at these positions (at least one), at all buffer sizes of the dataset."""
    chosen = torch.from_numpy(groups)
    called = logits_of(classifier, tensors, chosen) > 0
    truth = tensors.requirement_bytes[chosen, None] > tensors.buffers_bytes[None, :]
    right = called == truth
    hits, calls, invalid = int((called & truth).sum()), int(called.sum()), int(truth.sum())
    return ClassifierScores(
        groups=len(chosen),
        samples=truth.numel(),
        invalid_share=invalid / truth.numel(),
        accuracy=float(right.double().mean()),
        f1=2 * hits / (calls + invalid) if calls + invalid else 1.0,
        precision=hits / calls if calls else 1.0,
        recall=hits / invalid if invalid else 1.0,
        by_buffer={
            int(size): float(right[:, k].double().mean()) for k, size in enumerate(tensors.buffers_bytes.tolist())
        },
    )
