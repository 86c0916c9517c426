"""LiveEdit: its experts, its routing and their training."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reground.edits.records import Edit, ImageRef
from reground.errors import ArtifactError, CapabilityError, InputError, ModelError
from reground.methods.chain_target import edit_query
from reground.methods.fitting import OwnOutputs, completion_logits
from reground.methods.liveedit.config import LiveEditFitConfig
from reground.methods.liveedit.editor import ExpertEdit, expert_layer, experts_of, new_parts
from reground.methods.liveedit.experts import AttachedExperts, at_work
from reground.methods.liveedit.fit import LiveEditLearner, fit_liveedit
from reground.methods.liveedit.parts import Experts, LiveEditParts, Prompts, Reader, Router, fill, fused, overlap
from reground.methods.registry import create_editor, create_fit_config
from reground.models.base import Query
from reground.models.hf.adapter import HfModel, prompt_tokens
from training_world import QUICK_FIT, fit_data_of

SMALL = LiveEditFitConfig(rank=2, num_queries=2, width=4, num_heads=2, num_sentinel=3)


def make_experts(num: int, hidden_size: int = 6, *, has_image: bool = True) -> Experts:
    return Experts(
        torch.randn(num, 2, hidden_size),
        torch.randn(num, 2, hidden_size),
        torch.randn(num, 2, 4),
        torch.randn(num, 2, 4),
        torch.full((num,), has_image),
    )


def make_prompts(num: int = 2, hidden_size: int = 6) -> Prompts:
    is_image = torch.tensor([[False, True, True, False, False], [False] * 5])[:num]
    is_text = torch.tensor([[False, False, False, True, True], [False, True, True, True, True]])[:num]
    return Prompts(torch.randn(num, 5, hidden_size), is_text, is_image)


@pytest.mark.reference
def test_shares_by_hand() -> None:
    """Softmax over the experts that are left in, times the sigmoid of each."""
    asked = torch.tensor([[0.0, math.log(3), 9.0], [0.0, 2.0, -1.0]])
    is_kept = torch.tensor([[True, True, False], [False, False, False]])
    expected = torch.tensor([[0.25 * 0.5, 0.75 * 0.75, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(fused(asked, is_kept), expected)


@pytest.mark.reference
def test_experts_are_their_equation() -> None:
    torch.manual_seed(0)
    experts, normed, shares = make_experts(3), torch.randn(2, 4, 6), torch.rand(2, 3)
    added = experts.added(normed, shares)
    for row in range(2):
        for token in range(4):
            x = normed[row, token]
            expected = sum(shares[row, n] * torch.relu(experts.down_NRH[n] @ x) @ experts.up_NRH[n] for n in range(3))
            torch.testing.assert_close(added[row, token], expected)


@pytest.mark.reference
def test_overlap_is_the_mean_of_scaled_products() -> None:
    queries, edits = torch.randn(2, 3, 4), torch.randn(5, 3, 4)
    expected = torch.stack(
        [torch.stack([sum(q @ e for q, e in zip(a, b, strict=True)) / 3 / 4**0.5 for b in edits]) for a in queries]
    )
    torch.testing.assert_close(overlap(queries, edits), expected)


@pytest.mark.reference
def test_the_image_leaves_in_what_is_nearer_than_the_sentinel(monkeypatch: pytest.MonkeyPatch) -> None:
    router, experts, prompts = Router(6, SMALL), make_experts(3), make_prompts()
    overlaps = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]), torch.tensor([2.0, 9.0])
    monkeypatch.setattr(router, "seen_overlaps", lambda *_: overlaps)
    assert router.kept(prompts, experts).tolist() == [[False, False, True], [True, True, True]]
    without = make_experts(3, has_image=False)
    assert router.kept(prompts, without).all(), "an edit without an image is a matter of the question alone"


@pytest.mark.reference
def test_reading_is_attention_to_the_right_tokens() -> None:
    """What stands for a question depends on its words alone; what is seen depends on words and image."""
    reader, prompts = Reader(6, SMALL), make_prompts(1)
    for column, moves_asked, moves_seen in ((0, False, False), (1, False, True), (3, True, True)):
        changed = prompts.hidden_BTH.clone()
        changed[0, column] = torch.randn(6)
        other = Prompts(changed, prompts.is_text_BT, prompts.is_image_BT)
        assert (not torch.equal(reader.asked(other), reader.asked(prompts))) == moves_asked
        assert (not torch.equal(reader.seen(other), reader.seen(prompts))) == moves_seen
    image = torch.randn(3, 6)
    shown = Prompts(torch.cat([prompts.hidden_BTH[:, 3:], image[None]], dim=1), *_masks(2, 3))
    torch.testing.assert_close(reader.seen(shown), reader.seen(prompts, image_SH=image))


def _masks(num_text: int, num_image: int) -> tuple[torch.Tensor, torch.Tensor]:
    is_text = torch.tensor([[True] * num_text + [False] * num_image])
    return is_text, ~is_text


def test_rows_without_an_image_are_numbers() -> None:
    reader, prompts = Reader(6, SMALL), make_prompts()
    assert reader.seen(prompts).isfinite().all()
    parts = LiveEditParts(6, SMALL)
    experts = parts.experts(prompts, prompts.is_text_BT | prompts.is_image_BT)
    assert experts.has_image_N.tolist() == [True, False]
    assert all(tensor.isfinite().all() for tensor in experts.tensors().values())
    assert experts.down_NRH.shape == experts.up_NRH.shape == (2, 2, 6)


def test_an_expert_does_not_depend_on_its_neighbours(one_tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    config: Any = create_fit_config("liveedit", QUICK_FIT["liveedit"])
    torch.manual_seed(0)
    parts = new_parts(one_tiny_model, config)
    with torch.no_grad():
        together = experts_of(one_tiny_model, parts, config, tiny_edits, ["yes", "drantic fever"])
        alone = experts_of(one_tiny_model, parts, config, tiny_edits[:1], ["yes"])
    for name, tensor in alone.tensors().items():
        torch.testing.assert_close(together.tensors()[name][:1], tensor, atol=1e-5, rtol=1e-4)


def test_the_layer_is_two_thirds_of_the_way_up(one_tiny_model: HfModel) -> None:
    num_layers = len(one_tiny_model.text_layers)
    assert expert_layer(one_tiny_model, SMALL) == 2 * num_layers // 3
    assert expert_layer(one_tiny_model, SMALL.model_copy(update={"layer": -1})) == num_layers - 1
    with pytest.raises(InputError, match="text layer 9"):
        new_parts(one_tiny_model, SMALL.model_copy(update={"layer": 9}))


def applied(model: HfModel, edits: list[Edit], folder: Path) -> ExpertEdit:
    edited = create_editor("liveedit", {"artifact": str(folder)}).apply(model, edits)
    assert isinstance(edited, ExpertEdit)
    return edited


def test_generation_with_a_cache_equals_one_without(
    tiny_model: HfModel, tiny_edits: list[Edit], fitted: Callable[[str, str], Path]
) -> None:
    """The decision of the prompt holds for what is generated: each token is the most likely one of a whole pass."""
    queries = [Query(question="what?"), edit_query(tiny_edits[0])]
    with applied(tiny_model, tiny_edits, fitted("liveedit", tiny_model.family.name)) as edited:
        outputs = edited.generate(queries, max_new_tokens=6)
        assert outputs == [edited.generate([query], max_new_tokens=6)[0] for query in queries]
        for query, (output,) in zip(queries, outputs, strict=True):
            if output.text.strip() and not output.is_truncated:
                (score,) = edited.score([query], [output.text])
                assert score.top1_share == 1


def test_a_pass_that_does_not_tell_images_from_words_is_refused(
    one_tiny_model: HfModel, tiny_edits: list[Edit], fitted: Callable[[str, str], Path]
) -> None:
    batch = one_tiny_model.training_batch([edit_query(tiny_edits[0])], ["yes"])
    with (
        applied(one_tiny_model, tiny_edits, fitted("liveedit", one_tiny_model.family.name)) as edited,
        one_tiny_model.passing(prompt_tokens(batch)),
        pytest.raises(ModelError, match="tell images from words"),
    ):
        completion_logits(one_tiny_model.module, batch)
    assert edited.is_restored


def test_an_edited_model_offers_no_weights(
    one_tiny_model: HfModel, tiny_edits: list[Edit], fitted: Callable[[str, str], Path]
) -> None:
    folder = fitted("liveedit", one_tiny_model.family.name)
    with (
        applied(one_tiny_model, tiny_edits[:1], folder) as edited,
        pytest.raises(CapabilityError, match="weights"),
    ):
        create_editor("ft").apply(edited, tiny_edits[1:])


def test_image_tokens_are_where_features_are(tiny_model: HfModel, tiny_images: list[str]) -> None:
    queries = [Query(question="what?"), Query(question="what is it?", image=ImageRef(frames=(tiny_images[0],)))]
    batch = tiny_model.training_batch(queries, ["yes", "a long answer"])
    prompt_BT = prompt_tokens(batch)
    image_BT = tiny_model.image_tokens(queries, prompt_BT)
    assert not (image_BT & ~prompt_BT).any() and not image_BT[0].any()
    assert image_BT[1][prompt_BT[1]].tolist() == list(tiny_model.cut_prompt(queries[1]).is_image)


def test_routing_losses_are_those_of_the_page(
    one_tiny_model: HfModel, tiny_edits: list[Edit], tiny_images: list[str], tmp_path: Path
) -> None:
    config: Any = create_fit_config("liveedit", {**QUICK_FIT["liveedit"], "routing_weight": 1.0})
    data = fit_data_of(tiny_edits, tiny_images)
    own = OwnOutputs(one_tiny_model, tmp_path, config.max_new_tokens)
    torch.manual_seed(0)
    learner = LiveEditLearner(one_tiny_model, data, config, own, method="liveedit")
    (parts,) = learner.losses(data.training, random.Random(0))
    assert set(parts) == {"edit", "locality", "asked", "seen"}
    router, reader = learner.parts.router, learner.parts.router.reader
    with torch.no_grad():
        experts = experts_of(
            one_tiny_model, learner.parts, config, tiny_edits, [edit.new_answer.text for edit in tiny_edits]
        )
        inside, outside, seen = [], [], []
        for position, sample in enumerate(data.training):
            for probe in sample.probes:
                prompts = learner._prompts([Query(question=probe.question, image=probe.image)])
                asked = overlap(reader.asked(prompts), experts.asked_NQM)[0]
                if probe.kind in ("reliability", "generality"):
                    other = 1 - position
                    rank = -asked.log_softmax(0)[position]
                    near, far = -asked[position].sigmoid().log(), -(1 - asked[other].sigmoid()).log()
                    inside.append(torch.stack([rank, near, far]))
                elif probe.kind == "text_locality":
                    outside.append(-(1 - asked[position].sigmoid()).log())
                to_edits, to_sentinel = router.seen_overlaps(prompts, experts.seen_NQM[:1])
                rivals = torch.stack([to_edits[0, 0], to_sentinel[0]]).log_softmax(0)
                if probe.kind == "image_locality":
                    seen.append((1, -rivals[1]))
                elif probe.kind in ("reliability", "generality") and position == 0:
                    seen.append((0, -rivals[0]))
        expected = torch.stack(inside).mean(0).sum() + torch.stack(outside).mean()
        of_images = [torch.stack([loss for where, loss in seen if where == kind]).mean() for kind in (0, 1)]
    torch.testing.assert_close(parts["asked"].detach(), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(parts["seen"].detach(), sum(of_images), atol=1e-4, rtol=1e-4)


def test_training_brings_the_edit_about_and_tells_images_apart(
    one_tiny_model: HfModel, tiny_edits: list[Edit], tiny_images: list[str], tmp_path: Path
) -> None:
    settings = {**QUICK_FIT["liveedit"], "num_steps": 80, "validate_every": 20, "learning_rate": 1e-2, "scale": 0.5}
    config: Any = create_fit_config("liveedit", settings)
    data = fit_data_of(tiny_edits, tiny_images)
    artifact = fit_liveedit(one_tiny_model, data, config, tmp_path, method="liveedit")
    first, last = artifact.report.curve[0], artifact.report.curve[-1]
    for part in ("edit", "asked", "seen"):
        assert last.training[part] < 0.5 * first.validation[part], part
    query = edit_query(tiny_edits[0])
    (before,) = one_tiny_model.score([query], [tiny_edits[0].new_answer.text])
    with applied(one_tiny_model, tiny_edits, tmp_path) as edited:
        (after,) = edited.score([query], [tiny_edits[0].new_answer.text])
        assert after.log_prob > before.log_prob


def test_experts_are_taken_off_after_an_error(one_tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    config: Any = create_fit_config("liveedit", QUICK_FIT["liveedit"])
    parts = new_parts(one_tiny_model, config)
    queries = [Query(question="what?")]
    before = one_tiny_model.fingerprint(queries)
    with torch.no_grad():
        experts = experts_of(one_tiny_model, parts, config, tiny_edits[:1], ["yes"])
    with (
        pytest.raises(KeyboardInterrupt),
        at_work(AttachedExperts(one_tiny_model, 0, parts.router, experts)),
    ):
        raise KeyboardInterrupt
    assert one_tiny_model.fingerprint(queries) == before


def test_parts_of_other_sizes_are_refused() -> None:
    first, second = (LiveEditParts(6, SMALL.model_copy(update={"width": width})) for width in (4, 8))
    with pytest.raises(ArtifactError, match="do not fit"):
        fill(first, second.tensors())


def test_heads_have_to_share_the_width() -> None:
    with pytest.raises(InputError, match="multiple of the number of heads"):
        LiveEditParts(6, SMALL.model_copy(update={"num_heads": 3}))
