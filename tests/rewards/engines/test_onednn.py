from __future__ import annotations

import pytest
import torch
from torch import nn

from rewards.engines.onednn import OneDnnLinear, use_onednn


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 48), (2, 7, 48)])
def test_the_results_are_those_of_torchs_own_layer(bias, shape):
    torch.manual_seed(0)
    layer, inputs = nn.Linear(48, 20, bias=bias), torch.randn(shape)
    with torch.inference_mode():
        expected = layer(inputs)
        use_onednn(layer)
        torch.testing.assert_close(layer(inputs), expected, atol=1e-5, rtol=1e-5)
    assert type(layer) is OneDnnLinear


def test_layers_of_another_type_or_kind_are_left_alone():
    model = nn.Sequential(nn.Linear(4, 4).bfloat16(), nn.Embedding(4, 4), nn.Bilinear(4, 4, 4))
    use_onednn(model)
    assert [type(module) for module in model] == [nn.Linear, nn.Embedding, nn.Bilinear]
