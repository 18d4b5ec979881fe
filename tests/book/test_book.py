"""The chapters as they lie in book/, the files around them, and the checks themselves, on copies with planted faults."""

import copy
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from tools import chapter_files, checks, pages, runner

ROOT = chapter_files.ROOT
CHAPTERS = chapter_files.notebooks()


# ---------------------------------------------------------------- the book as it lies


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_chapter_keeps_the_rules(path):
    assert checks.notebook_problems(path) == []


def test_no_alt_text_or_figure_name_is_used_twice():
    assert [p for p in checks.book_problems() if "the same" in p] == []


def test_the_table_of_contents_and_the_folder_agree():
    listed = pages.toc_files(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
    inside = [f.relative_to(ROOT) for f in (ROOT / "book").rglob("*") if f.suffix in (".md", ".ipynb")]
    there = [f.with_suffix("").as_posix() for f in inside if not any(part.startswith(".") for part in f.parts)]
    assert sorted(listed) == sorted(there)
    for kind in (r"book/\d\d_", r"book/A\d_"):
        numbered = [name for name in listed if re.match(kind, name)]
        assert numbered == sorted(numbered)


MOVED = {
    "08_under_attack": "09_worst_small_change",
    "09_amr": "11_amr",
    "10_does_it_help": "13_papers_tables",
    "11_your_own_data": "14_your_own_data",
}


def test_a_chapter_that_has_moved_leaves_a_page_that_leads_to_it():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    (folder,) = config["sphinx"]["config"]["html_extra_path"]  # what lies there is copied to the root of the pages
    left = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / folder / "book").glob("*.html")}
    assert set(left) == set(MOVED)
    listed = pages.toc_files(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
    for old, new in MOVED.items():
        assert f"book/{new}" in listed and f"book/{old}" not in listed
        assert f'location.replace("{new}.html" + location.search + location.hash)' in left[old], "the anchor is kept"
        assert f'<noscript><meta http-equiv="refresh" content="0; url={new}.html">' in left[old]
        assert f'<a href="{new}.html">chapter {int(new[:2])}</a>' in left[old]
        if (runner.BUILD / "pages-passed").is_file():
            assert (pages.PAGES / "book" / f"{old}.html").read_text(encoding="utf-8") == left[old]


def test_every_address_of_the_repository_is_the_one_in_pyproject():
    address = chapter_files.repository()
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"]["url"] == address
    slug = "/".join(address.split("/")[-2:])
    for path in [*CHAPTERS, *ROOT.glob("*.md"), ROOT / "CITATION.cff", ROOT / "_config.yml", *ROOT.glob("book/*.md")]:
        for found in re.findall(
            r"(?:github\.com|research\.google\.com/github)/([\w.-]+/amr-book)\b", path.read_text(encoding="utf-8")
        ):
            assert found == slug, f"{path.name} names {found}; run: python tools/notebooks.py address"


def test_what_shapes_the_pages_is_known():
    """A change in one of these files begins the pages anew: what builds them and all that it imports, and no more."""
    code = "import sys, tools.pages, tools.book_pages; print(*(m[6:] for m in sys.modules if m.startswith('tools.')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert sorted(done.stdout.split()) == sorted(pages.SHAPING)


def test_built_pages():
    if not (runner.BUILD / "pages-passed").is_file():
        pytest.skip("the pages are not built, or not finished; make book checks them too")
    assert checks.page_problems(pages.PAGES) == []


# ---------------------------------------------------------------- environment files


def requirements() -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    return dict(line.split("==") for line in lines if line)


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def test_requirements_are_pinned_and_satisfy_pyproject():
    pinned = {name.lower(): v for name, v in requirements().items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in project["dependencies"] + project["optional-dependencies"]["book"]:
        name, floor = line.split(">=")  # floors only: an upper bound is what breaks a student's install first
        assert version(pinned[name]) >= version(floor)


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    files = [*(ROOT / "amrlib").rglob("__init__.py"), *(ROOT / "amrbook").rglob("__init__.py")]
    there = {".".join(file.parent.relative_to(ROOT).parts) for file in files}
    assert there | {"amrlib.data"} == set(listed)


def test_environment_yml_reads_requirements_and_nothing_else():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    plain = [d for d in environment["dependencies"] if isinstance(d, str)]
    assert [re.split(r"[<>=]", d)[0] for d in plain] == ["python", "pip"]
    assert environment["dependencies"][-1] == {"pip": ["-r requirements.txt"]}
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert needs in plain[0], "environment.yml and pyproject.toml ask for different Pythons"


def test_what_runs_here_is_what_is_pinned():
    from importlib.metadata import version as installed

    different = {n: installed(n) for n, v in requirements().items() if installed(n).split("+")[0] != v}
    if different and not (ROOT / ".venv").is_dir():
        pytest.skip(f"another environment than the pinned one: {different}")
    assert different == {}, "make setup installs what requirements.txt says"


def test_version_is_told_once():
    import amrlib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == amrlib.__version__ == citation["version"]
    assert citation["repository-code"] == chapter_files.repository()


def test_every_workflow_only_calls_make():
    by_hand = ("python -m pip install ", "python -m pytest ")  # where there may be no make: Windows
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            for step in job["steps"]:
                assert "uses" in step or step["run"].startswith(("make ", *by_hand)), f"{path.name}: {step}"


# ---------------------------------------------------------------- the checks find what they are for


def tiny() -> nbformat.NotebookNode:
    """A chapter without fault, made here so that the tests below do not depend on what the chapters say."""
    v4 = nbformat.v4
    shown = v4.new_output("stream", name="stdout", text="0.25\n")
    picture = v4.new_output(
        "display_data", data={"image/png": "iVBORw0KGgo=", "text/plain": "<Figure size 100x100 with 1 Axes>"}
    )
    told = {
        "image": {"alt": "A line that rises from left to right over three points."},
        "figure": {"caption": "A line that rises."},
    }
    cells = [
        v4.new_markdown_cell("# Tiny"),
        v4.new_markdown_cell("Plain words."),
        v4.new_code_cell("print(round(1 / 4, 2))", outputs=[shown]),
        v4.new_code_cell("draw()", outputs=[picture], metadata={"mystnb": told}),
    ]
    return v4.new_notebook(cells=cells)


@pytest.fixture
def chapter(tmp_path):
    path = tmp_path / "91_tiny.ipynb"
    nbformat.write(tiny(), path)
    chapter_files.frame(path)
    notebook = chapter_files.read(path)
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        cell.execution_count = count
    chapter_files.write(notebook, path)
    return path


def test_the_frame_is_written_once(chapter):
    before = chapter.read_bytes()
    assert not chapter_files.frame(chapter)
    assert chapter.read_bytes() == before


def plant(path: Path, change) -> list[str]:
    notebook = chapter_files.read(path)
    change(notebook)
    nbformat.write(notebook, path)
    return checks.notebook_problems(path)


def cleared(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def stderr(notebook):
    notebook.cells[-1].outputs.append(nbformat.v4.new_output("stream", name="stderr", text="UserWarning: careful"))


def error(notebook):
    notebook.cells[-1].outputs.append(nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]))


def not_a_number(notebook):
    said = "VBPR is ahead by nan."
    notebook.cells[-1].outputs.append(nbformat.v4.new_output("display_data", data={"text/markdown": said, "text/plain": said}))


def edit(at, old, new):
    def change(notebook):
        assert old in notebook.cells[at].source
        notebook.cells[at].source = notebook.cells[at].source.replace(old, new)

    return change


def refused(notebook):
    notebook.cells[-2].outputs[0].text = "✓ solution: half of it.\n✗ solution: the rest. It gave 1; expected 2.\n"


def silenced(notebook):
    notebook.cells[-2].metadata["tags"] = ["nbval-ignore-output"]


FAULTS = {
    "outputs cleared": (cleared, "no output is stored"),
    "one cell not run": (lambda n: n.cells[-1].update(execution_count=None), "execution count None"),
    "a warning on stderr": (stderr, "stderr"),
    "a stored error": (error, "an error is stored"),
    "a solution that is wrong": (refused, "its own check refuses"),
    "nan in a sentence": (not_a_number, "nan or inf"),
    "no alt text": (lambda n: n.cells[-1].metadata.mystnb.pop("image"), "alt text"),
    "no caption": (lambda n: n.cells[-1].metadata.mystnb.pop("figure"), "caption"),
    "another badge": (edit(0, "amr-book/blob", "elsewhere/blob"), "badge"),
    "another setup cell": (edit(1, "--depth", "--Depth"), "setup cell"),
    "a missing parameter": (edit(2, "SEED = 0", ""), "parameters lack SEED"),
    "another mode": (edit(2, 'MODE = "book"', 'MODE = "smoke"'), "must say MODE"),
    "another kernel": (lambda n: n.metadata.kernelspec.update(name="mine"), "metadata"),
    "a machine's path": (edit(4, "print", "open('/home/me/x.npy'); print"), "path of one machine"),
    "a typed result": (edit(3, "Plain words.", "VBPR reaches 0.1157."), "typed into prose"),
    "a typed percentage": (edit(3, "Plain words.", "It loses 12 % of it."), "typed into prose"),
    "silenced without a reason": (silenced, "nbval_reason"),
    "a hidden value": (edit(4, "print(round(1 / 4, 2))", "round(1 / 4, 2);"), "ends in a semicolon"),
    "an output taken back": (edit(4, "print", "clear_output()\nprint"), "clear_output"),
    "an updated display": (edit(4, "print", "display(1, display_id=True)\nprint"), "display_id"),
}  # fmt: skip


def test_a_chapter_without_fault_passes(chapter):
    assert checks.notebook_problems(chapter) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(chapter, fault):
    change, word = FAULTS[fault]
    assert any(word in problem for problem in plant(chapter, change))


@pytest.mark.parametrize(
    "text",
    [
        "The paper reports .1157 {cite}`tang2020amr`.",
        "VBPR's .1157 ([Tang et al., 2020](https://arxiv.org/abs/1809.07062)).",
        "With $\\varepsilon = 0.1$ and `lr=0.05`:\n\n```python\nx = 0.3\n```\n\n$$ y = 0.5 $$",
        "Python 3 and 1,000 shops; see section 4. Two of 10.",
        "<!-- literal: the definition of the interval -->\nA 95 % interval.",
    ],
)
def test_numbers_that_may_be_typed(text):
    assert checks.typed_numbers(text) == []


@pytest.mark.parametrize(
    ("link", "word"),
    [
        ("02_other.ipynb", None),
        ("02_other.ipynb#whats-here-a", None),
        ("words.md#b", None),
        ("02_other.ipynb#gone", "no heading of that page"),
        ("words.md#a-comment", "no heading of that page"),
        ("03_gone.ipynb", "not there"),
    ],
)
def test_a_link_within_the_book_leads_somewhere(tmp_path, link, word):
    other = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# What's here (a)")])
    nbformat.write(other, tmp_path / "02_other.ipynb")
    (tmp_path / "words.md").write_text("# Words\n\n## B\n\n```bash\n# a comment\n```\n")
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"See [there]({link}).")])
    found = checks.link_problems(page, tmp_path)
    assert word in found[0][1] if word else found == []


PAGE_FAULTS = {
    '<script src="https://cdn.example/x.js"></script>': "another machine",
    '<link rel="stylesheet" href="//fonts.example/x.css">': "another machine",
    "<style>@import url(https://fonts.example/x.css)</style>": "may load",
    '<img src="_images/0a.png" alt="_images/0a.png">': "no alt text",
    '<img src="here.png">': "no alt text",
    "<p>see {eq}`eq-bpr`</p>": "not understood",
    "<p>the vector $q_i$ of an item</p>": "not understood",
    "<p>Traceback (most recent call last)</p>": "not understood",
    '<a href="gone.html">x</a>': "leads nowhere",
    '<a href="#gone">x</a>': "leads to no place",
}


@pytest.mark.parametrize("html", PAGE_FAULTS)
def test_a_fault_in_a_page_is_found(tmp_path, html):
    page = '<html><body><h1 id="a">A</h1><a href="#a">up</a><a href="https://example.org">out</a>{}</body></html>'
    (tmp_path / "a.html").write_text(page.format(""))
    (tmp_path / "here.png").write_bytes(b"")
    assert checks.page_problems(tmp_path) == []
    (tmp_path / "a.html").write_text(page.format(html))
    assert any(PAGE_FAULTS[html] in problem for problem in checks.page_problems(tmp_path))


# ---------------------------------------------------------------- pytest --nbval compares, papermill stores


@pytest.fixture
def small_book(tmp_path):
    """A folder with this repository's conftest.py and one chapter that needs nothing but Python."""
    for name in ("conftest.py", "pyproject.toml", "_toc.yml", "tools", "tests/book/sanitize.cfg"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(ROOT / name, target) if (ROOT / name).is_dir() else shutil.copy(ROOT / name, target)
    for package in ("amrlib", "amrbook"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("answer = 0.25\n")
    (tmp_path / "requirements.txt").write_text("nothing==1.0\n")
    (tmp_path / "book").mkdir()
    notebook = tiny()
    notebook.cells[2].source = "import amrlib\nprint(amrlib.answer)"
    notebook.cells[3] = nbformat.v4.new_code_cell('{"b": 2, "a": MODE}')
    path = tmp_path / "book" / "91_tiny.ipynb"
    nbformat.write(notebook, path)
    tool(tmp_path, "frame")
    return path


def tool(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "tools/notebooks.py", *words], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def nbval(folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "--nbval", "book/", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_store_repeats_byte_for_byte_and_a_changed_number_fails(small_book):
    folder = small_book.parents[1]
    assert "1 to run" in tool(folder, "store")
    first = small_book.read_bytes()
    assert "1 to run" in tool(folder, "store", "--force")
    assert small_book.read_bytes() == first, "stored outputs differ from run to run"
    assert "0 to run" in tool(folder, "store")
    assert nbval(folder).returncode == 0

    changed = first.replace(b"0.25\\n", b"0.26\\n")
    assert changed != first
    small_book.write_bytes(changed)
    result = nbval(folder)
    assert result.returncode == 1 and "0.26" in result.stdout
    small_book.write_bytes(first)

    # prose is not code: nothing runs again, and the new words are there
    notebook = chapter_files.read(small_book)
    notebook.cells[3].source = "Other words."
    chapter_files.write(notebook, small_book)
    assert "0 to run" in tool(folder, "store")
    assert "Other words." in small_book.read_text(encoding="utf-8")

    # the library is an input: the chapter runs again, and its number changes
    (folder / "amrlib" / "__init__.py").write_text("answer = 0.5\n")
    assert "1 to run" in tool(folder, "store")
    assert "0.5\\n" in small_book.read_text(encoding="utf-8")
    assert "0 to run" in tool(folder, "execute")
    (folder / "amrbook" / "__init__.py").write_text("answer = 0.5\n")
    assert "1 to run" in tool(folder, "execute")

    # so are the data and the pins
    (folder / "data").mkdir()
    (folder / "data" / "new.csv").write_text("1")
    assert "1 to run" in tool(folder, "execute")
    (folder / "requirements.txt").write_text("nothing==2.0\n")
    assert "1 to run" in tool(folder, "execute")


@pytest.mark.slow
def test_a_smoke_run_needs_every_parameter_and_stops_at_a_failure(small_book):
    folder = small_book.parents[1]
    tool(folder, "smoke")
    ran = chapter_files.read(folder / "_build" / "smoke" / small_book.name)
    assert "'a': 'smoke'" in ran.cells[-1].outputs[0]["data"]["text/plain"]

    whole = chapter_files.read(small_book)
    ask = "if DATASET != 'boutique':\n    raise ValueError('this chapter shows images')\n"
    notebook = copy.deepcopy(whole)
    edit(4, "print", ask + "print")(notebook)
    chapter_files.write(notebook, small_book)
    assert "asks    91_tiny: this chapter shows images" in tool(folder, "smoke")  # in its first cell it may
    for change, word in (
        (edit(5, "{", ask + "{"), "FAILED"),
        (edit(2, "DEVICE", "GERAET"), "lacks DEVICE"),
        (edit(4, "print", "assert 1 == 2\nprint"), "AssertionError"),
    ):
        notebook = copy.deepcopy(whole)
        change(notebook)
        chapter_files.write(notebook, small_book)
        with pytest.raises(AssertionError, match=word):
            tool(folder, "smoke")


@pytest.mark.slow
def test_two_chapters_run_side_by_side(small_book):
    """Each waits for a file that the other writes, so one after the other neither would end."""
    folder, other = small_book.parents[1], small_book.with_name("92_other.ipynb")
    whole = chapter_files.read(small_book)
    for path, mine, theirs in ((small_book, "one", "two"), (other, "two", "one")):
        meet = (
            "import pathlib, time\n"
            f"pathlib.Path({str(folder / mine)!r}).touch()\n"
            "end = time.monotonic() + 120\n"
            f"while not pathlib.Path({str(folder / theirs)!r}).exists():\n"
            "    assert time.monotonic() < end, 'the other one did not begin'\n"
            "    time.sleep(0.1)\n"
        )
        notebook = copy.deepcopy(whole)
        edit(4, "print", meet + "print")(notebook)
        chapter_files.write(notebook, path)
    said = tool(folder, "execute", "--jobs", "2")
    assert "2 to run" in said and "done    91_tiny" in said and "done    92_other" in said


def test_make_goes_on_where_the_amrlib_is_ours():
    done = subprocess.run([sys.executable, "tools/same_name.py"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_ten_lines_of_the_readme_run(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"^```python\n(.*?)^```", text, flags=re.S | re.M)[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=runner.kernel_environment() | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("NDCG@10") == 2
