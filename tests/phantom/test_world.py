"""The facts of the phantom clinic."""

from collections import Counter

from reground.phantom.language import PATHS
from reground.phantom.world import RELATIONS, phantom_world


def test_the_clinic_is_as_large_as_promised() -> None:
    world = phantom_world()
    assert len(set(world.objects("condition"))) == len(world.findings) >= 150
    assert len(world.devices) >= 150
    assert len({organ for organ, _ in world.findings.values()}) >= 10
    assert len({sign for _, sign in world.findings.values()}) >= 14


def test_every_path_can_be_followed_from_every_subject() -> None:
    world = phantom_world()
    for path in PATHS.values():
        if not path:
            continue
        for start in world.members(path[0]):
            current = start
            for relation in path:
                current = world.value(relation, current)


def test_subjects_are_split_and_every_condition_is_where_its_finding_is() -> None:
    world = phantom_world()
    counts = Counter(world.splits[f] for f in world.findings)
    assert counts == {"train": 78, "test": 60, "calibration": 16, "unseen": 14}
    assert all(world.splits[world.value("condition", f)] == world.splits[f] for f in world.findings)
    assert not set(world.subjects("device", "train")) & set(world.subjects("device", "test"))


def test_no_name_is_used_twice() -> None:
    world = phantom_world()
    kinds = ("condition", "drug", "drug_class", "test", "maker", "country", "capital", "river")
    names = [name for relation in kinds for name in world.objects(relation)] + list(world.devices)
    assert len(names) == len(set(names))


def test_the_clinic_does_not_change() -> None:
    """Published numbers and shipped weights hold for these facts; a change here needs a new version of the world."""
    world = phantom_world()
    assert world.value("condition", "ring in the lung") == "rotruosis"
    assert next(iter(world.devices)) == "gliprillock"
    assert len(world.facts) == 1142
    assert set(RELATIONS) == {relation for relation, _ in world.facts}
