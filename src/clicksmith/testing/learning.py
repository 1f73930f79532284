"""Checks of how a model learns."""

from dataclasses import replace

import msgspec
import torch
from torch import Tensor

from clicksmith.batch.batch import Inputs
from clicksmith.embed.rows import row_stores
from clicksmith.encode.layout import DOMAIN, UNSEEN
from clicksmith.models.spec import CTRModel
from clicksmith.testing.subject import Subject, click_loss, require


def check_unseen_rows_are_trained(subject: Subject) -> None:
    """With an unseen rate, the vectors of the unseen id get a gradient from known ids."""
    spec = msgspec.structs.replace(subject.spec, embed=msgspec.structs.replace(subject.spec.embed, unseen_rate=0.5))
    model, batch = subject.model(spec=spec), subject.batch(32)
    known = replace(batch.inputs, ids=batch.inputs.ids.clamp(min=UNSEEN + 1))
    click_loss(model.train()(known).logits, batch.targets.labels).backward()
    for store in row_stores(model):
        for column in subject.layout.ids:
            grad = store.weight.grad
            if grad is not None and column.slot in store.starts and store.group == "table":
                row = grad[store.starts[column.slot] + UNSEEN]
                require(bool(row.any()), f"the unseen row of slot '{column.slot}' gets no gradient at unseen_rate=0.5")


def check_every_parameter_matters(subject: Subject) -> None:
    """Nothing is built that nothing reads: every parameter gets a gradient, or at least moves a logit.

    Weights are nudged first, so that those that start at zero do not hide the ones behind them. A bias in front of a
    batch normalisation has the gradient zero by its mathematics, and moves logits in evaluation.
    """
    model, batch = subject.model().train(), subject.batch(32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    click_loss(model(batch.inputs).logits, batch.targets.labels).backward()
    broken = [name for name, p in model.named_parameters() if p.grad is not None and not bool(p.grad.isfinite().all())]
    require(not broken, f"the gradient of {', '.join(broken)} is not finite")
    still = [(name, p) for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]
    dead = [name for name, p in still if p.requires_grad and not _moves(model.eval(), p, batch.inputs)]
    require(not dead, f"no gradient reaches {', '.join(dead)}, and changing it changes no logit")


@torch.no_grad()
def _moves(model: CTRModel, parameter: torch.nn.Parameter, inputs: Inputs) -> bool:
    before = model(inputs).logits
    parameter.add_(1.0)
    after = model(inputs).logits
    parameter.sub_(1.0)
    return not torch.equal(before, after)


class RecordedRows:
    """A `RowSink` that remembers which rows were touched."""

    catches_up = False

    def __init__(self) -> None:
        self.rows: set[int] = set()

    def before(self, rows: Tensor) -> None:
        """Nothing is to be caught up."""

    def collect(self, rows: Tensor, grad: Tensor) -> None:
        """Remember the rows that got a gradient."""
        self.rows |= set(rows[grad.abs().sum(-1) > 0].flatten().tolist()) - {-1}  # padding


def check_gradients_touch_only_rows_looked_up(subject: Subject) -> None:
    """With a row-wise optimiser attached nothing of a table's size is made, and other rows stay untouched."""
    model = subject.model().train()
    inputs = subject.inputs(3)
    sinks = {store: RecordedRows() for store in row_stores(model)}
    for store, sink in sinks.items():
        store.sink = sink
    model(inputs).logits.sum().backward()
    present = _ids_by_slot(subject, inputs)
    for store, sink in sinks.items():
        require(store.weight.grad is None, "a table-sized gradient was made although a row-wise optimiser is attached")
        if all(name in present for name in store.starts):
            allowed = {start + i for name, start in store.starts.items() for i in present[name]}
            require(sink.rows <= allowed, f"rows {sorted(sink.rows - allowed)} got a gradient and were not looked up")


def _ids_by_slot(subject: Subject, inputs: Inputs) -> dict[str, set[int]]:
    present: dict[str, set[int]] = {slot.name: set() for slot in subject.layout.slots}
    for i, column in enumerate(subject.layout.ids):
        present[column.slot] |= set(inputs.ids[:, i].tolist())
    for column in subject.layout.bags:
        present[column.slot] |= set(inputs.bags[column.name].flatten().tolist())
    for history in subject.layout.histories:
        for i, column in enumerate(history.columns):
            present[column.slot] |= set(inputs.histories[history.name].ids[..., i].flatten().tolist())
    present[DOMAIN] = set() if inputs.domain is None else set(inputs.domain.tolist())
    return {name: ids - {0} for name, ids in present.items()}


def check_overfits_32_rows(subject: Subject) -> None:
    """Random labels of 32 rows, each with an id of its own, are learned by heart."""
    model, batch = subject.model().train(), subject.batch(32)
    ids = batch.inputs.ids.clone()
    ids[:, 0] = torch.arange(2, 34)
    inputs = replace(batch.inputs, ids=ids)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    loss = float("inf")
    for _ in range(250):
        value = click_loss(model(inputs).logits, batch.targets.labels)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        loss = float(value.detach())
        if loss < 0.3:
            return
    require(False, f"250 steps on 32 rows leave a logloss of {loss:.3f}; a coin's is 0.693")
