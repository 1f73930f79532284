"""The open benchmark: every model under one protocol, one row of facts per trial, and which differences are real."""
