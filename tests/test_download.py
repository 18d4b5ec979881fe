"""Downloads from a server on this machine that misbehaves in every way we know."""

import hashlib
import json
import multiprocessing
import resource
import shutil
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from amrlib.datasets import download
from amrlib.datasets.download import Remote, cache_folder, fetch, is_cached

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes
SHA = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """/path?: what the server does with a path is in ``server.pages``: content and habits."""

    def do_GET(self):
        log, pages = self.server.log, self.server.pages
        asked = self.headers.get("Range")
        log.append((self.path, asked))
        page = pages.get(self.path)
        if page is None:
            return self.send_error(404)
        if "to" in page:
            self.send_response(302)
            self.send_header("Location", page["to"])
            return self.end_headers()
        content, start = page["content"], 0
        tag = page.get("tag", '"one"')
        changed = self.headers.get("If-Range") not in (None, tag)
        if asked and page.get("ranges", True) and not changed:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        if page.get("length", True):
            self.send_header("Content-Length", str(len(body)))
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()
        if "pause" in page:  # some bytes, and then nothing for long
            self.wfile.write(body[: page["pause"]])
            return time.sleep(5)
        cuts = page.get("cuts", [])  # how many bytes to send before hanging up, one number a request
        self.wfile.write(body[: cuts.pop(0)] if cuts else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.pages, httpd.log = {"/f": {"content": CONTENT}}, []
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    yield SimpleNamespace(
        pages=httpd.pages, log=httpd.log, url=lambda path: f"http://127.0.0.1:{httpd.server_address[1]}{path}"
    )
    httpd.shutdown()
    httpd.server_close()


def get(server, folder, *paths, name="set/f", **settings):
    return fetch(Remote(name, tuple(map(server.url, paths or ["/f"])), **settings), folder, progress=False)


def leftovers(folder):
    """Whatever a reader could mistake for data: neither lock nor note."""
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.suffix not in (".lock", ".seen"))


def test_once_and_not_again(server, tmp_path):
    path = get(server, tmp_path, sha256=SHA)
    assert path.read_bytes() == CONTENT and leftovers(tmp_path) == ["f"]
    assert get(server, tmp_path, sha256=SHA) == path and len(server.log) == 1
    assert is_cached(Remote("set/f", ()), tmp_path)


def test_git_blob_ids(server, tmp_path):
    git = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    assert get(server, tmp_path, git=git).read_bytes() == CONTENT
    with pytest.raises(ValueError, match="git blob id"):
        get(server, tmp_path / "other", git="0" * 40)


def test_the_cache_moves(monkeypatch, tmp_path, server):
    monkeypatch.setenv("AMRLIB_DATA", str(tmp_path / "elsewhere"))
    assert get(server, None) == tmp_path / "elsewhere" / "set" / "f"
    monkeypatch.delenv("AMRLIB_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "amrlib"


def test_cut_off_then_resumed_in_the_same_call(server, tmp_path):
    server.pages["/f"]["cuts"] = [300_000, 300_000]
    assert get(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    assert [asked for _, asked in server.log] == [None, "bytes=300000-", "bytes=600000-"]
    assert leftovers(tmp_path) == ["f"]


def test_cut_off_then_resumed_by_the_next_call(server, tmp_path):
    server.pages["/f"]["cuts"] = [200_000, 0]
    with pytest.raises(OSError, match=r"(?s)broke off after 200,000 of 1,024,000 bytes.*save it yourself as"):
        get(server, tmp_path, sha256=SHA)
    assert not (tmp_path / "set" / "f").exists()
    assert get(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    assert server.log[-1] == ("/f", "bytes=200000-") and leftovers(tmp_path) == ["f"]


def test_a_file_that_changed_in_between_is_not_glued_to_its_older_self(server, tmp_path):
    server.pages["/f"]["cuts"] = [200_000, 0]
    with pytest.raises(OSError):
        get(server, tmp_path)
    server.pages["/f"] = {"content": CONTENT[::-1], "tag": '"two"'}
    assert get(server, tmp_path).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_without_checksum_or_mark_a_part_is_not_trusted(server, tmp_path, tag):
    server.pages["/f"].update(cuts=[200_000, 0], tag=tag)
    with pytest.raises(OSError):
        get(server, tmp_path)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.log[-1] == ("/f", None)


def test_ranges_not_supported(server, tmp_path):
    server.pages["/f"].update(cuts=[200_000], ranges=False)
    assert get(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    assert server.log[-1] == ("/f", "bytes=200000-")  # asked for the rest, was sent the whole


def test_a_part_that_was_complete_already(server, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "f.part").write_bytes(CONTENT)
    assert get(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "f.part").write_bytes(CONTENT + b"more")  # too long: thrown away, next call is clean
    with pytest.raises(OSError, match="416"):
        get(server, tmp_path, name="two/f", sha256=SHA)
    assert get(server, tmp_path, name="two/f", sha256=SHA).read_bytes() == CONTENT


def test_a_damaged_part_is_thrown_away_and_fetched_whole(server, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "f.part").write_bytes(b"x" * 1000)
    assert get(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    assert [asked for _, asked in server.log] == ["bytes=1000-", None]


def test_wrong_checksum_then_the_next_address(server, tmp_path):
    server.pages["/wrong"] = {"content": b"<html>moved</html>"}
    assert get(server, tmp_path, "/wrong", "/f", sha256=SHA).read_bytes() == CONTENT
    with pytest.raises(ValueError, match=r"(?s)wrong: not the file expected: its SHA-256 is .* \(18 bytes\)"):
        get(server, tmp_path / "other", "/wrong", sha256=SHA)
    assert leftovers(tmp_path / "other") in ([], ["f.from"])


def test_redirect_and_404(server, tmp_path):
    server.pages["/old"] = {"to": "/f"}
    assert get(server, tmp_path, "/gone", "/old", sha256=SHA).read_bytes() == CONTENT
    assert [path for path, _ in server.log] == ["/gone", "/old", "/f"]
    with pytest.raises(OSError, match=r"gone: answers 404 Not Found"):
        get(server, tmp_path / "other", "/gone")


def test_nobody_there(server, tmp_path):
    with pytest.raises(OSError, match="cannot be reached"):
        fetch(Remote("f", ("http://127.0.0.1:9/f",)), tmp_path, progress=False)
    with pytest.raises(OSError, match="only http"):
        fetch(Remote("f", ("file:///f",)), tmp_path, progress=False)


def test_disk_known_to_be_too_small(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"1,024,000 bytes are to come and 1,000 are free.*AMRLIB_DATA"):
        get(server, tmp_path, "/f", "/f", sha256=SHA)
    assert leftovers(tmp_path) == [] and len(server.log) == 1  # no other address would help


def test_disk_full_while_writing(server, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limits[1]))  # what a full disk is to write()
    try:
        with pytest.raises(OSError, match="AMRLIB_DATA"):
            get(server, tmp_path, sha256=SHA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "set" / "f").exists()
    assert get(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    assert server.log[-1][1] is not None and leftovers(tmp_path) == ["f"]  # it went on from the part


def _in_a_process(url, folder, results):
    results.put(fetch(Remote("set/f", (url,), sha256=SHA), folder, progress=False).read_bytes() == CONTENT)


def test_two_processes_at_once(server, tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    both = [context.Process(target=_in_a_process, args=(server.url("/f"), tmp_path, results)) for _ in range(2)]
    for process in both:
        process.start()
    assert [results.get(timeout=30), results.get(timeout=30)] == [True, True]
    for process in both:
        process.join(30)
    assert len(server.log) == 1 and leftovers(tmp_path) == ["f"]


def test_a_file_damaged_on_disk_is_fetched_again(server, tmp_path):
    for settings in ({"sha256": SHA}, {}):  # without a published checksum: by the one noted at the first download
        path = get(server, tmp_path, **settings)
        path.write_bytes(b"y" + CONTENT[1:])
        assert get(server, tmp_path, **settings).read_bytes() == CONTENT


def test_a_file_that_was_right_and_is_no_longer_the_one_wanted(server, tmp_path):
    get(server, tmp_path, sha256=SHA)
    new = CONTENT[::-1]
    server.pages["/f"] = {"content": new}
    git = hashlib.sha1(b"blob %d\0" % len(new) + new).hexdigest()
    for wanted in ({"sha256": hashlib.sha256(new).hexdigest()}, {"git": git}):
        assert get(server, tmp_path, **wanted).read_bytes() == new
    assert len(server.log) == 2  # fetched anew once, and then known by its other name as well


def test_a_redirect_keeps_the_resume(server, tmp_path):
    server.pages["/old"] = {"to": "/f"}
    server.pages["/f"]["cuts"] = [200_000]
    assert get(server, tmp_path, "/old", sha256=SHA).read_bytes() == CONTENT
    assert server.log[-1] == ("/f", "bytes=200000-")


def test_the_bar_counts_every_byte(server, tmp_path, monkeypatch):
    bars = []

    class Bar:
        def __init__(self, _, name, show, total, initial, **units):
            self.name, self.show, self.total, self.n = name, show, total, initial
            bars.append(self)

        def update(self, n):
            self.n += n

        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda *_: None  # noqa: E731

    monkeypatch.setattr(download, "progress_bar", Bar)
    server.pages["/f"]["cuts"] = [200_000]
    fetch(Remote("set/f", (server.url("/f"),), sha256=SHA), tmp_path, progress=True)
    assert [(b.name, b.show, b.total, b.n) for b in bars] == [
        ("set/f", True, len(CONTENT), 200_000),
        ("set/f", True, len(CONTENT), len(CONTENT)),
    ]  # the second begins where the first broke off


def test_a_process_that_is_killed_leaves_a_part_and_the_next_goes_on(server, tmp_path):
    server.pages["/f"].update(pause=400_000)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_in_a_process, args=(server.url("/f"), tmp_path, context.Queue()))
    process.start()
    part = tmp_path / "set" / "f.part"
    for _ in range(3000):
        if part.exists() and part.stat().st_size >= 200_000:
            break
        time.sleep(0.01)
    process.kill()
    process.join(30)
    assert leftovers(tmp_path) == ["f.from", "f.part"]
    del server.pages["/f"]["pause"]
    assert get(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    assert server.log[-1][1] is not None and leftovers(tmp_path) == ["f"]


def test_a_file_put_there_by_hand(server, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "f").write_bytes(CONTENT)
    assert get(server, tmp_path, sha256=SHA).read_bytes() == CONTENT and not server.log
    assert json.loads((tmp_path / "set" / "f.seen").read_bytes())["sha256"] == SHA


def test_archives_carry_their_own_checksums(server, tmp_path):
    import gzip
    import io

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "hello" * 1000)
    for name, whole in (("a.zip", packed.getvalue()), ("a.gz", gzip.compress(CONTENT))):
        # no length announced: a transfer that breaks off looks like the end of the file
        server.pages["/a"] = {"content": whole, "length": False, "cuts": [len(whole) // 2]}
        with pytest.raises(ValueError, match="damaged"):
            get(server, tmp_path, "/a", name=name)
        assert get(server, tmp_path, "/a", name=name).read_bytes() == whole
