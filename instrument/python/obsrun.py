"""Telemetry client for programs that run under obsrun. One file, no dependencies, Python 3.8 and later.

Caveats first:

- Outside obsrun (no OBSRUN_SOCKET), or when the socket cannot be reached or breaks, every call does nothing. No call
  raises because of telemetry.
- No call waits. An event is written at once where the socket takes it; where obsrun reads slowly it is buffered (10,000
  events or 4 MiB) and a background thread writes it. When the buffer is full new events are dropped, updates first and
  ends last; the loss is reported as a ``log`` event.
- At exit the buffer is flushed and obsrun's confirmation awaited, at most 2 seconds. ``os._exit`` and fatal signals
  skip that: then only what was still buffered is lost.
- The counters of a span belong to the process that opened it: in a child process open a span of its own.
- A decorated generator is one span from its first step to its last, but spans opened in its body do not hang under it.
- Attributes are JSON-like values. Others become text, NaN and infinities null, and what would make a line longer than
  1 MiB is cut.

Use::

    from obsrun import span, log

    with span("encoding", kind="library-analysis") as s:
        s.tokens(input=40000, output=2100)
        s.tool_use()

``span`` also works as ``async with`` and as a decorator on plain and async functions. Spans nest through context
variables. A new thread has none: hand functions to threads through ``wrap``.
"""

from __future__ import annotations

import _thread
import atexit
import contextvars
import errno
import functools
import hashlib
import json
import math
import operator
import os
import re
import socket
import sys
import threading
import time
from collections import deque

__all__ = ["artifact", "current", "emit", "env", "flush", "log", "phase", "queued", "span", "wrap"]

_MAX_EVENTS = 10_000
_MAX_BYTES = 4 << 20
_MAX_LINE = 1 << 20
_FLUSH_SECONDS = 2.0
_CONNECT_SECONDS = 5.0

# The share of the buffer that an event may fill. Counters are totals, so a lost update is made good by the next one or
# by the end, while a lost end leaves a span open for ever.
_SHARE = {"span_end": 1.0, "span_start": 0.9, "span_queued": 0.9, "phase": 0.9, "artifact": 0.9}
_OTHER_SHARE = 0.8

# Reasons for which a connect may succeed a moment later. A full backlog is EAGAIN on Linux, ECONNREFUSED on macOS.
_TEMPORARY = {errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_TEMPORARY |= {errno.ECONNREFUSED} if sys.platform == "darwin" else set()

# A program may have given SIGPIPE its default action back, which ends the process.
_SEND_FLAGS = getattr(socket, "MSG_NOSIGNAL", 0)
_SO_NOSIGPIPE = 0x1022  # sys/socket.h of macOS; the socket module has no name for it


class _Client:
    """One connection, its buffer and its losses. Safe for threads, signal handlers and forks."""

    def __init__(self, path):
        self._path = path
        self._reset()

    def _reset(self):
        self.lock = threading.RLock()  # reentrant: a signal handler or __del__ may emit in the middle of a call
        self.off = not self._path
        self._arrived, self._queue = deque(), deque()
        self._bytes = self._offset = self._lost = 0  # offset: how much of the first queued line is written
        self._busy = self._writing = False
        self._sock = self._connect_until = None

    def send(self, event):
        """Encodes one event, and writes or buffers it."""
        if not self.off:
            try:
                self._work((_line(event), _SHARE.get(event.get("event"), _OTHER_SHARE)))
            except Exception:  # the program matters more than its telemetry
                self._lost += 1

    def flush(self, timeout):
        """Writes what is buffered, half-closes, and waits until obsrun closed too. The next event connects anew."""
        deadline = time.monotonic() + timeout
        with self.lock:
            self._report_loss()
        for pause in _pauses():
            self._work()
            with self.lock:
                if self.off:
                    return False
                if not self._queue:
                    sock, self._sock = self._sock, None
                    break
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
        if sock is None:
            return True
        with sock:
            sock.shutdown(socket.SHUT_WR)
            while True:
                sock.settimeout(max(deadline - time.monotonic(), 0.001))
                if not sock.recv(4096):
                    return True

    def _work(self, arrival=None):
        with self.lock:
            if arrival:
                self._arrived.append(arrival)
            if self._busy or self.off:  # a call further up this stack takes care of it
                return
            self._busy = True
            try:
                while self._arrived:
                    self._admit(*self._arrived.popleft())
                self._pump()
            finally:
                self._busy = False
            if self._queue and not self._writing:
                self._writing = True
                try:
                    _thread.start_new_thread(self._write, ())
                except RuntimeError:  # at the interpreter's end; the flush writes
                    self._writing = False

    def _admit(self, line, share):
        if len(self._queue) >= _MAX_EVENTS * share or self._bytes + len(line) > _MAX_BYTES * share:
            self._lost += 1
            return
        if len(self._queue) < _MAX_EVENTS * _OTHER_SHARE and self._bytes < _MAX_BYTES * _OTHER_SHARE:
            self._report_loss()
        self._push(line)

    def _report_loss(self):
        lost, self._lost = self._lost, 0
        if lost and not self.off:
            message = "obsrun client lost %d event%s: its buffer was full" % (lost, "" if lost == 1 else "s")
            self._push(_line({"event": "log", "level": "warn", "message": message, "ts": _now()}))

    def _push(self, line):
        self._queue.append(line)
        self._bytes += len(line)

    def _pump(self):
        """Writes as much as the socket takes without waiting."""
        try:
            if self._queue and self._sock is None:
                self._connect()
            while self._queue:
                line = self._queue[0]
                self._offset += self._sock.send(memoryview(line)[self._offset :], _SEND_FLAGS)
                if self._offset == len(line):
                    self._queue.popleft()
                    self._bytes -= len(line)
                    self._offset = 0
        except (BlockingIOError, InterruptedError):
            pass
        except Exception:
            self.off = True
            self._close()
            self._queue.clear()
        except BaseException:
            self._close()  # an interrupt may have come between a write and its count: the line starts anew elsewhere
            raise

    def _connect(self):
        sock = None
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.setblocking(False)
            if sys.platform == "darwin":
                sock.setsockopt(socket.SOL_SOCKET, _SO_NOSIGPIPE, 1)
            sock.connect(self._path)
        except OSError as err:
            if sock is not None:
                sock.close()
            self._connect_until = self._connect_until or time.monotonic() + _CONNECT_SECONDS
            if err.errno in _TEMPORARY and time.monotonic() < self._connect_until:
                raise BlockingIOError from err
            raise ConnectionError("connect to obsrun") from err
        self._sock, self._connect_until = sock, None
        # A multiprocessing child leaves by os._exit, after its finalizers.
        process = sys.modules.get("multiprocessing.process")
        if process is not None and process.parent_process() is not None:
            from multiprocessing import util

            util.Finalize(None, flush, exitpriority=-100)

    def _close(self):
        if self._sock is not None:
            self._sock.close()
        self._sock, self._offset = None, 0

    def _write(self):
        try:
            before = None
            for pause in _pauses():
                time.sleep(pause if before == (len(self._queue), self._offset) else 0.001)
                before = len(self._queue), self._offset
                self._work()
                with self.lock:
                    if self.off or not self._queue:
                        break
        finally:
            self._writing = False

    def before_fork(self):
        self.lock.acquire()

    def after_fork_in_parent(self):
        self.lock.release()

    def after_fork_in_child(self):
        # Buffer and connection are the parent's. Closing the copy leaves the parent's open.
        sock = self._sock
        self._reset()
        if sock is not None:
            sock.close()


class span:
    """A piece of work: ``with span(...)``, ``async with span(...)``, ``@span(...)``.

    ``parent`` is a span or an id, by default the current span. ``id`` is for a span that others name too.
    """

    def __new__(cls, name=None, **fields):
        return cls()(name) if callable(name) else super().__new__(cls)

    def __init__(self, name=None, *, kind=None, component=None, phase=None, parent=None, id=None, attrs=None):
        self.id = os.urandom(8).hex() if id is None else _text(id, 256)
        self._made_of = dict(name=name, kind=kind, component=component, phase=phase, parent=parent, id=id, attrs=attrs)
        self._parent = parent
        self._counters = {}
        self._status = self._error = self._begun = self._pid = None
        self._waiting = self._outside = False  # outside: opened by another process, so not ours to start or end
        self._tokens = []

    def start(self):
        """Sends the start and nothing more; ``with`` makes the span current too. A second start is a new attempt."""
        if not self._outside:
            self._counters = {}
            self._status = self._error = None
            self._begin("span_start")
        return self

    def end(self, status=None, error=None, duration_ms=None):
        """Sends the end with all counters. Status: ``ok``, ``error`` or ``cancelled``. A second end does nothing."""
        begun, self._begun = self._begun, None
        if begun is None or self._pid != os.getpid():  # a forked child that unwinds ends no span of its parent
            return
        if duration_ms is None:
            duration_ms = 0 if self._waiting else round((time.monotonic_ns() - begun) / 1e6, 3)
        error = error or self._error
        status = status or self._status or ("error" if error else "ok")
        self._send("span_end", dict(status=status, error=error, duration_ms=duration_ms, **self._totals()))

    def tokens(self, total=None, *, input=None, output=None, cached=None, cost_usd=None):
        """Adds tokens used: a total, or input (cached included) and output. ``cost_usd`` is in US dollars."""
        self._add(tokens=total, input_tokens=input, output_tokens=output, cached_tokens=cached, cost_usd=cost_usd)

    def tool_use(self):
        """Adds one use of a tool."""
        self._add(tool_uses=1)

    def tool_uses(self, count):
        """Adds uses of tools."""
        self._add(tool_uses=count)

    def update(self, message=None, attrs=None, **fields):
        """Reports activity: a message for people, attributes for programs, other fields such as ``call_id``."""
        self._send("span_update", {"message": message, **self._totals(), **fields, "attrs": attrs})

    def fail(self, error):
        """Makes the span end with status ``error`` and this text."""
        self._status, self._error = "error", error

    def cancel(self):
        """Makes the span end with status ``cancelled``; one that only waits ends at once."""
        self._status = "cancelled"
        if self._waiting:
            self.end()

    def env(self):
        """The environment variables that hang a child process under this span."""
        if _client.off or not self.id:
            return {}
        variables = {"OBSRUN_PARENT_SPAN": self.id}
        run_id = os.environ.get("OBSRUN_RUN_ID")
        if run_id:
            own = re.fullmatch("(?!0{16})[0-9a-f]{16}", self.id)
            variables["TRACEPARENT"] = "00-%s-%s-01" % (_sha256(run_id)[:32], self.id if own else _sha256(self.id)[:16])
        return variables

    def __enter__(self):
        if not _client.off:
            self.start()
            self._tokens.append(_current.set(self))
        return self

    def __exit__(self, kind, exc, trace):
        if self._tokens:
            try:
                _current.reset(self._tokens.pop())
            except ValueError:  # left in another context than it was entered in
                pass
        self._end_by(exc)
        return False

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, kind, exc, trace):
        return self.__exit__(kind, exc, trace)

    def __call__(self, fn):
        """Decorates a function: each call is a span."""
        if not _client_path:
            return fn
        import inspect  # slow to load, and most programs decorate nothing

        def each():
            return span(**dict(self._made_of, name=self._made_of["name"] or getattr(fn, "__qualname__", None)))

        async def call_async(*args, **kwargs):
            with each():
                return await fn(*args, **kwargs)

        # Between the steps of a generator its caller runs, so the span of one is never current.
        async def generate_async(*args, **kwargs):
            with _Uncurrent(each()):
                async for item in fn(*args, **kwargs):
                    yield item

        def generate(*args, **kwargs):
            with _Uncurrent(each()):
                return (yield from fn(*args, **kwargs))

        def call(*args, **kwargs):
            with each():
                return fn(*args, **kwargs)

        for is_such, such in (
            (inspect.iscoroutinefunction, call_async),
            (inspect.isasyncgenfunction, generate_async),
            (inspect.isgeneratorfunction, generate),
        ):
            if is_such(fn):
                return functools.wraps(fn)(such)
        return functools.wraps(fn)(call)

    def _begin(self, event):
        if self._parent is None:
            self._parent = current()
        parent = self._parent.id if isinstance(self._parent, span) else self._parent
        made_of = {key: self._made_of[key] for key in ("component", "name", "kind", "phase", "attrs")}
        self._begun, self._pid, self._waiting = time.monotonic_ns(), os.getpid(), event == "span_queued"
        self._send(event, dict(parent=parent, **made_of))

    def _end_by(self, exc):
        if exc is not None and self._status is None:
            names = {base.__name__ for base in type(exc).__mro__}
            if names & {"KeyboardInterrupt", "CancelledError", "Cancelled", "GeneratorExit"}:
                self._status = "cancelled"
            elif not (isinstance(exc, SystemExit) and exc.code in (None, 0)):
                self.fail("%s: %s" % (type(exc).__name__, _text(exc, 4000)))
        self.end()

    def _add(self, **amounts):
        if _client.off:
            return
        with _client.lock:  # so that totals go out in the order in which they grew
            for name, amount in amounts.items():
                try:
                    amount = float(amount) if name == "cost_usd" else int(amount)
                    if 0 <= amount < 1 << 53:
                        self._counters[name] = self._counters.get(name, 0) + amount
                except Exception:  # None, NaN, not a number
                    pass
            self._send("span_update", self._totals())

    def _totals(self):
        totals = dict(self._counters)
        if "tokens" in totals:  # some were reported without saying which
            totals["tokens"] += totals.get("input_tokens", 0) + totals.get("output_tokens", 0)
        return totals

    def _send(self, event, fields):
        if self.id:
            _client.send({"event": event, "span_id": self.id, **fields, "ts": _now()})


class _Uncurrent:
    def __init__(self, inner):
        self._inner = inner

    def __enter__(self):
        self._inner.start()

    def __exit__(self, kind, exc, trace):
        self._inner._end_by(exc)


def queued(name, **fields):
    """Announces work that waits; takes what ``span`` takes. Start it later by ``with`` or ``start()``."""
    waiting = span(name, **fields)
    waiting._begin("span_queued")
    return waiting


def current():
    """The innermost open span; outside of all, the one under which obsrun started this process."""
    return _current.get() or _outermost


def emit(event, **fields):
    """Sends any event, by name or as a dict. Adds ``ts``, a span's ``parent``, the ``span_id`` of log and artifact."""
    record = {**(event if isinstance(event, dict) else {"event": event}), **fields}
    here = current().id
    if record.get("event") in ("span_start", "span_queued") and here != record.get("span_id"):
        record.setdefault("parent", here)
    elif record.get("event") in ("log", "artifact"):
        record.setdefault("span_id", here)
    record.setdefault("ts", _now())
    _client.send(record)


def log(message, level="info"):
    """Something a person should read. Level: ``info``, ``warn`` or ``error``."""
    emit("log", level=level, message=message)


def phase(name, wall_ms=None, **counts):
    """A phase boundary: ``phase("discovery")`` opens it, ``phase("discovery-complete", wall_ms=1200)`` closes it."""
    emit("phase", name=name, wall_ms=wall_ms, **counts)


def artifact(path, kind=None):
    """A file was produced. Kind ``analysis`` is counted among the analyses written."""
    emit("artifact", path=path, kind=kind)


def env():
    """The environment variables that hang a child process under the current span; empty outside obsrun."""
    return current().env()


def wrap(fn):
    """Makes ``fn`` run under the span that is current now, in whichever thread: ``pool.map(wrap(fn), items)``."""
    here = _current.get()

    @functools.wraps(fn)
    def call(*args, **kwargs):
        token = _current.set(here)
        try:
            return fn(*args, **kwargs)
        finally:
            _current.reset(token)

    return call


def flush(timeout=_FLUSH_SECONDS):
    """Waits until obsrun confirmed everything sent so far, at most ``timeout`` seconds. True where it did."""
    try:
        return _client.flush(timeout)
    except Exception:
        return False


def _now():
    return round(time.time(), 6)


def _pauses():
    pause = 0.001
    while True:
        yield pause
        pause = min(2 * pause, 0.05)


def _sha256(text):
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _text(value, limit):
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception:
        text = "(%s that cannot be shown)" % type(value).__name__
    text = text if len(text) <= limit else text[:limit] + "... (cut)"
    return re.sub("[\ud800-\udfff]", "\ufffd", text)  # lone surrogates


def _line(event):
    """One JSON line of at most 1 MiB. What is long is cut, so it is taken last and leaves the rest its room."""
    for budget in (_MAX_LINE - (64 << 10), 100_000):  # the second always fits: at most six bytes a character
        left = [budget]
        record = dict.fromkeys(key for key in event if not _is_empty(event[key]))
        for key in sorted(record, key=lambda key: isinstance(event[key], (str, bytes, dict, list, tuple))):
            record[key] = _clean(event[key], left, ())
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        line = text.encode("utf-8", "replace") + b"\n"
        if len(line) <= _MAX_LINE:
            return line
    raise ValueError("event of %d bytes" % len(line))


def _is_empty(value):
    return value is None or (isinstance(value, str) and not value)


def _clean(value, left, path):
    """The value as JSON knows it, cut where ``left`` characters are used up."""
    left[0] -= 8
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 63 else float(value) if abs(value) < 1 << 1023 else None
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        if id(value) in path or len(path) >= 32:
            return "(cycle)" if id(value) in path else "(too deep)"
        path += (id(value),)
        if isinstance(value, dict):
            out = {}
            for key, item in list(value.items()):
                if left[0] <= 0:
                    out["..."] = "(cut)"
                    break
                key = _text(key, 256)
                left[0] -= len(key)
                out[key] = _clean(item, left, path)
            return out
        out = []
        for item in value:
            if left[0] <= 0:
                return out + ["(cut)"]
            out.append(_clean(item, left, path))
        return out
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value[: max(left[0], 256)]).decode("utf-8", "replace")
    elif not isinstance(value, str):
        try:
            return _clean(operator.index(value), left, path)  # integers of other libraries
        except Exception:
            pass
    text = _text(value, max(left[0], 256))
    left[0] -= len(text)
    return text


_client_path = os.environ.get("OBSRUN_SOCKET")
_client = _Client(_client_path)
_current = contextvars.ContextVar("obsrun_span", default=None)
_outermost = span(id=os.environ.get("OBSRUN_PARENT_SPAN", ""))
_outermost._outside = True

if _client_path:
    atexit.register(flush)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_client.before_fork,
            after_in_parent=_client.after_fork_in_parent,
            after_in_child=_client.after_fork_in_child,
        )
