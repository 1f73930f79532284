"""What the main table and the views of a batch share is computed once, and as it would be each time."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from ranked_world import ranked
from torch import nn

from clicksmith.batch.batch import batch_of
from clicksmith.fitting.asked import new_model
from clicksmith.models import model_spec
from clicksmith.search.optembed.once import Once
from clicksmith.search.optembed.options import OptEmbed
from clicksmith.search.optembed.score import Scorer
from clicksmith.search.optembed.supernet import supernet

ROWS = ranked(800, 0)
BATCH = batch_of(ROWS.take(np.arange(200)))


def watched(**options):
    """Return a supernet whose vectors lie about the thresholds, and the list that lookups of its table are added to."""
    model = new_model(supernet(model_spec("fm", dim=4), OptEmbed(**options), ROWS.layout), ROWS.layout, 0)
    model.embedder.gate.watch(model.embedder)
    torch.manual_seed(0)
    model.embedder.columns.table.inner.store.reset(0.3)
    model.embedder.gate.thresholds.fill_(0.8)
    looked = []
    model.embedder.columns.table.inner.register_forward_hook(lambda *_: looked.append(1))
    return model, looked


def trained(model):
    """Take the gradients of a batch, and return them with the thresholds that they moved."""
    torch.manual_seed(1)
    model.train()
    nn.functional.binary_cross_entropy_with_logits(model(BATCH.inputs).logits, BATCH.targets.labels).backward()
    return [p.grad for p in model.parameters()], model.embedder.gate.thresholds


@pytest.mark.parametrize("mode", ["field", "feature"])
def test_a_step_looks_vectors_up_once_and_moves_all_as_if_it_had_not(mode):
    once, looked = watched(mode=mode)
    each, again = watched(mode=mode)
    each.embedder.gate.once.depth = -1  # never open
    gradients, thresholds = trained(once)
    wanted, moved = trained(each)
    assert (len(looked), len(again)) == (1, 3)  # the vectors, and the masks of vectors and of first-order weights
    assert (moved != 0.8).any()
    torch.testing.assert_close(thresholds, moved)
    for mine, theirs in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_nothing_outlives_the_pass():
    model, looked = watched()
    before = model.eval()(BATCH.inputs).logits
    with torch.no_grad():
        model.embedder.columns.table.inner.store.weight.mul_(2.0)
    assert not torch.equal(model(BATCH.inputs).logits, before)
    assert len(looked) == 2 and not model.embedder.gate.once.known
    with pytest.raises(IndexError):
        model(replace(BATCH.inputs, ids=BATCH.inputs.ids + 10_000))
    assert model.embedder.gate.once.depth == 0 and not model.embedder.gate.once.known
    assert torch.equal(copy.deepcopy(model)(BATCH.inputs).logits, model(BATCH.inputs).logits)


def test_other_ids_of_the_same_columns_are_computed():
    once, ids = Once(), torch.tensor([[2, 3]])
    with once.opened():
        for asked in (ids, ids.clone(), ids + 1, ids):
            assert torch.equal(once("double", asked, ("a", "b"), lambda ids, _: 2 * ids), 2 * asked)


def test_all_candidates_share_the_lookups_of_a_batch():
    model, looked = watched()
    table = model.embedder.columns.table
    scorer = Scorer(model, table, ROWS, ROWS, norm_rows=100, metric="auc", seed=0)
    candidates = [dict.fromkeys(table.slots, width) for width in (1, 2, 4)]
    together = scorer(candidates, np.arange(500))
    assert len(looked) == 1
    assert together == [scorer([one], np.arange(500))[0] for one in candidates]
    assert len(set(together)) == 3
