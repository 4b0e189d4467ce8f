"""Puts rota beside its peers where they promise something: a killed worker, and a year of rules on the clock.

Always true: every peer runs by its own interpreter, with the settings that its row names, and is judged by the same
code from what its handlers wrote outside of it.

Not here: speed (the other benchmarks).
"""
