"""Progress on stderr: a bar with speed and time left on a terminal, else one line per epoch."""
