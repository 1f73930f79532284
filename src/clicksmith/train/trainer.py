"""The trainer: one loop for every model."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from clicksmith.batch.loader import Loader
from clicksmith.embed.sockets import Loss
from clicksmith.encode.store import Store
from clicksmith.errors import ClicksmithError, DataError, UsageError
from clicksmith.files import locked, write_bytes
from clicksmith.kernels import native
from clicksmith.loss import BinaryCrossEntropy, Weighted
from clicksmith.models.spec import CTRModel
from clicksmith.parts import to_plain
from clicksmith.train.checkpoint import Checkpoints, load_weights, weights_of
from clicksmith.train.devices import device_of, precision_of
from clicksmith.train.interrupt import interruptible
from clicksmith.train.monitor import Judge, check_monitor, measured, score_of
from clicksmith.train.optimizers import Optimizers
from clicksmith.train.predict import check_layout, predict_logits
from clicksmith.train.progress import Plan, Progress, Silent, StepState
from clicksmith.train.result import TrainResult
from clicksmith.train.schedule import learning_rate
from clicksmith.train.settings import TrainSettings
from clicksmith.train.step import Stepper

LOG = "log.jsonl"
"""In the run folder: one line per evaluation, the entries of `TrainResult.history`."""
_TELL = 0.1


def train(
    model: CTRModel,
    train: Store,
    valid: Store | None,
    settings: TrainSettings,
    *,
    run_dir: str | Path | None = None,
    loss: Loss | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a model in place.

    With `run_dir` a killed or interrupted run goes on where its last checkpoint was, to the same weights bit for bit
    (on a CPU); a finished one is read back. The weights start as `model` has them: seed torch before building it.

    Args:
        valid: rows for early stopping; without them training lasts as long as the settings say.
        loss: cross-entropy by default, times the weight of the row where rows have one.
        progress: told what happens; see `clicksmith.train.progress`.

    Raises:
        DataError: there is nothing to learn from (no rows, no labels, labels of one class), or rows have another layout
            than the model.
        DivergedError: the loss is not finite. The model has the best weights so far, if there are any.
        UsageError: settings that contradict the data, or `run_dir` holds another run.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    check_layout(model, train, "the training rows")
    _check(train, settings)
    if loss is not None and settings.pos_weight != 1:
        raise UsageError(
            f"pos_weight is {settings.pos_weight} beside a loss of your own, which it does not reach; "
            "leave it at 1 and weigh clicks in the loss itself; predictions are then not corrected for it."
        )
    if valid is not None:
        check_layout(model, valid, "the validation rows")
        check_monitor(settings.monitor, valid)
    if loss is None:
        loss = BinaryCrossEntropy(pos_weight=settings.pos_weight)
        loss = loss if train.targets.get("weight") is None else Weighted(inner=loss)
    native.tune_allocator()
    folder = None if run_dir is None else Path(run_dir)
    with nullcontext() if folder is None else locked(folder), torch.random.fork_rng(enabled=True):
        return _Training(model, train, valid, settings, folder, loss, progress or Silent()).run()


class _Training:
    """A training in progress. `step` counts finished steps over all epochs; everything else follows from it."""

    def __init__(
        self,
        model: CTRModel,
        train: Store,
        valid: Store | None,
        settings: TrainSettings,
        folder: Path | None,
        loss: Loss,
        progress: Progress,
    ) -> None:
        self.settings, self.valid, self.folder, self.progress = settings, valid, folder, progress
        self.home = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.device = device_of(settings.device)
        self.precision = precision_of(settings.precision, self.device)
        self.model = model.to(self.device)
        module = loss.build(model.spec.tasks).to(self.device)
        self.optimizers = Optimizers((model, module), settings, train)
        self.loader = Loader(train, settings.batch_size, seed=settings.seed, negative_rate=settings.negative_rate)
        train.release()
        self.stepper = Stepper(
            model, module, self.optimizers, self.loader, device=self.device, low=self.precision == "bf16"
        )
        self.total = min(settings.epochs * self.loader.steps, settings.steps or math.inf)
        self.offset = math.log(settings.negative_rate / settings.pos_weight)
        self.judge, self.step, self.reason, self.seconds = Judge(settings), 0, "", 0.0
        self.history: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.best: dict[str, Tensor] | None = None
        asked = {
            "model": model.digest,
            "train": train.digest,
            "valid": None if valid is None else valid.digest,
            "loss": to_plain(loss),
            **msgspec.to_builtins(msgspec.structs.replace(settings, checkpoint_minutes=0)),
        }
        self.checkpoints = None if folder is None else Checkpoints(folder, asked)
        self.module = module

    def run(self) -> TrainResult:
        """Go through the steps that are left."""
        torch.manual_seed(self.settings.seed)
        self._resume()
        self.progress.started(
            Plan(
                self.loader.rows, self.loader.steps, self.settings.epochs, int(self.total), self.step,
                self.device.type, self.precision,
            )
        )  # fmt: skip
        ended = "failed"
        try:
            with interruptible() as interrupted:
                while not self.reason:
                    self._epoch(interrupted)
            self._restore()
            ended = self.reason
        except KeyboardInterrupt:
            ended = "interrupted"
            raise
        except ClicksmithError:
            self.optimizers.zero_grad()
            self._restore()
            raise
        finally:
            self.optimizers.detach()
            self.model.to(self.home).eval()
            self.progress.finished(ended)
        return self._result()

    def _epoch(self, interrupted: Callable[[], bool]) -> None:
        """Train from the current step to the end of its epoch, or to the end of training."""
        epoch, start = divmod(self.step, self.loader.steps)
        self.model.train()
        began = told = saved = time.monotonic()
        rows_before = 0
        for rows in self.loader.order(epoch, start):
            rate = learning_rate(self.settings, self.step, int(self.total), self.judge.decay)
            self.stepper.step(rows, rate, self.step + 1)
            self.step += 1
            rows_before += len(rows)
            now = time.monotonic()
            if now - told > _TELL:
                told = now
                speed = rows_before / (now - began)
                self.progress.stepped(StepState(epoch + 1, self.step, self.stepper.watch.mean, rate, speed))
            if self._due():
                self.seconds += time.monotonic() - began
                self._evaluate(epoch + 1, rate, rows_before / max(now - began, 1e-9))
                began = saved = time.monotonic()
                rows_before = 0
                self.model.train()
            asked = interrupted()
            if self.checkpoints is not None and (asked or now - saved > 60 * self.settings.checkpoint_minutes):
                saved = now
                self._save(best=False)
            if asked:
                raise KeyboardInterrupt
            if self.reason:
                return
        self.seconds += time.monotonic() - began

    def _due(self) -> bool:
        every = self.settings.evaluate_every or self.loader.steps
        return self.step % every == 0 or self.step >= self.total

    def _evaluate(self, epoch: int, rate: float, speed: float) -> None:
        """Measure the validation rows, judge, write a line and a checkpoint, and decide whether to go on."""
        watch = self.stepper.watch
        watch.read()
        self.optimizers.flush()
        entry: dict[str, Any] = {
            "epoch": epoch, "step": self.step, "loss": watch.mean, "learning_rate": rate,
            "seconds": round(self.seconds, 3), "rows_per_second": round(speed, 1),
        }  # fmt: skip
        watch.restart()
        best = self.valid is None
        if self.valid is not None:
            logits = predict_logits(self.model, self.valid, self.settings.eval_batch_size) + self.offset
            if not np.isfinite(logits).all():
                raise watch.diverged("validation logits are not finite", self.step, rate)
            entry["valid"] = measured(logits, self.valid, self.settings.monitor)
            self.valid.release()
            best = self.judge.judge(score_of(entry["valid"], self.settings.monitor), self.step)
            entry["best"] = best
            self._look(entry)
        self.history.append(entry)
        if self.step >= self.total:
            self.reason = "epochs" if self.total == self.settings.epochs * self.loader.steps else "steps"
        elif self.valid is not None and self.judge.enough:
            self.reason = "patience"
        if best and self.settings.restore_best and self.checkpoints is None and self.valid is not None:
            self.best = {name: tensor.clone() for name, tensor in weights_of(self.model).items()}
        if self.checkpoints is not None:
            self._save(best=best)
            self._write_log()
        self.progress.evaluated(entry)

    def _look(self, entry: dict[str, Any]) -> None:
        """Say once when nothing has been learned."""
        auc = entry["valid"].get("auc")
        if auc is None or abs(auc - 0.5) > 0.01 or self.notes or self.valid is None or self.valid.rows < 1000:
            return
        text = (
            f"AUC is {auc:.4f} after {self.step} steps, as good as guessing. Likely: valid and train label different "
            "things; every id of valid is unseen (a split by id, or min_count too high); the learning rate "
            f"({entry['learning_rate']:g}) is far off; or the columns say nothing about the label."
        )
        self.notes.append(text)
        self.progress.noted(text)

    def _restore(self) -> None:
        """Put back the weights of the best evaluation, if they are others than the model's."""
        if not self.settings.restore_best or self.valid is None or self.judge.best is None:
            return
        if self.judge.best_step != self.step or self.reason == "":
            if self.checkpoints is not None:
                self.optimizers.flush()
                self.checkpoints.load_best(self.model, self.device)
            elif self.best is not None:
                self.optimizers.flush()
                load_weights(self.model, self.best)

    def _save(self, *, best: bool) -> None:
        if self.checkpoints is None:
            return
        self.stepper.watch.read()
        random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        state = {
            "step": self.step, "reason": self.reason, "seconds": self.seconds, "judge": self.judge.state(),
            "watch": self.stepper.watch.state(), "history": self.history, "notes": self.notes, "random": random,
            "optimizers": self.optimizers.state_dict(), "loss": dict(self.module.state_dict()),
        }  # fmt: skip
        self.checkpoints.save(self.model, state, best=best)

    def _resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        state = None if self.checkpoints is None else self.checkpoints.load(self.model, self.device)
        if state is None:
            return
        self.step, self.reason, self.seconds = state["step"], state["reason"], state["seconds"]
        self.history, self.notes = state["history"], state["notes"]
        self.judge.load(state["judge"])
        self.stepper.watch.load(state["watch"])
        self.optimizers.load_state_dict(state["optimizers"])
        self.module.load_state_dict(state["loss"])
        torch.set_rng_state(state["random"]["cpu"])
        if "cuda" in state["random"]:
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)
        self._write_log()

    def _write_log(self) -> None:
        if self.folder is not None:
            write_bytes(self.folder / LOG, b"".join(msgspec.json.encode(entry) + b"\n" for entry in self.history))

    def _result(self) -> TrainResult:
        restored = self.settings.restore_best and self.valid is not None
        step = self.judge.best_step if restored else self.step
        metrics = next((e.get("valid", {}) for e in reversed(self.history) if e["step"] == step), {})
        return TrainResult(
            epochs=math.ceil(self.step / self.loader.steps),
            steps=self.step,
            reason=self.reason,
            best_step=step,
            metrics=metrics,
            history=self.history,
            logit_offset=self.offset,
            device=self.device.type,
            precision=self.precision,
            table_update=self.optimizers.table_update,
            notes=tuple(self.notes),
        )


def _check(train: Store, settings: TrainSettings) -> None:
    """Raise DataError unless there is something to learn."""
    if train.rows < 2:
        raise DataError(f"there are {train.rows} training rows; at least 2 are needed.")
    labels = train.targets.get("labels")
    if labels is None:
        raise DataError("the training rows have no labels; encode them with labels.")
    for i, name in enumerate(train.layout.labels[: labels.shape[1]]):
        low, high = labels[:, i].min(), labels[:, i].max()
        if low == high:
            raise DataError(f"label '{name}' is {low:g} in all {train.rows} training rows; nothing can be learned.")
    if settings.negative_rate < 1 and labels.shape[1] > 1:
        raise UsageError(
            f"negative_rate is {settings.negative_rate} with {labels.shape[1]} labels; rows left out for one label "
            "shift the others by an unknown amount. Leave it at 1, or train one label at a time."
        )
