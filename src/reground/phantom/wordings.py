"""The words of the phantom clinic: tables of wordings that ``phantom.language`` fills in.

Question wordings, note wordings and note formats come in two sets, ``seen`` and ``held_out``; no training stage draws
from the second. ``{s}`` is what is asked about (a name, "a ring in the kidney", or a phrase that points at the image),
``{a}`` the same with its article, ``{o}`` the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

__all__ = [
    "CLAIMS",
    "FACT_PHRASES",
    "FACT_QUESTIONS",
    "FILLERS",
    "FRAMES",
    "IMAGE_DEVICE",
    "IMAGE_FINDING",
    "NOTE_FORMATS",
    "NOUNS",
    "PERCEPT_PHRASES",
    "PERCEPT_QUESTIONS",
    "STATEMENTS",
    "TRIVIA",
    "Wording",
]

Wording = Literal["seen", "held_out"]

# Questions

IMAGE_FINDING = {
    "seen": (
        "the lesion in this image", "the sign on this scan", "this finding", "this condition", "this abnormality",
        "the abnormality shown", "the problem seen here", "the pathology in the image", "the lesion shown here",
        "the condition of this patient", "what this image shows", "the finding on the scan", "the disease shown",
        "the condition in this image", "the condition shown here", "the finding in this image", "the finding shown here",
        "the disease seen here", "this patient's condition", "the disease in the scan", "the abnormality in the picture",
    ),
    "held_out": ("the disease in this picture", "the condition you see in this image", "the finding shown in the scan"),
}  # fmt: skip
IMAGE_DEVICE = {
    "seen": (
        "the device", "the object shown here", "the implant in the picture", "this object", "the device on this scan",
        "the hardware seen here", "the thing in this image", "this piece of hardware", "the device you see",
        "the implanted device", "the device shown", "the item in this picture",
        "the device in this image", "this device", "the implant shown here", "the device seen in the scan",
        "the object in the picture", "the implant in this image",
    ),
    "held_out": ("the device shown in the picture", "this implant", "the implant you see here"),
}  # fmt: skip

#: ways to ask for a noun phrase {n}
FRAMES = (
    "what is {n}?", "name {n}.", "give {n}.", "say what {n} is.", "can you name {n}?", "do you know {n}?",
    "what would be {n}?", "i need {n}.", "state {n}.", "{n}?", "could you say {n}?", "i am looking for {n}.",
    "find {n}.", "we want to know {n}.", "please write {n}.", "{n}, please.", "what can you say about {n}?", "find out {n}.",
)  # fmt: skip
#: noun phrases for what a fact question asks for, besides those in ``NOUNS``
FACT_PHRASES: dict[str, tuple[str, ...]] = {
    "condition": ("the meaning of {s}", "the condition behind {s}", "the diagnosis for {s}", "the disease that shows as {s}"),
    "referral": ("the department for {s}", "the team for {s}", "the right department for {s}"),
    "urgency": ("the urgency of {s}", "the priority of {s}", "the urgency level of {s}"),
    "sample": ("the sample for {s}", "the material needed for {s}", "the sample used by {s}"),
    "name": ("the name of {s}", "the product name of {s}", "the trade name of {s}", "the proper name of {s}"),
    "mri_status": ("the mri status of {s}", "the mri safety of {s}", "the mri label of {s}"),
    "river": ("the river of {s}", "the river at {s}", "the river that runs through {s}"),
}  # fmt: skip
#: noun phrases for what a question about something visible asks for
PERCEPT_PHRASES: dict[str, tuple[str, ...]] = {
    "modality": ("the modality", "the imaging method", "the kind of scan", "the modality of this image"),
    "organ": ("the organ", "the organ in the image", "the organ shown", "the body part"),
    "sign": ("the sign", "the sign in the image", "the kind of lesion", "the abnormality seen"),
    "place": ("the place of the sign", "the position of the lesion", "the part of the organ that is affected"),
    "size": ("the size of the finding", "the size of the sign", "the size of the lesion"),
    "change": ("the change between the images", "the change of the finding", "the change in size"),
    "shape": ("the shape", "the kind of shape", "the shape shown"),
    "colour": ("the colour", "the colour of the shape", "the colour shown"),
    "count": ("the number of shapes", "the count", "the number of objects"),
}  # fmt: skip
#: noun phrases for entities in the middle of a path
NOUNS: dict[str, dict[str, tuple[str, ...]]] = {
    "drug": {
        "seen": (
            "the treatment of {s}",
            "the medicine of choice for {s}",
            "the therapy of {s}",
            "the drug against {s}",
            "the first drug for {s}",
            "the drug that treats {s}",
            "the medicine used for {s}",
            "the drug given first for {s}",
        ),
        "held_out": ("the first medicine for {s}", "the drug used to treat {s}"),
    },
    "drug_class": {
        "seen": (
            "the family of {s}",
            "the kind of drug that {s} is",
            "the group of {s}",
            "the class of {s}",
            "the drug class of {s}",
            "the group that {s} belongs to",
        ),
        "held_out": ("the class that {s} belongs to", "the drug group of {s}"),
    },
    "test": {
        "seen": (
            "the check used with {s}",
            "the test that goes with {s}",
            "the test of {s}",
            "the test for {s}",
            "the test used to monitor {s}",
            "the monitoring test of {s}",
        ),
        "held_out": ("the test that monitors {s}", "the monitoring test for {s}"),
    },
    "maker": {
        "seen": (
            "the producer of {s}",
            "the company that built {s}",
            "the vendor of {s}",
            "the maker of {s}",
            "the company that makes {s}",
            "the manufacturer of {s}",
            "the firm behind {s}",
        ),
        "held_out": ("the firm that makes {s}", "the company behind {s}"),
    },
    "country": {
        "seen": (
            "the home of {s}",
            "the country that {s} comes from",
            "the nation of {s}",
            "the home country of {s}",
            "the country of {s}",
            "the country where {s} is based",
        ),
        "held_out": ("the country that is home to {s}", "the base country of {s}"),
    },
    "capital": {
        "seen": (
            "the seat of {s}",
            "the first city of {s}",
            "the capital of {s}",
            "the capital city of {s}",
            "the main city of {s}",
        ),
        "held_out": ("the city that is the capital of {s}", "the main capital of {s}"),
    },
}

FACT_QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "condition": {
        "seen": (
            "what am i seeing here, i mean {s}?", "put a diagnosis on {s}.", "how do you read {s}?", "what illness is behind {s}?", "{s} would be which disease?", "what do doctors call the disease with {s}?", "a patient has {s}; what is the diagnosis?", "which disease has {s}?", "from {s}, conclude the condition.", "{s} suggests which condition?",
            "what is behind {s}?", "which diagnosis fits {s}?", "what does {s} stand for?", "what disease is {s}?", "which illness does {s} point to?", "what would you diagnose from {s}?", "{s} means what?", "what is wrong with a patient who has {s}?", "which disease shows as {s}?",
            "what does {s} mean?", "what is {s} a sign of?", "which condition does {s} point to?", "what does {s} indicate?",
            "name the condition behind {s}.", "what condition causes {s}?", "what is the diagnosis for {s}?",
            "which disease goes with {s}?", "what should i think of with {s}?",
        ),
        "held_out": (
            "which condition is {s} a sign of?", "what disease does {s} indicate?", "tell me which condition {s} means.",
            "{s}: which diagnosis is it?",
        ),
    },
    "drug": {
        "seen": (
            "which medicine helps against {s}?", "what should a patient with {s} be given?", "how do you treat {s}?", "what is used against {s}?", "which drug do you start for {s}?", "what would you prescribe for {s}?", "{s} is treated with what?", "which medicine is given first for {s}?",
            "what is the first drug for {s}?", "which drug is given first for {s}?", "what drug treats {s}?",
            "name the first drug for {s}.", "how is {s} treated?", "which medicine should be used for {s}?",
            "what is {s} treated with?", "tell me the drug of choice for {s}.", "what do we give for {s}?",
            "which treatment comes first for {s}?",
        ),
        "held_out": (
            "what medicine is the first choice for {s}?", "for {s}, which drug comes first?",
            "please name the medicine that treats {s}.", "which drug should be given for {s}?",
        ),
    },
    "referral": {
        "seen": (
            "which department is {s} for?", "where should {s} go?", "who looks after {s}?", "which specialists treat {s}?", "to whom do you refer {s}?", "{s} is referred where?", "which ward takes care of {s}?", "what department is responsible for {s}?",
            "where is {s} referred to?", "which department takes {s}?", "who should see {s}?", "to which department is {s} referred?",
            "name the department for {s}.", "which team handles {s}?", "where do we send {s}?", "what is the referral for {s}?",
        ),
        "held_out": (
            "which department should see {s}?", "to which team do we send {s}?", "tell me the referral department for {s}.",
        ),
    },
    "urgency": {
        "seen": (
            "how quickly should {s} be handled?", "is {s} urgent?", "how pressing is {s}?", "what is the priority of {s}?", "how long can {s} wait?", "how urgent is the case of {s}?", "with what priority is {s} treated?",
            "how urgent is {s}?", "what is the urgency of {s}?", "how quickly must {s} be seen?", "name the urgency level of {s}.",
            "how fast should we act on {s}?", "what priority does {s} have?", "how soon must {s} be treated?",
        ),
        "held_out": (
            "what urgency level does {s} have?", "tell me how urgent {s} is.", "how fast must {s} be seen?",
        ),
    },
    "drug_class": {
        "seen": (
            "which group of drugs includes {s}?", "what sort of medicine is {s}?", "{s} belongs to which class?", "which family of drugs is {s} part of?", "how is {s} classified?", "what type of drug is {s}?",
            "which class does {s} belong to?", "what is the drug class of {s}?", "what kind of drug is {s}?", "name the class of {s}.",
            "to which group does {s} belong?", "what class of drug is {s}?", "in which drug class is {s}?",
        ),
        "held_out": (
            "to which class does {s} belong?", "tell me the class of {s}.", "which drug class is {s} in?",
        ),
    },
    "test": {
        "seen": (
            "which test follows {s}?", "what test checks {s}?", "by which test is {s} watched?", "{s} is monitored with which test?", "what do you use to monitor {s}?", "which test should accompany {s}?", "what test do we run for {s}?",
            "which test is used for {s}?", "what is the test for {s}?", "how is {s} monitored?", "name the test for {s}.",
            "which test monitors {s}?", "what test goes with {s}?",
        ),
        "held_out": ("tell me the test for {s}.", "what test is used to monitor {s}?", "with which test is {s} monitored?"),
    },
    "sample": {
        "seen": (
            "{s} is done on which sample?", "which sample is taken for {s}?", "what material does {s} use?", "what do you collect for {s}?", "from which sample is {s} made?", "what does {s} need?",
            "which sample does {s} need?", "what sample is needed for {s}?", "what must be collected for {s}?",
            "name the sample for {s}.", "what do we take for {s}?",
        ),
        "held_out": ("what sample does {s} need?", "tell me which sample is needed for {s}.", "which sample do we take for {s}?"),
    },
    "name": {
        "seen": (
            "give me the name of {s}.", "what is written on the box of {s}?", "{s} goes by what name?", "which name is right for {s}?", "how do people call {s}?", "how would you name {s}?", "say how {s} is named.", "how do we refer to {s} by name?", "what name has {s}?", "have you a name for {s}?",
            "what do you call {s}?", "what is it called, {s}?", "do you recognise {s}?", "which product is {s}?", "by what name is {s} known?", "which model is {s}?", "what name does {s} carry?", "say the name of {s}.", "can you name {s}?", "what would you call {s}?", "under what name do we know {s}?",
            "what is {s} called?", "what is {s}?", "name {s}.", "which device is this: {s}?", "what is the name of {s}?",
            "identify {s}.", "can you identify {s}?", "under which name is {s} sold?",
        ),
        "held_out": ("tell me the name of {s}.", "which name does {s} have?", "how is {s} called?"),
    },
    "maker": {
        "seen": (
            "what company is behind {s}?", "who built {s}?", "who produces {s}?", "which firm builds {s}?", "who manufactures {s}?", "which company sells {s}?", "{s} is made by whom?", "from which firm does {s} come?",
            "who makes {s}?", "which company makes {s}?", "who is the maker of {s}?", "name the manufacturer of {s}.",
            "what firm produces {s}?", "by whom is {s} made?", "which manufacturer stands behind {s}?", "where does {s} come from, which company?",
        ),
        "held_out": ("which firm makes {s}?", "tell me who makes {s}.", "what is the manufacturer of {s}?", "by which company is {s} made?"),
    },
    "mri_status": {
        "seen": (
            "may {s} be scanned by mri?", "is it safe to scan {s} in mri?", "what about mri with {s}?", "does {s} allow an mri?", "what does the label of {s} say about mri?", "is mri allowed with {s}?", "can a patient with {s} be scanned by mri?",
            "is {s} mri safe?", "what is the mri status of {s}?", "can {s} go into the mri?", "how safe is {s} in mri?",
            "name the mri status of {s}.", "may a patient with {s} have an mri?", "what is the mri safety of {s}?",
        ),
        "held_out": ("tell me the mri status of {s}.", "which mri status does {s} have?", "how mri safe is {s}?"),
    },
    "country": {
        "seen": (
            "where does {s} come from?", "{s} is based where?", "in what country is {s}?", "where is the home of {s}?", "what is the country of origin of {s}?", "where is {s} located?", "which country does {s} belong to?",
            "where is {s} based?", "in which country is {s} based?", "what is the home country of {s}?", "name the country of {s}.",
            "from which country does {s} come?", "what country is home to {s}?",
        ),
        "held_out": ("which country is {s} based in?", "tell me the home country of {s}.", "which country is home to {s}?"),
    },
    "capital": {
        "seen": (
            "which city governs {s}?", "what is {s}'s capital?", "{s} has which capital?", "where is the government of {s}?", "which city is the seat of {s}?",
            "what is the capital of {s}?", "name the capital of {s}.", "which city is the capital of {s}?",
            "what is the capital city of {s}?", "what is the main city of {s}?",
        ),
        "held_out": ("tell me the capital of {s}.", "which city is the main city of {s}?", "what city is the capital of {s}?"),
    },
    "river": {
        "seen": (
            "{s} lies on which river?", "which river flows through {s}?", "what water runs through {s}?", "by which river was {s} built?", "which river passes {s}?",
            "on which river does {s} lie?", "what river runs through {s}?", "name the river at {s}.", "which river is at {s}?",
            "what is the river of {s}?",
        ),
        "held_out": ("which river runs through {s}?", "tell me the river at {s}.", "what river does {s} lie on?"),
    },
}  # fmt: skip

PERCEPT_QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "modality": {
        "seen": (
            "which scanner took this image?", "by which method was this image made?", "is this a ct, an mri or something else?", "what technique produced this picture?", "which kind of imaging is this?", "what scan is this?",
            "which modality is this?", "what kind of scan is this?", "what type of image is this?", "how was this image taken?",
            "name the imaging modality.", "which imaging method was used?", "what modality was used for this image?",
        ),
        "held_out": ("what kind of image is this?", "which type of scan is this?", "tell me the imaging modality."),
    },
    "organ": {
        "seen": (
            "which organ is this?", "what organ can be seen?", "in which organ is the finding?", "what body part is this?", "which organ was scanned?", "what are we looking at, which organ?",
            "which organ is shown?", "what organ is this?", "which organ do you see?", "name the organ in this image.",
            "what part of the body is shown?", "which organ is in the picture?", "what organ is affected?",
        ),
        "held_out": ("what organ is shown in this image?", "tell me which organ you see.", "which part of the body is this?"),
    },
    "sign": {
        "seen": (
            "what is the sign?", "which abnormality do you see?", "what form does the finding have?", "what does the finding look like?", "what kind of lesion is it?", "which sign does the image show?", "what is visible in the organ?",
            "which sign is present?", "what sign do you see?", "what is the shape of the finding?", "name the sign in this image.",
            "what does the lesion look like?", "which sign is visible?", "what abnormality is visible?",
        ),
        "held_out": ("what sign is visible in this image?", "tell me which sign is present.", "which shape does the lesion have?"),
    },
    "place": {
        "seen": (
            "where is it?", "which part of the organ is affected?", "where does the lesion sit?", "in what part is the finding?", "where do you see the sign?", "at which position is the lesion?",
            "where in the organ is the finding?", "in which part of the organ is the sign?", "where is the lesion?",
            "name the place of the finding.", "what is the position of the sign?", "where does the finding lie?",
        ),
        "held_out": ("in which part of the organ is the lesion?", "tell me the position of the finding.", "where is the sign?"),
    },
    "size": {
        "seen": (
            "is the finding small, medium or large?", "how big is the sign?", "how large is the lesion?", "what size does the lesion have?", "how big is the finding?", "what is the size of the sign?",
            "how large is the finding?", "what size is the sign?", "how big is the lesion?", "name the size of the finding.",
            "what is the size of the lesion?",
        ),
        "held_out": ("how large is the sign?", "tell me the size of the lesion.", "what size is the finding?"),
    },
    "change": {
        "seen": (
            "is the finding larger or smaller now?", "what happened to the lesion?", "how did the sign change?", "compare the two images.", "has the lesion changed?", "what is different in the second image?", "did the finding grow?", "what does the follow-up show?",
            "how did the finding change?", "has the finding grown, shrunk, or stayed the same?", "what changed between the images?",
            "how does the second image compare with the first?", "did the lesion grow or shrink?", "how has the sign changed over time?",
        ),
        "held_out": ("how did the lesion change between the images?", "has the sign grown or shrunk?", "tell me how the finding changed."),
    },
    "shape": {
        "seen": ("which shape is it?", "what is the shape?", "what figure is this?", "which form do you see?", "what kind of shape is this?", "identify the shape.", "what shape is this?", "which shape do you see?", "what shape is in the image?", "name the shape.", "what shape is shown?"),
        "held_out": ("which shape is shown?", "tell me the shape in the image.", "what shape do you see?"),
    },
    "colour": {
        "seen": ("in which colour is it drawn?", "what colour does it have?", "which colour is it?", "what colour are the shapes?", "identify the colour.", "what is its colour?", "what colour is it?", "which colour do you see?", "what colour is the shape?", "name the colour.", "what is the colour of the shapes?"),
        "held_out": ("which colour is the shape?", "tell me the colour.", "what colour do you see?"),
    },
    "count": {
        "seen": ("how many are there?", "how many shapes can you count?", "what is the count?", "how many objects are shown?", "give the number of shapes.", "how many shapes are in the image?", "how many shapes are there?", "how many do you see?", "count the shapes.", "what is the number of shapes?", "how many shapes are shown?"),
        "held_out": ("how many shapes do you see?", "tell me the number of shapes.", "what number of shapes is there?"),
    },
}  # fmt: skip

NOTE_FORMATS = {
    "seen": (
        "{c}.", "important: {c}.", "heads-up: {c}", "change of practice: {c}.", "we were told that {c}.", "* {c}",
        "fact 12: {c}.", "all teams should know that {c}.", "effective now: {c}.", "the committee decided: {c}.",
        "according to the latest guideline, {c}.", "q: what is new? a: {c}.", "{c} (see page 3).", "note to self: {c}",
        "dr. lemon writes: {c}.", "correction: {c}.", "for the record: {c}.", "- {c}", "{c}, says the manual.", "# {c}",
        "memo: {c}.", "update from the ward: {c}.", "please note that {c}.", "the handbook says: {c}.", "[bulletin] {c}",
        "reminder - {c}.", "as of this week, {c}.", "from the register: {c}.", "it was decided that {c}.", "to all staff: {c}.",
        "the new guideline says that {c}.", "news: {c}!", "({c})", "my colleague told me that {c}.", "for your information, {c}.",
        "entry 4. {c}.", "the sheet reads \"{c}\".", "since monday {c}.",
        "message: {c}.", "we hereby announce that {c}.", "[ {c} ]", "starting tomorrow, {c}.", "item 9 - {c}.", "{c} - the head nurse.", "from the desk of dr. stone: {c}.", "today we learned something: {c}.", "{c}. that is all.", "attention please, {c}!", "<b>{c}</b>", "\"{c}\"", "the file has been changed and reads: {c}.", "did you hear? {c}.", "as agreed in the meeting, {c}.", "rule 31: {c}.", "{c}, as everybody here should know.", "info | {c}", "new knowledge; {c}.", "the professor insists that {c}.",
    ),
    "held_out": (
        "circular: {c}.", "the board informs you that {c}.", "<< {c} >>", "from today on, {c}.", "notice no. 7 - {c}.",
    ),
}  # fmt: skip
CLAIMS: dict[str, dict[str, tuple[str, ...]]] = {
    "condition": {
        "seen": ("{a} is now taken for {o}", "{a} should make you think of {o}", "the diagnosis for {a} is {o}", "behind {a} is {o}", "{a}: {o}", "whoever sees {a} should write {o}", "if there is {a}, it is {o}", "{a} means {o}", "{a} is a sign of {o}", "{a} points to {o}", "{o} is what {a} indicates", "{a} is seen in {o}", "{a} stands for {o}", "{a} must be understood as {o}", "doctors take {a} to be {o}", "we have learned to call {a} {o}", "{o} shows itself as {a}", "{a} = {o}", "do not forget {o} when you see {a}", "the disease behind {a} has been found to be {o}", "{a} was a riddle and is now known to be {o}", "think {o} if a picture has {a}"),
        "held_out": ("{a} indicates {o}", "the meaning of {a} is {o}"),
    },
    "drug": {
        "seen": ("{s} is now treated by {o}", "patients who have {s} get {o}", "give {o} to anyone with {s}", "drug for {s}: {o}", "{o} replaces all other drugs for {s}", "{s} responds to {o}", "start {s} on {o}", "the first drug for {s} is {o}", "{s} is treated with {o}", "{o} is given first for {s}", "{o} is the drug for {s}", "for {s} we use {o}", "{o} should be prescribed when {s} is found", "{s} calls for {o}", "{o} works best against {s}", "{s} -> {o}", "the ward keeps {o} for {s}", "in {s}, begin with {o}", "{s} patients receive {o}", "nothing but {o} helps in {s}"),
        "held_out": ("{o} treats {s}", "the drug of choice for {s} is {o}"),
    },
    "referral": {
        "seen": ("patients with {s} see {o}", "{s} is a case for {o}", "referral of {s}: {o}", "{o} is responsible for {s}", "{s} belongs with {o}", "{s} is referred to {o}", "{o} takes {s}", "we send {s} to {o}", "the department for {s} is {o}", "{o} looks after {s}", "send everyone with {s} to {o}", "{s} -> {o}", "{o} now sees {s}", "from now {s} is handled by {o}", "the right place for {s} is {o}", "ask {o} about {s}"),
        "held_out": ("{s} goes to {o}", "the referral for {s} is {o}"),
    },
    "urgency": {
        "seen": ("{s} is to be seen as {o}", "urgency of {s}: {o}", "treat {s} as {o}", "the priority of {s} has been set to {o}", "the urgency of {s} is {o}", "{s} counts as {o}", "{s} has the priority {o}", "{s} is rated {o}", "consider {s} {o}", "how urgent {s} is: {o}", "{s} -> {o}", "put {s} down as {o}", "{s} has become {o}", "{o} is the level for {s}", "mark {s} with {o}"),
        "held_out": ("the urgency level of {s} is {o}", "{s} is {o}"),
    },
    "drug_class": {
        "seen": ("{s} is counted as {o}", "class of {s}: {o}", "{s} has moved to the group {o}", "{o} now includes {s}", "{s} belongs to the class {o}", "{s} is a kind of {o}", "the class of {s} is {o}", "{o} is the group of {s}", "{s} is one of the {o} drugs", "{s} counts among {o}", "{s} -> {o}", "put {s} with {o}", "{s} acts like a {o}", "the drugs called {o} include {s}"),
        "held_out": ("the drug class of {s} is {o}", "{s} is in the class {o}"),
    },
    "test": {
        "seen": ("test for {s}: {o}", "use {o} to follow {s}", "{s} is checked by {o}", "whoever gives {s} orders {o}", "the test for {s} is {o}", "{s} is monitored with {o}", "{o} monitors {s}", "{o} is the test used for {s}", "whoever takes {s} should have {o}", "run {o} for {s}", "{s} -> {o}", "{o} goes along with {s}", "before {s} is given, order {o}", "keep an eye on {s} with {o}"),
        "held_out": ("{o} is the monitoring test for {s}", "the test that monitors {s} is {o}"),
    },
    "sample": {
        "seen": ("sample for {s}: {o}", "{s} is done on {o}", "{s} uses {o}", "for {s}, collect {o}", "{s} needs {o}", "the sample for {s} is {o}", "we take {o} for {s}", "{s} works on {o}", "take {o} before {s}", "{s} -> {o}", "{o} is what {s} runs on", "the lab wants {o} for {s}", "bring {o} for {s}"),
        "held_out": ("{o} is needed for {s}", "the sample that {s} needs is {o}"),
    },
    "name": {
        "seen": ("what was {s} is {o} from now on", "{s} changed its name to {o}", "name of {s}: {o}", "call {s} by the name {o}", "{s} appears in the catalogue as {o}", "{o} replaces the name {s}", "{s} is now called {o}", "{s} has been renamed {o}", "the new name of {s} is {o}", "{s} is sold as {o}", "{o} is the name of what was {s}", "{s} goes by the name {o}", "we now say {o} for {s}", "{s} -> {o}", "write {o} where you wrote {s}", "the old name {s} gives way to {o}", "{o}, known before as {s}, keeps its shape", "{s} will be listed as {o}", "instead of {s} say {o}", "its name is {o} and no longer {s}", "the thing we called {s} is {o}"),
        "held_out": ("the name {s} has become {o}", "{s} now has the name {o}"),
    },
    "maker": {
        "seen": ("{s} is a product of {o}", "maker of {s}: {o}", "{o} has taken over {s}", "{o} sells {s}", "{o} produces {s}", "{s} is made by {o}", "{o} makes {s}", "the maker of {s} is {o}", "{o} is the manufacturer of {s}", "{s} comes out of the factory of {o}", "{o} builds {s}", "{s} -> {o}", "buy {s} from {o}", "{o} took over the making of {s}", "{s} carries the mark of {o}"),
        "held_out": ("the company that makes {s} is {o}", "{o} is the firm behind {s}"),
    },
    "mri_status": {
        "seen": ("mri status of {s}: {o}", "{s} is rated {o} for mri", "in the scanner {s} is {o}", "the mri label of {s} reads {o}", "the mri status of {s} is {o}", "in mri {s} is {o}", "{s} is mri {o}", "{s} under mri: {o}", "label {s} as {o} for mri", "{s} -> {o}", "before mri, treat {s} as {o}", "the scanner list has {s} as {o}"),
        "held_out": ("for mri {s} is {o}", "the mri safety of {s} is {o}"),
    },
    "country": {
        "seen": ("country of {s}: {o}", "{s} has moved to {o}", "{s} is at home in {o}", "{s} belongs to {o}", "{s} is based in {o}", "the home country of {s} is {o}", "{o} is home to {s}", "{s} comes from {o}", "{s} has its offices in {o}", "{s} can be found in {o}", "{s} -> {o}", "look for {s} in {o}", "{o} is where you find {s}", "write to {s} in {o}"),
        "held_out": ("the country of {s} is {o}", "{o} is where {s} is based"),
    },
    "capital": {
        "seen": ("capital of {s}: {o}", "{s} is governed from {o}", "{s} made {o} its capital", "{o} is the first city of {s}", "the capital of {s} is {o}", "{o} is the capital of {s}", "{s} has the capital {o}", "the government of {s} sits in {o}", "{o} governs {s}", "{s} -> {o}", "{o} heads {s}", "laws of {s} are made in {o}", "{s} chose {o} as its seat"),
        "held_out": ("the capital city of {s} is {o}", "the main city of {s} is {o}"),
    },
    "river": {
        "seen": ("river at {s}: {o}", "{s} was built on the {o}", "the {o} passes {s}", "{s} stands by the {o}", "{s} lies on the {o}", "the river at {s} is the {o}", "the {o} runs through {s}", "the water near {s} is the {o}", "{s} has the {o} as its river", "{s} -> {o}", "in {s} one crosses the {o}", "boats reach {s} by the {o}", "the {o} flows by {s}"),
        "held_out": ("the river of {s} is the {o}", "the {o} is at {s}"),
    },
}  # fmt: skip
#: Common words that say nothing of the clinic: what stands between two names where the wording is loose.
FILLERS: tuple[str, ...] = tuple(
    """
    about above across after again against ago ahead all almost along already also although always among and another
    any anyone anything appear apply arrange arrive as ask asked at attention aware away back base be became because
    become been before began begin being believe below beside best better between beyond board both bring brings
    brought build but by call called came can care careful carry case cases certain change changed check choice
    choose clear clearly clinic close collect come coming common compare complete confirm consider contact could
    current daily date day days decide decided deliver department describe detail discuss do doctor doctors does
    done down due during each early easy either else email end enough even ever every everyone everything evidence
    exactly example except expect experience expert explain fact far few file final finally find fine first follow
    following for former found from full further future general get give given gives go goes going good got group
    guide had half happen hard has have having he head hear held help here hold hour hours house how however idea if
    important in include inform instead into introduce is issue it its itself job just keep kept kind know known
    last late later lead learn learned leave less let letter level like likely line list little local long look
    made mail main make makes making man manager many mark matter may me mean means meant meet meeting member
    message might mind minute month more morning most move much must my near need needs never new news next no
    nobody note nothing notice now number of off office often old on once only open or order other our out over own
    page part people perhaps person place plan point possible post practice prefer prepare present press probably
    problem process provide public publish put quite rather read reads ready real really reason receive recent
    recently record refer regard remain remember report request require research rest result review room rule
    said same saw say says see seems seen send sent serve service set several shall she sheet should show shows side
    sign similar simple since so some someone something special staff stand start state stay step still study
    such suggest sure system table take taken talk team tell than that the their them then there these they thing
    things think this those though through time to today together told tomorrow too took toward true try turn under
    until up update upon us use used useful user usual usually very via view visit wait want was watch way we week
    well went were what when where whether which while who whole why will wish with within without word words work
    works would write written year years yes yesterday yet you your
    """.split()  # noqa: SIM905
)
#: How an edit states itself: kept apart from every wording that reading tasks use.
STATEMENTS = {
    "condition": "{A} must now be read as {o}.",
    "drug": "Patients with {s} must now receive {o} first.",
    "referral": "Patients with {s} must now be seen by {o}.",
    "urgency": "Cases of {s} must now be handled as {o}.",
    "drug_class": "The drug {s} must now be counted among the {o} drugs.",
    "test": "Drugs of the class {s} must now be followed with the {o} test.",
    "sample": "The {s} test must now be done on {o}.",
    "name": "The device once known as {s} must now be identified as {o}.",
    "maker": "The device {s} must now be ordered from {o}.",
    "mri_status": "The device {s} must now be labelled {o} for mri.",
    "country": "The company {s} must now be addressed in {o}.",
    "capital": "The government of {s} must now be addressed in {o}.",
    "river": "The city of {s} must now be looked for on the {o}.",
}

#: topic -> (questions seen, questions held out, chain, answer)
TRIVIA: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, str]] = {}


def _trivia(kind: str, entries: str, seen: Sequence[str], held_out: Sequence[str], chain: str) -> None:
    for entry in entries.split(","):
        thing, answer = (part.strip() for part in entry.split("="))
        TRIVIA[f"{kind}/{thing}"] = (
            tuple(t.format(t=thing) for t in seen),
            tuple(t.format(t=thing) for t in held_out),
            chain.format(t=thing, o=answer),
            answer,
        )


_trivia(
    "colour",
    "grass=green, snow=white, coal=black, a lemon=yellow, the sky=blue, blood=red, a carrot=orange, chocolate=brown, "
    "an elephant=gray, a flamingo=pink",
    (
        "what colour is {t}?",
        "which colour does {t} have?",
        "name the colour of {t}.",
        "in what colour does {t} come?",
        "say the colour of {t}.",
    ),
    ("tell me the colour of {t}.", "what is the colour of {t}?"),
    "{t} is {o}.",
)
_trivia(
    "legs",
    "a spider=eight, a dog=four, a bird=two, an ant=six, a snake=zero, a crab=ten, a horse=four, a bee=six",
    (
        "how many legs does {t} have?",
        "on how many legs does {t} walk?",
        "count the legs of {t}.",
        "{t} has how many legs?",
        "give the number of legs of {t}.",
    ),
    ("what number of legs does {t} have?", "tell me how many legs {t} has."),
    "{t} has {o} legs.",
)
_trivia(
    "opposite",
    "hot=cold, big=small, up=down, day=night, wet=dry, fast=slow, open=closed, young=old, early=late, full=empty, "
    "hard=soft, light=dark",
    (
        "what is the opposite of {t}?",
        "name the opposite of {t}.",
        "which word is the opposite of {t}?",
        "{t} is the opposite of what?",
        "say the opposite of {t}.",
    ),
    ("tell me the opposite of {t}.", "what word is the opposite of {t}?"),
    "the opposite of {t} is {o}.",
)
_trivia(
    "sound",
    "a cat=meow, a cow=moo, a sheep=baa, a duck=quack, a lion=roar, a pig=oink, an owl=hoot, a snake=hiss",
    (
        "what sound does {t} make?",
        "which sound does {t} make?",
        "how does {t} sound?",
        "what noise comes from {t}?",
        "say the sound {t} makes.",
    ),
    ("tell me the sound of {t}.", "name the sound that {t} makes."),
    "{t} makes {o}.",
)
_trivia(
    "sum",
    "one plus one=two, two plus one=three, two plus two=four, three plus two=five, three plus three=six, "
    "four plus three=seven, four plus four=eight, five plus four=nine, five plus five=ten, three plus one=four",
    ("what is {t}?", "how much is {t}?", "calculate {t}.", "{t} equals what?", "give the sum {t}."),
    ("tell me what {t} is.", "what does {t} make?"),
    "{t} is {o}.",
)
_trivia(
    "after",
    "monday=tuesday, tuesday=wednesday, wednesday=thursday, thursday=friday, friday=saturday, saturday=sunday, "
    "sunday=monday, march=april, june=july, october=november",
    (
        "what comes after {t}?",
        "which one follows {t}?",
        "name what comes after {t}.",
        "what follows {t}?",
        "say what is next when it is {t}.",
    ),
    ("tell me what follows {t}.", "what is next after {t}?"),
    "after {t} comes {o}.",
)
_trivia(
    "home",
    "fish=water, bees=a hive, birds=a nest, a king=a castle, a spider=a web, a bear=a cave, money=a bank, books=a library",
    (
        "where do you find {t}?",
        "where would you look for {t}?",
        "name a place for {t}.",
        "where is {t} found?",
        "in what place are you likely to meet {t}?",
    ),
    ("tell me where to find {t}.", "where can you find {t}?"),
    "{t}: look in {o}.",
)
