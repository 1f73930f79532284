"""The bottom network of DLRM against its formula."""

import pytest
import torch

from clicksmith.embed.bottom import Bottom


@pytest.mark.reference("bottom")
@pytest.mark.parametrize("batch_norm", [False, True])
def test_numbers_become_one_field(batch_norm):
    part = Bottom(units=(4,), batch_norm=batch_norm)
    module = part.build(3, 2).double().eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    numeric = torch.randn(5, 3)
    numeric[1, 2] = numeric[3, 0] = float("nan")
    hidden, last = (m for m in module.modules() if isinstance(m, torch.nn.Linear))
    rows = []
    for row in numeric.double():
        filled = torch.stack([module.missing[c] if cell.isnan() else cell for c, cell in enumerate(row)])
        inner = hidden.weight @ filled + hidden.bias
        if batch_norm:  # the moving averages still are 0 and 1
            norm = module.layers[1]
            inner = inner / (1 + norm.eps) ** 0.5 * norm.weight + norm.bias
        rows.append(torch.relu(last.weight @ torch.relu(inner) + last.bias))
    torch.testing.assert_close(module(numeric), torch.stack(rows).unsqueeze(1))
    assert part.fields(("a", "b", "c")) == ("(numbers)",)
