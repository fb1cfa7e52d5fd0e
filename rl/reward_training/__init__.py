"""Train reward models on DeepSpeed, like the policy: OpenRLHF's strategy, models and losses in Ray actors.

`recipes` defines what is learned from which rows, `planning` which rows share a step and a forward pass. `trainer`
takes the steps in each rank; `run` drives the ranks, keeps checkpoints and writes the finished model.
"""
