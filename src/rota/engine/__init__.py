"""The loop: admit, attempt, settle; and what drives it, tick and worker."""
