"""The mean of branches against its formula, and what the trainer makes of it."""

import pytest
import torch

from clicksmith.embed.shape import FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Task
from clicksmith.errors import CompositionError
from clicksmith.head.branches import BranchMean
from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.testing.layouts import LAYOUTS, random_batch

TASKS = (Task("click"), Task("buy"))
SMALL = {"dim": 4, "units1": (8,), "units2": (6,), "dropout1": 0.0, "dropout2": 0.0, "batch_norm": False}


@pytest.mark.reference("branch_mean")
def test_the_logit_is_the_mean_of_one_linear_map_for_each_branch():
    head = BranchMean(widths=(3, 2)).build(HiddenShape(5), FieldShape((), 4), TASKS).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    out = head(Hidden(x), None)
    for row in range(7):
        for task in range(2):
            one, two = (branch.weight[task] for branch in head.branches)
            first = sum(one[k] * x[row, k] for k in range(3)) + head.branches[0].bias[task]
            second = sum(two[k] * x[row, 3 + k] for k in range(2)) + head.branches[1].bias[task]
            torch.testing.assert_close(out.logits[row, task], (first + second) / 2)
            torch.testing.assert_close(out.aux["branches"][:, row, task], torch.stack([first, second]))
    assert head.eval()(Hidden(x), None).aux == {}


def test_other_blocks_are_refused():
    for shape, widths in ((HiddenShape(6), (3, 2)), (HiddenShape(5, logit=True), (3, 2)), (HiddenShape(5), (5,))):
        with pytest.raises(CompositionError, match="give the width of each of two or more branches"):
            BranchMean(widths=widths).build(shape, FieldShape((), 4), TASKS)
    with pytest.raises(CompositionError, match="finalnet: distil=True teaches two blocks"):
        model_spec("finalnet", blocks=1, distil=True)


def test_finalnet_with_its_paper_s_loss_scores_as_without_and_has_the_published_count():
    layout = LAYOUTS["ids"]
    plain, taught = (CTRModel(model_spec("finalnet", distil=d, **SMALL), layout).eval() for d in (False, True))
    both = CTRModel(model_spec("finalnet", bias_each=True, **SMALL), layout)
    assert taught.parameter_counts() == both.parameter_counts()  # a constant for each block, as published
    state = dict(plain.state_dict())
    weight, bias = state.pop("head.linear.weight"), state.pop("head.linear.bias")
    state |= {"head.branches.0.weight": 2 * weight[:, :8], "head.branches.1.weight": 2 * weight[:, 8:]}
    taught.load_state_dict(state | {"head.branches.0.bias": bias, "head.branches.1.bias": bias})
    inputs = random_batch(layout, 30).inputs
    torch.testing.assert_close(taught(inputs).logits, plain(inputs).logits)
