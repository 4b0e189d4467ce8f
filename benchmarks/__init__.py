"""Measures rota beside raw loops and its peers: `python -m benchmarks` runs all and prints one table.

Always true: contenders of one comparison run in turns, on the same machine, with the same durability; a figure
is the median of its rounds; ratios are what counts, as machines and neighbours differ.

Not here: whether anything is correct (tests/).
"""
