"""Credit assignment: on which tokens a reward is placed, and its baseline. Pure functions on tensors."""
