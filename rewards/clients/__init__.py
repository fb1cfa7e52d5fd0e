"""Reward functions for other trainers, which ask a reward service (`python -m launch.serve`) for their scores."""
