"""`clicksmith doctor`: versions, processor, kernels, and what to do about what is missing."""

import platform
import sys
from collections.abc import Sequence
from typing import Annotated

from clicksmith.cli.parse import call, flag

ABOUT = """Print versions, processor features and whether the native kernels are there, with a fix for what is not.

examples:
  clicksmith doctor
  clicksmith doctor --json        for a bug report"""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    return call(doctor, argv, verb="doctor", about=ABOUT)


def doctor(*, json: Annotated[bool, flag("print JSON")] = False) -> int:
    """Print the state of this installation; the status is 0 unless something needed is missing."""
    facts, fixes = examine()
    if json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode({**facts, "fixes": fixes}), indent=2).decode())
    else:
        width = max(len(name) for name in facts)
        for name, value in facts.items():
            print(f"{name:<{width}}  {value}")
        for fix in fixes:
            print(f"- {fix}")
        if not fixes:
            print("nothing to mend.")
    return 0


def examine() -> tuple[dict[str, str], list[str]]:
    """Return facts by name and sentences that say what to do."""
    from clicksmith.serve.environment import PACKAGES, package_version, processor

    facts = {"python": f"{platform.python_version()} ({sys.executable})", "platform": platform.platform()}
    facts["processor"] = processor()
    facts.update({name: package_version(name) for name in (*PACKAGES, "scikit-learn", "pandas", "pyarrow")})
    fixes = _torch(facts)
    fixes += _kernels(facts)
    if facts["scikit-learn"] == "not installed":
        fixes.append("CTRClassifier needs scikit-learn: pip install 'clicksmith[sklearn]'")
    return facts, fixes


def _torch(facts: dict[str, str]) -> list[str]:
    try:
        import torch
    except ImportError as error:
        return [f"torch cannot be imported ({error}): pip install --force-reinstall torch"]
    facts["torch threads"] = str(torch.get_num_threads())
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    named = [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if flags.get(name)]
    facts["cpu flags"] = " ".join(named) or "none known"
    facts["bf16"] = "fast" if flags.get("avx512_bf16") or flags.get("amx_bf16") else "not fast here; training uses fp32"
    facts["cuda"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "no"
    return []


def _kernels(facts: dict[str, str]) -> list[str]:
    from clicksmith.kernels import native

    library = native.library()
    facts["native kernels"] = "yes" if library is not None else "no; torch operations are used instead"
    return (
        []
        if library is not None
        else ["native kernels make training faster: python -m clicksmith.kernels.build (needs gcc)"]
    )
