"""Where a submission runs: a process of its own with nothing but Python, the book's code and an empty folder in memory."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "classroom"
SHARED = ("amrlib", "amrbook", "data", "book/settings.json")  # what the assignments read; no hidden test is among it
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/fonts")


@dataclass(frozen=True)
class Limits:
    """What one submission may use."""

    cell_seconds: float = 30.0
    call_seconds: float = 5.0
    total_seconds: float = 120.0
    memory: int = 3 << 30  # bytes of a process; torch's own libraries do not count
    disk: int = 64 << 20  # bytes of all files together
    file_size: int = 32 << 20
    processes: int = 128


# Linux bounds the number of processes of everybody but root. So root's graders make the namespaces themselves and go on as
# nobody; everybody else's live in a user namespace.
NOBODY = [
    "setpriv",
    "--reuid",
    "65534",
    "--regid",
    "65534",
    "--clear-groups",
    "--no-new-privs",
    "--bounding-set=-all",
    "--inh-caps=-all",
]
ANYBODY = ["--unshare-user", "--cap-drop", "ALL"]


trouble = "it is not installed"  # why bubblewrap is not at work, in its own words


@functools.cache
def bubblewrap() -> tuple[str, bool] | None:
    """bubblewrap's path, and whether to start as root and go on as nobody; None where it is missing or may not do its work."""
    global trouble
    found, root = shutil.which("bwrap"), hasattr(os, "geteuid") and os.geteuid() == 0
    for as_nobody in (True, False) if root else (False,):
        if found is None:
            break
        command = [*wall(found, as_nobody, Limits()), sys.executable, "/grader/wire.py"]
        try:
            tried = subprocess.run(command, capture_output=True, text=True, timeout=20)
            if tried.returncode == 0:
                return found, as_nobody
            trouble = (tried.stderr.strip().splitlines() or ["it says nothing"])[-1]
        except (OSError, subprocess.SubprocessError) as problem:
            trouble = str(problem)
    return None


def in_words() -> str:
    """What keeps a submission in, plainly."""
    if found := bubblewrap():
        words = "each submission runs in bubblewrap: no network, no files but the book's code, limits on time, memory and disk"
        unbound = hasattr(os, "geteuid") and os.geteuid() == 0 and not found[1]
        return words + ("; as root the number of its processes has no limit: grade from an ordinary account" if unbound else "")
    return (
        f"bubblewrap is not at work here ({trouble}): a submission runs with limits on time and memory alone. It can read this "
        "account's files, write to them and use the network. Install it (Debian, Ubuntu: apt install bubblewrap), or grade in "
        "a throw-away account or container."
    )


def wall(bwrap: str, as_nobody: bool, limits: Limits, environment: dict[str, str] | None = None) -> list[str]:
    """The command that puts up the walls, without what runs inside."""
    command = [bwrap, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--die-with-parent", "--new-session", "--clearenv", *([] if as_nobody else ANYBODY)]
    for name, value in (environment or {}).items():
        command += ["--setenv", name, value]
    for path in SYSTEM:
        command += ["--ro-bind-try", path, path]
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(limits.disk), "--perms", "1777", "--tmpfs", "/tmp"]
    command += ["--perms", "0777", "--dir", "/tmp/home", "--size", str(1 << 20), "--perms", "1777", "--tmpfs", "/dev/shm"]
    prefixes = [p for q in (sys.prefix, sys.base_prefix) for p in (q, os.path.realpath(q)) if not p.startswith("/usr/")]
    homes = [p for p in dict.fromkeys(prefixes) if p != "/usr"]  # after /tmp: this repository may lie below it
    folders = [str(parent) for home in homes for parent in reversed(Path(home).parents[:-1]) if str(parent) != "/tmp"]
    for folder in dict.fromkeys([*folders, "/course", "/course/book", "/grader"]):  # bubblewrap would make them for root alone
        command += ["--perms", "0755", "--dir", folder]
    for path in homes:
        command += ["--ro-bind", path, path]
    for path in SHARED:
        command += ["--ro-bind", str(ROOT / path), f"/course/{path}"]
    for name in ("worker.py", "wire.py"):
        command += ["--ro-bind", str(HERE / name), f"/grader/{name}"]
    command += ["--remount-ro", "/"]
    return [*command, "--chdir", "/tmp/home", *(NOBODY if as_nobody else [])]


ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
    "MPLBACKEND": "agg", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore", "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin",
}  # fmt: skip


def running(as_nobody: bool) -> int:
    """Threads that this user has already: older kernels count them all against a limit on processes."""
    mine, found = 65534 if as_nobody else os.geteuid(), 0
    for task in Path("/proc").glob("[0-9]*/task"):
        try:
            found += len(os.listdir(task)) if task.stat().st_uid == mine else 0
        except OSError:  # it has ended meanwhile
            pass
    return found


class Process:
    """A worker behind walls, its two pipes, and its end."""

    def __init__(self, limits: Limits) -> None:
        bwrap = bubblewrap()
        ours, theirs = os.pipe(), os.pipe()  # to the worker, from the worker: (read end, write end)
        self.scratch = None if bwrap else tempfile.TemporaryDirectory(prefix="submission-", ignore_cleanup_errors=True)
        home = "/tmp/home" if bwrap else str(self.scratch.name)  # type: ignore[union-attr]
        environment = {**ENVIRONMENT, "HOME": home, "MPLCONFIGDIR": home}
        program = [
            sys.executable,
            "-s",
            "/grader/worker.py" if bwrap else str(HERE / "worker.py"),
            str(ours[0]),
            str(theirs[1]),
        ]
        if bwrap:
            program = [*wall(*bwrap, limits, environment), *program]
        self.path = ["/course"] if bwrap else [str(ROOT)]
        self.processes = limits.processes + running(bwrap is not None and bwrap[1])
        try:
            self.child = subprocess.Popen(
                program, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=(ours[0], theirs[1]), env=environment, cwd=None if bwrap else home, start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(ours[0])
            os.close(theirs[1])
        self.source, self.target = theirs[0], ours[1]
        self.given_back = 0.0  # of the time that it waited for a processor
        os.set_blocking(self.source, False)

    def waited(self) -> float:
        """Seconds for which it, or what it started, could have run and got no processor."""
        parents, total = {}, 0.0
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                words = status.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
                parents[int(status.parent.name)] = int(words[1])
            except (OSError, ValueError, IndexError):  # it has ended meanwhile
                pass
        mine, found = [self.child.pid], 0
        while found < len(mine):
            mine += [pid for pid, parent in parents.items() if parent == mine[found]]
            try:
                total += int(Path(f"/proc/{mine[found]}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
            except (OSError, ValueError, IndexError):
                pass
            found += 1
        return total

    def end(self) -> None:
        """Kill it and everything it started: inside bubblewrap the process space goes with its first process."""
        if self.child.poll() is None:
            try:
                os.killpg(self.child.pid, 9)
            except ProcessLookupError:
                pass
        self.child.wait()
        for pipe in (self.source, self.target):
            os.close(pipe)
        if self.scratch:
            self.scratch.cleanup()
