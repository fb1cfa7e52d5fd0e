from __future__ import annotations

import numpy as np
import pytest

from rewards.builder import ConfigurationError
from rewards.training import armorm_fit
from rewards.training.states import check_states, embedded_from, mark_states


def test_states_are_of_the_model_s_contents_and_of_these_very_rows(tmp_path):
    (tmp_path / "model.safetensors").write_text("weights")
    recipe = armorm_fit.ArmoModel(str(tmp_path))
    rows = {"rated": [np.array([1, 2]), np.array([3])]}
    wanted = embedded_from(recipe, rows)
    mark_states(tmp_path / "states", wanted)
    check_states(tmp_path / "states", wanted)
    with pytest.raises(ConfigurationError, match="another rated rows"):
        check_states(tmp_path / "states", embedded_from(recipe, {"rated": [np.array([1]), np.array([2, 3])]}))
    (tmp_path / "model.safetensors").write_text("trained on")
    with pytest.raises(ConfigurationError, match=r"another recipe\.model:"):
        check_states(tmp_path / "states", embedded_from(recipe, rows))
    with pytest.raises(ConfigurationError, match="something else"):
        check_states(tmp_path, wanted)
