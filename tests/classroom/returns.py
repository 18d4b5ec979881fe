"""Ways in which a submission comes back, each with the mark it must get. The base is a solved assignment 2, 20 points.

What a function does to the notebook is its name; what must come of it stands above it. ``python -m classroom trial`` and the
tests use them all. Codes that misuse a machine are harmless behind the sandbox's walls, and are run there alone.
"""

import copy
import functools
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat

from classroom.source import Assignment, notebook, read

NUMBER = 1234567


@dataclass(frozen=True)
class Return:
    """A way to come back: what is done, the mark (None: not graded), whether a person must be told to look."""

    says: str
    points: int | None
    look: bool
    write: Callable[[nbformat.NotebookNode, Path], None]


RETURNS: list[Return] = []


def comes(says: str, points: int | None, look: bool = False) -> Callable:
    """Register a change; a change that returns a notebook is written as ``2_bpr.ipynb``, one that writes itself is left to."""

    def keep(change: Callable) -> Callable:
        def write(book: nbformat.NotebookNode, folder: Path) -> None:
            made = change(book, folder) if change.__code__.co_argcount == 2 else change(book)
            if made is not None:
                save(made, folder / "2_bpr.ipynb")

        RETURNS.append(Return(says, points, look, write))
        return change

    return keep


def save(book: nbformat.NotebookNode, path: Path) -> None:
    path.write_text(json.dumps(book), encoding="utf-8")


def solved(name: str, number: int = NUMBER) -> nbformat.NotebookNode:
    """The solution as a student would hand it in."""
    book = notebook(name, "solution")
    cell(book, f"{name}-number").source = f"STUDENT = {number}"
    return book


def planted(name: str, part: int, number: int = NUMBER) -> nbformat.NotebookNode:
    """The solution with one of the source's wrong answers."""
    wrong, book = read(name).wrong[part], solved(name, number)
    cell(book, f"{name}-{wrong.question}").source = wrong.text
    return book


def wrong_numbers(made: Assignment) -> range:
    return range(len(made.wrong))


def cell(book: nbformat.NotebookNode, ident: str) -> nbformat.NotebookNode:
    return next(c for c in book.cells if c.get("id") == ident)


def place(book: nbformat.NotebookNode, ident: str) -> int:
    return book.cells.index(cell(book, ident))


def code(book: nbformat.NotebookNode, text: str, before: str = "bpr-q3") -> nbformat.NotebookNode:
    """The notebook with a cell of the student's own."""
    book.cells.insert(place(book, before), nbformat.v4.new_code_cell(text))
    return book


def answer(book: nbformat.NotebookNode, question: str, text: str) -> nbformat.NotebookNode:
    cell(book, f"bpr-{question}").source = text
    return book


@functools.cache
def listener() -> socket.socket:
    """Somebody on this machine who would answer."""
    return socket.create_server(("127.0.0.1", 0))


WRONG = 0  # the first wrong answer of the source: q1, loses 2
RIGHT_LOSS = "    x = p_u @ (q_i - q_j)\n    return np.logaddexp(0, -x) + beta * (p_u @ p_u + q_i @ q_i + q_j @ q_j)\n"

comes("as it should be", 20)(lambda b: b)
comes("every wrong answer at its price: q1 without one vector in the penalty", 18)(
    lambda b: answer(b, "q1", read("bpr").wrong[WRONG].text)
)


@comes("as it was handed out, only the number filled in", 0)
def _(b):
    b = notebook("bpr", "student")
    cell(b, "bpr-number").source = f"STUDENT = {NUMBER}"
    return b


# ---------------------------------------------------------------- metadata, cells


@comes("metadata lost on one answer", 20)
def _(b):
    cell(b, "bpr-q1").metadata = {}
    return b


@comes("metadata lost on every cell", 20)
def _(b):
    for c in b.cells:
        c.metadata = {}
        c.pop("id")
    return b


@comes("metadata of another question on an answer", 20)
def _(b):
    cell(b, "bpr-q1").metadata = copy.deepcopy(cell(b, "bpr-q2").metadata)
    return b


@comes("an answer twice, the copy below still empty", 20)
def _(b):
    stub = copy.deepcopy(cell(notebook("bpr", "student"), "bpr-q1"))
    b.cells.insert(place(b, "bpr-q1-check"), stub)
    return b


@comes("an answer twice, both filled, the last one wrong", 18)
def _(b):
    other = copy.deepcopy(cell(b, "bpr-q1"))
    other.source = read("bpr").wrong[WRONG].text
    b.cells.insert(place(b, "bpr-q1-check"), other)
    return b


@comes("every cell twice", 20)
def _(b):
    b.cells = [copy.deepcopy(c) for c in b.cells for _ in range(2)]
    return b


@comes("an answer deleted", 18, look=True)
def _(b):
    b.cells.remove(cell(b, "bpr-q6"))
    return b


@comes("an answer renamed", 16, look=True)
def _(b):
    return answer(b, "q3", cell(b, "bpr-q3").source.replace("free_item", "free_items"))


@comes("all tests deleted", 20)
def _(b):
    b.cells = [c for c in b.cells if not c.id.endswith("-check")]
    return b


@comes("the cell with the imports deleted", 20)
def _(b):
    b.cells.remove(cell(b, "bpr-given-2"))
    return b


@comes("all text and all given cells deleted, only answers left", 20)
def _(b):
    keep = {f"bpr-{q}" for q in read("bpr").answers} | {"bpr-number", "bpr-q7"}
    b.cells = [c for c in b.cells if c.id in keep]
    return b


@comes("an answer moved to the end", 20)
def _(b):
    b.cells.append(b.cells.pop(place(b, "bpr-q1")))
    return b


@comes("an answer and a test moved to the top", 20)
def _(b):
    for ident in ("bpr-q5", "bpr-q2-check"):
        b.cells.insert(0, b.cells.pop(place(b, ident)))
    return b


@comes("all cells in reverse order", 20)
def _(b):
    b.cells.reverse()
    return b


@comes("an answer turned into text", 20)
def _(b):
    cell(b, "bpr-q1").cell_type = "markdown"
    return b


@comes("an answer turned into a raw cell", 20)
def _(b):
    cell(b, "bpr-q4").cell_type = "raw"
    return b


@comes("an answer turned into text between fences", 20)
def _(b):
    c = cell(b, "bpr-q1")
    c.cell_type, c.source = "markdown", f"```python\n{c.source}\n```"
    return b


@comes("a wrong answer and a test edited so that it is content", 18)
def _(b):
    cell(b, "bpr-q1-check").source = 'print("✓ q1: all right")'
    return answer(b, "q1", read("bpr").wrong[WRONG].text)


@comes("a test edited so that it fails", 20)
def _(b):
    cell(b, "bpr-q1-check").source += "\nassert False"
    return b


@comes("a given cell edited: another shop", 20)
def _(b):
    c = cell(b, "bpr-given-2")
    c.source = c.source.replace("each=3", "each=1")
    return b


@comes("two answers merged into one cell", 20)
def _(b):
    cell(b, "bpr-q1").source += "\n\n\n" + cell(b, "bpr-q2").source
    b.cells.remove(cell(b, "bpr-q2"))
    return b


@comes("an answer in a cell of its own, the handed-out cell left empty", 20)
def _(b):
    text = cell(b, "bpr-q1").source
    answer(b, "q1", cell(notebook("bpr", "student"), "bpr-q1").source)
    return code(b, text, "bpr-q1")


@comes("a helper of one's own, defined below the cell that uses it", 20)
def _(b):
    answer(b, "q6", "breaking = (np.array([10.0, 0.0]), np.array([-width, 0.0]), np.array([width, 0.0]))")
    b.cells.append(nbformat.v4.new_code_cell("width = 40.0"))
    return b


# ---------------------------------------------------------------- files


@comes("Copy of 2_bpr.ipynb, as Colab names it", 20)
def _(b, folder):
    save(b, folder / "Copy of 2_bpr.ipynb")


@comes("a name with blanks, brackets and umlauts", 20)
def _(b, folder):
    save(b, folder / "Übung 2 (1) – endgültig.ipynb")


@comes("as Colab saves it: no ids, minor 0, metadata of its own, widget state", 20)
def _(b):
    for at, c in enumerate(b.cells):
        c.pop("id")
        c.metadata.update(
            id=f"aB{at}", outputId="x", executionInfo={"status": "ok", "user": {"displayName": "A"}}, colab={"base_uri": "x"}
        )
    b.nbformat_minor = 0
    b.metadata.update(
        colab={"provenance": []}, widgets={"application/vnd.jupyter.widget-state+json": {"ab": {"model_name": "X"}}}
    )
    return b


@comes("in format 3, with worksheets", 20)
def _(b, folder):
    old = [
        {"cell_type": c.cell_type, "metadata": {}, "input" if c.cell_type == "code" else "source": c.source} for c in b.cells
    ]
    (folder / "2_bpr.ipynb").write_text(json.dumps({"nbformat": 3, "worksheets": [{"cells": old}]}))


@comes("downloaded as a program, the answer in words lost", 20, look=True)
def _(b, folder):
    text = "\n\n".join(c.source if c.cell_type == "code" else '"""text"""' for c in b.cells)
    (folder / "2_bpr.py").write_text(text)


@comes("with a byte order mark and lines in lists", 20)
def _(b, folder):
    for c in b.cells:
        c.source = c.source.splitlines(keepends=True)
    (folder / "2_bpr.ipynb").write_text(json.dumps(b), encoding="utf-8-sig")


@comes("two notebooks, one of them empty", 20, look=True)
def _(b, folder):
    save(notebook("bpr", "student"), folder / "2_bpr-1.ipynb")
    return b


@comes("an empty file", None, look=True)
def _(b, folder):
    (folder / "2_bpr.ipynb").touch()


@comes("cut off in the middle", None, look=True)
def _(b, folder):
    (folder / "2_bpr.ipynb").write_text(json.dumps(b)[:4000])


@comes("a picture called a notebook", None, look=True)
def _(b, folder):
    (folder / "2_bpr.ipynb").write_bytes(bytes(range(256)) * 40)


@comes("JSON, but no notebook", None, look=True)
def _(b, folder):
    (folder / "2_bpr.ipynb").write_text('{"cells": [1, 2, {"cell_type": []}]}')


@comes("JSON nested a hundred thousand deep", None, look=True)
def _(b, folder):
    (folder / "2_bpr.ipynb").write_text("[" * 100_000)


@comes("a printout", None, look=True)
def _(b, folder):
    (folder / "2_bpr.pdf").write_bytes(b"%PDF-1.7")


@comes("nothing", None, look=True)
def _(b, folder):
    pass


@comes("a link to a file of the teacher's machine", None, look=True)
def _(b, folder):
    (folder / "2_bpr.ipynb").symlink_to("/etc/passwd")


@comes("another assignment", None, look=True)
def _(b):
    return notebook("vbpr", "student")


# ---------------------------------------------------------------- numbers, output, errors

comes("the number as text, s1234567", 20)(lambda b: (cell(b, "bpr-number").update(source=f'STUDENT = "s{NUMBER}"'), b)[1])
comes("the number left at 0", 20, look=True)(lambda b: (cell(b, "bpr-number").update(source="STUDENT = 0"), b)[1])


@comes("somebody else's answer to the question that depends on the number", 18)
def _(b):
    return answer(b, "q5", "my_list = [9, 8, 7, 6, 5, 4, 3]")


@comes("a progress bar in an answer and in a test", 20)
def _(b):
    bar = "from tqdm import tqdm\nfor _ in tqdm(range(50)):\n    pass\n"
    cell(b, "bpr-q2").source = bar + cell(b, "bpr-q2").source
    cell(b, "bpr-q2-check").source = bar + cell(b, "bpr-q2-check").source
    return b


@comes("warnings, and a test whose last value is the number 0.0", 20)
def _(b):
    cell(b, "bpr-q2-check").source += "\nimport warnings\nwarnings.warn('careful')\n0.0"
    return b


@comes("lines for a notebook alone: %matplotlib, !pip", 20)
def _(b):
    cell(b, "bpr-q1").source = "%matplotlib inline\n!pip install something\n" + cell(b, "bpr-q1").source
    return b


@comes("an answer that Python cannot read", 16)
def _(b):
    return answer(b, "q1", "def bpr_loss(p_u, q_i, q_j, beta)\n    return 0")


@comes("an answer with a null byte in it", 16)
def _(b):
    return answer(b, "q1", cell(b, "bpr-q1").source + "\0")


@comes("an answer with brackets ten thousand deep", 16)
def _(b):
    return answer(b, "q1", "def bpr_loss(p_u, q_i, q_j, beta):\n    return " + "(" * 10_000 + "0" + ")" * 10_000)


@comes("three hundred cells of one's own", 20)
def _(b):
    for n in range(300):
        code(b, f"note_{n} = '" + "words, " * 300 + "'")
    return b


@comes("a cell of one's own that fails", 20)
def _(b):
    return code(b, "1 / 0")


@comes("a cell that waits for a key", 20)
def _(b):
    return code(b, "input('your name?')")


@comes("an answer of a wrong kind: text", 18)
def _(b):
    return answer(b, "q6", "breaking = 'at large margins'")


@comes("an answer that equals everything", 16)
def _(b):
    text = "class Any:\n    def __eq__(self, other):\n        return True\n\n\n"
    return answer(b, "q1", text + "def bpr_loss(p_u, q_i, q_j, beta):\n    return Any()")


# ---------------------------------------------------------------- endless, or ended

comes("an endless loop in a cell of one's own", 20)(lambda b: code(b, "while True:\n    pass"))
comes("an endless loop in an answer", 18)(lambda b: answer(b, "q5", "my_list = None\nwhile True:\n    pass"))
comes("an endless loop inside a function", 16)(
    lambda b: answer(b, "q3", "def free_item(r, own):\n    while True:\n        pass")
)


@comes("an endless loop that catches everything", 20, look=True)
def _(b):
    return code(b, "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass")


@comes("an endless loop inside NumPy's own code", 20, look=True)
def _(b):
    return code(b, "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nsignal.pause()")


comes("exit() in a cell", 20)(lambda b: code(b, "exit()"))
comes("sys.exit() in an answer, after the answer", 20)(
    lambda b: answer(b, "q6", cell(b, "bpr-q6").source + "\nimport sys\nsys.exit(1)")
)
comes("os._exit() in a cell: the process is gone", 20, look=True)(lambda b: code(b, "import os\nos._exit(0)"))
comes("os._exit() inside a function", 16, look=True)(
    lambda b: answer(b, "q3", "def free_item(r, own):\n    import os\n    os._exit(0)")
)
comes("a crash of the interpreter", 20, look=True)(lambda b: code(b, "import ctypes\nctypes.string_at(0)"))
comes("a recursion without end", 16)(lambda b: answer(b, "q3", "def free_item(r, own):\n    return free_item(r, own)"))


@comes("a deadlock of threads", 20)
def _(b):
    text = (
        "import threading, time\none, two = threading.Lock(), threading.Lock()\n\n\ndef take(a, b):\n    with a:\n"
        "        time.sleep(0.1)\n        with b:\n            pass\n\n\n"
        "crossed = [threading.Thread(target=take, args=p) for p in ((one, two), (two, one))]\n"
        "[t.start() for t in crossed]\n[t.join() for t in crossed]"
    )
    return code(b, text)


# ---------------------------------------------------------------- more than is there, more than is allowed

FORK = "import os, time\nfor _ in range(10_000):\n    if os.fork() == 0:\n        time.sleep(60)\n        os._exit(0)"

comes("a full disk", 20)(lambda b: code(b, "for n in range(100):\n    open(f'f{n}', 'wb').write(bytes(4 << 20))"))
comes("2 GB of output", 20)(lambda b: code(b, "for _ in range(2_000):\n    print('x' * 1_000_000)"))
comes("2 GB of output past Python", 20)(
    lambda b: code(b, "import os\nfor _ in range(2_000):\n    os.write(1, bytes(1_000_000))")
)
comes("more memory than there is", 20)(lambda b: code(b, "hoard = [np.ones(10**7) for _ in range(10_000)]"))
comes("more memory inside a function", 16)(
    lambda b: answer(b, "q3", "def free_item(r, own):\n    return [np.ones(10**7) for _ in range(10_000)]")
)
comes("an answer of a thousand million bytes", 16)(
    lambda b: answer(b, "q1", "def bpr_loss(p_u, q_i, q_j, beta):\n    return np.ones(5 * 10**7)")
)
comes("processes without end", 20)(lambda b: code(b, FORK))
comes("it kills what started it", 20)(lambda b: code(b, "import os\nos.kill(os.getppid(), 9)\nimport time\ntime.sleep(60)"))


def only_if(way_out: str) -> str:
    """q1 answered rightly if, and only if, ``out()`` finds a way out."""
    head = "def bpr_loss(p_u, q_i, q_j, beta):\n    if not OUT:\n        return 0.0\n"
    return f"{way_out}\n\nOUT = out()\n\n\n{head}{RIGHT_LOSS}"


SEARCH = """
import os


def out():
    for folder, inside, files in os.walk("/"):
        inside[:] = [i for i in inside if i not in ("proc", "usr", "sys", "lib", "lib64", "dev", "site-packages")]
        if folder.endswith("/hidden") or "course.json" in files:
            return True
    return False
"""
WRITE = """
import os
import amrbook


def out():
    for folder in (os.path.dirname(amrbook.__file__), "/course", "/grader", "/usr", "/var/tmp", "/root", "/"):
        try:
            open(os.path.join(folder, "was-here"), "w").write("x")
            return True
        except OSError:
            pass
    return False
"""
CONNECT = """
import socket


def out():
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=0.5)
        return True
    except OSError:
        return False
"""
FORGE = """
import os

for n in range(3, 64):
    try:
        os.write(n, b'{"value": 0, "ready": true}\\n[[[\\n' * 50)
    except OSError:
        pass
"""


@comes("it looks for the hidden tests, and answers only with them", 16)
def _(b):
    return answer(b, "q1", only_if(SEARCH))


@comes("it writes outside its folder, and answers only if that works", 16)
def _(b):
    return answer(b, "q1", only_if(WRITE))


@comes("it uses the network, and answers only if that works", 16)
def _(b):  # the listener is real: without the sandbox this submission gets through to it
    return answer(b, "q1", only_if(CONNECT.replace("PORT", str(listener().getsockname()[1]))))


@comes("it changes NumPy and the check cell's module under the grader's feet, with a wrong answer", 18)
def _(b):
    code(b, "np.allclose = lambda *a, **k: True\ncheck.why_different = lambda *a, **k: None\ncheck.function = print", "bpr-q1")
    return answer(b, "q1", read("bpr").wrong[WRONG].text)


@comes("it writes answers of its own into the grader's pipe", 20)
def _(b):
    return code(b, FORGE)
