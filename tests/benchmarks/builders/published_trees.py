"""Small trees in the layouts the sets are published in, with one defective entry each."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from PIL import Image

__all__ = [
    "write_medframeqa",
    "write_medxpertqa",
    "write_natural_questions",
    "write_omnimedvqa",
    "write_pmc_vqa",
    "write_slake",
    "write_vqa_rad",
    "write_vqav2",
]


def draw(path: Path, shade: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), shade).save(path)


def write_pmc_vqa(folder: Path, num_items: int = 5) -> Path:
    folder.mkdir()
    with (folder / "test_clean.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = ["Choice A", "Choice B", "Choice C", "Choice D"]
        writer.writerow(["Figure_path", "Question", "Answer", *columns, "Answer_label"])
        for number in range(num_items):
            draw(folder / "images" / f"PMC{number}_F1.jpg", number)
            choices = [f"A:organ {number}", "B:bone", " C: a,b", "D:none"]
            writer.writerow([f"PMC{number}_F1.jpg", f"What is shown in image {number}?", "bone", *choices, "B"])
        writer.writerow(["absent.jpg", "What is it?", "bone", "A:x", "B:bone", "C:y", "D:z", "B"])
        writer.writerow(["PMC0_F1.jpg", "Which?", "bone", "A:x", "B:X", "C:y", "D:z", "C"])
    return folder


def write_medframeqa(folder: Path) -> Path:
    for name in ("a.png", "b.png"):
        draw(folder / "images" / name)
    rows = [
        {
            "question_id": "Q1",
            "keyword": "meniscal tear",
            "question": "How do the images differ?",
            "options": ["A. grows", "B. shrinks", "C. stays"],
            "correct_answer": "C",
            "image_url": ["http://x"],
            "image_1": "a.png",
            "image_2": "b.png",
            "image_3": None,
        },
        {"question_id": "Q2", "question": "Which?", "options": "none", "correct_answer": "A", "image_1": "a.png"},
    ]
    (folder / "data").mkdir()
    (folder / "data" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "not json\n")
    return folder


def write_medxpertqa(folder: Path) -> Path:
    draw(folder / "images" / "MM-1-a.jpeg")
    row = {
        "id": "MM-1",
        "question": "Which sign is it?\nAnswer Choices: (A) ring (B) star",
        "options": {"A": "ring", "B": "star"},
        "label": "A",
        "images": ["MM-1-a.jpeg"],
        "body_system": "Urinary",
        "question_type": "Understanding",
    }
    (folder / "MM").mkdir()
    (folder / "MM" / "test.jsonl").write_text(
        json.dumps(row) + "\n" + json.dumps({**row, "id": "MM-2", "label": "Z"}) + "\n"
    )
    return folder


def write_omnimedvqa(folder: Path) -> Path:
    root = folder / "OmniMedVQA"
    draw(root / "Images" / "CT" / "1.png")
    row = {
        "dataset": "Chest CT Scan",
        "question_id": "ct_0001",
        "question_type": "Modality Recognition",
        "question": "Which modality is it?",
        "gt_answer": "CT",
        "image_path": "Images/CT/1.png",
        "option_A": "MRI",
        "option_B": "CT",
    }
    (root / "QA_information" / "Open-access").mkdir(parents=True)
    file = root / "QA_information" / "Open-access" / "Chest CT Scan.json"
    file.write_text(json.dumps([row, {**row, "question_id": "ct_0002", "image_path": "../../secret.png"}]))
    return folder


def write_natural_questions(path: Path) -> Path:
    value = {"questions": ["who sang it", "when was it", " ", "where"], "answers": [["Ann"], "1990", ["x"], []]}
    path.write_text(json.dumps(value))
    return path


def write_vqav2(folder: Path) -> Path:
    draw(folder / "val2014" / "COCO_val2014_000000000042.jpg")
    questions = [{"image_id": i, "question": f"what colour is {i}?", "question_id": i * 10} for i in (42, 43)]
    annotations = [{"question_id": i * 10, "image_id": i, "multiple_choice_answer": "red"} for i in (42, 43)]
    (folder / "v2_OpenEnded_mscoco_val2014_questions.json").write_text(json.dumps({"questions": questions}))
    (folder / "v2_mscoco_val2014_annotations.json").write_text(json.dumps({"annotations": annotations}))
    return folder


def write_slake(folder: Path) -> Path:
    draw(folder / "imgs" / "xmlab1" / "source.jpg")
    row = {"img_name": "xmlab1/source.jpg", "question": "Which organ is it?", "answer": "Liver", "q_lang": "en"}
    others = [
        {**row, "q_lang": "zh", "question": "器官?"},
        {**row, "question": "How many lungs are shown?", "answer": 2},
    ]
    (folder / "train.json").write_text(json.dumps([row, *others], ensure_ascii=False), encoding="utf-8")
    (folder / "validate.json").write_text(json.dumps([{**row, "answer": " "}]))
    return folder


def write_vqa_rad(folder: Path) -> Path:
    draw(folder / "VQA_RAD Image Folder" / "synpic1.jpg")
    rows = [
        {"qid": n, "image_name": "synpic1.jpg", "question": f"Is it {n}?", "answer": answer}
        for n, answer in enumerate(("Yes", 3))
    ]
    (folder / "VQA_RAD Dataset Public.json").write_text(json.dumps(rows))
    return folder
