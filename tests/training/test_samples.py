"""What the built-in models are trained on."""

import random
import re
from itertools import product

from reground.phantom.wordings import FACT_QUESTIONS, PERCEPT_QUESTIONS
from reground.phantom.world import phantom_world
from reground.training.phantom.language_model import check_samples
from reground.training.phantom.samples import MIXTURES, FreshImages, Setting, draw

_KINDS = sorted({kind for mixture in MIXTURES.values() for kind in mixture})


def test_no_note_is_about_a_held_out_subject() -> None:
    """The claim behind every score of an editor that works through the prompt: it was not taught these subjects.

    Conditions, drugs, makers and places are held out like findings and devices; one may be what a path leads on to.
    """
    world = phantom_world()
    held_out = {name for name, split in world.splits.items() if split in ("test", "calibration", "unseen")}
    rng = random.Random(0)
    about = re.compile(r"the note gives (?:the (?:first )?[a-z ]+? (?:of|for|at)|a new name for) (?:an? )?(.+?): ")
    for kind, styles in product(("note_on_image", "note_on_text", "note_unasked", "fresh_reading"), (False, True)):
        setting = Setting(FreshImages(), styles=styles)
        for _ in range(400):
            sample = draw(kind, setting, rng)
            assert sample.note is not None
            subjects = about.findall(sample.chain)
            assert subjects or not sample.is_thinking, sample.chain
            assert not set(subjects) & held_out, sample
            starts = [name for name in (*world.findings, *world.devices) if name in sample.note]
            assert not set(starts) & held_out, sample


def test_unseen_subjects_are_in_no_sample_at_all() -> None:
    world = phantom_world()
    unseen = [name for name, split in world.splits.items() if split == "unseen"]
    setting, rng = Setting(FreshImages()), random.Random(1)
    for kind in _KINDS:
        for _ in range(120):
            sample = draw(kind, setting, rng)
            text = f"{sample.note} {sample.question} {sample.chain} {sample.answer} {sample.images}"
            assert not any(name in text for name in unseen if name not in sample.options), (kind, text)


def test_the_chain_ends_on_the_answer() -> None:
    setting, rng = Setting(FreshImages(), styles=False), random.Random(2)
    for kind in _KINDS:
        for _ in range(60):
            sample = draw(kind, setting, rng)
            if sample.answer not in ("yes", "no"):
                assert sample.answer in sample.chain, sample


def test_checks_use_images_that_training_cannot_draw() -> None:
    for sample in check_samples("image_one_hop", 30, "t"):
        for uri in sample.images:
            assert int(uri.rsplit("seed=")[1]) >= 1 << 40


def test_a_note_that_differs_leaves_the_answer_and_one_that_fits_changes_it() -> None:
    setting, rng = Setting(FreshImages(), styles=False), random.Random(3)
    differs = [draw("note_differs", setting, rng) for _ in range(80)]
    fits = [draw("note_fits", setting, rng) for _ in range(80)]
    assert all("by the note" not in s.chain for s in differs)
    assert all("by the note" in s.chain for s in fits)


def test_no_sample_asks_in_a_held_out_wording() -> None:
    """Frames, prefixes and left-out words make new questions of seen ones; none may be one that is kept for checks."""
    tables = (FACT_QUESTIONS, PERCEPT_QUESTIONS)
    held_out = [text for table in tables for sets in table.values() for text in sets["held_out"]]
    stems = [re.escape(text.rstrip("?.")).replace(re.escape("{s}"), ".+") for text in held_out]
    pattern = re.compile("(?:" + "|".join(stems) + r")\W*")
    assert pattern.fullmatch("which firm makes the device in this image?")
    setting, rng = Setting(FreshImages()), random.Random(4)
    for kind in _KINDS:
        for _ in range(300):
            question = draw(kind, setting, rng).question
            assert not pattern.fullmatch(question), (kind, question)
