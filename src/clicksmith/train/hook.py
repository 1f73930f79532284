"""What a search does beside training: it moves the architecture weights (`Knobs`), which the trainer leaves alone."""

from typing import Any

from clicksmith.train.step import Stepper


class Hook:
    """Called by the trainer; the methods do nothing here. Its state is part of every checkpoint."""

    def asked(self) -> Any:
        """Return what decides its effect, as plain values: a run goes on only with the same."""
        return None

    def attach(self, stepper: Stepper) -> None:
        """Take the training that begins; called before the first step and before `load`."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare the epoch, counted from 0. Called again for an epoch that a resumed run is in the middle of."""

    def before_update(self, step: int, rate: float) -> None:
        """See the gradients of a step, counted from 1, before the weights move; `rate` is their learning rate."""

    def after_step(self, step: int, rate: float) -> None:
        """Act between two steps."""

    def evaluated(self, entry: dict[str, Any]) -> None:
        """See an evaluation, of which `entry` is the line of the log, and add to it what belongs there."""

    def counts(self) -> bool:
        """Say whether evaluations count, for the best weights, for patience and for the learning rate."""
        return True

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps besides the model: tensors and plain values, nested as you like."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
