"""The system panchangam: the Hindu almanac of Indian cities, computed each night and served from the cache.

Always true: a missing document is computed in milliseconds; the cache saves work and decides nothing.

Not here: the engine that runs it (rota).
"""
