"""How are raw rows scored? The artefact, the predictor, and measuring with it."""
