"""What a model looks at: permutation importance, attention, gates."""
