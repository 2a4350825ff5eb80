"""Parameters of several layers become one set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from candide.domain.turns import merge_params

names = st.sampled_from(["temperature", "top_p", "seed", "max_tokens", "max_completion_tokens"])
layers = st.lists(st.dictionaries(names, st.none() | st.integers(0, 3)), max_size=4)


@given(layers)
def test_the_last_layer_that_names_a_parameter_decides(given: list[dict[str, int | None]]) -> None:
    merged = merge_params(*given)
    assert None not in merged.values()
    for name in ("temperature", "top_p", "seed"):
        said = [layer[name] for layer in given if name in layer]
        assert merged.get(name) == (said[-1] if said else None)
    # Two names of one thing do not contradict each other across layers.
    lengths = {"max_tokens", "max_completion_tokens"}
    said = [{n: v for n, v in layer.items() if n in lengths} for layer in given if lengths & set(layer)]
    expected = {n: v for n, v in said[-1].items() if v is not None} if said else {}
    assert {n: v for n, v in merged.items() if n in lengths} == expected
