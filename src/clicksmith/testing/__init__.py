"""What every model must do, and tiny data to try it on."""
