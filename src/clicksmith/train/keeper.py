"""Keeps a training: in the checkpoint of its run folder, or without one the best weights in memory."""

import time
from typing import Any

import torch
from torch import Tensor

from clicksmith.train.average import WeightMean
from clicksmith.train.checkpoint import Checkpoints, load_weights, weights_of
from clicksmith.train.course import Course
from clicksmith.train.hook import Hook
from clicksmith.train.step import Stepper


class Keeper:
    """Saves and brings back what `stepper` and `course` hold; `minutes` is how often at least."""

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        stepper: Stepper,
        course: Course,
        hook: Hook,
        mean: WeightMean,
        *,
        minutes: float,
    ) -> None:
        self.checkpoints, self.stepper, self.course, self.hook, self.mean = checkpoints, stepper, course, hook, mean
        self.seconds, self.saved = 60 * minutes, time.monotonic()
        self.best: dict[str, Tensor] | None = None

    @property
    def due(self) -> bool:
        """Whether the last checkpoint is old."""
        return self.checkpoints is not None and time.monotonic() - self.saved > self.seconds

    def save(self, *, best: bool = False) -> None:
        """Write a checkpoint, if there is a run folder; `best`: the weights, or their mean, are the best so far."""
        if self.checkpoints is None:
            return
        stepper = self.stepper
        stepper.watch.read()
        random = {"cpu": torch.get_rng_state()}
        if stepper.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(stepper.device)
        state: dict[str, Any] = {
            **self.course.state(), "watch": stepper.watch.state(), "random": random,
            "optimizers": stepper.optimizers.state_dict(), "loss": dict(stepper.loss.state_dict()),
            "hook": self.hook.state(), "mean": self.mean.state(),
        }  # fmt: skip
        weights = weights_of(stepper.model)
        self.checkpoints.save(weights, state, best=(self.mean.mean or weights) if best else None)
        self.saved = time.monotonic()

    def remember(self) -> None:
        """Take the weights as the best so far, where no checkpoint does."""
        if self.checkpoints is None:
            self.best = {name: tensor.clone() for name, tensor in weights_of(self.stepper.model).items()}

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        stepper = self.stepper
        state = None if self.checkpoints is None else self.checkpoints.load(stepper.model, stepper.device)
        if state is None:
            return
        self.course.load(state)
        stepper.watch.load(state["watch"])
        stepper.optimizers.load_state_dict(state["optimizers"])
        stepper.loss.load_state_dict(state["loss"])
        self.hook.load(state["hook"])
        self.mean.load(state["mean"])
        torch.set_rng_state(state["random"]["cpu"])
        if "cuda" in state["random"]:
            torch.cuda.set_rng_state(state["random"]["cuda"], stepper.device)

    def restore(self) -> None:
        """Put back the weights of the best evaluation, if they are others than the model's."""
        judge = self.course.judge
        ended_best = judge.best_step == self.course.step and self.course.reason and not self.mean.terms
        if judge.best is None or ended_best:
            return
        if self.checkpoints is not None:
            self.stepper.optimizers.flush()
            self.checkpoints.load_best(self.stepper.model, self.stepper.device)
        elif self.best is not None:
            self.stepper.optimizers.flush()
            load_weights(self.stepper.model, self.best)
