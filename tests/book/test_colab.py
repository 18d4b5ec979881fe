"""The first cell of a chapter, on machines that are not this one.

The quick tests run it in an empty folder, with a clone of this checkout standing in for the repository. With
AMRLIB_TEST_COLAB=1 (`make colab`) every chapter runs so, in smoke mode, in a fresh environment with versions like
Colab's and without anything that builds the book. A real Colab runtime is not at hand here.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tools import chapter_files, runner, same_name

ROOT = chapter_files.ROOT

# As on Colab in 2026: what is there already, and must stay as it is.
COLAB = ["torch==2.13.0", "numpy==2.2.*", "pandas==2.3.*", "matplotlib==3.10.*", "ipykernel==6.*",
         "scipy", "scikit-image", "seaborn", "tqdm", "safetensors", "numba", "nbclient", "nbformat"]  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="Colab has git and this machine has not")


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """This working tree, committed or not, as a git repository to clone from."""
    folder = tmp_path_factory.mktemp("remote") / "amr-book"
    kept = shutil.ignore_patterns("__pycache__", "*.part", "*.egg-info")
    for name in ("amrlib", "amrbook", "data", "book", "bench"):  # chapter 16 reads what was measured
        shutil.copytree(ROOT / name, folder / name, ignore=kept)
    git = ["git", "-C", str(folder), "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for words in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-q", "-m", "as it is"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    return folder


def outside(repository: Path, folder: Path) -> dict[str, str]:
    """An environment in which the book's address leads to ``repository``, and nothing of this checkout is importable."""
    (folder / "gitconfig").write_text(f'[url "file://{repository}"]\n\tinsteadOf = {chapter_files.repository()}\n')
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AMR", "PYTHONPATH", "GIT_"))}
    return {**environment, **runner.STORED_UNDER, "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}


# What is installed here in editable form must not be found: on Colab it is not there.
HIDE = (
    "import sys\n"
    "sys.meta_path = [finder for finder in sys.meta_path if 'editable' not in repr(finder)]\n"
    "sys.path = [place for place in sys.path if place != {root!r}]\n"
)


def make_packages(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("here = True\n")


def run_cell(repository: Path, folder: Path, then: str, before: str = "") -> subprocess.CompletedProcess:
    work = folder / "content"
    work.mkdir(exist_ok=True)
    code = before + HIDE.format(root=str(ROOT)) + chapter_files.setup_cell() + "\n" + then
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=work, env=outside(repository, folder), capture_output=True, text=True, timeout=120)


def test_an_empty_folder_gets_the_library_and_the_data(repository, tmp_path):
    then = (
        "import amrbook.claims, amrlib.shipped as d\n"
        "print(d.data_folder().is_dir(), d.__file__); assert 'pip' not in sys.modules"
    )
    for _ in range(2):  # and once more, as when a student runs all cells again
        done = run_cell(repository, tmp_path, then)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("True") and "content/amr-book/amrlib" in done.stdout
        assert done.stderr == ""


def test_a_folder_that_only_shares_the_name_is_not_taken_for_the_library(repository, tmp_path):
    (tmp_path / "content" / "amrlib").mkdir(parents=True)
    done = run_cell(repository, tmp_path, "import amrlib; print(amrlib.__version__)")
    assert done.returncode == 0, done.stderr


def test_inside_a_checkout_nothing_is_fetched(tmp_path):
    make_packages(tmp_path, "amrlib", "amrbook")
    done = run_cell(tmp_path / "no-such-repository", tmp_path, "import amrlib; assert amrlib.here; print(Path.cwd().name)")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "content" / "amr-book").exists()


OTHER = "import sys; sys.path.append({folder!r})\n"  # as PYTHONPATH or pip would


def test_another_package_called_amrlib_is_told_in_one_sentence(tmp_path):
    make_packages(tmp_path / "elsewhere", "amrlib")
    before = OTHER.format(folder=str(tmp_path / "elsewhere"))
    done = run_cell(tmp_path / "no-such-repository", tmp_path, "print('went on')", before)
    assert done.returncode != 0 and done.stdout == "" and not (tmp_path / "content" / "amr-book").exists()
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ") and "elsewhere/amrlib" in last and "another package of that name" in last
    assert "pip uninstall amrlib" in last and chapter_files.repository() in last

    # in a clone it does no harm, unless it was imported first
    make_packages(tmp_path / "content", "amrlib", "amrbook")
    done = run_cell(tmp_path / "no-such-repository", tmp_path, "import amrlib; print(amrlib.__file__)", before)
    assert done.returncode == 0 and "content/amrlib" in done.stdout
    first = before + "sys.path.insert(0, sys.path.pop()); import amrlib\n"
    done = run_cell(tmp_path / "no-such-repository", tmp_path, "", first)
    assert done.returncode != 0 and "restart the kernel" in done.stderr


def test_the_book_installed_is_taken_as_it_is(tmp_path):
    make_packages(tmp_path / "site", "amrlib", "amrbook")
    before = OTHER.format(folder=str(tmp_path / "site"))
    done = run_cell(tmp_path / "no-such-repository", tmp_path, "import amrlib; print(amrlib.__file__)", before)
    assert done.returncode == 0 and "site/amrlib" in done.stdout and not (tmp_path / "content" / "amr-book").exists()


def test_make_and_pytest_tell_it_too(tmp_path, monkeypatch):
    assert same_name.problem() == ""
    make_packages(tmp_path, "amrlib")
    monkeypatch.syspath_prepend(tmp_path)
    assert "another package of that name" in same_name.problem() and "pip install --no-deps" in same_name.problem()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for words in (["tools/same_name.py"], ["tools/notebooks.py", "check"], ["-m", "pytest", "--collect-only", "tests/book"]):
        done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode != 0 and "another package of that name" in done.stderr, words
    make_packages(tmp_path, "amrbook")
    assert same_name.problem() == ""


def test_without_a_network_the_reason_is_seen(tmp_path):
    done = run_cell(tmp_path / "no-such-repository", tmp_path, "")
    assert done.returncode != 0 and "git" in done.stderr and "clone" in done.stderr


def test_only_what_is_missing_is_installed_and_never_torch(repository, tmp_path):
    pretend = (
        "import importlib.util as u, subprocess as s\n"
        "real = u.find_spec; u.find_spec = lambda name, *a: None if name in ('seaborn', 'torch') else real(name, *a)\n"
        "run = s.run; s.run = lambda words, **how: print('RAN', words[-4:]) if 'pip' in words else run(words, **how)\n"
    )
    done = run_cell(repository, tmp_path, "", before=pretend)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "RAN ['pip', 'install', '--quiet', 'seaborn']"


@pytest.fixture(scope="module")
def colab(tmp_path_factory) -> Path:
    if os.environ.get("AMRLIB_TEST_COLAB") != "1":
        pytest.skip("takes minutes and installs an environment; make colab runs it")
    folder = tmp_path_factory.mktemp("colab") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *COLAB], check=True)
    return python


def installed(python: Path) -> str:
    return subprocess.run([str(python), "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout


RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
"""


OPENED = [*sorted(chapter_files.COLAB.glob("*.ipynb")), *chapter_files.assignments()]


@pytest.mark.slow
@pytest.mark.parametrize("chapter", OPENED, ids=lambda p: p.stem)
def test_a_chapter_runs_as_on_colab(colab, repository, tmp_path, chapter):
    """Opened by its badge: the notebook alone, in an empty folder."""
    notebook = chapter_files.read(chapter)
    for cell in notebook.cells:
        if "parameters" in chapter_files.tags(cell):
            cell.source = cell.source.replace('MODE = "book"', 'MODE = "smoke"')
    work = tmp_path / "content"
    work.mkdir()
    nbformat.write(notebook, work / chapter.name)
    before = installed(colab)
    environment = outside(repository, tmp_path)
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"
    environment["PATH"] = f"{colab.parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        [str(colab), "-c", RUN, chapter.name], cwd=work, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert installed(colab) == before, "the chapter changed what was installed"
