"""Tests of the Python client: programs of their own against a real unix socket.

    python3 -m unittest discover instrument/python
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
MAX_LINE = 1 << 20


class Server:
    """Takes connections one by one and keeps the bytes of each until its end of file, then closes."""

    def __init__(self, path, backlog=128, reading=True):
        self.connections = []
        self.path = path
        self.may_read = threading.Event()
        if reading:
            self.may_read.set()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(backlog)
        self.threads = []
        self.main = threading.Thread(target=self.accept, daemon=True)
        self.main.start()

    def accept(self):
        self.may_read.wait()
        while True:
            try:
                conn = self.listener.accept()[0]
            except OSError:
                return
            got = bytearray()
            self.connections.append(got)
            thread = threading.Thread(target=self.read, args=(conn, got), daemon=True)
            self.threads.append(thread)
            thread.start()

    def read(self, conn, got):
        with conn:
            while True:
                data = conn.recv(65536)
                if not data:
                    return
                got += data

    def close(self):
        """Takes what waits in the backlog, reads every connection to its end, and stops."""
        if not self.main.is_alive():
            return
        self.may_read.set()
        with socket.socket(socket.AF_UNIX) as last:  # accepted after all others
            last.connect(self.path)
            last.shutdown(socket.SHUT_WR)
            last.recv(1)
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which a close does not
        self.listener.close()
        self.main.join(5)
        for thread in self.threads:
            thread.join(5)

    def lines(self):
        """Every line of every connection, strictly decoded; a torn line fails."""
        found = []
        for got in list(self.connections):
            for line in bytes(got).splitlines(keepends=True):
                assert line.endswith(b"\n"), "torn line: %r" % line[-80:]
                assert len(line) <= MAX_LINE, len(line)
                found.append(json.loads(line.decode("utf-8"), parse_constant=self.refuse))
        return found

    @staticmethod
    def refuse(constant):
        raise AssertionError("not JSON: " + constant)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="obsrun-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.path = os.path.join(self.dir, "s")

    def serve(self, **options):
        server = Server(self.path, **options)
        self.addCleanup(server.close)
        return server

    def start(self, program, socket_path="", **env):
        full = {k: v for k, v in os.environ.items() if not k.startswith("OBSRUN_")}
        full.update(PYTHONPATH=HERE, OBSRUN_SOCKET=socket_path or self.path, OBSRUN_PARENT_SPAN="root", OBSRUN_RUN_ID="run-1")
        full.update(env)
        full = {k: v for k, v in full.items() if v is not None}
        return subprocess.Popen(
            [sys.executable, "-c", "from obsrun import *\n" + textwrap.dedent(program)],
            env=full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run_program(self, program, status=0, quiet=True, **env):
        process = self.start(program, **env)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, status, err)
        if quiet:
            self.assertEqual(err, "")
        return out

    def play(self, program, **options):
        """What arrived on a reading server from the program, in the moment in which it is gone."""
        server = self.serve()
        self.out = self.run_program(program, **options)
        return server.lines()

    def assert_ends(self, lines, **statuses):
        names = {line["span_id"]: line["name"] for line in lines if line["event"] == "span_start"}
        ends = {names[line["span_id"]]: line["status"] for line in lines if line["event"] == "span_end"}
        self.assertEqual(ends, statuses)


class Wire(Case):
    def test_exact_lines(self):
        program = """
            import time
            time.time = lambda: 1712534400.1234567
            clock = iter([5_000_000_000, 5_014_820_000])
            time.monotonic_ns = lambda: next(clock)
            with span("encoding", kind="library-analysis", component="encoding", phase="depth-2", id="lib-1", attrs={"n": 1}) as s:
                s.tokens(100)
                s.tokens(input=40000, output=2000, cached=10, cost_usd=0.5)
                s.tool_use()
                s.tool_uses(30)
                s.update(message="half", attrs={"done": 0.5}, call_id="c1")
            log("look")
            phase("library-depth-0-complete", wall_ms=68400, libraries=9)
            artifact("a.md", kind="analysis")
            emit("custom", n=1)
            emit("span_start", span_id="x")
            """
        server = self.serve()
        self.run_program(program)
        counters = '"tokens":42100,"input_tokens":40000,"output_tokens":2000,"cached_tokens":10,"cost_usd":0.5,"tool_uses":31'
        want = [
            '{"event":"span_start","span_id":"lib-1","parent":"root","component":"encoding","name":"encoding","kind":"library-analysis","phase":"depth-2","attrs":{"n":1},"ts":1712534400.123457}',
            '{"event":"span_update","span_id":"lib-1","tokens":100,"ts":1712534400.123457}',
            '{"event":"span_update","span_id":"lib-1",' + counters.replace(',"tool_uses":31', "") + ',"ts":1712534400.123457}',
            '{"event":"span_update","span_id":"lib-1",' + counters.replace("31", "1") + ',"ts":1712534400.123457}',
            '{"event":"span_update","span_id":"lib-1",' + counters + ',"ts":1712534400.123457}',
            '{"event":"span_update","span_id":"lib-1","message":"half",' + counters + ',"call_id":"c1","attrs":{"done":0.5},"ts":1712534400.123457}',
            '{"event":"span_end","span_id":"lib-1","status":"ok","duration_ms":14.82,' + counters + ',"ts":1712534400.123457}',
            '{"event":"log","level":"info","message":"look","span_id":"root","ts":1712534400.123457}',
            '{"event":"phase","name":"library-depth-0-complete","wall_ms":68400,"libraries":9,"ts":1712534400.123457}',
            '{"event":"artifact","path":"a.md","kind":"analysis","span_id":"root","ts":1712534400.123457}',
            '{"event":"custom","n":1,"ts":1712534400.123457}',
            '{"event":"span_start","span_id":"x","parent":"root","ts":1712534400.123457}',
        ]
        self.assertEqual(server.connections[0].decode().splitlines(), want)
        self.assertEqual(len(server.connections), 1)

    def test_minted_ids_are_16_hex_and_differ(self):
        lines = self.play("for _ in range(500): span('x').start()")
        ids = {line["span_id"] for line in lines}
        self.assertEqual(len(ids), 500)
        for one in ids:
            self.assertRegex(one, "^[0-9a-f]{16}$")

    def test_env_of_children(self):
        self.play(
            """
            import json
            print(json.dumps([env(), span("x", id="00f067aa0ba902b7").env(), span("x", id="lib-1").env()]))
            with span("y", id="lib-2"):
                print(env()["OBSRUN_PARENT_SPAN"])
            """
        )
        first, second = self.out.splitlines()
        trace = "00-4e65d3fbe8ad6535681b021b30785b12-"  # the start of SHA-256("run-1")
        self.assertEqual(
            json.loads(first),
            [
                {"OBSRUN_PARENT_SPAN": "root", "TRACEPARENT": trace + "4813494d137e1631-01"},
                {"OBSRUN_PARENT_SPAN": "00f067aa0ba902b7", "TRACEPARENT": trace + "00f067aa0ba902b7-01"},
                {"OBSRUN_PARENT_SPAN": "lib-1", "TRACEPARENT": trace + "b8cc5e5f9fb66a2d-01"},
            ],
        )
        self.assertEqual(second, "lib-2")

    def test_queued(self):
        lines = self.play(
            """
            with span("outer", id="o"):
                q = queued("work", kind="agent", id="w")
                never = queued("never", id="n")
            with q as s:
                s.tokens(5)
            never.cancel()
            """
        )
        got = [(line["event"], line["span_id"], line.get("parent")) for line in lines if line["span_id"] != "o"]
        self.assertEqual(
            got,
            [("span_queued", "w", "o"), ("span_queued", "n", "o"), ("span_start", "w", "o"), ("span_update", "w", None),
             ("span_end", "w", None), ("span_end", "n", None)],
        )  # fmt: skip
        self.assertEqual(lines[-1]["status"], "cancelled")

    def test_second_start_is_a_new_attempt_and_second_end_nothing(self):
        lines = self.play(
            """
            s = span("x", id="x")
            for n in (1, 2):
                s.start(); s.tokens(n); s.fail("no") if n == 1 else None; s.end(); s.end()
            """
        )
        self.assertEqual([line.get("tokens") for line in lines], [None, 1, 1, None, 2, 2])
        self.assertEqual([line.get("status") for line in lines], [None, None, "error", None, None, "ok"])


class Nesting(Case):
    def parents(self, lines):
        names = {line["span_id"]: line["name"] for line in lines if line["event"] == "span_start"}
        return {line["name"]: names.get(line["parent"], line["parent"]) for line in lines if line["event"] == "span_start"}

    def test_asyncio_tasks(self):
        lines = self.play(
            """
            import asyncio
            @span("leaf")
            async def leaf(): await asyncio.sleep(0.001)
            async def branch(i):
                async with span("branch-%d" % i):
                    await asyncio.sleep(0.001)
                    with span("twig-%d" % i): await asyncio.sleep(0.001)
            async def main():
                async with span("main"):
                    await asyncio.gather(*[branch(i) for i in range(20)])
                    await leaf()
            asyncio.run(main())
            """
        )
        want = {"main": "root", "leaf": "main"}
        for i in range(20):
            want.update({"branch-%d" % i: "main", "twig-%d" % i: "branch-%d" % i})
        self.assertEqual(self.parents(lines), want)

    def test_threads(self):
        lines = self.play(
            """
            import contextvars, threading
            from concurrent.futures import ThreadPoolExecutor
            def work(i):
                with span("w%d" % i) as s:
                    for _ in range(100): s.tool_use()
            with span("main") as main, ThreadPoolExecutor(10) as pool:
                list(pool.map(wrap(work), range(40)))
                pool.submit(contextvars.copy_context().run, work, 40).result()
                threads = [threading.Thread(target=work, args=(i,)) for i in (41,)]
                for t in threads: t.start(); t.join()
                def explicit():
                    with span("explicit", parent=main): pass
                t = threading.Thread(target=explicit); t.start(); t.join()
            """
        )
        want = {"main": "root", "explicit": "main", "w41": "root"}
        want.update({"w%d" % i: "main" for i in range(41)})
        self.assertEqual(self.parents(lines), want)
        ends = [line["tool_uses"] for line in lines if line["event"] == "span_end" and "tool_uses" in line]
        self.assertEqual(ends, [100] * 42)

    def test_one_span_counted_by_ten_threads(self):
        lines = self.play(
            """
            import threading
            with span("x") as s:
                def work():
                    for _ in range(200): s.tokens(1)
                threads = [threading.Thread(target=work) for _ in range(10)]
                for t in threads: t.start()
                for t in threads: t.join()
            """
        )
        totals = [line["tokens"] for line in lines if "tokens" in line]
        self.assertEqual(totals, list(range(1, 2001)) + [2000])

    def test_decorators(self):
        lines = self.play(
            """
            import asyncio
            @span(kind="task")
            def plain(a, *, b): return a + b
            @span
            def bare(): "doc"; return current().id
            @span("gen")
            def gen():
                got = yield 1
                with span("in-gen"): yield got
                return "end"
            @span("agen")
            async def agen():
                yield 1
                yield 2
            assert plain(1, b=2) == 3 and plain(1, b=3) == 4
            assert bare() != bare() and bare.__name__ == "bare" and bare.__doc__ == "doc"
            g = gen(); assert next(g) == 1 and g.send("x") == "x"
            try: next(g)
            except StopIteration as stop: assert stop.value == "end"
            async def main(): return [x async for x in agen()]
            assert asyncio.run(main()) == [1, 2]
            assert current().id == "root"
            """
        )
        starts = [line["name"] for line in lines if line["event"] == "span_start"]
        self.assertEqual(starts, ["plain", "plain", "bare", "bare", "gen", "in-gen", "agen"])
        self.assertEqual(len([line for line in lines if line["event"] == "span_end"]), 7)


class Outcome(Case):
    def test_exceptions_propagate_and_set_the_status(self):
        lines = self.play(
            """
            import asyncio, sys
            class Odd(Exception):
                def __str__(self): raise RuntimeError("no")
            def run(name, exc, then=None):
                try:
                    with span(name) as s:
                        if then: getattr(s, then[0])(*then[1:])
                        if exc: raise exc
                except BaseException as got: assert got is exc
                else: assert exc is None
            run("fine", None)
            run("error", ValueError("bad \\ud800 thing"))
            run("odd", Odd())
            run("interrupt", KeyboardInterrupt())
            run("cancel", asyncio.CancelledError())
            run("exit0", SystemExit(0))
            run("exit1", SystemExit(1))
            run("fail", None, ("fail", "text"))
            run("told", ValueError("other"), ("fail", "text"))
            run("cancelled", None, ("cancel",))
            """
        )
        self.assert_ends(
            lines, fine="ok", error="error", odd="error", interrupt="cancelled", cancel="cancelled", exit0="ok",
            exit1="error", fail="error", told="error", cancelled="cancelled",
        )  # fmt: skip
        errors = [line["error"] for line in lines if "error" in line]
        self.assertEqual(
            errors,
            ["ValueError: bad \ufffd thing", "Odd: (Odd that cannot be shown)", "SystemExit: 1", "text", "text"],
        )

    def test_cancelled_task(self):
        lines = self.play(
            """
            import asyncio
            async def work():
                with span("work"): await asyncio.sleep(60)
            async def main():
                t = asyncio.ensure_future(work()); await asyncio.sleep(0.01); t.cancel()
                try: await t
                except asyncio.CancelledError: pass
            asyncio.run(main())
            """
        )
        self.assert_ends(lines, work="cancelled")


class Exit(Case):
    def test_every_line_is_there_when_the_program_is_gone(self):
        cases = {
            "end": ("", 0),
            "sys.exit": ("import sys; sys.exit(3)", 3),
            "exception": ("raise ValueError('x')", 1),
            "daemon thread": ("import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", 0),
            "thread": ("import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), log('late'))).start()", 0),
            "os._exit": ("import os; os._exit(4)", 4),
            "kill": ("import os; os.kill(os.getpid(), 9)", -9),
            "in a span": ("import sys\nwith span('last'): sys.exit(0)", 0),
        }
        for name, (program, status) in cases.items():
            with self.subTest(name):
                self.path = os.path.join(self.dir, name.replace(" ", "-"))
                server = self.serve()
                # A socket takes about 250 lines of which none is read; os._exit and kill lose what is beyond.
                self.run_program("for i in range(100): log('m%d' % i)\n" + program, status=status, quiet=False)
                server.close()  # after a kill nothing was confirmed: wait for the reader
                got = [line["message"] for line in server.lines() if line["event"] == "log"]
                self.assertEqual(got, ["m%d" % i for i in range(100)] + (["late"] if name == "thread" else []))

    def test_waits_for_the_confirmation(self):
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.path)
        listener.listen(1)
        process = self.start("log('x')")
        conn = listener.accept()[0]
        data = b""
        while True:  # the half-close ends this loop while the program still waits
            more = conn.recv(4096)
            if not more:
                break
            data += more
        self.assertIn(b'"message":"x"', data)
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(0.3)
        conn.close()
        process.communicate(timeout=10)
        self.assertEqual(process.returncode, 0)

    def test_events_of_exit_handlers(self):
        server = self.serve()
        self.run_program(
            """
            import atexit, obsrun
            atexit.unregister(obsrun.flush)
            atexit.register(log, "after the flush")
            atexit.register(obsrun.flush)
            atexit.register(log, "before the flush")
            """
        )
        server.close()
        self.assertEqual([line["message"] for line in server.lines()], ["before the flush", "after the flush"])

    def test_flush_tells_whether_it_was_confirmed(self):
        self.play("log('x'); print(flush()); print(flush()); log('y'); print(flush())")
        self.assertEqual(self.out.split(), ["True", "True", "True"])


class Forks(Case):
    def test_fork_has_its_own_connection(self):
        server = self.serve()
        self.run_program(
            """
            import os, sys
            with span("parent", id="p"):
                log("before")
                pid = os.fork()
                if pid == 0:
                    with span("child", id="c"): pass
                    sys.exit(0)  # unwinds through the parent's span, which stays the parent's
                os.waitpid(pid, 0)
                log("after")
            """
        )
        self.assertEqual(len(server.connections), 2)
        lines = server.lines()
        self.assertEqual([x["message"] for x in lines if x["event"] == "log"], ["before", "after"])
        self.assertEqual([x["span_id"] for x in lines if x["event"] == "span_end"].count("p"), 1)
        child = next(x for x in lines if x["event"] == "span_start" and x["span_id"] == "c")
        self.assertEqual(child["parent"], "p")

    def test_child_does_not_resend_the_buffer(self):
        server = self.serve(reading=False)
        process = self.start(
            """
            import os
            big = "x" * 1000
            for i in range(2000): emit("e", i=i, big=big)
            pid = os.fork()
            emit("e", i=2000 if pid else 2001)
            if pid: os.waitpid(pid, 0)
            """
        )
        time.sleep(0.5)
        server.may_read.set()
        process.communicate(timeout=20)
        self.assertEqual(sorted(x["i"] for x in server.lines()), list(range(2002)))

    def test_multiprocessing(self):
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method):
                self.path = os.path.join(self.dir, method)
                server = self.serve()
                script = os.path.join(self.dir, method + ".py")
                with open(script, "w") as f:
                    f.write(textwrap.dedent(
                        """
                        import multiprocessing as mp
                        from obsrun import span, log, env
                        import os
                        def work(i):
                            with span("w%d" % i): log("m%d" % i)
                        if __name__ == "__main__":
                            with span("main", id="main"):
                                os.environ.update(env())
                                ps = [mp.get_context("METHOD").Process(target=work, args=(i,)) for i in range(4)]
                                for p in ps: p.start()
                                for p in ps: p.join(); assert p.exitcode == 0
                        """.replace("METHOD", method)))  # fmt: skip
                self.run_program("import runpy; runpy.run_path(%r, run_name='__main__')" % script
                                 if method == "fork" else "import os, sys; os.execv(sys.executable, [sys.executable, %r])" % script)  # fmt: skip
                lines = server.lines()
                self.assertEqual(sorted(x["message"] for x in lines if x["event"] == "log"), ["m0", "m1", "m2", "m3"])
                parents = {x["parent"] for x in lines if x["event"] == "span_start" and x["name"] != "main"}
                self.assertEqual(parents, {"main"})
                self.assertEqual(len([x for x in lines if x["event"] == "span_end"]), 5)
                self.assertEqual(len(server.connections), 5)

    def test_multiprocessing_child_flushes_its_buffer(self):
        server = self.serve(reading=False)
        process = self.start(
            """
            import multiprocessing
            def work():
                for i in range(2000): emit("e", i=i, big="x" * 1000)
                print("sent", flush=True)
            child = multiprocessing.get_context("fork").Process(target=work)
            child.start(); child.join()
            """
        )
        process.stdout.readline()
        server.may_read.set()
        process.communicate(timeout=20)
        self.assertEqual([x["i"] for x in server.lines()], list(range(2000)))

    def test_fork_while_threads_emit(self):
        self.play(
            """
            import os, threading
            stop = threading.Event()
            def noise():
                while not stop.is_set(): log("n")
            threads = [threading.Thread(target=noise) for _ in range(4)]
            for t in threads: t.start()
            for _ in range(20):
                pid = os.fork()
                if pid == 0:
                    log("child"); flush(); os._exit(0)
                os.waitpid(pid, 0)
            stop.set()
            """,
            quiet=False,  # newer Pythons warn of forks beside threads
        )


class Trouble(Case):
    PROGRAM = """
        import time
        begin = time.monotonic()
        with span("x", kind="agent") as s:
            s.tokens(1); log("m"); s.update("hi")
        emit("x"); phase("p"); artifact("a"); queued("q").cancel()
        @span("d")
        def f(): return 7
        assert f() == 7
        assert wrap(f)() == 7
        env(); current().tool_use()
        assert time.monotonic() - begin < 3
        """

    def test_outside_obsrun(self):
        for value in (None, ""):
            self.run_program(self.PROGRAM + "    assert env() == {}\n".lstrip(), OBSRUN_SOCKET=value)

    def test_no_socket(self):
        self.run_program(self.PROGRAM)

    def test_dead_socket(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.close()
        self.run_program(self.PROGRAM)

    def test_nonsense_for_a_socket(self):
        for path in (self.dir, "/dev/null", "x" * 300):
            self.run_program(self.PROGRAM, OBSRUN_SOCKET=path)

    def test_server_dies(self):
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.path)
        listener.listen(1)
        process = self.start(
            """
            import signal, time
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a write to a broken socket must not end the program
            log("first"); print("ready", flush=True); input_closed = time.sleep(0.4)
            for i in range(5000): log("m%d" % i)
            print("done")
            """
        )
        conn = listener.accept()[0]
        conn.recv(10)
        process.stdout.readline()
        conn.close()
        listener.close()
        out, err = process.communicate(timeout=10)
        self.assertEqual((process.returncode, out, err), (0, "done\n", ""))

    def test_slow_server_delays_nobody_and_the_loss_is_told(self):
        server = self.serve(reading=False)
        process = self.start(
            """
            import time
            begin = time.monotonic()
            with span("flood", id="s") as s:
                for i in range(30000): s.update(attrs={"i": i})
            print(time.monotonic() - begin, flush=True)
            time.sleep(0.3)
            """
        )
        took = float(process.stdout.readline())
        server.may_read.set()
        process.communicate(timeout=20)
        lines = server.lines()
        lost = 0
        for line in lines:
            if line["event"] == "log":
                self.assertEqual(line["level"], "warn")
                self.assertRegex(line["message"], r"^obsrun client lost \d+ events?: its buffer was full$")
                lost += int(line["message"].split()[3])
        self.assertGreater(lost, 10000)
        self.assertEqual(len([x for x in lines if x["event"] == "span_update"]) + lost, 30000)
        self.assertEqual([x["event"] for x in lines].count("span_end"), 1)  # ends have a reserve
        self.assertLess(took, 15)  # a wait of 1 ms an event would take 30 s

    def test_server_that_never_reads_holds_the_exit_for_two_seconds_at_most(self):
        server = self.serve(reading=False)
        begin = time.monotonic()
        self.run_program("for i in range(5000): log('x' * 100)")
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual(server.connections, [])  # it took nothing

    def test_full_backlog_is_waited_for(self):
        server = self.serve(backlog=0, reading=False)
        begin = time.monotonic()
        programs = [self.start("log('m%d')" % i) for i in range(5)]
        time.sleep(0.7)
        server.may_read.set()
        for process in programs:
            process.communicate(timeout=20)
        self.assertEqual(sorted(x["message"] for x in server.lines()), ["m%d" % i for i in range(5)])
        self.assertLess(time.monotonic() - begin, 30)

    def test_emit_in_a_signal_handler_and_in_del(self):
        lines = self.play(
            """
            import signal, time
            count = 0
            def handler(*_):
                global count
                count += 1; log("signal")
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
            class D:
                def __del__(self): log("del")
            end = time.monotonic() + 0.5
            sent = 0
            while time.monotonic() < end:
                D(); log("main"); sent += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            print(count, sent)
            """
        )
        count, sent = map(int, self.out.split())
        messages = [x["message"] for x in lines]
        self.assertEqual((messages.count("signal"), messages.count("del"), messages.count("main")), (count, sent, sent))

    def test_interrupts_leave_whole_lines(self):
        lines = self.play(
            """
            import signal
            armed, interrupts = False, 0
            def handler(*_):
                global armed, interrupts
                if armed:
                    armed = False
                    interrupts += 1
                    raise KeyboardInterrupt
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            for _ in range(200):
                try:
                    armed = True
                    for _ in range(200): log("x" * 500)
                    armed = False
                except KeyboardInterrupt: pass
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert interrupts > 10
            """
        )
        self.assertGreater(len(lines), 10)


    def test_interrupt_between_a_write_and_its_count(self):
        server = self.serve()
        self.run_program(
            """
            import obsrun
            log("first")
            real = obsrun._client._sock
            class Interrupted:
                def send(self, data, flags):
                    real.send(data[:10], flags)
                    raise KeyboardInterrupt
                def close(self): real.close()
            obsrun._client._sock = Interrupted()
            try: log("second")
            except KeyboardInterrupt: log("third")
            """
        )
        first, second = (bytes(got) for got in server.connections)
        self.assertEqual(len(first.splitlines(keepends=True)[-1]), 10)  # torn, at the end of its connection
        self.assertEqual([json.loads(line)["message"] for line in second.splitlines()], ["second", "third"])


class Hostile(Case):
    def test_values(self):
        lines = self.play(
            """
            import decimal, datetime, enum
            class Loud:
                def __str__(self): raise SystemError("no")
                __repr__ = __str__
            class Indexed:
                def __index__(self): return 7
            class E(enum.IntEnum): A = 3
            cycle = {}; cycle["me"] = cycle
            ring = []; ring.append([ring])
            deep = []
            for _ in range(5000): deep = [deep]
            values = dict(nan=float("nan"), inf=float("-inf"), huge=10**400, large=10**30, half="a\\ud800b", cycle=cycle,
                ring=ring, deep=deep, loud=Loud(), index=Indexed(), enum=E.A, raw=b"\\xff\\x00a", set={1}, tuple=(1, (2,)),
                none=None, yes=True, decimal=decimal.Decimal("1.5"), keys={1: 2, None: 3, (4,): 5, "\\udfff": 6}, lines="a\\r\\nb\\u2028",
                function=len, when=datetime.date(2026, 1, 2))
            with span("n\\ud800", attrs=values, component=3, kind=Loud(), id="\\udc00") as s:
                s.tokens("many"); s.tokens(-1); s.tokens(float("nan")); s.tokens(10**400); s.tokens(None); s.tool_uses([])
                s.tokens(input=True); s.update(tokens=float("inf"), event="x"); s.update(attrs=7)
                s.fail(Loud())
            emit(None); emit({}); emit({1: 2}); emit("x", **{"": 1}); log(None); log(Loud()); phase(3); artifact(b"p"); emit(cycle)
            wrap(len)
            """
        )
        attrs = lines[0]["attrs"]
        self.assertIsNone(attrs["nan"] or attrs["inf"] or attrs["huge"] or attrs["none"])
        want = dict(large=1e30, half="a\ufffdb", cycle={"me": "(cycle)"}, ring=[["(cycle)"]], loud="(Loud that cannot be shown)",
                    index=7, enum=3, raw="\ufffd\0a", set=[1], tuple=[1, [2]], yes=True, decimal="1.5", lines="a\r\nb\u2028",
                    when="2026-01-02", keys={"1": 2, "None": 3, "(4,)": 5, "\ufffd": 6})  # fmt: skip
        self.assertEqual({key: attrs[key] for key in want}, want)
        self.assertIn("(too deep)", json.dumps(attrs["deep"]))
        self.assertEqual(lines[0]["name"], "n\ufffd")
        self.assertEqual(lines[-1].get("event"), None)

    def test_a_line_stays_under_1_mib(self):
        lines = self.play(
            """
            import time
            begin = time.monotonic()
            for huge in ("x" * (5 << 20), "\\u0001" * (5 << 20), "\\U0001F600" * (2 << 20), ["y" * 10] * (1 << 20),
                         {str(i): i for i in range(300000)}, b"z" * (3 << 20), [["a"] * 1000] * 1000):
                with span("big", attrs={"huge": huge, "small": 1}, id="s") as s:
                    s.fail(str(huge))
                flush(30)  # the buffer holds 4 MiB
                log(huge)
                emit("custom", first=huge, second=huge, n=1)
                flush(30)
            with span("x" * (2 << 20), kind="k" * (2 << 20), component="c" * (2 << 20), id="i" * (2 << 20)): pass
            log("\\u0001" * ((1 << 20) // 6))
            print(time.monotonic() - begin)
            """
        )
        events = [x["event"] for x in lines]
        self.assertEqual(events.count("span_end"), 8)
        self.assertEqual(events.count("custom"), 7)
        self.assertEqual(events.count("log"), 8)
        for line in lines:
            self.assertIn("ts", line)
            self.assertTrue(line["event"] != "custom" or line["n"] == 1)
        self.assertLess(float(self.out), 20)


if __name__ == "__main__":
    unittest.main()
