from __future__ import annotations

import numpy as np
import pytest

from rewards.training import armorm_fit
from rewards.training.states import claim_of_states


def test_states_belong_to_the_contents_of_a_model_and_to_these_rows(tmp_path):
    (tmp_path / "model.safetensors").write_text("weights")
    recipe = armorm_fit.ArmoModel(str(tmp_path))
    rows = {"rated": [np.array([1, 2]), np.array([3])]}
    claim_of_states(tmp_path / "states", recipe, rows).take()
    claim_of_states(tmp_path / "states", recipe, rows).check()
    with pytest.raises(ValueError, match="differs in rated rows"):
        claim_of_states(tmp_path / "states", recipe, {"rated": [np.array([1]), np.array([2, 3])]}).check()
    (tmp_path / "model.safetensors").write_text("trained on")
    with pytest.raises(ValueError, match=r"differs in recipe\.model:"):
        claim_of_states(tmp_path / "states", recipe, rows).check()
    with pytest.raises(ValueError, match="does not contain an embedding"):
        claim_of_states(tmp_path, recipe, rows).check()
