"""Raw rows to a finished run: schema, split, encoding, training, calibration, measuring, saving, report."""

from clicksmith.fitting.asked import DEFAULT_MODEL
from clicksmith.fitting.job import fit
from clicksmith.fitting.memory import fit_frame

__all__ = ["DEFAULT_MODEL", "fit", "fit_frame"]
