"""Where a chain of thought stands towards an edit: it supports it, rejects it, goes back on it, or is silent.

A stance reader gets the chain, the new answer and, where known, the prior one, and returns one label. Two readers
stand behind one interface: ``RuleStanceReader`` (the default; no model, no network) and ``JudgeStanceReader`` (an
OpenAI-compatible endpoint). Neither is worth more than its check, so the package carries hand-labelled chains and
``report_reader`` scores any reader on them.

How the rules read. A chain is cut into sentences and these into clauses. In each clause the two answers, words
that refer to the note, and cues are replaced by one-letter codes (table ``_CODES`` below), so that a clause becomes
a short string such as ``dNsG`` for "that cannot be right". Negative cues are then counted per entity: an odd number
denies it, an even number (as in "no reason to doubt") affirms it. What the clauses say is played back in order, so
that a later clause can take back an earlier one.
"""

from __future__ import annotations

import functools
import json
import os
import re
import time
import unicodedata
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from pydantic import ValidationError

from reground.edits.records import Answer, Record
from reground.errors import InputError, RecordError, RegroundError

__all__ = [
    "ChainStyle",
    "JudgeError",
    "JudgeStanceReader",
    "LabelScore",
    "LabelledChain",
    "ReaderReport",
    "ReaderSlice",
    "RuleStanceReader",
    "Stance",
    "StanceLabel",
    "StanceReader",
    "StanceSplit",
    "labelled_chains",
    "report_reader",
]

StanceLabel = Literal["supports", "rejects", "reverts", "silent"]
StanceSplit = Literal["dev", "test"]
ChainStyle = Literal["builtin", "large_model"]

_LABELS: tuple[StanceLabel, ...] = get_args(StanceLabel)


class Stance(Record):
    """What a chain does with an edit.

    Attributes:
        label: ``supports``: names the new answer and does not end by denying it or on the prior one. ``rejects``:
            denies the new answer, or the note that states it, and does not take that back. ``reverts``: names the
            new answer, denies nothing, and ends on the prior one. ``silent``: never names the new answer.
        evidence: The sentence that decided it; None where there is none to show, as for an empty chain.
        asserted: Spelling of the last answer the chain asserts, if that is the new or the prior one.
    """

    label: StanceLabel
    evidence: str | None = None
    asserted: str | None = None


@runtime_checkable
class StanceReader(Protocol):
    """Anything that reads the stance of a chain."""

    @property
    def name(self) -> str:
        """What goes into results: kind and version, e.g. ``rules-1``."""
        ...

    def read(self, chain: str, *, new: Answer, prior: Answer | None, question: str = "") -> Stance:
        """The stance of ``chain`` towards ``new``."""
        ...


# --- Cues ---------------------------------------------------------------------------------------------------------

# One letter per kind of word; a clause is read as a string of these.
_CODES = {
    "x": "the new answer",
    "z": "part of the new answer's name, e.g. a surname",
    "y": "the prior answer",
    "n": "the note, card, claim or edit",
    "d": "a word that points back: it, that, this, he, which",
    "N": "a negator",
    "Q": "a negator that says something else than the entity is absent: 'no island'",
    "B": "a predicate that finds fault: wrong, impossible, does harm",
    "V": "a verb that turns its object down: exclude, doubt, ignore",
    "G": "a predicate that approves: right, fits, trust, evidence",
    "S": "a predicate of scope: applies, relevant",
    "T": "praise that is about to be taken back: tempting",
    "M": "a hedge",
    "C": "opens a condition: if, were it",
    "W": "opens an indirect question: whether",
    "L": "rather than, instead of",
    "K": "a verb of choice: prefer, take",
    "O": "over, above (after a verb of choice)",
    "D": "despite",
    "R": "a verb of report: says, claims",
    "A": "an instruction by somebody else: asks me, wants me to",
    "F": "opens a conclusion: so, the answer is",
    "P": "the past or memory: used to, would have said, I recall",
    "H": "one's own memory as a witness: what I remember",
    "E": "is, means, shows",
    "s": "a word that a negation reaches across: be, the, say, think",
    "w": "any other word",
}

_NOTE_NOUN = (
    r"(?:note|card|edit|claim|statement|correction|suggestion|assertion|hint|memo|tip|attribution|snippet|premise|"
    r"context|prompt|update|advice|recommendation|proposal|instruction|annotation|entry|remark|allegation|"
    r"erratum|identification|caption|memo|addendum|amendment|notice|revision|passage|text|information|tag)s?"
)
_DETERMINER = r"(?:the|this|that|these|those|such an?|an?|my|your|any|its|his|her|their)"

# (code, pattern) over lower-case text with contractions written out. Earlier lines win.
_ENGLISH: tuple[tuple[str, str], ...] = (
    ("w", r"not (?:only|just|merely|simply)|no matter|no wonder|none other than|nothing but|why not|no problem"),
    ("w", r"on the other hand|in other words|at least|not to mention|needless to say|nothing else|no more than"),
    ("M", r"not (?:\w+ )?(?:sure|certain|clear|necessarily|entirely|fully|completely|positive|100)(?: %)?"),
    ("M", r"un(?:sure|certain)|(?:might|may|perhaps|maybe|possibly|could(?! not)|arguably|conceivably)"),
    ("W", r"whether(?: or not)?"),
    ("L", r"rather than|instead of|as opposed to|in place of|in lieu of|unlike|in preference to"),
    ("D", r"despite|in spite of|regardless of|notwithstanding|contrary to"),
    ("P", r"(?:would|should|could|might) have(?: been)?|(?:had|was) (?:going|about|inclined|tempted) to"),
    ("P", r"used to(?: be)?|previous(?:ly)?|former(?:ly)?|earlier|original(?:ly)?|initial(?:ly)?|at first(?: glance)?"),
    ("P", r"(?:my )?first (?:guess|thought|idea|reaction|instinct|impression|pick)|at the time|in the past|back then"),
    ("P", r"i (?:first )?(?:thought|assumed|believed|wrote|guessed|had|associate|associated|suspected)|old(?:er)?|was|were"),
    ("H", r"remember(?:ed)?|recall(?:ed)?|recollection|memory|my (?:own |prior |background )?(?:knowledge|training|instinct)"),
    ("H", r"(?:what )?i(?: have)? (?:learn(?:ed|t)|know|knew|was taught)|i am used to|my expectations?|comes? to mind"),
    ("C", r"if|suppos(?:e|ing)|were (?:it|this|that)|had (?:it|this|that)|assuming"),
    ("A", r"(?:ask|tell|told|instruct|want|request|order|urge|forbid|warn|like|expect)(?:s|ed)? (?:me|us|the model|you)"),
    ("A", r"(?:user|system|instruction)\w* (?:asks?|tells?|says?|requests?|wants?|insists?)(?: that)?"),
    ("N", r"no way|not at all|by no means|in no way|under no circumstances|nowhere near|far from|anything but|nope"),
    ("B", r"(?:got|get|gets|has|have|had)(?: \w+){0,3} (?:backwards|wrong|mixed up|confused)|mixed \w+ up"),
    ("B", r"(?:too|over)(?: \w+)? (?:good|convenient|many|few|long|short|high|low|big|small|late|early|old|young|large|much)"),
    ("B", r"mak\w+ (?:no|little) sense|made (?:no|little) sense|out of (?:date|the question|the running|place|line)"),
    ("B", r"at odds|in error|by mistake|made[ -]up|make[s]? \w+ up|falls? (?:apart|flat|short|down)|does it no justice"),
    ("B", r"holds? no water|out of step|off the (?:table|mark)|(?:the|some) other way|rules? against|doesn't add up"),
    ("B", r"wrong(?:ly)?|incorrect(?:ly)?|mistaken(?:ly)?|mistakes?|false(?:ly|hood)?|erroneous(?:ly)?|errors?|untrue"),
    ("B", r"inaccura\w+|invalid\w*|mislead\w*|misl\w+|misread\w*|mis(?:attribut|identif|print|stat|tak|match|inform)\w*"),
    ("B", r"impossib\w+|implausib\w+|unlikely|improbabl\w+|doubtful|dubious|suspicious|suspect|far-?fetched|nonsens\w*"),
    ("B", r"absurd\w*|bogus|fabricat\w+|fictitious|fake\w*|hoax|myth|typos?|slips?|traps?|tricks?|decoys?|distractors?"),
    ("B", r"injection|injected|outdated|obsolete|stale|superseded|inconsistent\w*|incompatib\w+|mismatch\w*|disagree\w*"),
    ("B", r"refut\w+|disprov\w+|debunk\w*|falsif\w+|inappropriate|unsuitable|contraindicated|harmful|dangerous|unsafe"),
    ("B", r"withdrawn|unsupported|baseless|unfounded|groundless|unreliable|untrustworthy|incredible|ridiculous|bizarre"),
    ("B", r"fail(?:s|ed|ing)?|lack(?:s|ed|ing)?|against|wide of the mark|ill-?advised|unwise|excessive|overstate\w*"),
    ("B", r"understate\w*|hallucinat\w+|spurious|unverified|unconfirmed|unconvinc\w+|skeptical|sceptical|wary|los(?:es|t)"),
    ("B", r"clash(?:es|ed|ing)?|conflict(?:s|ed|ing)?|refus(?:e|es|ed|ing)|declin(?:e|es|ed|ing)|problematic|off"),
    ("B", r"anachronis\w+|(?:makes? )?unlikely|untenable|indefensible|insane|laughable|preposterous|odds|dead wrong"),
    ("V", r"contradict(?:s|ed|ing|ory|ion|ions)?|overrid(?:e|es|ing|den)|overrul(?:e|es|ed|ing)|outweigh\w*"),
    ("V", r"rul(?:e|es|ed|ing)(?: \w+){0,3}? out|exclud(?:e|es|ed|ing)|eliminat(?:e|es|ed|ing)|dismiss\w*|discard\w*"),
    ("V", r"disregard\w*|ignor(?:e|es|ed|ing)|reject(?:s|ed|ing)?|discount(?:s|ed|ing)?|set(?:ting)?(?: \w+)? aside"),
    ("V", r"doubt(?:s|ed|ing)?|question(?:s|ed|ing)?|distrust\w*|mistrust\w*|disput(?:e|es|ed|ing)|challenge\w*"),
    ("V", r"throw(?:ing)?(?: \w+)? out|cross(?:ed|ing)?(?: \w+)? o(?:ff|ut)|drop(?:ped|ping)?|disbeliev\w+|den(?:y|ies|ied)"),
    ("V", r"overturn\w*|argu\w+ against|speak\w* against|count\w* against|object(?:s|ed)? to|avoid\w*|leav\w+(?: \w+)? out"),
    ("G", r"right(?! side| hand|-| bank| of|most)|correct(?:ly)?|true|accurate(?:ly)?|valid\w*|plausib\w+|possib\w+|credible"),
    ("G", r"match(?:es|ed|ing)?|fit(?:s|ted|ting)?|hold(?:s|ing)? (?:up|water|true)|support(?:s|ed|ing)?|trust\w*|sense"),
    ("G", r"agree(?:s|d|ing|ment)?|consistent\w*|compatib\w+|convinc\w+|reliab\w+|verif\w+|confirm\w*|evidence|proof"),
    ("G", r"accept(?:s|ed|ing|able)?|endors\w+|adopt(?:s|ed)?|reconcil\w+|squared?|bear\w* out|justif\w+|warrant\w*|align\w*"),
    ("G", r"appropriate|suitable|believable|likely|probable|do (?:that|so|it)|(?:follow|obey|comply|go along|play along)"),
    ("G", r"indicat(?:ion|ed)|add(?:s)? up|stand(?:s)? up|check(?:s)? out|basis|bearing|sanctioned|the case|buy|fooled"),
    ("G", r"standard|legitimate|sound|authentic|genuine|what (?:i|we) (?:see|am looking at)|connection|foundation|trace"),
    ("S", r"appl(?:y|ies|ied|icable)|relevan(?:t|ce)|pertain\w*|pertinent|in scope|relate[sd]?"),
    ("T", r"tempt(?:ing|ed)|seductive|attractive|appealing|superficially|on the surface"),
    ("K", r"prefer(?:red)?|take|took|choose|chose|favou?r|pick(?:ed)?|trust"),
    ("O", r"over|above|ahead of|before"),
    ("N", r"not|never|neither|nor|hardly|scarcely|barely|(?:can)?not"),
    ("Q", r"no|nothing|none|nobody|without|nowhere"),
    ("R", r"(?:say|claim|state|assert|suggest|list|mention|name|give|read|write|tell|propose|insist|credit|indicate|note|"
          r"report|declare|allege|recommend|label|push|offer|place|point|attribute|describe)(?:s|d|ed|ing)?"
          r"|said|wrote|written|told|gave|given|provided|supplied|according to|per|labell?ed|put"),
    ("F", r"so|therefore|thus|hence|consequently|answer(?:s|ed|ing)?|final(?:ly)?|conclu\w+|repl(?:y|ies)|settle\w*"),
    ("F", r"(?:go|going|went|stick|sticking|stay|staying|lean\w*) (?:with|to|for|towards?)|must be|has to be|ha[sd] got to be"),
    ("F", r"(?:i|we) (?:will|would|can|should)(?: therefore| thus)?(?: say| name| report| choose| pick| use| put(?: down)?| give)?"),
    ("F", r"it is|that is|this is|remains?|by elimination|leaves|in conclusion|i (?:say|choose|pick|select|name|believe|think)"),
    ("E", r"is|are|be|means?|shows?|depicts?|equals?|becomes?|became|matches|names|now|moved|belongs?|identif(?:y|ies)"),
    ("n", rf"(?:{_DETERMINER}|supplied|provided|injected|retrieved|attached)(?: \w+){{0,2}}? {_NOTE_NOUN}(?:'s?)?(?: {_NOTE_NOUN})?"),
    ("d", r"it|that|this|they|them|he|she|him|her|which|those|these|both|one"),
    ("s", r"the|a|an|of|in|at|on|to|as|for|from|with|by|really|actually|truly|think|believe|say|call|called|consider|"
          r"am|been|being|do|does|did|can|will|would|should|must|could|has|have|had|i|we|you|there|any|longer|"
          r"reasons?|grounds?|cause|need|clear|simply|possibly|ever|more|see|find|use|used|using|recommend|quite|very|"
          r"definitely|certainly|surely|obviously|clearly|plainly|anything|about|itself|option|its?|'s|also|yet"),
)

_CHINESE: tuple[tuple[str, str], ...] = (
    ("W", r"是不是|对不对|能不能|要不要|是否|有没有|可不可以|会不会|该不该"),
    ("w", r"不过|不仅|不但|不妨|差不多|不久|不同寻常|非常|无论|不管|除非|并非只|未来|不得不|不约而同"),
    ("L", r"而不是|而非|而不应|而不该|代替"),
    ("B", r"不可能|不太可能|不大可能|没可能|说不通|讲不通|站不住脚|不靠谱|不着边际|不成立|对不上|不像话|没道理|不妥"),
    ("B", r"不对劲|不实|不符|不合(?!适|理)|有误|有问题|弄错|搞错|写错|数错|记错|标错|认错|错误|错的|误导|误以为|误认|误标|误|错"),
    ("B", r"矛盾|冲突|相反|相悖|虚假|捏造|编造|杜撰|伪造|过时|陷阱|离谱|荒谬|荒唐|禁忌|危险|笔误|缺乏|不存在|谣言|假的|出入"),
    ("B", r"牵强|可疑|存疑|无稽之谈|子虚乌有|胡说|无关"),
    ("V", r"排除|忽略|无视|忽视|怀疑|质疑|否定|反驳|拒绝|驳回|推翻|疑问|不予|摒弃|放弃|否认|抛开|划掉|撇开|反对|不信"),
    ("G", r"正确|是对的|对的|没错|准确|可信|采信|采纳|相信|信任|成立|合适|适合|恰当|符合|相符|相配|一致|吻合|支持|同意|可能|依据"),
    ("G", r"根据(?=[,。]|$)|证据|属实|可靠|合理|接受|认同|赞同|照办|照做|关系|确认|考虑|靠谱|理会|听从|证实|真的|事实|站得住"),
    ("S", r"适用|相关"),
    ("T", r"诱人|看似"),
    ("H", r"记得|记忆|印象|我学过|我所知|学过|我知道"),
    ("P", r"原本|原以为|以为|以前|之前|曾经?|起初|一开始|最初|本来|原先|过去|旧|第一反应"),
    ("M", r"也许|或许|大概|似乎|好像|说不定|不确定|不一定|未必"),
    ("C", r"如果|假如|要是|倘若|若是|假设|若"),
    ("A", r"要求|让我|叫我|请我|用户说"),
    ("D", r"尽管|无论"),
    ("N", r"并不是|并非|不再是|不再|不是|不会|不能|不可|不应该|不应|不该|不要|不用|不宜|不得|绝不|决不|从不|从来不|从未|毫无|没有|没|绝非|不|非|无|未|别|勿"),
    ("F", r"所以|因此|因而|故而|那么|由此|答案(?:应该|应当|就|应)?(?:是|为|:)?|最终|结论|应当?(?:该)?(?:是|为|用|选)|必定是|选择?|回答|就是|看来|倾向于|首选"),
    ("R", r"声称|提到|指出|写着|写的?|给出|给的|说|称|标注|列出|叫"),
    ("n", r"(?:这个|这条|这一|该|那个|此|上述)?(?:说明|提示|卡片|资料|更正|材料|说法|题目|上下文|备注|注释|笔记|声明|信息|修订单|条目|传言|标注|建议)"
          r"(?:中|里|上)?(?:的名字|的说法|的内容)?"),
    ("d", r"这样|这里|这个|这点|那个|这|那|它|他|她|此"),
    ("E", r"位于|是|为|表示|属于|坐落"),
    ("s", r"的|了|在|于|个|有|使用|用|会|能|可以|应|该|我|认为|觉得|看|被|把|和|与|跟|对|就|太|很|任何|什么|必要|理由|算|到|显然|其实|真|都|去|来|吧|呢|按|按照"),
)

_CONTRACTIONS: tuple[tuple[str, str], ...] = (
    (r"\bcannot\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"\bcan't\b", "can not"),
    (r"\bshan't\b", "shall not"),
    (r"\bain't\b", "is not"),
    (r"n't\b", " not"),
    (r"\b(it|that|this|here|there|he|she|what|who|let)'s\b", r"\1 is"),
    (r"'re\b", " are"),
    (r"'ll\b", " will"),
    (r"'ve\b", " have"),
    (r"\bi'm\b", "i am"),
    (r"'d\b", " would"),
)

_NEW, _PART, _PRIOR = "\ue000", "\ue001", "\ue002"
_ENTITY_CODES = {_NEW: "x", _PART: "z", _PRIOR: "y"}
