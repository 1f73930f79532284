"""Training: settings, the trainer, row-wise optimisers, checkpoints."""
