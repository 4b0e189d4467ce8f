"""Floor 3: the pure heart that store and engine speak in."""
