"""What a run will do and cost, and whether it can be done at all; nothing is loaded to find out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from reground.benchmarks.base import Benchmark, Card, HasCompanions, KeepsApart, NeedsImages, TagsEdits
from reground.benchmarks.registry import is_folder_name, open_benchmark
from reground.benchmarks.validation import find_image_defects
from reground.edits.collection import collection_paused
from reground.edits.records import Edit, Probe, Record
from reground.errors import CapabilityError, InputError, RecipeError
from reground.methods.registry import METHODS, create_config, find_artifact, method_entry
from reground.models.base import probe_query
from reground.models.registry import check_placement, model_entry
from reground.runner.recipe import MethodChoice, Recipe
from reground.runner.schedules import REFERENCE, Step, probed_edits, schedule_steps

__all__ = [
    "Companion",
    "MethodPlan",
    "Plan",
    "Workload",
    "check_capabilities",
    "depends_on_schedule",
    "load_workload",
    "make_plan",
    "num_distinct",
    "planned_part",
    "step_work",
]


class Companion(Record):
    """An edit that is put in force before another one, in the same step.

    Attributes:
        edit_id: The other one, which the step's probes belong to.
        edit: The companion.
    """

    edit_id: str
    edit: Edit


class Workload(Record):
    """The edits of a run and what is asked about each.

    Attributes:
        card: The benchmark's card.
        edits: In the order of the run.
        probes: By edit id, in the order they are asked. Where the benchmark keeps its edits apart, those of edits that
            are put in force and not asked about may be left out.
        tags: By edit id, the tags of edits that have any.
        companions: By edit id, what is put in force before it; edits without companions are left out.
    """

    card: Card
    edits: tuple[Edit, ...]
    probes: Mapping[str, tuple[Probe, ...]]
    tags: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    companions: Mapping[str, tuple[Edit, ...]] = Field(default_factory=dict)

    @property
    def held(self) -> tuple[Probe, ...]:
        """All probes, edit by edit."""
        return tuple(probe for edit in self.edits for probe in self.probes.get(edit.id, ()))

    def only(self, edit_ids: Iterable[str]) -> Workload:
        """The part about these edits, in their order here."""
        wanted = set(edit_ids)
        return Workload(
            card=self.card,
            edits=tuple(edit for edit in self.edits if edit.id in wanted),
            probes={edit_id: asked for edit_id, asked in self.probes.items() if edit_id in wanted},
            companions={edit_id: some for edit_id, some in self.companions.items() if edit_id in wanted},
            tags={edit_id: tags for edit_id, tags in self.tags.items() if edit_id in wanted},
        )

    def applied(self, edit: Edit) -> tuple[Edit, ...]:
        """Everything a step puts in force for an edit, in order, the edit itself last."""
        return (*self.companions.get(edit.id, ()), edit)


class MethodPlan(Record):
    """What one method will cost.

    Attributes:
        method: Its name, or that of a variant of it.
        num_steps: Steps; each goes into the journal by itself.
        num_applied: Edits put in force, counting one again whenever a chain is made anew.
        num_generations: Outputs.
        num_scores: Targets fed and scored.
    """

    method: str
    num_steps: int
    num_applied: int
    num_generations: int
    num_scores: int


class Plan(Record):
    """What a run will cost.

    Attributes:
        recipe: Name of the recipe.
        model: Name of the model.
        benchmark: Name and version of the benchmark.
        num_edits: Edits.
        num_probes: Probes that the run holds: all that are asked, and those of other edits by which rows are read.
        num_filter_generations: Questions of the zero-shot filter at most; with one, all other numbers are upper
            bounds too.
        num_reference_generations: Distinct questions to the unedited model, and sampled beliefs.
        methods: Per method.
        num_generations: All outputs together.
        max_new_tokens: Budget of one output.
        max_tokens: Upper bound of all generated tokens.
    """

    recipe: str
    model: str
    benchmark: str
    num_edits: int
    num_probes: int
    num_filter_generations: int = 0
    num_reference_generations: int
    methods: tuple[MethodPlan, ...]
    num_generations: int
    max_new_tokens: int
    max_tokens: int


def check_capabilities(recipe: Recipe) -> None:
    """Check every method's settings, that the model offers what each of them needs, and that it has been trained.

    Raises:
        UnknownNameError: No such method or model.
        RecipeError: A setting of a method, or the name of a variant, does not fit.
        InputError: A number format or a device was given for a model without weights.
        CapabilityError: A method needs what the model does not offer; names the methods that would work. Or the
            protocol limits chains, and the model cannot.
        ArtifactError: A method has to be trained first.
    """
    check_placement(recipe.model, recipe.dtype, recipe.device)
    entry = model_entry(recipe.model)
    offered = entry.capabilities
    if recipe.protocol.chain_tokens and not entry.limits_chains:
        raise CapabilityError(
            f"protocol.chain_tokens={recipe.protocol.chain_tokens} was given; model {recipe.model!r} cannot close a "
            "chain at a budget.",
            "null for the model's own chain, 0 for none",
            "leave it out, or load weights instead, e.g. --set model=hf:ORG/NAME.",
        )
    for choice in recipe.choices:
        name, settings = choice.method, choice.settings
        _require_own_name(choice)
        create_config(name, settings)
        missing = method_entry(name).needs - offered
        if missing:
            working = sorted(other for other, entry in METHODS.items() if entry.needs <= offered)
            raise CapabilityError(
                f"method {name!r} needs {', '.join(sorted(missing))}; model {recipe.model!r} does not offer it.",
                f"methods that work with it: {', '.join(working)}",
                f"choose one of them, or to use {name!r} load weights instead, e.g. --set model=hf:ORG/NAME.",
            )
        find_artifact(name, settings, recipe.model)


def _require_own_name(choice: MethodChoice) -> None:
    """Nothing, unless a method goes by the name of another one, which every table would then misname.

    Raises:
        RecipeError: It does.
    """
    if choice.is_variant and choice.name in METHODS:
        raise RecipeError(
            f"a variant of the method {choice.method!r} was called {choice.name!r}, which is another method.",
            "a name that no method has",
            f"call it e.g. '{choice.method}-2'.",
        )


@collection_paused()
def load_workload(recipe: Recipe, benchmark: Benchmark | None = None) -> Workload:
    """The edits and probes of a run, every image opened once that a registered benchmark does not vouch for.

    With a zero-shot filter these are the candidates: all edits of the split, whatever the limit.

    Args:
        recipe: Names the benchmark, split, limit, seeds and schedule.
        benchmark: Stands in for the benchmark the recipe names.

    Raises:
        InputError: The benchmark is defective, or there is nothing to do: no edit, or none that is asked about.
        ImageError: An image file is missing or cannot be read.
    """
    choice = recipe.benchmark
    benchmark = benchmark or open_benchmark(choice.name, choice.image_root)
    limit = None if choice.zero_shot_filter else choice.limit
    edits = tuple(benchmark.edits(choice.split, limit, choice.seed))
    if not edits:
        raise InputError(
            f"benchmark {choice.name!r} has no edit in the split {choice.split!r}.",
            ", ".join(benchmark.card().splits),
            "choose one with --set benchmark.split=NAME.",
        )
    probes = {edit.id: tuple(benchmark.probes(edit)) for edit in _with_probes(recipe, benchmark, edits)}
    companions = _companions(benchmark, edits)
    refs = [edit.image for of_edit in ((edits,), companions.values()) for some in of_edit for edit in some]
    refs += [probe.image for of_edit in probes.values() for probe in of_edit]
    if isinstance(benchmark, NeedsImages):
        benchmark.require_images(refs)
    # Whether an address can be rendered is known of a registered benchmark, not of the user's own folder.
    is_registered = not is_folder_name(choice.name)
    for error in find_image_defects(refs, only_files=is_registered):
        raise error
    tags = {edit.id: benchmark.tags(edit, recipe.model) for edit in edits} if isinstance(benchmark, TagsEdits) else {}
    return Workload(card=benchmark.card(), edits=edits, probes=probes, tags=tags, companions=companions)


def depends_on_schedule(recipe: Recipe, benchmark: Benchmark) -> bool:
    """Whether which probes a run holds depends on its schedule and its seed."""
    keeps_apart = isinstance(benchmark, KeepsApart) and benchmark.keeps_apart()
    return keeps_apart and recipe.schedule != "single" and not recipe.benchmark.zero_shot_filter


def _with_probes(recipe: Recipe, benchmark: Benchmark, edits: Sequence[Edit]) -> Sequence[Edit]:
    """The edits whose probes a run holds."""
    if recipe.benchmark.zero_shot_filter:  # which of them are left is not known yet
        return edits
    asked = probed_edits(recipe.schedule, edits, recipe.seed)
    if not asked:
        raise InputError(
            f"the schedule of recipe {recipe.name!r} asks about none of its {len(edits)} edits.",
            "more edits than the schedule's gap",
            "raise benchmark.limit, or lower the gap with --set.",
        )
    return asked if depends_on_schedule(recipe, benchmark) else edits


def _companions(benchmark: Benchmark, edits: Sequence[Edit]) -> dict[str, tuple[Edit, ...]]:
    if not isinstance(benchmark, HasCompanions):
        return {}
    found = {edit.id: tuple(benchmark.companions(edit)) for edit in edits}
    return {edit_id: companions for edit_id, companions in found.items() if companions}


def planned_part(recipe: Recipe, workload: Workload) -> Workload:
    """What a run edits and asks at most, of which a zero-shot filter may leave less."""
    return workload.only(edit.id for edit in workload.edits[: recipe.benchmark.limit])


def make_plan(recipe: Recipe, workload: Workload) -> Plan:
    """What the run will cost."""
    num_candidates = len(workload.edits) if recipe.benchmark.zero_shot_filter else 0
    workload = planned_part(recipe, workload)
    methods = tuple(_method_plan(recipe, workload, choice) for choice in recipe.choices)
    probed = probed_edits(recipe.schedule, workload.edits, recipe.seed)
    num_reference = num_distinct(workload.only(edit.id for edit in probed))
    num_reference += recipe.protocol.belief_samples * len(probed)
    num_generations = num_candidates + num_reference + sum(method.num_generations for method in methods)
    return Plan(
        recipe=recipe.name,
        model=recipe.model,
        benchmark=f"{workload.card.name} {workload.card.version}",
        num_edits=len(workload.edits),
        num_probes=len(workload.held),
        num_filter_generations=num_candidates,
        num_reference_generations=num_reference,
        methods=methods,
        num_generations=num_generations,
        max_new_tokens=recipe.protocol.max_new_tokens,
        max_tokens=num_generations * recipe.protocol.max_new_tokens,
    )


def _method_plan(recipe: Recipe, workload: Workload, choice: MethodChoice) -> MethodPlan:
    method = choice.name
    anew = [method] if method_entry(choice.method).chain == "anew" else []
    steps = schedule_steps(recipe.schedule, [method], workload.edits, seed=recipe.seed, anew=anew)
    put = [edit.id for step in steps for edit in _asked_about(step)]
    num_scored = {edit_id: _num_scored(recipe, workload.probes[edit_id]) for edit_id in set(put)}
    work = [step_work(step, workload, is_anew=bool(anew)) for step in steps]
    return MethodPlan(
        method=method,
        num_steps=len(steps),
        num_applied=sum(num_applied for num_applied, _ in work),
        num_generations=sum(num_outputs for _, num_outputs in work),
        num_scores=sum(num_scored[edit_id] for edit_id in put),
    )


def step_work(step: Step, workload: Workload, *, is_anew: bool) -> tuple[int, int]:
    """Edits that a step puts in force, and outputs that it asks for.

    Args:
        step: A step of a method, or of the unedited model, which puts no edit in force.
        workload: What is asked about each edit.
        is_anew: Whether the method makes its chain anew: each of its steps puts all edits so far in force.
    """
    num_outputs = sum(len(workload.probes[edit.id]) for edit in _asked_about(step))
    if step.method == REFERENCE:
        return 0, num_outputs
    if step.order is None:
        return 1, num_outputs
    return (step.num_applied if is_anew else len(step.added)), num_outputs


def _asked_about(step: Step) -> list[Edit]:
    return [step.edit] if step.order is None else [one.edit for one in step.probed]


def _num_scored(recipe: Recipe, probes: Sequence[Probe]) -> int:
    if "score" not in model_entry(recipe.model).capabilities:
        return 0
    num_scored = sum(probe.expectation.kind == "answer" for probe in probes)
    if recipe.protocol.keeps_forced_tokens:
        num_scored += sum(probe.is_local or bool(probe.options) for probe in probes)
    return num_scored


def num_distinct(workload: Workload) -> int:
    """Different questions that the probes of a workload put to the unedited model."""
    probes = (probe for probes in workload.probes.values() for probe in probes)
    return len({probe_query(probe).model_dump_json() for probe in probes})
