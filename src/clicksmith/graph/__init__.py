"""GraphHash: ids that meet the same partners share a row of the table. It runs without torch and without a backbone."""
