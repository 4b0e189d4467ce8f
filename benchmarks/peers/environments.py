"""Makes each peer's environment, under `.cache/peers`, once for each list of versions.

Always true: the folder's name holds a digest of the list, so a changed list makes a new environment; one that was
made half is made again.

Not here: what the peers do in it.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.children import ROOT

FOLDER = ROOT / ".cache" / "peers"


def interpreter(peer: str) -> Path:
    """Return the Python of a peer, making its environment when it is missing."""
    versions = Path(__file__).with_name(f"{peer}.txt")
    digest = hashlib.sha256(versions.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = FOLDER / f"{peer}-{digest}"
    python = home / "bin" / "python"
    finished = home / "finished"
    if not finished.exists():
        print(f"making the environment of {peer} …", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", versions]
        subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
        finished.touch()
    return python
