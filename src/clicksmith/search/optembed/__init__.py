"""OptEmbed: which ids keep vectors, and how wide the vectors of each vocabulary are."""
