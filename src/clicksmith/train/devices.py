"""Where and in which precision a model is trained."""

from typing import Literal

import torch

from clicksmith.errors import UsageError


def device_of(wish: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device; "auto" takes a GPU if there is one."""
    if wish == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "device='cuda' and torch sees no GPU here; use device='auto', or install a CUDA build of torch."
        )
    return torch.device("cuda" if wish != "cpu" and torch.cuda.is_available() else "cpu")


def bf16_is_native(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(known and known())


def precision_of(wish: Literal["auto", "fp32", "bf16"], device: torch.device) -> Literal["fp32", "bf16"]:
    """Return the precision of matrix products."""
    if wish == "auto":
        return "bf16" if bf16_is_native(device) else "fp32"
    return wish
