"""OptEmbed's search: the supernet is trained, ids under the thresholds are pruned, widths are evolved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.batch.loader import Loader
from clicksmith.embed.rows import row_stores
from clicksmith.encode.picked import Picked
from clicksmith.encode.store import Store
from clicksmith.errors import DataError, UsageError
from clicksmith.files import write_bytes
from clicksmith.fitting.asked import new_model
from clicksmith.fitting.told import FitProgress, Quiet
from clicksmith.identity import digest
from clicksmith.models.spec import CTRModel, ModelSpec
from clicksmith.plan import Plan
from clicksmith.plan.apply import numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.parts import FIRST, AnyPart, Block, Columns, FoundBy, KeptFeatures
from clicksmith.search.method import Asked, Controls, Method, require_values
from clicksmith.search.optembed.evolution import Evolution, Scored, Widths, smallest_within
from clicksmith.search.optembed.gate import ThresholdGate
from clicksmith.search.optembed.options import OptEmbed
from clicksmith.search.optembed.price import Kept, check_budget, pricing
from clicksmith.search.optembed.probe import first, probes
from clicksmith.search.optembed.score import Scorer, judging
from clicksmith.search.optembed.start import startable, started
from clicksmith.search.optembed.supernet import supernet
from clicksmith.search.optembed.widths import SampledTable
from clicksmith.train.counts import id_counts
from clicksmith.train.devices import bf16_is_native
from clicksmith.train.hook import Hook
from clicksmith.train.monitor import check_monitor
from clicksmith.train.settings import Monitor, TrainSettings
from clicksmith.train.trainer import train as train_model

FALL = 0.01
"""Of validation AUC, what is worth a note."""
SHOWN = 5
"""Vocabularies that a note names at most."""


@dataclass(frozen=True)
class Found:
    """What the search found."""

    kept: Kept
    """Slot to whether each id keeps its vectors."""
    widths: dict[str, int]
    """Slot to the width of its vectors; empty for a backbone without a main table."""
    parameters: int
    """Row-indexed parameters of the model found."""
    front: tuple[Scored, ...]
    """The Pareto front of what was scored, smallest first; widths in the order of `widths`."""
    notes: tuple[str, ...]
    """What a person should know."""
    model: CTRModel
    """The supernet, trained."""
    full: int
    """Row-indexed parameters of the model when nothing is pruned or cut."""
    epochs: int
    """Epochs that the supernet was trained."""

    def parts(self, dim: int, numbering: dict[str, str], by: FoundBy) -> tuple[AnyPart, ...]:
        """Return the Plan's parts: kept features where some are dropped, prefix columns where vectors are cut."""
        dropped = {slot: Array(kept) for slot, kept in self.kept.items() if not kept.all()}
        cut = {
            slot: (Block(FIRST, len(self.kept[slot]), tuple(range(width))),)
            for slot, width in self.widths.items()
            if width < dim and len(self.kept[slot]) > FIRST
        }
        found: list[AnyPart] = []
        if dropped:
            found.append(KeptFeatures(slots=dropped, numbering={s: numbering[s] for s in dropped}, found_by=by))
        if cut:
            found.append(Columns(dim=dim, slots=cut, numbering={s: numbering[s] for s in cut}, found_by=by))
        return tuple(found)


def search_optembed(
    spec: ModelSpec,
    train: Store,
    stop: Store | None,
    select: Store,
    settings: TrainSettings,
    options: OptEmbed,
    *,
    folder: Path | None = None,
    progress: FitProgress | None = None,
) -> Found:
    """Search on encoded rows; with `folder` an interrupted search goes on, to the same result.

    Differs from the paper: thresholds rest at first; candidates come from probes first, not from chance; a budget;
    batch normalisation is measured anew for each candidate; what ends the supernet's training does not choose widths,
    and it ends after half as many evaluations without a rise as the plain model's would, or two if those are fewer (at
    the first, it often ends before it has learned): its weights rank widths and begin the refit, which goes on.
    Paper: optembed, section 3.

    Args:
        train: rows that train weights and thresholds.
        stop: rows that end the training of the supernet, as `settings` say; None: after its epochs.
        select: rows that choose widths.
        progress: told how training and evolution go on, and what deserves a look.

    Raises:
        UsageError: options that contradict each other, or a budget that no candidate meets.
        CompositionError: the backbone has no vectors to prune by.
        DataError, DivergedError: as `train` says, or nothing would be kept.
    """
    told = progress or Quiet()
    require_values(train.layout, "optembed")
    model = new_model(
        supernet(spec, options, train.layout, resting(options, settings, train)), train.layout, settings.seed
    )
    full = sum(store.weight.numel() for store in row_stores(model))
    gate = cast("ThresholdGate", model.embedder.gate)
    gate.watch(model.embedder)
    if options.evidence:
        gate.weigh(id_counts(train), options.evidence)
    patience = settings.patience and max(min(settings.patience, 2), settings.patience // 2)
    once = msgspec.structs.replace(settings, accumulate=1, patience=patience)
    result = train_model(
        model,
        train,
        stop,
        once,
        run_dir=None if folder is None else folder / "training",
        progress=told,
        hook=Rest(gate),
    )
    kept = gate.kept()
    pruned, *notes = [*_told(gate, kept, settings), *outrun(result.history, options)]
    told.said(pruned)
    gate.fix(kept)
    table = None if model.embedder.columns is None else model.embedder.columns.table
    sampled = table if isinstance(table, SampledTable) else None
    if sampled is None:
        notes.append("no widths are chosen: the backbone has no main table of vectors, or a Plan gave it columns")
    for note in notes:
        told.noted(note)
    price, budget = pricing(model, kept, sampled), options.budget(full)
    if sampled is None:
        check_budget(options, budget, price(()))
        return Found(kept, {}, price(()), (), tuple(notes), model, full, result.epochs)
    low = settings.precision != "fp32" and bf16_is_native(next(model.parameters()).device)
    asked = digest([model.digest, train.digest, select.digest, msgspec.to_builtins(options), settings.seed, low])
    scorer = Scorer(
        model, sampled, train, select, norm_rows=options.norm_rows, metric=options.metric, seed=settings.seed, low=low
    )
    search = _WidthSearch(scorer, options, price, budget, settings.seed, folder, asked, told)
    best, front = search.run()
    widths = dict(zip(sampled.slots, best.widths, strict=True))
    return Found(kept, widths, best.parameters, front, tuple(notes), model, full, result.epochs)


class Rest(Hook):
    """Lets no evaluation count while thresholds rest: what they do afterwards is to be chosen from."""

    def __init__(self, gate: ThresholdGate) -> None:
        self.gate = gate

    def counts(self) -> bool:
        """Say whether thresholds move."""
        return not self.gate.resting


class _WidthSearch:
    """The evolution, its scores and its file."""

    def __init__(
        self,
        scorer: Scorer,
        options: OptEmbed,
        price: Callable[[Widths], int],
        budget: int | None,
        seed: int,
        folder: Path | None,
        asked: str,
        told: FitProgress,
    ) -> None:
        table, select = scorer.table, scorer.select
        self.scorer, self.slots, self.options, self.price, self.budget = scorer, table.slots, options, price, budget
        self.file = None if folder is None else folder / "evolution.json"
        self.asked, self.rows_in_all, self.told = asked, select.rows, told
        self.rows = judging(select.targets["labels"], options.score_rows, seed)
        self.grid = tuple(int(w) for w in table.grid)
        self.evolution = Evolution(len(table.slots), self.grid, options, price=price, budget=budget, seed=seed)

    def run(self) -> tuple[Scored, tuple[Scored, ...]]:
        """Return the chosen candidate and the front."""
        evolution, genes = self.evolution, len(self.slots)
        if not self._resumed() and self.options.probe:
            asked = probes(genes, self.grid)
            evolution.start(first(self._scores(asked, self.rows), genes, self.grid, self.price, self.budget))
        while children := evolution.ask():
            evolution.tell(children, self._scores(children, self.rows))
            self._save()
            best = evolution.best()
            self.told.said(
                f"generation {evolution.generation}: best {best.score:.6f} with {best.parameters:,} parameters"
            )
        front = evolution.front()
        if len(self.rows) < self.rows_in_all:  # the few that are left are worth all rows
            scores = self._scores([one.widths for one in front], np.arange(self.rows_in_all))
            front = [Scored(o.widths, score, o.parameters) for o, score in zip(front, scores, strict=True)]
        best = smallest_within(front, self.options.slack)
        for one in front:
            mark = "  <- taken" if one is best else ""
            self.told.said(f"front: {one.parameters:,} parameters, {self.options.metric} {one.score:.6f}{mark}")
        return best, tuple(front)

    def _scores(self, candidates: list[Widths], rows: NDArray[np.int64]) -> list[float]:
        return self.scorer([dict(zip(self.slots, widths, strict=True)) for widths in candidates], rows)

    def _resumed(self) -> bool:
        if self.file is None or not self.file.exists():
            return False
        saved = msgspec.json.decode(self.file.read_bytes())
        if saved["asked"] != self.asked:
            return False
        self.evolution.load(saved["state"])
        return True

    def _save(self) -> None:
        if self.file is not None:
            write_bytes(self.file, msgspec.json.encode({"asked": self.asked, "state": self.evolution.state()}))


def resting(options: OptEmbed, settings: TrainSettings, train: Store) -> int:
    """Return the steps in which thresholds rest."""
    each = Loader(train, settings.batch_size, seed=settings.seed, negative_rate=settings.negative_rate).steps
    most = settings.epochs * each if settings.steps is None else min(settings.steps, settings.epochs * each)
    return min(options.warm_epochs * each, most // 2)


def _told(gate: ThresholdGate, kept: Kept, settings: TrainSettings) -> list[str]:
    """Return what was pruned, and notes on it. Raises UsageError if nothing is kept."""
    sizes = {slot: (int(mask[FIRST:].sum()), len(mask) - FIRST) for slot, mask in kept.items()}
    known = sum(total for _, total in sizes.values())
    stay = sum(count for count, _ in sizes.values())
    t = f"thresholds {float(gate.thresholds.min()):.4g} to {float(gate.thresholds.max()):.4g}"
    if stay == 0:
        raise UsageError(
            f"OptEmbed would prune every one of {known:,} ids ({t}): lower --search.alpha ({gate.part.alpha:g}), "
            f"--search.threshold-rate ({gate.part.rate:g}) or --train.table-l2 ({settings.table_l2:g}); 0 is lowest."
        )
    notes = [f"{stay:,} of {known:,} ids kept ({t})"]
    notes += [
        f"of '{slot}' all {total:,} ids are pruned" for slot, (count, total) in sizes.items() if total > count == 0
    ]
    if stay == known and gate.part.rate > 0:
        smallest = sorted(gate.smallest().items(), key=lambda pair: pair[1])[:SHOWN]
        mode = "" if settings.l2_mode == "dense" else " with --train.l2-mode dense"
        notes.append(
            f"nothing was pruned ({t}; smallest sizes {', '.join(f'{slot} {size:.4g}' for slot, size in smallest)}; "
            f"table_l2 {settings.table_l2:g}): ids shrink below their threshold by L2 on all rows; give a larger "
            f"--train.table-l2{mode}, or a larger --search.alpha ({gate.part.alpha:g})"
        )
    return notes


def outrun(history: Sequence[dict[str, Any]], options: OptEmbed) -> list[str]:
    """Return a note if validation fell while thresholds rose, by more than `FALL` from one evaluation to the last."""
    scores = [entry["valid"]["auc"] for entry in history if "auc" in entry.get("valid", {})]
    if options.threshold_rate * options.alpha == 0 or not scores or max(scores) - scores[-1] <= FALL:
        return []
    return [
        f"validation AUC fell from {max(scores):.4f} to {scores[-1]:.4f} while thresholds rose: they outran the "
        f"vectors, and the best weights were taken back. Lower threshold_rate ({options.threshold_rate:g}) or alpha "
        f"({options.alpha:g}), or raise the learning rate."
    ]


def run(asked: Asked, options: OptEmbed) -> tuple[AnyPart, ...]:
    """Search on half of the selection rows, while the other half ends the training of the supernet."""
    order = np.random.default_rng([asked.seed, 0x0E]).permutation(asked.valid.rows)
    half = asked.valid.rows // 2
    stop, select = (Picked(asked.valid, np.sort(rows)) for rows in (order[:half], order[half:]))
    halves: tuple[tuple[Store, Monitor], ...] = ((stop, asked.settings.monitor), (select, options.metric))
    for rows, monitor in halves:
        try:
            check_monitor(monitor, rows)
        except DataError as error:
            raise DataError(
                f"optembed halves the {asked.valid.rows:,} validation rows, to end the supernet's training and to "
                f"choose widths; of one half: {error}"
            ) from error
    settings = msgspec.structs.replace(asked.settings, seed=asked.seed)
    found = search_optembed(
        asked.spec, asked.train, stop, select, settings, options, folder=asked.folder, progress=asked.progress
    )
    scores = {"parameters": float(found.parameters), "kept": found.parameters / found.full}
    scores["epochs"] = float(found.epochs)
    if found.front:
        scores["score"] = next(one.score for one in found.front if one.parameters == found.parameters)
    parts = found.parts(asked.spec.embed.dim, numbering(asked.encoder), asked.found_by("optembed", options, **scores))
    if parts and found.parameters >= found.full:
        more = ": narrower vectors have padding of their own, more than few ids save"
        asked.progress.noted(
            f"the tables of the model found have {found.parameters:,} parameters, the plain one's {found.full:,}"
            f"{more if found.parameters > found.full else ''}; give --search.max-ratio"
        )
    if not parts:
        asked.progress.noted("nothing is pruned and nothing cut, so the Plan is empty; give --search.max-ratio")
    elif options.start != "none" and startable(found.model):
        whole = found.model
        if options.start == "first":
            whole = new_model(supernet(asked.spec, options, asked.layout), asked.layout, asked.seed)
        asked.leave(started(asked.compact(parts), whole, found.kept), parts)
    return parts


def controls(_: OptEmbed, found: Plan) -> Controls:
    """Return a model as large with the most frequent features; and the plain one with as many more epochs.

    Where what was found is no smaller than the plain model, that is the only control of its size.
    """
    if not found.parts:
        return {}
    scores = found.parts[-1].found_by.scores
    again = {"warm": ("warm", {"epochs": int(scores["epochs"])})}
    share = round(scores["kept"], 6)
    return again if share >= 1 else {"frequent": ("frequent", {"share": share}), **again}


METHOD = Method(
    "optembed",
    "which ids keep vectors, and how wide the vectors of each vocabulary are",
    OptEmbed,
    run,
    controls=controls,
)
