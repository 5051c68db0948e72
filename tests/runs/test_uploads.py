"""What is handed over stays in its folder, is kept once, and is refused with the reason when it is not safe."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core import ConfigError, RunFormatError
from workbench.runs import open_runs, uploads


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


def _zip(entries: dict[str, bytes], links: dict[str, str] | None = None) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        for name, target in (links or {}).items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o120777 << 16
            archive.writestr(entry, target)
    stream.seek(0)
    return stream


def _tar(entries: dict[str, bytes], links: dict[str, str] | None = None, mode: str = "w:gz") -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    stream.seek(0)
    return stream


LOG = {"log/version_0/metrics.csv": b"step,loss\n1,0.5\n2,0.25\n"}


@pytest.mark.parametrize(("name", "make"), [("a.zip", _zip), ("a.tar.gz", _tar), ("A.TGZ", _tar)])
def test_an_archive_opens_as_the_runs_in_it_and_links_are_left_out(name, make, tmp_path):
    (tmp_path / "secret").write_text("mine")
    received = uploads.receive([(name, make(LOG, {"log/link": str(tmp_path / "secret")}))])
    assert received.left_out == ("log/link",)
    assert received.folder.parent == uploads.uploads()
    ((_, run),) = open_runs(received.folder).items()
    assert run.table("scalars")["value"].tolist() == [0.5, 0.25]
    assert not any(path.is_symlink() for path in received.folder.rglob("*"))


def test_the_same_files_are_kept_once_and_others_beside_them():
    first = uploads.receive([("run/metrics.csv", io.BytesIO(b"step,loss\n1,2\n"))])
    again = uploads.receive([("run/metrics.csv", io.BytesIO(b"step,loss\n1,2\n"))])
    other = uploads.receive([("run/metrics.csv", io.BytesIO(b"step,loss\n1,3\n"))])
    assert first.folder == again.folder != other.folder
    assert (first.folder / "run" / "metrics.csv").is_file()
    uploads.remove(first.folder)
    assert not first.folder.exists()
    assert other.folder.exists()


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out", "C:\\out", "..\\out"])
@pytest.mark.parametrize("make", [_zip, _tar])
def test_a_name_that_leaves_its_folder_is_refused(name, make, tmp_path):
    with pytest.raises(RunFormatError, match="points outside its folder"):
        uploads.receive([("a.zip" if make is _zip else "a.tar", make({name: b"x"}))])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_archive_that_would_fill_the_disk_is_refused_while_it_is_unpacked(monkeypatch):
    monkeypatch.setattr(uploads, "MOST_BYTES", 100_000)
    with pytest.raises(RunFormatError, match=r"a\.zip holds more than"):
        uploads.receive([("a.zip", _zip({"zeros": bytes(5_000_000)}))])
    monkeypatch.setattr(uploads, "MOST_FILES", 3)
    with pytest.raises(RunFormatError, match="holds more than 3 files"):
        uploads.receive([("a.zip", _zip({str(i): b"" for i in range(5)}))])
    assert list(uploads.uploads().iterdir()) == []


def test_an_encrypted_archive_is_refused_with_the_way_out():
    data = bytearray(_zip({"a.csv": b"step,loss\n"}).getvalue())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    with pytest.raises(RunFormatError, match="Unpack it yourself"):
        uploads.receive([("a.zip", io.BytesIO(bytes(data)))])


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_archive_ends_in_files_or_in_one_clear_error(tmp_path_factory, data):
    name = data.draw(st.sampled_from(["a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"]))
    entries = {f"run{i}/metrics.csv": b"step,loss\n1,2\n" * 20 for i in range(3)}
    modes = {"a.tar": "w", "a.tar.gz": "w:gz", "a.tar.xz": "w:xz", "a.tar.bz2": "w:bz2"}
    content = bytearray((_zip(entries) if name == "a.zip" else _tar(entries, mode=modes[name])).getvalue())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        try:
            uploads.receive([(name, io.BytesIO(bytes(content)))])
        except RunFormatError as error:
            assert str(error)
            assert list(uploads.uploads().iterdir()) == []


def test_a_pasted_path_stays_inside_the_folders(tmp_path):
    root = tmp_path / "runs"
    (root / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    assert uploads.inside("deep", [root]) == (root / "deep").resolve()
    assert uploads.inside(f" '{root / 'deep'}' ", [root]) == (root / "deep").resolve()
    for outside in ("../elsewhere", str(tmp_path / "elsewhere"), "link", "/etc/passwd", "~", "a\0b"):
        with pytest.raises(ConfigError, match=r"outside the folders|Start the app on it"):
            uploads.inside(outside, [root])
    with pytest.raises(ConfigError, match="There is nothing at"):
        uploads.inside("missing", [root])


def test_only_what_was_handed_over_is_deleted(tmp_path):
    with pytest.raises(ConfigError, match="was not handed over"):
        uploads.remove(tmp_path)
    assert tmp_path.exists()
    with pytest.raises(ConfigError, match="No file"):
        uploads.receive([])
    assert isinstance(uploads.uploads(), Path)
