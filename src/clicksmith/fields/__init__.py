"""What happens on the field axis: transforms from fields to fields."""
