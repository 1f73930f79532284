"""The trainer: one loop for every model."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from clicksmith.batch.loader import Loader
from clicksmith.embed.sockets import Loss
from clicksmith.encode.store import Store
from clicksmith.errors import ClicksmithError, StorageError
from clicksmith.files import locked
from clicksmith.head.branches import BranchMean
from clicksmith.kernels import native
from clicksmith.loss import BinaryCrossEntropy, SelfDistilled, Weighted
from clicksmith.models.spec import CTRModel
from clicksmith.parts import to_plain
from clicksmith.train.average import WeightMean
from clicksmith.train.checkpoint import Checkpoints
from clicksmith.train.checks import check
from clicksmith.train.course import Course
from clicksmith.train.devices import bf16_is_native, device_of, precision_of
from clicksmith.train.hook import Hook
from clicksmith.train.interrupt import interruptible
from clicksmith.train.keeper import Keeper
from clicksmith.train.log import Log
from clicksmith.train.monitor import Judge, guessing, measured, score_of
from clicksmith.train.optimizers import Optimizers
from clicksmith.train.predict import predict_logits
from clicksmith.train.progress import Plan, Progress, Silent, StepState
from clicksmith.train.result import TrainResult
from clicksmith.train.schedule import learning_rate
from clicksmith.train.settings import TrainSettings
from clicksmith.train.step import Stepper, finite

_TELL = 0.1

Stop = Callable[[Sequence[dict[str, Any]]], str]
"""Asked after each evaluation, with all evaluations so far: why training is to end now; "" lets it go on."""


def train(
    model: CTRModel,
    train: Store,
    valid: Store | None,
    settings: TrainSettings,
    *,
    run_dir: str | Path | None = None,
    loss: Loss | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    hook: Hook | None = None,
) -> TrainResult:
    """Train a model in place.

    With `run_dir` a killed or interrupted run goes on where its last checkpoint was, to the same weights bit for bit
    (on a CPU); a finished one is read back. The weights start as `model` has them: seed torch before building it.

    Args:
        valid: rows for early stopping; without them training lasts as long as the settings say.
        loss: cross-entropy by default, with self-distillation where the head asks for it, times the weight of the row
            over the mean weight where rows have one.
        progress: told what happens; see `clicksmith.train.progress`.
        stop: ends training early for a reason of its own, which becomes the result's; a search prunes with it.
        hook: what a search does beside training, see `clicksmith.train.hook`.

    Raises:
        DataError: there is nothing to learn from (no rows, no labels, labels of one class), or rows have another layout
            than the model.
        DivergedError: the loss is not finite. The model has the best weights so far, if there are any.
        UsageError: settings that contradict the data, or `run_dir` holds another run.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    check(model, train, valid, settings, own_loss=loss is not None)
    if loss is None:
        loss = BinaryCrossEntropy(pos_weight=settings.pos_weight)
        loss = SelfDistilled(inner=loss) if isinstance(model.spec.head, BranchMean) else loss
        weight = train.targets.get("weight")
        loss = loss if weight is None else Weighted(inner=loss, mean=float(weight.mean(dtype=np.float64)))
    native.tune_allocator()
    folder = None if run_dir is None else Path(run_dir)
    with nullcontext() if folder is None else locked(folder), torch.random.fork_rng(enabled=True):
        return _Training(model, train, valid, settings, folder, loss, progress or Silent(), stop, hook or Hook()).run()


class _Training:
    """A training in progress."""

    def __init__(
        self,
        model: CTRModel,
        train: Store,
        valid: Store | None,
        settings: TrainSettings,
        folder: Path | None,
        loss: Loss,
        progress: Progress,
        stop: Stop | None,
        hook: Hook,
    ) -> None:
        self.settings, self.valid, self.progress, self.stop, self.hook = settings, valid, progress, stop, hook
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
        hook.attach(self.stepper)
        self.stepper.before_update = hook.before_update
        self.total = int(min(settings.epochs * self.loader.steps, settings.steps or math.inf))
        self.offset = math.log(settings.negative_rate / settings.pos_weight)
        asked = {
            "model": model.digest,
            "train": train.digest,
            "valid": None if valid is None else valid.digest,
            "loss": to_plain(loss),
            "hook": hook.asked(),
            **msgspec.to_builtins(msgspec.structs.replace(settings, checkpoint_minutes=0)),
        }
        checkpoints = None if folder is None else Checkpoints(folder, asked)
        self.course, self.log, self.told = Course(Judge(settings)), Log(folder), 0.0
        self.mean = WeightMean(model, settings.average)
        self.keeper = Keeper(
            checkpoints, self.stepper, self.course, hook, self.mean, minutes=settings.checkpoint_minutes
        )

    def run(self) -> TrainResult:
        """Go through the steps that are left."""
        torch.manual_seed(self.settings.seed)
        try:
            self.keeper.resume()
        except ClicksmithError:  # the model is the caller's, and nothing was done to it
            self.optimizers.detach()
            self.model.to(self.home)
            raise
        self.log.begin(self.course)
        self.progress.started(
            Plan(
                self.loader.rows, self.loader.steps, self.settings.epochs, self.total, self.course.step,
                self.device.type, self.precision,
            )
        )  # fmt: skip
        if self.precision == "bf16" and not bf16_is_native(self.device):
            self.progress.noted(
                "this processor has no bfloat16 products: precision='bf16' rounds as they do, no faster than 'fp32'."
            )
        ended = "failed"
        try:
            with interruptible() as interrupted:
                while not self.course.reason:
                    self._epoch(interrupted)
            self._restore()
            if not all(finite(parameter) for parameter in self.model.parameters()):
                raise self.stepper.watch.diverged(
                    "weights are not finite", self.course.step, self.settings.learning_rate
                )
            ended = self.course.reason
        except KeyboardInterrupt:
            ended = "interrupted"
            raise
        except StorageError:
            raise  # the best weights may be what could not be written
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
        course = self.course
        epoch, start = divmod(course.step, self.loader.steps)
        self.hook.begin_epoch(epoch)
        self.model.train()
        course.pace.start()
        for rows in self.loader.order(epoch, start):
            rate = learning_rate(self.settings, course.step, self.total, course.judge.decay)
            self.stepper.step(rows, rate, course.step + 1)
            course.step += 1
            self.hook.after_step(course.step, rate)
            course.pace.rows += len(rows)
            self._tell(epoch + 1, rate)
            if self._due():
                self._evaluate(epoch + 1, rate)
            asked = interrupted()
            if asked or self.keeper.due:
                self.keeper.save()
            if asked:
                raise KeyboardInterrupt
            if course.reason:
                break
        course.pace.stop()

    def _tell(self, epoch: int, rate: float) -> None:
        """Say where training is, now and then."""
        course, now = self.course, time.monotonic()
        self.log.stepped(course, self.stepper.watch, epoch, rate)
        if now - self.told > _TELL:
            self.told = now
            speed = course.pace.rows_per_second
            self.progress.stepped(StepState(epoch, course.step, self.stepper.watch.mean, rate, speed))

    def _due(self) -> bool:
        every = self.settings.evaluate_every or self.loader.steps
        return self.course.step % every == 0 or self.course.step >= self.total

    def _evaluate(self, epoch: int, rate: float) -> None:
        """Measure the validation rows, judge, write a line and a checkpoint, and decide whether to go on."""
        course, watch = self.course, self.stepper.watch
        watch.read()
        speed = course.pace.rows_per_second
        course.pace.stop()
        self.optimizers.flush()
        entry: dict[str, Any] = {
            "kind": "evaluation", "epoch": epoch, "step": course.step, "loss": watch.mean, "learning_rate": rate,
            "seconds": round(course.pace.seconds, 3), "rows_per_second": round(speed, 1),
        }  # fmt: skip
        watch.restart()
        self.mean.add()
        with self.mean.in_model():
            best = self.valid is None or self._measure(self.valid, entry)
            if best and self.settings.restore_best and self.valid is not None:
                self.keeper.remember()
        self.hook.evaluated(entry)
        course.history.append(entry)
        if course.step >= self.total:
            course.reason = "epochs" if self.total == self.settings.epochs * self.loader.steps else "steps"
        elif self.valid is not None and course.judge.enough:
            course.reason = "patience"
        if self.stop is not None:
            course.reason = course.reason or self.stop(course.history)
        self.keeper.save(best=best)
        self.log.evaluated(entry)
        self.progress.evaluated(entry)
        self.model.train()
        course.pace.start()

    def _measure(self, valid: Store, entry: dict[str, Any]) -> bool:
        """Enter the metrics of the validation rows; return whether they are the best so far."""
        course = self.course
        logits = predict_logits(self.model, valid, self.settings.eval_batch_size) + self.offset
        if not np.isfinite(logits).all():
            raise self.stepper.watch.diverged("validation logits are not finite", course.step, entry["learning_rate"])
        entry["valid"] = measured(logits, valid, self.settings.monitor)
        valid.release()
        score = score_of(entry["valid"], self.settings.monitor)
        entry["best"] = self.hook.counts() and course.judge.judge(score, course.step)
        self._look(valid, entry)
        return entry["best"]

    def _look(self, valid: Store, entry: dict[str, Any]) -> None:
        """Say once when nothing has been learned."""
        auc = entry["valid"].get("auc")
        if auc is None or abs(auc - 0.5) > 0.01 or self.course.notes or valid.rows < 1000:
            return
        text = guessing(auc, self.course.step, entry["learning_rate"])
        self.course.notes.append(text)
        self.progress.noted(text)

    def _restore(self) -> None:
        """Put back the weights of the best evaluation if that was asked, else end with the mean of the last ones."""
        if self.settings.restore_best and self.valid is not None:
            self.keeper.restore()
        elif self.mean.terms:
            self.optimizers.flush()
            self.mean.swap()

    def _result(self) -> TrainResult:
        course = self.course
        restored = self.settings.restore_best and self.valid is not None
        step = course.judge.best_step if restored else course.step
        metrics = next((e.get("valid", {}) for e in reversed(course.history) if e["step"] == step), {})
        return TrainResult(
            epochs=math.ceil(course.step / self.loader.steps),
            steps=course.step,
            reason=course.reason,
            best_step=step,
            metrics=metrics,
            history=course.history,
            logit_offset=self.offset,
            device=self.device.type,
            precision=self.precision,
            table_update=self.optimizers.table_update,
            notes=tuple(course.notes),
        )
