"""Raw rows to a finished run: schema, split, encoding, training, calibration, measuring, saving, report."""
