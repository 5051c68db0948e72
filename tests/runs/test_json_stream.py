"""JSON read member by member says what the standard parser says, whatever the size of a piece."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.runs import json_stream

_LEAF = st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5)
_VALUE = st.recursive(_LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


def _rebuilt(file):
    found = {}
    for key, inner, value in json_stream.members(file):
        if inner is None:
            found[key] = value
        elif isinstance(inner, int):
            found.setdefault(key, []).append(value)
            assert inner == len(found[key]) - 1
        else:
            found.setdefault(key, {})[inner] = value
    return found


@given(st.dictionaries(st.text(max_size=5), _VALUE, max_size=5), st.integers(1, 20), st.sampled_from([None, 1]))
def test_the_members_make_the_object(tmp_path_factory, content, piece, indent):
    file = tmp_path_factory.mktemp("json") / "a.json"
    file.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_READ", piece)
        assert _rebuilt(file) == content


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a"', '{"a": 1', '{"a": [1, ', '{"a": [1 2]}', '{"a": 1} x', "{1: 2}", '{"a": 1,}', "{,}"]
)
def test_what_is_no_whole_object_is_an_error(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        list(json_stream.members(tmp_path / "a.json"))


def test_too_deep_a_nest_is_an_error(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ' + "[" * 200_000 + "}")
    with pytest.raises(ValueError, match=r"."):
        list(json_stream.members(tmp_path / "a.json"))
