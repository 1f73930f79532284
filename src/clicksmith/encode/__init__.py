"""From raw tables to ids: reading, counting, numbering, storing."""
