from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import msgspec
import pytest

from candide.errors import BadRequest, NotFound, WeightsError
from candide.models.catalog import Catalog, CatalogEntry
from candide.models.hub import HubAccess
from candide.models.weights import Weights, WeightsFolder

from .gguf_files import write_gguf
from .scripted_hub import COMMIT, ScriptedHub

MODEL = write_gguf()
OTHER = write_gguf(filler=b"other")
SHA256 = hashlib.sha256(MODEL).hexdigest()


def entry(
    name: str = "tiny", *, sources: tuple[str, ...] = ("hf:o/r/tiny.gguf",), content: bytes = MODEL
) -> CatalogEntry:
    return CatalogEntry(
        name=name,
        description="For tests.",
        family="Tiny",
        parameters_billions=0.001,
        quantisation="F32",
        languages=("en",),
        context_tokens=512,
        licence="Apache-2.0",
        file="tiny.gguf",
        sources=sources,
        abilities=("chat",),
        layers=2,
        kv_bytes_per_token=256,
        quality=30,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def folder_with(folder: WeightsFolder, *entries: CatalogEntry) -> WeightsFolder:
    return WeightsFolder(folder.folder, Catalog(entries), hub=folder.hub)


def test_a_name_of_the_catalogue_is_pulled_and_kept_under_it(folder: WeightsFolder, hub: ScriptedHub) -> None:
    folder = folder_with(folder, entry())
    hub.add("o/r/tiny.gguf", MODEL)

    weights = folder.pull("tiny")

    assert weights.path == folder.folder / "tiny.gguf"
    assert weights.path.read_bytes() == MODEL
    assert weights.entry == entry()
    assert weights.record is not None
    assert (weights.record.source, weights.record.sha256, weights.record.revision) == (
        "hf:o/r/tiny.gguf",
        SHA256,
        COMMIT,
    )
    assert folder.installed() == [weights]
    assert folder.find("tiny") == weights


def test_pulling_what_is_there_asks_nobody(folder: WeightsFolder, hub: ScriptedHub) -> None:
    folder = folder_with(folder, entry())
    hub.add("o/r/tiny.gguf", MODEL)
    weights = folder.pull("tiny")
    hub.asked.clear()

    assert folder.pull("tiny") == weights

    assert hub.asked == []


def test_a_file_of_the_hub_is_kept_under_its_own_name(folder: WeightsFolder, hub: ScriptedHub) -> None:
    hub.add("o/r/sub/Tiny-Q4.gguf", MODEL)

    assert folder.pull("hf:o/r/sub/Tiny-Q4.gguf@v2").name == "tiny-q4"
    assert hub.asked_of("hub")[0].path == "/o/r/resolve/v2/sub/Tiny-Q4.gguf"
    assert folder.pull("hf:o/r/sub/Tiny-Q4.gguf", name="mine").name == "mine"


def test_a_web_address_is_pulled(folder: WeightsFolder, hub: ScriptedHub) -> None:
    hub.add("any/where/tiny.gguf", MODEL)

    weights = folder.pull(f"{hub.store_url}/any/where/tiny.gguf")

    assert weights.name == "tiny"
    assert weights.record is not None
    assert weights.record.sha256 == SHA256


def test_the_next_source_is_tried_when_one_fails(folder: WeightsFolder, hub: ScriptedHub) -> None:
    folder = folder_with(
        folder, entry(sources=("hf:o/r/gone.gguf", "hf:o/r/changed.gguf", f"{hub.store_url}/m/tiny.gguf"))
    )
    hub.add("o/r/changed.gguf", OTHER)
    hub.add("m/tiny.gguf", MODEL)

    weights = folder.pull("tiny")

    assert weights.path.read_bytes() == MODEL
    assert weights.record is not None
    assert weights.record.source == f"{hub.store_url}/m/tiny.gguf"


def test_when_all_sources_fail_each_is_named(folder: WeightsFolder, hub: ScriptedHub) -> None:
    folder = folder_with(folder, entry(sources=("hf:o/r/gone.gguf", "hf:o/r/away.gguf")))

    with pytest.raises(WeightsError, match=r"gone\.gguf.*away\.gguf") as caught:
        folder.pull("tiny")

    assert caught.value.code == "not_found"
    assert caught.value.hint


def test_what_is_no_model_is_not_kept(folder: WeightsFolder, hub: ScriptedHub) -> None:
    hub.add("o/r/cut.gguf", MODEL[:-100])

    with pytest.raises(WeightsError, match="cut off"):
        folder.pull("hf:o/r/cut.gguf")

    assert folder.installed() == []
    assert not list(folder.folder.glob(".partial/*.part"))


def test_an_offline_hub_is_not_asked(folder: WeightsFolder, hub: ScriptedHub) -> None:
    folder = WeightsFolder(folder.folder, Catalog((entry(),)), hub=HubAccess(endpoint=hub.url, offline=True))

    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE") as caught:
        folder.pull("tiny")

    assert caught.value.code == "offline"
    assert hub.asked == []


def test_a_local_file_is_linked_and_outlives_its_original(folder: WeightsFolder, tmp_path: Path) -> None:
    original = tmp_path / "My Model.gguf"
    original.write_bytes(MODEL)

    weights = folder.pull(str(original))

    assert weights.name == "my-model"
    assert os.stat(original).st_nlink == 2
    original.unlink()
    assert weights.path.read_bytes() == MODEL
    assert folder.verify("my-model").expected == SHA256


def test_a_local_file_on_another_disk_is_copied(folder: WeightsFolder) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == folder.folder.parent.stat().st_dev:
        pytest.skip("there is no second file system")
    original = elsewhere / f"candide-test-{os.getpid()}.gguf"
    original.write_bytes(MODEL)
    try:
        weights = folder.pull(str(original), name="copied")
    finally:
        original.unlink()

    assert weights.path.read_bytes() == MODEL


def test_another_model_of_the_same_name_is_not_overwritten(folder: WeightsFolder, hub: ScriptedHub) -> None:
    hub.add("o/r/tiny.gguf", MODEL)
    hub.add("o/other/tiny.gguf", OTHER)
    folder.pull("hf:o/r/tiny.gguf")

    with pytest.raises(WeightsError, match="another model named 'tiny'"):
        folder.pull("/gone/tiny.gguf")
    with pytest.raises(WeightsError, match="another model named 'tiny'") as caught:
        folder.pull("hf:o/other/tiny.gguf")

    assert caught.value.hint is not None
    assert "--name" in caught.value.hint
    assert folder.pull("hf:o/other/tiny.gguf", name="tiny2").path.read_bytes() == OTHER


@pytest.mark.parametrize("name", ["../x", "a/b", "", "Big", ".hidden"])
def test_a_name_that_is_no_file_name_is_refused(folder: WeightsFolder, name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        folder.pull("hf:o/r/tiny.gguf", name=name)

    assert caught.value.param == "name"


def test_a_file_that_is_no_model_is_named_and_leaves_nothing_behind(
    folder: WeightsFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("# Candide\n")

    for target in ("README.md", "./README.md"):
        with pytest.raises(WeightsError, match="GGUF") as caught:
            folder.pull(target)
        assert "README.md" in caught.value.message
    assert not folder.folder.exists()


def test_an_unknown_target_is_refused(folder: WeightsFolder) -> None:
    with pytest.raises(NotFound):
        folder.pull("qwen")
    with pytest.raises(WeightsError, match="not found"):
        folder.pull("./gone.gguf")


def test_a_file_that_the_user_put_there_is_a_model(folder: WeightsFolder) -> None:
    folder.folder.mkdir()
    (folder.folder / "dropped.gguf").write_bytes(MODEL)

    assert [weights.name for weights in folder.installed()] == ["dropped"]
    assert folder.find("dropped").record is None
    assert folder.verify("dropped").expected is None
    assert folder.verify("dropped").sha256 == SHA256


def test_a_dropped_file_is_found_by_its_name_in_any_case(folder: WeightsFolder) -> None:
    folder.folder.mkdir()
    (folder.folder / "My Model-7B.gguf").write_bytes(MODEL)
    (folder.folder / "._My Model-7B.gguf").write_bytes(b"what macOS leaves behind")

    assert [weights.name for weights in folder.installed()] == ["My Model-7B"]
    for name in ("My Model-7B", "my model-7b", "My Model-7B.gguf"):
        assert folder.find(name).path.name == "My Model-7B.gguf"
    assert folder.use("my model-7b").name == "My Model-7B"
    default = folder.default()
    assert default is not None
    assert default.name == "My Model-7B"


def test_a_path_is_found_wherever_it_is(folder: WeightsFolder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.gguf").write_bytes(MODEL)

    assert folder.find(str(tmp_path / "elsewhere.gguf")).name == "elsewhere"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tiny", "candide models pull tiny"),
        ("dropt", "dropped"),
        ("unheard-of", "models list"),
        ("./x.gguf", "path"),
    ],
)
def test_a_model_that_is_not_there_is_answered_with_the_next_step(
    folder: WeightsFolder, name: str, hint: str
) -> None:
    folder = folder_with(folder, entry())
    folder.folder.mkdir()
    (folder.folder / "dropped.gguf").write_bytes(MODEL)

    with pytest.raises(WeightsError, match=name) as caught:
        folder.find(name)

    assert caught.value.code == "not_installed"
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_a_bit_that_fell_over_is_found(folder: WeightsFolder, hub: ScriptedHub) -> None:
    hub.add("o/r/tiny.gguf", MODEL)
    weights = folder.pull("hf:o/r/tiny.gguf")
    assert folder.verify("tiny").sha256 == SHA256
    with weights.path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")

    with pytest.raises(WeightsError, match="has changed") as caught:
        folder.verify("tiny")

    assert caught.value.code == "wrong_hash"


def test_a_model_is_removed_with_all_that_belongs_to_it(folder: WeightsFolder, hub: ScriptedHub) -> None:
    hub.add("o/r/tiny.gguf", MODEL)
    folder.pull("hf:o/r/tiny.gguf")
    folder.use("tiny")

    assert folder.remove("tiny").name == "tiny"

    assert folder.installed() == []
    assert folder.default() is None
    assert {path.name for path in folder.folder.iterdir()} == {".partial"}
    with pytest.raises(WeightsError):
        folder.remove("tiny")


def test_a_file_elsewhere_is_never_removed(folder: WeightsFolder, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.gguf"
    path.write_bytes(MODEL)

    with pytest.raises(BadRequest):
        folder.remove(str(path))
    with pytest.raises(BadRequest):
        folder.use(str(path))

    assert path.exists()


def test_the_model_in_use_is_remembered(folder: WeightsFolder, hub: ScriptedHub) -> None:
    hub.add("o/r/tiny.gguf", MODEL)
    assert folder.default() is None
    folder.pull("hf:o/r/tiny.gguf")

    folder.use("tiny")

    again = WeightsFolder(folder.folder, folder.catalog, hub=folder.hub).default()
    assert again is not None
    assert again.name == "tiny"
    again.path.unlink()
    assert folder.default() is None


def test_an_old_part_is_swept_away_and_a_young_one_kept(folder: WeightsFolder, hub: ScriptedHub) -> None:
    hub.add("o/r/tiny.gguf", MODEL)
    partial = folder.folder / ".partial"
    partial.mkdir(parents=True)
    for name, age in (("old.gguf.part", 60 * 24 * 3600), ("young.gguf.part", 3600)):
        (partial / name).write_bytes(b"GGUF")
        then = (partial / name).stat().st_mtime - age
        os.utime(partial / name, (then, then))

    folder.pull("hf:o/r/tiny.gguf")

    assert not (partial / "old.gguf.part").exists()
    assert (partial / "young.gguf.part").exists()


def test_a_broken_record_does_not_hide_a_model(folder: WeightsFolder, hub: ScriptedHub) -> None:
    hub.add("o/r/tiny.gguf", MODEL)
    weights = folder.pull("hf:o/r/tiny.gguf")
    weights.path.with_suffix(".json").write_text("{")

    assert [found.name for found in folder.installed()] == ["tiny"]
    assert folder.find("tiny").record is None


def test_a_pulled_file_is_known_by_its_hash(folder: WeightsFolder, hub: ScriptedHub) -> None:
    folder = folder_with(folder, entry())
    hub.add("o/elsewhere/x.gguf", MODEL)

    weights = folder.pull("hf:o/elsewhere/x.gguf")

    assert weights.name == "x"
    assert weights.entry == entry()
    assert msgspec.json.decode(weights.path.with_suffix(".json").read_bytes())["catalogue_name"] == "tiny"


@pytest.mark.weights
def test_the_real_small_model_can_be_adopted_and_verified(smol_path: Path, tmp_path: Path) -> None:
    folder = WeightsFolder(tmp_path / "models")

    weights = folder.pull(str(smol_path))

    assert weights.entry is not None
    assert weights.entry.name == "smollm2-135m"
    assert folder.verify(weights.name).sha256 == weights.entry.sha256


def test_two_pulls_at_once_fetch_once(folder: WeightsFolder, hub: ScriptedHub) -> None:
    hub.add("o/r/tiny.gguf", MODEL, pause=0.02, block=256)
    results: list[Weights] = []
    threads = [
        threading.Thread(target=lambda: results.append(folder.pull("hf:o/r/tiny.gguf"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(results) == 3
    assert results[0] == results[1] == results[2]
    assert len(hub.asked_of("store")) == 1
