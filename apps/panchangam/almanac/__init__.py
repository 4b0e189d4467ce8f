"""The almanac: positions, limbs, months, slots and festivals of any place between 1900 and 2053.

Always true: pure computation; nothing here opens a store, a cache or a socket, and only the kernel is read from disk.

Not here: when it is computed and where it is kept (the application around it).
"""
