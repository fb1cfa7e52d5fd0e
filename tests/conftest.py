"""What every test shares: one thread per process, nothing fetched, and no deadline that a busy machine would miss."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
