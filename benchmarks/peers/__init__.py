"""The peers: each in an environment of its own with exact versions, in its best honest configuration.

Always true: an environment is made once for each list of versions; a peer never shares a process with rota.

Not here: how a peer is driven (pgqueuer_worker.py, huey_worker.py, run by the peer's own interpreter).
"""
