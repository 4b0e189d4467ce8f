"""What the store has to say: status, why, freshness, lists. Reads only."""
