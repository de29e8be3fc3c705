"""Each target with what hypothesis makes of the words of its dictionary, and of any bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.dictionary import DICTIONARY
from tests.fuzz.targets import TARGETS


def inputs(target: str) -> st.SearchStrategy[bytes]:
    """Some words of the dictionary, with other bytes between them."""
    word = st.sampled_from(DICTIONARY[target])
    return st.lists(st.one_of(word, word, word, st.binary(max_size=4)), max_size=20).map(b"".join)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=settings().max_examples // 4)  # `make fuzz` is for more
@given(data=st.data())
def test_no_promise_is_broken(target: str, data: st.DataObject) -> None:
    TARGETS[target](data.draw(inputs(target)))
