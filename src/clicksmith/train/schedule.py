"""The learning rate of a step."""

import math

from clicksmith.train.settings import TrainSettings


def learning_rate(settings: TrainSettings, step: int, total: int, decay: float) -> float:
    """Return the learning rate of step `step` (from 0) of `total`; `decay` is what plateaus have made of 1.

    >>> learning_rate(TrainSettings(learning_rate=1.0, warmup_steps=4), 0, 100, 1.0)
    0.25
    """
    rate = settings.learning_rate
    if settings.schedule == "cosine":
        done = (step - settings.warmup_steps) / max(1, total - settings.warmup_steps)
        rate = settings.lr_floor + (rate - settings.lr_floor) * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0))) / 2
    rate = max(rate * decay, min(settings.lr_floor, rate)) if decay < 1 else rate
    if step < settings.warmup_steps:
        rate *= (step + 1) / settings.warmup_steps
    return rate
