"""The words a stance is read from: which cue carries which code, in English and Chinese.

``reground.evaluation.stance`` turns a clause into a string of the letters in ``CODES``. Which letter a word gets is
decided here and nowhere else. A table is a sequence of (code, cues); cues are regular expressions separated by
`` | ``, over lower-case text with contractions written out. Earlier lines win over later ones, so that "not only"
is met before "not". Words in braces, such as ``{note}``, stand for the shared patterns in ``_PARTS``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["CHINESE_CUES", "CODES", "CONTRACTIONS", "ENGLISH_CUES", "NOTE_NOUN", "cues"]

#: One letter per kind of word.
CODES: dict[str, str] = {
    "x": "the new answer",
    "z": "part of the new answer's name, e.g. a surname",
    "y": "the prior answer",
    "n": "the note, card, claim or edit",
    "d": "a word that points back: it, that, this, he, which",
    "N": "a negator",
    "I": "yes, indeed",
    "Q": "the word 'no', a negator only before a word it can turn round: 'no evidence', not 'no island'",
    "U": "nothing, nobody, without: a negator only if the clause also judges",
    "B": "a predicate that finds fault: wrong, impossible, does harm",
    "V": "a verb that turns its object down: exclude, doubt, ignore",
    "X": "a verb by which one thing beats another: overrides, outweighs",
    "G": "a predicate that approves: right, fits, trust, evidence",
    "S": "a predicate of scope: applies, relevant",
    "J": "a predicate that finds it out of scope: irrelevant",
    "T": "praise that is about to be taken back: tempting",
    "Z": "opens a question that expects no answer: why would anyone",
    "o": "or, which joins two faults into one",
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

#: Nouns by which a chain refers to what it was told.
NOTE_NOUN = (
    r"(?:note|card|edit|claim|statement|correction|suggestion|assertion|hint|memo|tip|attribution|snippet|premise|"
    r"context|prompt|update|advice|recommendation|proposal|instruction|annotation|entry|remark|allegation|"
    r"erratum|identification|caption|addendum|amendment|notice|revision|passage|text|information|tag|record|"
    r"memory(?: entry| bank)?|user|source|knowledge(?: base| entry)?|database|"
    r"guideline|message|excerpt|fact(?! that\b| is that\b| remains\b))s?"
)
#: The same without a determiner, as terse writers put it at the head of a clause: "Note inconsistent with imaging".
_BARE_NOTE = r"(?:note|claim|edit|card|memo|context|prompt|update|record|statement)(?! that\b|:)"
#: Words that find fault by their prefix. Only stems that judge a claim: "unenhanced" and "missing" describe a picture.
_PREFIXED = (
    r"(?:un(?:accept|believ|confirm|convinc|corrobor|ethic|fit|found|help|justif|likely|persua|physic|proven|reali[sz]|"
    r"reason|reliab|safe|scientif|sound|sourc|substant|suit|support|tenab|think|trust|tru|verif|warrant|wise)|"
    r"in(?:accura|admiss|advis|appropri|compatib|conceiv|congru|consist|correct|credib|defens|effect|explic|sane|valid)|"
    r"im(?:plausib|possib|probab)|dis(?:honest|ingenu|inform|agree|believ|prov|service)|counter(?:factual|prod)|"
    r"irrespons|illogic|non-?(?:sens|starter|exist|factual)|(?:over|under)(?:estimat|diagnos|count|stag|stat|dos)|"
    r"sub-?(?:therapeutic|optimal|standard)|mis(?!s|t(?:s|y|er|le|ral|ress)?\b|cell|carr|er|chie)\w\w)\w*"
)
#: A judgement that may stand before such a noun; it must be read, not skipped: "that is a false statement".
_FAULTY = rf"(?:false|wrong|erroneous|faulty|bogus|fake|bad|{_PREFIXED})"
#: What may stand between a determiner and a noun of the note: one word, and no verb or article.
_GAP = rf"(?: (?!(?:is|was|the|an?|in|of|to|by|{_FAULTY})\b)[\w'-]+)??"
#: What a chain trusts when it trusts its eyes.
_SIGHT = r"(?:images?|pictures?|photo\w*|eyes?|i see|visuals?|scans?|pixels|sign|evidence)"
_DETERMINER = r"(?:the|this|that|these|those|such an?|an?|my|your|any|its|his|her|their)"

#: What a good answer does, as used only in the negative: "that does not work".
_STAND = (
    r"(?:work|hold|belong|follow|ring true|sit (?:right|well)|stand|wash|fly|pan out|line up|compute|go together|"
    r"go with the (?:image|picture|photo|scan))"
)
#: What a chain may call an answer it points back to.
_IDEA = (
    r"(?:name|answer|value|number|date|figure|idea|notion|possibility|hypothesis|theory|reading|interpretation|"
    r"diagnosis|option|conclusion)"
)

#: After "bad", "poor" and "weak": no word for a claim, so that "weak pulse" is a finding and "weak case" a fault.
_NOT_OF_CLAIMS = (
    rf"(?!{NOTE_NOUN}|{_IDEA}|argument|case|match|fit|evidence|choice|candidate|reason|support|basis|guess|"
    r"for|as|at|and|or|in|here|too)"
)

#: What is wrong with a picture, not with what it is said to show.
_DIM = r"(?:bad|poor|weak|faint|off)"
_LOOK = (
    r"(?:light(?:ing)?|image|photo\w*|picture|scan|contrast|resolution|focus|view|angle|visibility|exposure|colou?rs?)"
)

#: What nothing a chain was told may do to what it sees.
_BEAT = r"(?:overrid|overrul|outweigh|trump|ignor|disregard|overlook|dismiss|discount)"

#: The same in Chinese.
_CHINESE_NOTE = (
    r"(?:(?:这[个条一]|该|那个|此|上述|所谓的?|给[出定]的|(?:用户|系统)?(?:提供|给)的|新的?|更新后的|编辑后的|补充)*"
    r"(?:说明|提示|卡片|资料|更正|材料|说法|题[目干]|上文|上下文|备注|注释|笔记|声明|信息|消息|修订单?|条目|传言|标注|建议|更新|编辑|"
    r"记忆(?:库|条目)|知识库)|(?:这[个条一]|所谓的?|新的?|更新后?的|编辑后?的|注入的|给[出定]的)(?:事实|知识))"
    r"(?:后的)?(?:信息|事实|内容|知识)?[中里上]?(?:的名字|的说法|的内容|的答案)?"
)

#: What nobody wants to do with a falsehood.
_SPREAD = r"(?:repeat|spread|propagate|report|state|write(?: down)?|give|provide|pass on|copy|accept|endorse)"

_PARTS = {
    "faulty": _FAULTY,
    "spread": _SPREAD,
    "zh_note": _CHINESE_NOTE,
    "beat": _BEAT,
    "idea": _IDEA,
    "stand": _STAND,
    "prefixed": _PREFIXED,
    "note": NOTE_NOUN,
    "bare": _BARE_NOTE,
    "not_of_claims": _NOT_OF_CLAIMS,
    "dim": _DIM,
    "it": r"(?:(?:the|this|that|it|them|these|those|my|your)\b|\s?[\ue000-\ue002])",
    "look": _LOOK,
    "det": _DETERMINER,
    "gap": _GAP,
    "sight": _SIGHT,
}

ENGLISH_CUES: tuple[tuple[str, str], ...] = (
    (
        "w",
        r"""
        {det}(?: [\w'-]+)? {note} (?:now )?(?:says?|states?|claims?|reads?|said) (?:otherwise|differently) |
        i (?:might|may|could) (?:well )?be (?:wrong|mistaken) | if i am (?:not )?(?:wrong|mistaken) |
        unless i am(?: \w+)? (?:wrong|mistaken) | not only |
        (?<!should )(?<!can )(?<!could )(?<!would )(?<!will )not (?:just|merely|simply) | no wonder |
        none other than | nothing but | why not | no problem |
        (?:trust|believe|rely on|follow) (?:the|my|what)(?: \w+)? {sight} |
        (?:go (?:by|with)|stick (?:to|with)) (?:the|my|what)(?: \w+)? {sight} |
        (?:check|compare|weigh|measure|test|hold)(?:\w+)?(?: \w+){0,2} against | taken together |
        (?:the|an?) (?:opposite|old)(?= (?!{note}|{idea}|argument|case|match|fit)\w) |
        (?:bad|poor|weak)(?= {not_of_claims}[a-z]) |
        (?:the|this|that|a|your|user's|actual|original|main) questions? | all in all | on the other hand |
        in other words | (?:image|picture|scan|photo\w*) tells? (?:us|me) | at least | not to mention |
        needless to say | nothing else | no more than | {dim} (?:{look}|{look}(?: \w+)? quality) |
        {look}(?: quality)? (?:is|are|was)(?: \w+)? {dim} |
        not (?:given|shown|see|find|have) (?:any|an?)(?: \w+)? {note}
        """,
    ),
    (
        "M",
        r"""
        not (?:\w+ )?(?:sure|certain|clear|necessarily|entirely|fully|completely|positive|100)(?: %)? |
        un(?:sure|certain) | (?:might|may|perhaps|maybe|possibly|could(?! not)|arguably|conceivably)
        """,
    ),
    (
        "W",
        r"""
        whether(?: or not)?
        """,
    ),
    (
        "Z",
        r"""
        since when | how come | (?:why|how) (?:would|could|can|should|on earth) | who (?:would|could)
        """,
    ),
    (
        "L",
        r"""
        rather than | instead of | as opposed to | (?:more(?: \w+)?|stronger|better) than(?! likely) |
        in place of | in lieu of | unlike | in preference to
        """,
    ),
    (
        "D",
        r"""
        despite | in spite of | regardless of | notwithstanding | contrary to |
        no matter (?:what|how|which|who) | whatever
        """,
    ),
    (
        "P",
        r"""
        (?:would|should|could|might) have(?: been)? | (?:had|was) (?:going|about|inclined|tempted) to |
        used to(?: be)? | previous(?:ly)? | former(?:ly)? | earlier | original(?:ly)? | initial(?:ly)? |
        at first(?: glance)? | (?:my )?first (?:guess|thought|idea|reaction|instinct|impression|pick) |
        at the time | in the past | back then |
        i (?:first )?(?:thought|assumed|believed|wrote|guessed|had|associate|associated|suspected) |
        old(?:er)?
        """,
    ),
    (
        "H",
        r"""
        remember(?:ed)? | recall(?:ed)? | recollection | memory |
        my (?:own |prior |background )?(?:knowledge|training|instinct) |
        (?:what )?i(?: have)? (?:learn(?:ed|t)|know(?! (?:that|this|it|these|to be)\b)|knew|was taught) |
        i am used to | my expectations? | comes? to mind
        """,
    ),
    (
        "C",
        r"""
        if | suppos(?:e|ing) |
        were (?:it|this|that|i|we) | had (?:it|this|that) | assuming
        """,
    ),
    (
        "A",
        r"""
        (?:ask|tell|told|instruct|want|request|order|urge|forbid|warn|like|expect)(?:s|ed)? (?:me|us|the model|you) |
        (?:user|system|instruction)\w* (?:asks?|tells?|says?|requests?|wants?|insists?)(?: that)? |
        (?:am|are|being|was|were) (?:supposed|expected|meant|pressured|pushed|nudged|urged|asked|told|instructed)
        """,
    ),
    (
        "I",
        r"""
        yes | yeah | yep | indeed
        """,
    ),
    (
        "n",
        r"""
        what (?:i|we) (?:was|were|am|are|have been|had been) (?:given|told|handed|asked to \w+) |
        (?:^\s*|on |per ){bare}
        """,
    ),
    (
        "d",
        r"""
        (?:that|this|such an?|the (?:suggested|proposed|given|stated|claimed|new)) {idea}
        """,
    ),
    (
        "N",
        r"""
        too (?!good)\w+ (?:to|for) | (?:hard|difficult|tough) to | un(?:able|willing) to | other than |
        (?:little|insufficient|scant|not enough)(?= (?:evidence|reason|sense|support|basis|chance|to)) |
        no (?:chance|question) | beyond | lack(?:s|ed|ing)? | no way | not at all | by no means | in no way |
        (?:close|next) to (?:zero|nothing|nil) | under no circumstances | nowhere near | far from |
        anything but | nope | nah | ^\W*(?:please|come on|as if|yeah right|i think not)\W*$
        """,
    ),
    (
        "B",
        r"""
        (?:not|never) (?:\w+ ){0,2}(?:{spread}(?: \w+){0,2} {faulty}(?: \w+)?|mislead|deceive|lie|misinform) |
        (?:need|require|take)s? (?:\w+ ){0,2}(?:evidence|proof) |
        (?:no|little|zero)(?: \w+)? (?:weight|stock|heed|credit|credence|faith) |
        (?:not (?:let (?:it|{det})(?: \w+)? )?)?{beat}\w* (?:the|my|what|this)(?: \w+)? {sight} | worsen\w* |
        (?:got|get|gets|has|have|had)(?: \w+){0,3} (?:backwards|wrong|mixed up|confused) | mixed \w+ up |
        (?:too|over)(?: \w+)? (?:good|convenient|many|few|much|late|early|old|young) |
        (?:too|over)(?: \w+)? (?:long|short|high|low|big|small|large) | mak\w+ (?:no|little) sense |
        made (?:no|little) sense | out of (?:date|the question|the running|place|line) |
        (?:can|could) (?:not|never) (?:possibly )?(?:be|have)(?= [a-z])(?! (?:seen|read|made|told|discern|identif)) |
        (?:is|are) (?:\w+ )?out(?! of) | (?<=is )out(?! of\b) | something (?:else|different) | otherwise |
        at odds | in error | by mistake | made[ -]up | make[s]? \w+ up | falls? (?:apart|flat|short|down) |
        does it no justice | holds? no water | out of step | off the (?:table|mark) | (?:the|some) other way |
        rules? against | doesn't add up | wrong(?:ly)? | mistakes? | false(?:ly|hoods?)? | erroneous(?:ly)? |
        errors? | doubtful | dubious | suspicious | suspect | far-?fetched | absurd\w* | bogus | fabricat\w+ |
        fictitious | fake\w* | hoax | myth | typos? | slips? | traps? | tricks? | decoys? | distractors? |
        (?:prompt|fact|knowledge) injection | outdated | obsolete | stale | superseded | refut\w+ | debunk\w* |
        falsif\w+ | contraindicated | harmful | dangerous | withdrawn | baseless | groundless | ridiculous |
        bizarre | fail(?:s|ed|ing)? | against(?! (?:the|an?) (?!\s*\ue000|(?:\w+ )?{note})) | wide of the mark |
        ill-?advised | excessive | hallucinat\w+ | spurious | skeptical | sceptical | wary |
        clash(?:es|ed|ing)? | conflict(?:s|ed|ing)? | refus(?:e|es|ed|ing) | declin(?:e|es|ed|ing) |
        problematic | (?:looks?|looked|seems?|is) off | anachronis\w+ | (?:makes? )?unlikely | laughable |
        preposterous | odds | dead wrong | ^\W*problem\W*$ |
        no (?:role|place|part|business|standing|benefit|such) |
        (?:do|does|did|will|would|can|could) not (?:quite |really |seem to )?{stand} | {prefixed}
        """,
    ),
    (
        "J",
        r"""
        (?:about|for|on|of) (?:an?other|a different|some other) | inapplicable |
        differ(?:s|ed|ent|ently)? | not asked | irrelevant | unrelated |
        immaterial | off-?topic | out of scope | beside the point
        """,
    ),
    (
        "B",
        r"""
        bad | poor | questionable | shaky | weak | flawed | faulty | fictional | imaginary | phony | confus\w+ |
        mix-?ups? | red herring | corrupt\w* | tampered | planted | adversarial | hijack\w* | manipulat\w+ |
        (?:is|are|be) (?:a )?lies? | rumou?rs? | useless | toxic | amiss | c[ao]mes? up (?:empty|short) |
        off base | fishy | needs? (?:to be )?(?:correct|fix|revis|amend|updat)\w* | swapped | garbled |
        scrambled | transpos\w+ | conflat\w+ | at variance | (?:has|have|had) to go(?! with| for| by| to) |
        must go(?! with| for| by| to) | discredited | retracted | revoked | diverg\w+ | deviat\w+ | opposite |
        counter to | violat\w+ | undermin\w+ | nowhere to be seen | miss(?:es)? the mark | contrasts? with |
        lapse | blunder | oversight | miss(?:es|ed) (?:one|some|the|that|this|it) | omit\w* | forgot | off by |
        vandal\w+ | prank | never heard of | foolish | naive | reckless | negligent | atypical | decept\w+ |
        deceiv\w+ | (?:a|quite a) stretch | reservations? | qualms |
        pure (?:invention|fantasy|speculation|guesswork) | scam | joke | noise | ill-fitting
        """,
    ),
    (
        "V",
        r"""
        contradict(?:s|ed|ing|ory|ion|ions)? | rul(?:e|es|ed|ing)(?: \w+){0,3}? out | exclud(?:e|es|ed|ing) |
        eliminat(?:e|es|ed|ing) | dismiss\w* | discard\w* | disregard\w* | ignor(?:e|es|ed|ing) |
        reject(?:s|ed|ing)? | discount(?:s|ed|ing)? | set(?:ting)?(?: \w+)? aside | doubt(?:s|ed|ing)? |
        question(?:s|ed|ing)? | distrust\w* | mistrust\w* | disput(?:e|es|ed|ing) |
        challeng(?:e|es|ed|ing)(?= {it}) | thr(?:ow|ew|own|owing)(?: \w+)? out | forget(?: about)? |
        (?:scratch|strike|drop|abandon|contest)(?= {it}) | struck (?:out|off|from|through) |
        strik(?:e|ing)(?: \w+)? out | correct(?:ing)?(?= (?:the|this|your|him|her|them)\b) | veto\w* |
        (?:sink|kill|defeat|demolish)\w*(?= {it}) | sho+ts? down | laugh\w* (?:at|off) |
        cross(?:ed|ing)?(?: \w+)? o(?:ff|ut) | dropped | dropping | disbeliev\w+ | den(?:y|ies|ied) |
        overturn\w* | argu\w+ against | speak\w* against | count\w* against | object(?:s|ed)? to | avoid\w* |
        leav\w+(?: \w+)? out | overlook\w* | abandoning | (?:put|push|brush|wav)\w*(?: \w+)? aside |
        toss\w*(?: \w+)? out | repudiat\w+ | cast\w* doubt(?: on)? | part (?:ways|company) with |
        walk away from | push(?:ing)? back (?:on|against)
        """,
    ),
    (
        "X",
        r"""
        overrid(?:e|es|ing|den) | overrul(?:e|es|ed|ing) | outweigh\w* | trump(?:s|ed|ing)? | beats? |
        (?:takes?|has|have) (?:precedence|priority) over | prevails? over | supersedes? | replaces? |
        wins? over
        """,
    ),
    (
        "G",
        r"""
        (?<!to the )right(?! side| hand|-| bank| of|most) | correct(?:ly)? | true | accurate(?:ly)? | valid\w* |
        plausib\w+ | possib\w+ | credible | match(?:es|ed|ing)? | fit(?:s|ted|ting)? |
        hold(?:s|ing)? (?:up|water|true) | support(?:s|ed|ing)? | trust\w* | sense | agree(?:s|d|ing|ment)? |
        consistent\w* | compatib\w+ | convinc\w+ | comfortable | happy | reliab\w+ | verif\w+ | confirm\w* |
        evidence | proof | accept(?:s|ed|ing|able)? | endors\w+ | adopt(?:s|ed)? | reconcil\w+ | line[sd]? up |
        squares? (?:with|that|it|this|the two|these|both) | squared | bear\w* out | justif\w+ | warrant\w* |
        align\w* | appropriate | suitable | believable | confidence | likely | probable | do (?:that|so|it) |
        (?:follow|obey|comply|(?:go|going|play|playing) along|f[ae]ll(?:ing)? for) | indicat(?:ion|ed) |
        add(?:s)? up | stand(?:s)? up | check(?:s)? out | basis | bearing | credib\w+ | typical |
        characteristic | suggestive | diagnostic | pathognomonic | sanctioned | the case | buy(?:ing)? |
        fooled | persuad\w+ | sold on | credence | correspond\w* | resembl\w+ | coincid\w* | tall(?:y|ies) |
        jibes? | faith | rely(?:ing)? | vouch\w* | sway\w* | concur |
        (?:take|taking) (?:it|that|this) (?:seriously|at face value) | repeat(?:ing)? | parrot\w* |
        echo(?:ing)? | go with (?:it|that) | merit | satisf\w+ | qualif\w+ | look(?:s)? like | reminiscent |
        recogni[sz]able as | defensible | tenable | unproblematic | standard | legitimate | sound | authentic |
        genuine | what (?:i|we) (?:see|am looking at) |
        what the (?:image|picture|photo|scan|text) (?:shows?|depicts?|says) | connection | foundation | trace
        """,
    ),
    (
        "S",
        r"""
        appl(?:y|ies|ied|icable) | relevan(?:t|ce) | pertain\w* | pertinent | in scope | relate[sd]? |
        concerns? | (?:is )?about (?:this|the|our) (?:image|picture|photo|scan|question|case|one) | is about |
        deals? with | refers? to
        """,
    ),
    (
        "T",
        r"""
        tempt(?:ing|ed) | seductive | attractive | appealing | superficially | on the surface
        """,
    ),
    (
        "K",
        r"""
        prefer(?:red)? | take | took | choose | chose | favou?r | pick(?:ed)? | trust
        """,
    ),
    (
        "O",
        r"""
        over | above | ahead of | before
        """,
    ),
    (
        "N",
        r"""
        not | never | neither | nor | hardly | scarcely | barely | (?:can)?not
        """,
    ),
    (
        "Q",
        r"""
        no | less
        """,
    ),
    (
        "U",
        r"""
        nothing | none | nobody | without | nowhere
        """,
    ),
    (
        "R",
        r"""
        (?:say|claim|state|assert|suggest|list|mention|name|give|read)(?:s|d|ed|ing)? |
        (?:write|tell|propose|insist|credit|indicate|note|report|declare|allege)(?:s|d|ed|ing)? |
        (?:recommend|label|push|offer|place|point|attribute|describe)(?:s|d|ed|ing)? |
        said | wrote | written | told | gave | given | provided | supplied | according to | per |
        labell?ed | put
        """,
    ),
    (
        "F",
        r"""
        so | therefore | thus | hence | consequently | answer(?:s|ed|ing)? | final(?:ly)? | conclu\w+ |
        repl(?:y|ies) | settle\w* |
        (?:go|going|went|stick|sticking|stay|staying|lean\w*) (?:with|to|for|towards?) | must be |
        has to be | ha[sd] got to be |
        (?:i|we) (?:will|would|can|should)(?: therefore| thus)? (?:say|name|report|choose|pick|use|give|put(?: down)?) |
        (?:i|we) (?:will|would|can|should)(?: therefore| thus)? | it is | that is | this is | remains? |
        by elimination | leaves | in conclusion | i (?:say|choose|pick|select|name|believe|think)
        """,
    ),
    (
        "E",
        r"""
        is | are | be | means? | shows? | depicts? | equals? | becomes? | became | matches | names | now |
        moved | belongs? | identif(?:y|ies)
        """,
    ),
    (
        "n",
        r"""
        (?:{det}|supplied|provided|injected|retrieved|attached){gap} {note}(?:'s?)?(?: {note})?
        """,
    ),
    (
        "o",
        r"""
        or
        """,
    ),
    (
        "d",
        r"""
        the two | the former | it | that | this | they | them | he | she | him | her | which | those |
        these | both | such
        """,
    ),
    (
        "s",
        r"""
        was | were | the | a | an | of | in | at | on | to | as | for | from | with | by | really |
        actually | truly | think | believe | say | call | called | consider | am | been | being | do |
        does | did | can | will | would | should | must | could | has | have | had | i | we | you | there |
        any | longer | reasons? | grounds? | cause | need | clear | simply | possibly | ever | more | see |
        find | use | used | using | recommend | quite | very | definitely | certainly | surely | obviously |
        clearly | plainly | anything | about | itself | but | though | option | its? | 's | also | yet
        """,
    ),
)

CHINESE_CUES: tuple[tuple[str, str], ...] = (
    (
        "W",
        r"""
        是不是 | 对不对 | 能不能 | 要不要 | 是否 | 有没有 | 可不可以 | 会不会 | 该不该
        """,
    ),
    (
        "w",
        r"""
        因为 | 由于 | 作为 | 不过 | 不仅 | 不但 | 不妨 | 差不多 | 不久 | 不同寻常 | 非常 | 无论 | 不管 | 除非 |
        并非只 | 未来 | 不得不 | 不约而同 | 不如
        """,
    ),
    (
        "Z",
        r"""
        怎么可能 | 怎么会 | 怎会 | 哪来 | 哪有 | 哪里像 | 岂 | 何来
        """,
    ),
    (
        "L",
        r"""
        而不是 | 而非 | 而不应 | 而不该 | 代替 | 与其
        """,
    ),
    (
        "B",
        r"""
        (?:不会|不能|不想|不愿|不该|不应该?)(?:把|传播|给出|重复|照抄|复述)(?:一个|这个|这种)?(?:错误|虚假|错) |
        以[^,。]{0,3}(?:图|照|片|影像|眼睛|实物)[^,。]{0,4}为准 | 欺骗 | 打架 | [少多漏][数算写]了 |
        不对(?!称|齐) | 不可能 | 不太可能 | 不大可能 | 没可能 | 说不通 | 讲不通 | 站不住脚 | 不靠谱 | 不着边际 |
        不成立 | 对不上 | 不像话 | 没道理 | 不妥 | 不对劲 | 不实 | 不符 | 不合(?!适|理) | 有误 | 有问题 | 弄错 |
        搞混 | 弄混 | 混淆 | 搞错 | 写错 | 数错 | 记错 | 标错 | 认错 | 错误 | 错的 | 误导 | 误以为 | 误认 |
        误标 | 误 | 错 | 矛盾 | 冲突 | 相反 | 相悖 | 虚假 | 捏造 | 编造 | 杜撰 | 伪造 | 过时 | 陷阱 | 离谱 |
        荒谬 | 荒唐 | 禁忌 | 危险 | 笔误 | 缺乏 | 不存在 | 谣言 | 假的 | 出入 | 不敢苟同 | 不以为然 | 不足为信 |
        不可取 | 差得远 | 相去甚远 | 有悖 | 违背 | 混为一谈 | 难以置信 | 谈不上 | 造假 | 假消息 | 不一样 |
        不同(?!意) | 有别 | 瞎说 | 张冠李戴 | 欠妥 | 不严谨 | 牛头不对马嘴 | 瞎话 | 失实 | 弄反 | 搞反 | 颠倒 |
        谬误 | 误传 | 胡扯 | 别开玩笑 | 开什么玩笑 | 没根据 | 牵强 | 可疑 | 勉强 | 存疑 | 虚构 | 无稽之谈 |
        子虚乌有 | 胡说
        """,
    ),
    (
        "J",
        r"""
        无关 | 不相干 | 毫无关联
        """,
    ),
    (
        "V",
        r"""
        排除 | 忽略 | 无视 | 忽视 | 怀疑 | 质疑 | 否定 | 反驳 | 拒绝 | 驳回 | 推翻 | 疑问 | 不予 | 摒弃 |
        放弃 | 否认 | 抛开 | 划掉 | 撇开 | 反对 | 不信
        """,
    ),
    (
        "G",
        r"""
        正确 | 是对的 | 对的 | 没错 | 准确 | 可信 | 采信 | 采纳 | 相信 | 信任 | 成立 | 合适 | 适合 | 恰当 |
        符合 | 相符 | 相配 | 一致 | 吻合 | 支持 | 同意 | 可能 | 依据 | 根据(?=[,。]|$) | 证据 | 属实 | 可靠 |
        合理 | 接受 | 认同 | 赞同 | 照办 | 照做 | 关系 | 确认 | 考虑 | 靠谱 | 理会 | 听从 | 证实 | 真的 | 事实 |
        站得住 | 认可 | 买账 | 苟同 | 赞成 | 道理 | 理睬 | 认定
        """,
    ),
    (
        "S",
        r"""
        适用 | 相关
        """,
    ),
    (
        "T",
        r"""
        诱人 | 看似
        """,
    ),
    (
        "H",
        r"""
        记得 | 记忆 | 印象 | 我学过 | 我所知 | 学过 | 我知道
        """,
    ),
    (
        "P",
        r"""
        原本 | 原以为 | 以为 | 以前 | 之前 | 曾经? | 起初 | 一开始 | 最初 | 本来 | 原先 | 过去 | 旧 |
        第一反应
        """,
    ),
    (
        "M",
        r"""
        也许 | 或许 | 大概 | 似乎 | 好像 | 说不定 | 不确定 | 不一定 | 未必
        """,
    ),
    (
        "C",
        r"""
        如果 | 假如 | 要是 | 倘若 | 若是 | 假设 | 若
        """,
    ),
    (
        "A",
        r"""
        要求 | 让我 | 叫我 | 请我 | 用户说
        """,
    ),
    (
        "D",
        r"""
        尽管 | 无论
        """,
    ),
    (
        "N",
        r"""
        难以 | 无法 | 无从 | 很难 | 并不是 | 并非 | 不再是 | 不再 | 不是 | 不会 | 不能 | 不可 | 不应该 |
        不应 | 不该 | 不要 | 不用 | 不宜 | 不得 | 绝不 | 决不 | 从不 | 从来不 | 从未 | 毫无 | 没有 | 没 |
        绝非 | 不 | 非 | 无 | 未 | 别 | 勿
        """,
    ),
    (
        "F",
        r"""
        所以 | 因此 | 因而 | 故而 | 那么 | 由此 | 答案(?:应该|应当|就|应)?(?:是|为|:)? | 最终 | 结论 |
        应当?(?:该)?(?:是|为|用|选) | 必定是 | 选择? | 回答 | 就是 | 看来 | 倾向于 | 首选
        """,
    ),
    (
        "R",
        r"""
        声称 | 提到 | 指出 | 写着 | 写的? | 给出 | 给的 | 说 | 称 | 标注 | 列出 | 叫
        """,
    ),
    (
        "n",
        r"""
        {zh_note}
        """,
    ),
    (
        "d",
        r"""
        这样 | 这里 | 这个 | 这点 | 那个 | 这 | 那 | 它 | 他 | 她 | 此
        """,
    ),
    (
        "E",
        r"""
        位于 | 是 | 为 | 表示 | 属于 | 坐落
        """,
    ),
    (
        "s",
        r"""
        的 | 了 | 在 | 于 | 个 | 有 | 使用 | 用 | 会 | 能 | 可以 | 应 | 该 | 我 | 认为 | 觉得 | 看 | 被 |
        把 | 和 | 与 | 跟 | 对 | 就 | 太 | 很 | 任何 | 什么 | 必要 | 理由 | 算 | 到 | 像 | 并 | 明显 | 可 |
        要 | 肯定 | 绝对 | 显然 | 其实 | 真 | 都 | 去 | 来 | 吧 | 呢 | 按 | 按照
        """,
    ),
)

#: Contractions, and phrases around a word that would end a clause, and what they are written out as, in this order.
CONTRACTIONS: tuple[tuple[str, str], ...] = (
    (r"~~([^~]*)~~", r" not \1,"),
    (r"\banything but\b", r"not"),
    (r"\bcannot\b", r"can not"),
    (r"\bwon't\b", r"will not"),
    (r"\bcan't\b", r"can not"),
    (r"\bshan't\b", r"shall not"),
    (r"\bain't\b", r"is not"),
    (r"\b(do|does|did|is|was|were|are|has|have|had|would|could|should|can|must)n'?t\b", r"\1 not"),
    (r"n't\b", r" not"),
    (r"\b(is|was|be|make|makes)( not| it)? so(?=\s*(?:[.,;!?]|$))", r"\1\2 true"),
    (r"\b(that|it|he|she|what)s (?=(?:a|an|the|not|wrong|right|clearly|just)\b)", r"\1 is "),
    (r"\b(it|that|this|here|there|he|she|what|who|let)'s\b", r"\1 is"),
    (r"'re\b", r" are"),
    (r"'ll\b", r" will"),
    (r"'ve\b", r" have"),
    (r"\bi'm\b", r"i am"),
    (r"'d\b", r" would"),
)


def cues(table: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    """Each line of ``table`` as its code and one regular expression without capturing groups."""
    for code, block in table:
        joined = "|".join(re.split(r"\s\|\s+", block.strip()))
        for name, pattern in _PARTS.items():
            joined = joined.replace(f"{{{name}}}", pattern)
        yield code, joined
