"""Checks of what a model answers."""

from dataclasses import replace

import torch

from clicksmith.embed.rows import row_stores
from clicksmith.encode.layout import UNSEEN
from clicksmith.errors import CompositionError
from clicksmith.testing.layouts import LAYOUTS, random_batch
from clicksmith.testing.subject import Subject, click_loss, require, require_close, rows_of


def check_one_finite_logit_per_row_and_output(subject: Subject) -> None:
    """On every layout that the model does not refuse: logits of the right shape, finite, and a backward pass."""
    for name, layout in {**LAYOUTS, "of the check": subject.layout}.items():
        try:
            model = subject.model(layout=layout)
        except CompositionError:
            if layout == subject.layout:
                raise
            continue
        batch = random_batch(layout, 5)
        logits = model(batch.inputs).logits
        outputs = sum(task.width for task in subject.spec.tasks)
        require(
            logits.shape == (5, outputs), f"layout '{name}': logits are {list(logits.shape)}, wanted [5, {outputs}]"
        )
        require(bool(logits.isfinite().all()), f"layout '{name}': a logit is not finite")
        click_loss(logits, batch.targets.labels).backward()


def check_rows_do_not_see_each_other(subject: Subject) -> None:
    """In evaluation a row's logit is the same alone as among others."""
    model, inputs = subject.model(), subject.inputs(6)
    together = model(inputs).logits
    for i in range(6):
        alone = model(rows_of(inputs, torch.tensor([i]))).logits
        require_close(alone, together[i : i + 1], f"row {i} alone and among others")


def check_evaluation_is_deterministic(subject: Subject) -> None:
    """Scoring twice gives the same bits: no dropout, no buffer moves."""
    model, inputs = subject.model(), subject.inputs(6)
    require(torch.equal(model(inputs).logits, model(inputs).logits), "scoring the same rows twice gives two answers")


def check_padding_changes_nothing(subject: Subject) -> None:
    """Poisoned padding rows leave the logits as they are."""
    model, inputs = subject.model(), subject.inputs(8)
    clean = model(inputs).logits
    with torch.no_grad():
        for store in row_stores(model):
            store.weight[list(store.starts.values())] = 1e3
    require_close(model(inputs).logits, clean, "logits with poisoned and with zero padding rows")


def check_missing_values_are_finite(subject: Subject) -> None:
    """Every number missing, every bag and history empty: finite logits and gradients."""
    model, inputs = subject.model(), subject.inputs(4)
    empty = replace(
        inputs,
        numeric=torch.full_like(inputs.numeric, float("nan")),
        bags={k: torch.zeros_like(v) for k, v in inputs.bags.items()},
        histories={
            k: replace(h, ids=torch.zeros_like(h.ids), mask=torch.zeros_like(h.mask))
            for k, h in inputs.histories.items()
        },
    )
    logits = model.train()(empty).logits
    logits.sum().backward()
    finite = all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())
    require(bool(logits.isfinite().all()) and finite, "rows without numbers, bags and behaviours give NaN or infinity")


def check_unseen_ids_are_finite(subject: Subject) -> None:
    """A row of which nothing was seen in training scores finitely."""
    model, inputs = subject.model(), subject.inputs(4)
    domain = None if inputs.domain is None else torch.full_like(inputs.domain, UNSEEN)
    unseen = replace(inputs, ids=torch.full_like(inputs.ids, UNSEEN), domain=domain)
    require(bool(model(unseen).logits.isfinite().all()), "unseen ids give a logit that is not finite")


def check_empty_batch_and_batch_of_one(subject: Subject) -> None:
    """No rows give no logits; one row gives one."""
    model = subject.model()
    outputs = sum(task.width for task in subject.spec.tasks)
    for rows in (0, 1):
        logits = model(rows_of(subject.inputs(2), torch.arange(rows))).logits
        require(logits.shape == (rows, outputs), f"{rows} rows give logits {list(logits.shape)}")
        require(bool(logits.isfinite().all()), "a batch of one gives a logit that is not finite")


def check_double_precision_agrees(subject: Subject) -> None:
    """In float64 the logits are the same to single precision, and are float64."""
    model, inputs = subject.model(), subject.inputs(6)
    single = model(inputs).logits
    wide = replace(inputs, numeric=inputs.numeric.double(), vectors={k: v.double() for k, v in inputs.vectors.items()})
    double = model.double()(wide).logits
    require(double.dtype == torch.float64, f"a float64 model gives {double.dtype}")
    require_close(single, double, "logits in float32 and in float64", 1e-3)


def check_runs_in_bfloat16(subject: Subject) -> None:
    """Under mixed precision logits and gradients stay finite and near single precision."""
    model, batch = subject.model(), subject.batch(8)
    single = model(batch.inputs).logits
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(batch.inputs).logits
    require_close(logits.float(), single, "logits in bfloat16 and in float32", 0.1)
    click_loss(logits.float(), batch.targets.labels).backward()
    finite = all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())
    require(finite, "a gradient is not finite under mixed precision")


def check_shared_histories_score_alike(subject: Subject) -> None:
    """Users computed once for many candidates, and kept, score as every row with a history of its own."""
    model, shared = subject.model(), subject.inputs(7, users=3)
    if shared.owner is None:
        return
    owner = shared.owner.long()
    expanded = {k: replace(h, ids=h.ids[owner], mask=h.mask[owner]) for k, h in shared.histories.items()}
    apart = model(replace(shared, histories=expanded, owner=None)).logits
    require_close(model(shared).logits, apart, "logits with shared histories and with one per row")
    kept = model(shared, model.embedder.encode(shared.histories)).logits
    require_close(kept, apart, "logits from a user state that was kept and from the history")
