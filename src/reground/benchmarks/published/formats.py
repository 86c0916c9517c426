"""Which published formats can be read. Listing them imports no loader."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reground.benchmarks.published.base import Loader
from reground.errors import InputError, UnknownNameError

__all__ = [
    "FORMATS",
    "MCMKE_TEXT_EDITS",
    "PublishedFormat",
    "create_loader",
    "find_format",
    "require_format",
    "split_name",
]

_NAMED = re.compile(r"([a-z][a-z0-9_-]+):(?!//)(.*)", re.DOTALL)


@dataclass(frozen=True)
class PublishedFormat:
    """One line of the registry.

    Attributes:
        loader: ``module:Class``, made without arguments when a file is read.
        title: The data set as its authors call it.
        licence: Under which terms it is published.
        home: Where records and images are published.
        revision: The revision the loader was run on, or what it was written from.
        counts: Published number of records, by file name.
    """

    loader: str
    title: str
    licence: str
    home: str
    revision: str
    counts: Mapping[str, int] = field(default_factory=dict)


#: MC-MKE's file of facts told in text.
MCMKE_TEXT_EDITS = (
    "final_new_sro_edits_input_cloze.alias.indexed.locality.explore3.upper_first.category_fix.locality.jsonl"
)
_HERE = "reground.benchmarks.published"

FORMATS: dict[str, PublishedFormat] = {
    "vlkeb": PublishedFormat(
        f"{_HERE}.vlkeb:VlkebLoader",
        title="VLKEB (Huang et al., NeurIPS 2024)",
        licence="BSD-3-Clause",
        home="https://huggingface.co/datasets/HymanH/VLKEB-data",
        revision="eval_edit_onehop.json as pinned by its checksum; the other files by their loader's layout",
        counts={"train.json": 5000, "eval.json": 3174, "eval_edit_onehop.json": 1278, "eval_multihop.json": 1278},
    ),
    "mmedit": PublishedFormat(
        f"{_HERE}.mmedit:MmeditLoader",
        title="MMEdit: E-VQA and E-IC (Cheng et al., EMNLP 2023)",
        licence="MIT (records); images under the terms of COCO",
        home="https://github.com/zjunlp/EasyEdit/blob/main/examples/MMEdit.md",
        revision="vqa_eval.json and caption_eval_edit.json as pinned by their checksums",
        counts={
            "vqa_train.json": 6345,
            "vqa_eval.json": 2093,
            "caption_train_edit.json": 2849,
            "caption_eval_edit.json": 1000,
        },
    ),
    "mcmke": PublishedFormat(
        f"{_HERE}.mcmke:McmkeLoader",
        title="MC-MKE, image edits (Zhang et al., Findings of ACL 2025)",
        licence="not stated",
        home="https://github.com/reroze/MC-MKE (records), https://huggingface.co/datasets/reroze/MC-MKE (images)",
        revision="ddbb2985f65719f1632c6dc03ca780ccafffe08b, as pinned by the files' checksums",
        counts={
            "final_ie_edit_input.jsonl": 920,
            "final_ie_edit_reliability_test.jsonl": 920,
            "final_ie_locality_test.jsonl": 920,
            "final_ie_test_consistency.jsonl": 920,
            "final_ie_test_image_generality.jsonl": 920,
            "final_ie_test_text_generality.jsonl": 920,
        },
    ),
    "mcmke-sro": PublishedFormat(
        f"{_HERE}.mcmke_facts:McmkeTextFactLoader",
        title="MC-MKE, facts told in text (Zhang et al., Findings of ACL 2025)",
        licence="not stated",
        home="https://github.com/reroze/MC-MKE (records), https://huggingface.co/datasets/reroze/MC-MKE (images)",
        revision="written from the beginning of each file at d480df281290f0c99c2eed49e23b226f5ff86b52; not pinned",
        counts={MCMKE_TEXT_EDITS: 982},
    ),
    "mcmke-iro": PublishedFormat(
        f"{_HERE}.mcmke_facts:McmkeImageFactLoader",
        title="MC-MKE, facts about what an image shows (Zhang et al., Findings of ACL 2025)",
        licence="not stated",
        home="https://github.com/reroze/MC-MKE (records), https://huggingface.co/datasets/reroze/MC-MKE (images)",
        revision="written from the beginning of each file at d480df281290f0c99c2eed49e23b226f5ff86b52; not pinned",
        counts={"final_iro_edits_inputs.cloze.alias.explore3.locality.jsonl": 982},
    ),
    "cckeb": PublishedFormat(
        f"{_HERE}.cckeb:CckebLoader",
        title="CCKEB (MemEIC, NeurIPS 2025)",
        licence="not known; the records it extends, VLKEB's, are BSD-3-Clause",
        home="https://huggingface.co/datasets/MemEIC/CCKEB; images: https://huggingface.co/datasets/HymanH/VLKEB-data",
        revision="written from the authors' loader and scripts; not pinned",
        counts={"CCKEB_train.json": 5000, "CCKEB_eval.json": 1278},
    ),
    "multimedbench": PublishedFormat(
        f"{_HERE}.multimedbench:MultiMedBenchLoader",
        title="MultiMedBench, its own records (MultiMedEdit, AAAI 2026)",
        licence="MIT (code); images under the terms of the sets they are from",
        home="https://github.com/NUAA-MMMI/MedBench (its records are not released there)",
        revision="written from the released scripts (feaaf1c, a21010e); not pinned",
    ),
    "mmke": PublishedFormat(
        f"{_HERE}.mmke:MmkeLoader",
        title="MMKE-Bench (ICLR 2025), 2,940 pieces of knowledge in all",
        licence="not known",
        home="https://huggingface.co/datasets/kailinjiang/MMKE-Bench-dataset",
        revision="written from the authors' loader; not pinned",
    ),
    "fgvedit": PublishedFormat(
        f"{_HERE}.fgvedit:FgveditLoader",
        title="FGVEdit (MSCKE, arXiv 2411.12790)",
        licence="not known; images under the terms of COCO",
        home="https://huggingface.co/datasets/ZhenZeng/FGVEdit",
        revision="written from the authors' loader at 9049cfcfea0421811ac6f49f18f02969758cd1c8; not pinned",
        counts={"train_data.json": 8334, "test_data.json": 2778},
    ),
    "comprehendedit": PublishedFormat(
        f"{_HERE}.comprehendedit:ComprehendEditLoader",
        title="ComprehendEdit (AAAI 2025)",
        licence="not known; images under the terms of GQA, TallyQA, VSR, TextVQA and MathVista",
        home="https://github.com/yaohui120/ComprehendEdit",
        revision="written from the authors' loader at 12a30db44d10fbe81ebc4c81f0a9bfd1b0b4de2d; not pinned",
        counts={"ComprehendEdit_train.json": 13450, "ComprehendEdit_test.json": 4482},
    ),
    "evoke": PublishedFormat(
        f"{_HERE}.evoke:EvokeLoader",
        title="EVOKE, also MMEVOKE (ICLR 2026)",
        licence="not known",
        home="https://huggingface.co/datasets/kailinjiang/EVOKE",
        revision="written from the released scripts at 5e59b8fe29c4b0642369ab3ecc8e49ce6633bfe2; not pinned",
        counts={"evoke_injection_data.json": 9422, "evoke_evaluation_data.jsonl": 9422},
    ),
}


def split_name(name: str) -> tuple[str, Path] | None:
    """The format and the path of a benchmark named ``FORMAT:PATH``; None for a name of another form.

    Raises:
        UnknownNameError: It is of this form, and there is no such format.
        InputError: The path is missing.
    """
    match = _NAMED.fullmatch(name)
    if match is None or Path(name).exists():
        return None
    format_name, path = match.groups()
    require_format(format_name)
    if not path:
        raise InputError(f"benchmark {name!r} names no file.", f"{format_name}:PATH", "add the path of its file.")
    return format_name, Path(path)


def require_format(name: str) -> PublishedFormat:
    """A format by its name.

    Raises:
        UnknownNameError: There is none; the nearest is suggested.
    """
    if name not in FORMATS:
        raise UnknownNameError("benchmark format", name, FORMATS, listed_by="benchmarks list")
    return FORMATS[name]


def create_loader(name: str) -> Loader:
    """The loader of a format.

    Raises:
        UnknownNameError: There is no such format.
    """
    module, _, attribute = require_format(name).loader.partition(":")
    loader: Loader = getattr(importlib.import_module(module), attribute)()
    return loader


def find_format(path: Path) -> str | None:
    """The format that publishes a file of this name, or a folder with files of its names; None if none or several do.

    ``train.json`` and ``eval.json`` are the names of more than one set.
    """
    names = {path.name} if path.is_file() else {file.name for file in path.glob("*.json*")}
    found = [name for name, entry in FORMATS.items() if names & entry.counts.keys()]
    return found[0] if len(found) == 1 else None
