"""`clicksmith <verb>`: the list of verbs, and what happens to errors.

Exit status: 0 done, 2 an error the user can mend, also in a file of their own models (one line on stderr), 70 a mistake
of this program (one line too; CLICKSMITH_TRACEBACK=1 shows where), 130 interrupted.
"""

import contextlib
import importlib
import os
import shlex
import sys
from collections.abc import Sequence

from clicksmith.errors import ClicksmithError, UnknownNameError
from clicksmith.names import lookup
from clicksmith.threads import fit_threads

VERBS = {
    "describe": "look at a file: proposed schema with reasons, suspects, profile",
    "rank": "say which fields tell something of the label",
    "fit": "train a model from raw rows and save it",
    "tune": "search options and settings on validation rows",
    "search": "find what a model should look at: a Plan",
    "plan": "look at what searches found, and merge it",
    "evaluate": "measure a trained model on raw rows",
    "predict": "score raw rows",
    "explain": "show what a trained model looks at",
    "report": "write a run's HTML page",
    "datasets": "list, fetch, verify or make data sets",
    "bench": "run, verify and rank models under one protocol",
    "check": "run the contract tests on your own model file",
    "quickstart": "the main job end to end on simulated clicks",
    "doctor": "print versions, processor, kernels and fixes",
}

USAGE = """usage: clicksmith VERB [options]

Raw impression logs in, a trained, calibrated, served click-through-rate model out.

verbs:
{verbs}

begin with:
  clicksmith quickstart                                  no data needed
  clicksmith describe clicks.csv --label click           what is in the file?
  clicksmith fit clicks.csv --label click --out run      train and save
  clicksmith predict run new.csv --out scores.csv        score raw rows

`clicksmith VERB --help` shows the options of a verb and examples."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = run_verb(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _silence_stdout()
        return 141
    except KeyboardInterrupt:
        resumable = arguments[:1] in (["fit"], ["tune"], ["search"]) or arguments[:2] == ["bench", "run"]
        again = f" resume with: clicksmith {shlex.join(arguments)}" if resumable else ""
        print(f"\ninterrupted.{again}", file=sys.stderr)
        return 130
    except ClicksmithError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(_system_error(error))
    except Exception as error:
        return _fail(_no_memory(error)) if _memory_is_short(error) else _mistake(error, arguments)
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # a Rust library's, and no Exception
            return _mistake(error, arguments)
        raise


def usage() -> str:
    """Return the text of `clicksmith --help`."""
    return USAGE.format(verbs="\n".join(f"  {name:<11} {line}" for name, line in VERBS.items()))


def run_verb(arguments: list[str]) -> int:
    """Run one verb; errors are raised."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"clicksmith {version('clicksmith')}")
        return 0
    verb = arguments[0]
    try:
        lookup(VERBS, verb, "verb")
    except UnknownNameError as error:
        return _fail(f"{error} `clicksmith --help` lists them.")
    fit_threads()
    module = importlib.import_module(f"clicksmith.cli.{verb}")
    return int(module.main(arguments[1:]) or 0)


def _memory_is_short(error: Exception) -> bool:
    """Whether it is Python's error, or torch's of the processor, of a GPU, or of a size that is no number to it."""
    told = str(error)
    torchs = isinstance(error, RuntimeError) and ("can't allocate memory" in told or "out of memory" in told)
    return torchs or "Overflow when unpacking long" in told or isinstance(error, MemoryError)


def _no_memory(error: Exception) -> str:
    why = f" ({error})" if isinstance(error, MemoryError) and str(error) else ""
    return f"not enough memory{why}; use a smaller --train.batch-size or --model.dim."


def _mistake(error: BaseException, arguments: Sequence[str]) -> int:
    if os.environ.get("CLICKSMITH_TRACEBACK"):
        raise error
    told = f"{type(error).__name__}: {' '.join(str(error).split())}"
    register = sys.modules.get("clicksmith.models.register")  # loads files of the user's own models
    if register is not None and register.own_place(error):
        return _fail(
            f"{register.with_place(error)} (in your own model; CLICKSMITH_TRACEBACK=1 shows how it was called)"
        )
    own = any(word.partition("=")[0] == "--models" for word in arguments)
    unless = ", unless `clicksmith check FILE` finds one in your own models" if own else ""
    print(
        f"unexpected: {told} — this is a mistake of clicksmith, please report it{unless}; "
        "CLICKSMITH_TRACEBACK=1 shows where.",
        file=sys.stderr,
    )
    return 70


def _fail(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2


def _system_error(error: OSError) -> str:
    from pathlib import Path

    from clicksmith.files import storage_error

    return str(storage_error(error, Path(str(error.filename or "the output"))))


def _silence_stdout() -> None:
    """Point stdout at nothing, so that Python's flush at exit does not complain about the closed pipe."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    raise SystemExit(main())
