"""A search for the options of a model and the settings of training, judged on validation rows alone."""
