"""Training reward models on DeepSpeed, as the policy is trained: OpenRLHF's strategy, models and losses in Ray actors.

`recipes` says what is learned from which rows, `planning` which rows share a step and a forward pass, `trainer` takes
the steps in every rank, `run` drives the ranks, keeps checkpoints and writes the finished model.
"""
