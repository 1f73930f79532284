"""Run the peers' `run_train.py` with Clicksmith among its contenders: `run.py PEERS_FOLDER <its options>`."""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "src"))
sys.path.insert(0, sys.argv[1])

from ctrbench import contenders  # type: ignore[import-not-found]  # noqa: E402

contenders.__path__.append(str(HERE))
script = Path(sys.argv.pop(1)) / "run_train.py"
sys.argv[0] = str(script)
runpy.run_path(str(script), run_name="__main__")
