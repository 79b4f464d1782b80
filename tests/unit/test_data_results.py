"""Result files: one reader for all of them, which says in one line what is wrong."""

import json

import pytest

from labsupport.data.results import read_result
from labsupport.errors import LabError
from labsupport.files import data_root

GOOD = {
    "command": "labs experiment 01 x",
    "date": "2026-11-26 15:05 UTC",
    "machine": {"cpu": "a processor", "threads": 1, "cuda": None},
    "versions": {"python": "3.11.7"},
    "seconds": 3,
    "settings": {"steps": 3},
    "records": [{"net": "a", "seed": 0, "loss": 0.5}, {"net": "a", "seed": 1, "loss": 0.4}],
    "curve": [0.9, 0.5],
}
FILES = sorted((data_root() / "results").glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_stored_file_is_read_and_would_be_written_as_it_is(path):
    result = read_result(path)
    _, _, lab, name = result.command.split()
    assert path.stem == f"{lab}_{name}"
    assert result.records and result.settings and result.seconds > 0
    assert {"python", "torch", "labsupport"} <= set(result.versions)
    assert result.to_json() == path.read_text(encoding="utf-8")
    assert read_result(path.stem) == result


def written(tmp_path, contents):
    path = tmp_path / "01_x.json"
    path.write_text(contents if isinstance(contents, str) else json.dumps(contents))
    return path


@pytest.mark.parametrize(
    "change, message",
    [
        ({"records": None}, "'records' is a NoneType, not a list"),
        ({"records": [{}, 3]}, "record 1 is a int, not an object"),
        ({"seconds": True}, "'seconds' is a bool, not a int or float"),
        ({"command": "labs grade 01"}, "'command' is 'labs grade 01', not"),
        ({"date": "yesterday"}, "'date' is 'yesterday', not like"),
        ({"machine": {"cpu": "a", "threads": 1}}, "'machine' has no 'cuda'"),
    ],
)
def test_what_is_no_result_is_refused_in_one_line_with_the_file(tmp_path, change, message):
    with pytest.raises(LabError) as error:
        read_result(written(tmp_path, GOOD | change))
    assert message in str(error.value) and "01_x.json: not a result file: " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_entry_and_a_damaged_file_are_named(tmp_path):
    lacking = {name: value for name, value in GOOD.items() if name != "settings"}
    with pytest.raises(LabError, match="it has no 'settings'"):
        read_result(written(tmp_path, lacking))
    with pytest.raises(LabError, match="01_x.json: not a result file: Expecting"):
        read_result(written(tmp_path, '{"command": '))
    with pytest.raises(LabError, match="it holds a list, not an object"):
        read_result(written(tmp_path, []))
    with pytest.raises(FileNotFoundError, match="results/01_y.json is missing"):
        read_result("01_y")


def test_what_is_beside_the_records_has_names_of_its_own(tmp_path):
    result = read_result(written(tmp_path, GOOD))
    assert result.more == {"curve": [0.9, 0.5]}


def test_one_record_is_found_or_told_what_there_is(tmp_path):
    result = read_result(written(tmp_path, GOOD))
    assert result.one(net="a", seed=1)["loss"] == 0.4
    with pytest.raises(LabError, match="no records have net='b'; in its records are net: 'a'"):
        result.one(net="b")
    with pytest.raises(LabError, match="2 records have net='a'"):
        result.one(net="a")
