"""What went wrong, in a form that can be kept and grouped: type, message, place, traceback, and a fingerprint.

The fingerprint names the cause: the exception's type, its message without the parts that differ from run to
run, and the innermost line of the user's own code.

Always true: every text is bounded and can be stored by both databases; nothing is pickled.

Not here: counting causes (store/turns.py), showing them (insight).
"""

import hashlib
import re
import sys
import traceback
from pathlib import Path

from rota.define.names import clean_text
from rota.turn.records import Failure

MESSAGE_MOST = 2_000  # characters of a message shown in the journal and lists; enough for a sentence and a body
TRACE_MOST = 16_384  # characters (G-25): the innermost frames are kept
_PACKAGE = str(Path(__file__).resolve().parents[1])
_VARYING = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|'[^']*'|\"[^\"]*\"|\d+")


def failure_of(error: BaseException) -> Failure:
    """The failure that an exception is."""
    kind = type(error).__name__
    message = clean_text(str(error))[:MESSAGE_MOST]
    frame = _own_frame(error)
    place = f"{frame.filename}:{frame.lineno} in {frame.name}" if frame else None
    trace = clean_text("".join(traceback.format_exception(error)))[-TRACE_MOST:]
    source = f"{Path(frame.filename).name} {frame.name} {frame.line}" if frame else ""
    return Failure(fingerprint(kind, message, source), kind, message or kind, place, trace)


def failure_saying(kind: str, message: str) -> Failure:
    """A failure without an exception: an outcome's reason, a timeout, a lost attempt."""
    text = clean_text(message)[:MESSAGE_MOST]
    return Failure(fingerprint(kind, text, ""), kind, text or kind, None, None)


def fingerprint(kind: str, message: str, place: str) -> str:
    """A short name for a cause that is the same for every run that fails of it."""
    plain = _VARYING.sub("#", message)
    digest = hashlib.sha256(f"{kind}\0{plain}\0{place}".encode()).hexdigest()[:6]
    word = re.sub(r"[^a-z0-9]", "", kind.lower())[:32] or "error"
    return f"{word}-{digest}"


def _own_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost line that is neither rota's, nor an installed package's, nor Python's own."""
    frames = traceback.extract_tb(error.__traceback__)
    library = str(Path(sys.prefix))
    for frame in reversed(frames):
        if not frame.filename.startswith((_PACKAGE, library, "<")) and "/lib/python" not in frame.filename:
            return frame
    return frames[-1] if frames else None
