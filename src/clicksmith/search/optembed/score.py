"""Scores of many candidates in one pass over the rows."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clicksmith.batch.batch import Batch, batch_of, to_device
from clicksmith.encode.store import Store
from clicksmith.errors import DivergedError
from clicksmith.evaluate.auc import auc
from clicksmith.kernels.layers import Linear
from clicksmith.models.spec import CTRModel
from clicksmith.search.knobs import apart, norms_of
from clicksmith.search.optembed.widths import SampledTable

BATCH = 4096
Statistics = list[dict[str, Tensor]]


class Scorer:
    """Scores widths per slot under a trained supernet.

    Each batch of rows is read, and its vectors and the masks of its ids are looked up, once for all candidates.
    Statistics of batch normalisation (and of Dice) were averaged over random widths in training: they are measured anew
    for every candidate, on the same training rows. `low`: matrix products in bfloat16.
    """

    def __init__(
        self,
        model: CTRModel,
        table: SampledTable,
        train: Store,
        select: Store,
        *,
        norm_rows: int,
        metric: str,
        seed: int,
        low: bool = False,
    ) -> None:
        self.low = low
        self.model, self.table, self.train, self.select, self.metric = model, table, train, select, metric
        self.norms = norms_of(model)
        self.rows = chosen(train.rows, norm_rows, seed) if self.norms else np.zeros(0, np.int64)
        self.device = next(model.parameters()).device

    @torch.no_grad()
    def __call__(self, candidates: Sequence[dict[str, int] | None], rows: NDArray[np.int64]) -> list[float]:
        """Return a score per candidate (None: full width) on rows of the selection part; the model stays as it was."""
        training = self.model.training
        try:
            with apart(self.model):
                return self._scored(candidates, rows)
        finally:
            self.table.choose(None)
            self.model.train(training)  # what was settled is forgotten

    def _scored(self, candidates: Sequence[dict[str, int] | None], rows: NDArray[np.int64]) -> list[float]:
        self.model.eval()
        for layer in self.model.modules():
            if isinstance(layer, Linear):  # each by itself: batch norm, which could be part of it, is each candidate's
                layer.settle()
        statistics = self._measured(candidates)
        logits: list[list[NDArray[np.float32]]] = [[] for _ in candidates]
        labels: list[NDArray[np.float32]] = []
        weights: list[NDArray[np.float32]] = []
        for batch in self._batches(self.select, rows):
            labels.append(batch.targets.labels.cpu().numpy())
            if batch.targets.weight is not None:
                weights.append(batch.targets.weight.cpu().numpy())
            with self.table.once.opened():
                for candidate, known, found in zip(candidates, statistics, logits, strict=True):
                    self._put(known)
                    self.table.choose(candidate)
                    found.append(self._logits(batch).float().cpu().numpy())
        truth, weight = np.concatenate(labels), np.concatenate(weights) if weights else None
        return [_score(truth, np.concatenate(found), weight, self.metric) for found in logits]

    def _measured(self, candidates: Sequence[dict[str, int] | None]) -> list[Statistics]:
        """Return the statistics of each candidate: the mean over the batches, each as in training."""
        found = [self._copied() for _ in candidates]
        before = [norm.momentum for norm in self.norms]
        for norm in self.norms:
            norm.train()
        for number, batch in enumerate(self._batches(self.train, self.rows)):
            with self.table.once.opened():
                for i, candidate in enumerate(candidates):
                    self._put(found[i])
                    self.table.choose(candidate)
                    for norm in self.norms:
                        norm.momentum = 1 / (number + 1)
                    self._logits(batch)
                    found[i] = self._copied()
        for norm, momentum in zip(self.norms, before, strict=True):
            norm.momentum = momentum
            norm.eval()
        return found

    def _logits(self, batch: Batch) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.low):
            return self.model(batch.inputs).logits

    def _copied(self) -> Statistics:
        return [{name: b.clone() for name, b in norm.named_buffers()} for norm in self.norms]

    def _put(self, statistics: Statistics) -> None:
        for norm, known in zip(self.norms, statistics, strict=True):
            for name, buffer in norm.named_buffers():
                buffer.copy_(known[name])

    def _batches(self, store: Store, rows: NDArray[np.int64]) -> Iterator[Batch]:
        for start in range(0, len(rows), BATCH):
            piece = rows[start : start + BATCH]
            if store is not self.train or len(piece) > 1:  # batch normalisation cannot take a single row
                batch = batch_of(store.take(piece))
                yield batch if self.device.type == "cpu" else to_device(batch, self.device)


def chosen(total: int, rows: int, seed: int) -> NDArray[np.int64]:
    """Return the numbers of at most `rows` rows, drawn by seed, in order."""
    if rows >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng([seed, 0x0E]).choice(total, rows, replace=False))


def judging(labels: NDArray[np.float32], rows: int, seed: int) -> NDArray[np.int64]:
    """Return `chosen` rows; more of them where clicks (or their absence) are so rare that a hundredth would not be.

    A hundred of either are enough. Shape:
        labels: [all rows, outputs]
    """
    enough = max(1, min(100, rows // 100))
    while rows < len(labels):
        drawn = chosen(len(labels), rows, seed)
        clicks = labels[drawn].sum(0)
        if np.minimum(clicks, rows - clicks).min() >= enough:
            return drawn
        rows *= 2
    return np.arange(len(labels))


def _score(
    labels: NDArray[np.float32], logits: NDArray[np.float32], weight: NDArray[np.float32] | None, metric: str
) -> float:
    """Return the mean over outputs; higher is better."""
    if metric == "auc":
        return float(np.mean([auc(labels[:, i], logits[:, i], weight) for i in range(labels.shape[1])]))
    x = logits.astype(np.float64)
    loss = float(np.average((np.logaddexp(0, x) - labels * x).mean(1), weights=weight))
    if not np.isfinite(loss):
        raise DivergedError(
            f"the log-loss of a candidate is {loss}: the supernet has diverged; use a lower --train.learning-rate."
        )
    return -loss
