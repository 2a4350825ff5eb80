from __future__ import annotations

from pathlib import Path

import pytest

from candide.errors import WeightsError
from candide.models.catalog import Catalog, load_catalog
from candide.models.choice import Choice, choose_model, estimate_model, prepare_model
from candide.models.hub import HubAccess
from candide.models.machine import Machine
from candide.models.weights import Weights, WeightsFolder

from .gguf_files import number, tiny_metadata, write_gguf
from .scripted_hub import ScriptedHub, running_hub
from .test_weights import MODEL, entry

CATALOG = load_catalog()


def machine(gigabytes: float, cores: int, *, architecture: str = "x86_64", system: str = "Linux") -> Machine:
    memory = int(gigabytes * (1 << 30))
    return Machine(
        memory_bytes=memory,
        available_bytes=memory,
        cores=cores,
        flags=frozenset({"avx2"}) if architecture == "x86_64" else frozenset(),
        system=system,
        architecture=architecture,
        limited_by="machine",
    )


def installed(name: str) -> Weights:
    known = CATALOG.find(name)
    return Weights(name=name, path=Path(f"/nowhere/{name}.gguf"), size=known.size, entry=known)


@pytest.mark.parametrize(
    ("where", "hub_reachable", "name"),
    [
        (machine(23.5, 2), True, "qwen2.5-coder-1.5b"),
        (machine(23.5, 2), False, "qwen2.5-coder-1.5b"),
        (machine(4, 2), True, "qwen2.5-coder-1.5b"),
        (machine(24, 1), True, "qwen2.5-coder-1.5b"),
        (machine(2, 2), True, "smollm2-135m"),
        (machine(0.5, 1), True, "smollm2-135m"),
        (machine(8, 4), True, "qwen3-4b"),
        (machine(16, 8), True, "qwen3-4b"),
        (machine(16, 8), False, "qwen2.5-coder-1.5b"),
        (machine(16, 8, architecture="arm64", system="Darwin"), True, "qwen3-4b"),
    ],
)
def test_a_newcomer_meets_the_best_readable_model(where: Machine, hub_reachable: bool, name: str) -> None:
    assert choose_model(CATALOG, [], where, hub_reachable=hub_reachable).name == name


def test_the_choice_is_explained_in_one_line() -> None:
    choice = choose_model(CATALOG, [], machine(23.5, 2))

    assert choice.explanation == "qwen2.5-coder-1.5b: 1.7 GB of 25.2 GB memory, 2 cores, about 14 tokens/s"


def test_a_machine_that_could_do_better_is_told_so() -> None:
    assert choose_model(CATALOG, [], machine(64, 16)).better == "qwen3-30b-a3b"
    assert choose_model(CATALOG, [], machine(23.5, 2)).better is None


def test_an_installed_model_goes_before_a_download() -> None:
    choice = choose_model(CATALOG, [installed("ministral-3-3b")], machine(16, 8))

    assert choice.name == "ministral-3-3b"
    assert choice.installed is not None


def test_the_best_of_the_installed_that_can_be_read_along_is_taken() -> None:
    there = [installed("qwen2.5-coder-1.5b"), installed("qwen3-4b"), installed("gpt-oss-20b")]

    assert choose_model(CATALOG, there, machine(23.5, 2)).name == "qwen2.5-coder-1.5b"
    assert choose_model(CATALOG, there, machine(64, 8)).name == "qwen3-4b"


def test_a_model_for_tests_does_not_keep_a_newcomer_from_a_useful_one() -> None:
    choice = choose_model(CATALOG, [installed("smollm2-135m")], machine(23.5, 2))

    assert choice.name == "qwen2.5-coder-1.5b"
    assert choose_model(CATALOG, [installed("smollm2-135m")], machine(1, 2)).installed is not None


def test_a_first_download_is_kept_small() -> None:
    for cores in (2, 8, 64):
        choice = choose_model(CATALOG, [], machine(128, cores), first_download_bytes=2_000_000_000)
        assert choice.entry is not None
        assert choice.entry.size <= 2_000_000_000


def test_a_model_that_thinks_first_has_to_be_faster() -> None:
    only = Catalog(
        (CATALOG.find("qwen3.5-4b"), CATALOG.find("smollm2-135m"), CATALOG.find("qwen2.5-coder-1.5b"))
    )

    assert choose_model(only, [], machine(32, 8)).name == "qwen2.5-coder-1.5b"
    assert (
        choose_model(only, [], machine(32, 8, architecture="arm64", system="Darwin")).name != "smollm2-135m"
    )


def test_an_empty_machine_is_told_what_it_lacks() -> None:
    with pytest.raises(WeightsError, match=r"0\.1 GB of memory") as caught:
        choose_model(CATALOG, [], machine(0.1, 1))

    assert caught.value.code == "too_little_memory"
    assert caught.value.hint


def test_a_dropped_file_is_judged_by_its_header(tmp_path: Path) -> None:
    folder = WeightsFolder(tmp_path, CATALOG)
    (tmp_path / "broken.gguf").write_bytes(MODEL[:-1])
    (tmp_path / "embedder.gguf").write_bytes(write_gguf(tiny_metadata() | {"llama.pooling_type": number(1)}))
    assert choose_model(CATALOG, folder.installed(), machine(23.5, 2)).installed is None
    (tmp_path / "chatty.gguf").write_bytes(write_gguf(tensors=[("output.weight", (32, 64), 0)]))

    estimates = {weights.name: estimate_model(weights, machine(23.5, 2)) for weights in folder.installed()}

    assert estimates["broken"] is None
    assert estimates["embedder"] is None
    assert estimates["chatty"] is not None


def test_a_first_start_announces_its_choice_and_fetches_it(folder: WeightsFolder, hub: ScriptedHub) -> None:
    folder = WeightsFolder(folder.folder, Catalog((entry(),)), hub=folder.hub)
    hub.add("o/r/tiny.gguf", MODEL)
    announced: list[Choice] = []

    weights = prepare_model(folder, machine(4, 2), announce=announced.append)

    assert weights.name == "tiny"
    assert [choice.name for choice in announced] == ["tiny"]
    assert prepare_model(folder, machine(4, 2)).path == weights.path


def test_the_model_in_use_goes_before_the_best(folder: WeightsFolder) -> None:
    folder.folder.mkdir()
    for name in ("one", "two"):
        (folder.folder / f"{name}.gguf").write_bytes(MODEL)
    folder.use("two")

    assert prepare_model(folder, machine(4, 2)).name == "two"
    assert prepare_model(folder, machine(4, 2), wanted="one").name == "one"


def test_without_the_hub_a_model_that_can_be_had_elsewhere_is_chosen(tmp_path: Path) -> None:
    with running_hub() as hub:
        hub.add("m/small.gguf", MODEL)
        with running_hub() as dead:
            pass
        small = entry("small", sources=("hf:o/r/small.gguf", f"{hub.store_url}/m/small.gguf"))
        better = CATALOG.find("qwen3-4b")
        folder = WeightsFolder(tmp_path, Catalog((small, better)), hub=HubAccess(endpoint=dead.url))
        announced: list[Choice] = []

        weights = prepare_model(folder, machine(16, 8), announce=announced.append)

    assert weights.name == "small"
    assert [choice.name for choice in announced] == ["qwen3-4b", "small"]


def test_without_any_network_the_message_says_what_to_do(tmp_path: Path) -> None:
    with running_hub() as dead:
        pass
    folder = WeightsFolder(tmp_path, Catalog((entry(),)), hub=HubAccess(endpoint=dead.url))

    with pytest.raises(WeightsError, match="no model is installed") as caught:
        prepare_model(folder, machine(4, 2))

    assert caught.value.hint is not None
    assert "--model PATH" in caught.value.hint


def test_a_path_works_without_a_network(tmp_path: Path) -> None:
    (tmp_path / "own.gguf").write_bytes(MODEL)
    folder = WeightsFolder(tmp_path / "models", CATALOG, hub=HubAccess(offline=True))

    assert prepare_model(folder, machine(4, 2), wanted=str(tmp_path / "own.gguf")).name == "own"
    with pytest.raises(WeightsError, match="not found"):
        prepare_model(folder, machine(4, 2), wanted=str(tmp_path / "gone.gguf"))
    with pytest.raises(WeightsError, match="not installed"):
        prepare_model(folder, machine(4, 2), wanted="gone")


def test_a_wanted_model_of_the_catalogue_is_fetched(folder: WeightsFolder, hub: ScriptedHub) -> None:
    folder = WeightsFolder(folder.folder, Catalog((entry(),)), hub=folder.hub)
    hub.add("o/r/tiny.gguf", MODEL)

    assert prepare_model(folder, machine(4, 2), wanted="tiny").name == "tiny"
