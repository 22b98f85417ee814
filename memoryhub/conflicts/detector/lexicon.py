"""Word lists of the detector: English, and the negations of a few other languages.

The lists hold closed word classes and everyday opposites and synonyms. They are maintained by hand.
"""

STOP_WORDS = frozenset(
    """
    a about after again all also although am an and any anybody anyone anything are as at be because been before being
    both but by can could did do does doing down during each either else even ever every everybody everyone
    everything few for from further had has have having he her here hers him his how however i if in into is it its
    itself just least many may maybe me might more most much must my now of off on once one only or other our out
    over own per perhaps quite rather really same shall she should since so some somebody someone something still such
    than that the their them then there these they this those though through thus to too under until up upon us very
    was we were what when where whether which while who whom whose why will with within would yet you your
    actually hypothetically probably possibly likely generally usually basically simply currently presently already
    way case point true fact that's ago
    """.split()  # noqa: SIM905  -  prose is easier to keep than a list of strings
)

NEGATIONS = frozenset(
    """
    no not none never nobody nothing nowhere neither nor without cannot hardly scarcely unable fail fails
    failed refuse refuses refused lack lacks lacked deny denies denied
    false untrue nicht kein keine keinen keiner keinem niemals ni jamais nunca tampoco não niet geen nooit 不 没 沒
    """.split()  # noqa: SIM905
)

# Irregular contractions; `parse` expands the regular endings (`n't`, `'re`, `'ve`, `'ll`) itself.
CONTRACTIONS = {
    "can't": "can not", "won't": "will not", "shan't": "shall not", "cannot": "can not", "ain't": "is not",
    "let's": "let us", "gonna": "going to", "wanna": "want to", "i'm": "i am",
}  # fmt: skip

_SMALL_NUMBER_WORDS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty
"""
NUMBERS: dict[str, float] = {word: value for value, word in enumerate(_SMALL_NUMBER_WORDS.split())} | {
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100,
    "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000, "dozen": 12, "half": 0.5, "twice": 2,
}  # fmt: skip
del NUMBERS["one"]  # More often a pronoun.

MONTHS = {
    name: number
    for number, names in enumerate(
        ("january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
         "september sept sep", "october oct", "november nov", "december dec"), 1,
    )
    for name in names.split()
}  # fmt: skip

# By dimension: each unit with its size in base units (SI units and customary ones).
_UNITS: dict[str, dict[str, float]] = {
    "time": {"ms millisecond milliseconds": 0.001, "s sec second seconds secs": 1, "min minute minutes mins": 60,
             "h hr hour hours hrs": 3600, "day days": 86_400, "week weeks": 604_800},
    "months": {"month months": 1, "year years yr yrs": 12, "decade decades": 120, "century centuries": 1200},
    "length": {"mm millimetre millimetres": 0.001, "cm centimetre centimetres": 0.01,
               "m metre metres meter meters": 1, "km kilometre kilometres kilometer kilometers": 1000,
               "inch inches": 0.0254, "ft foot feet": 0.3048, "mile miles mi": 1609.344},
    "mass": {"mg": 0.001, "g gram grams": 1, "kg kilo kilos kilogram kilograms": 1000,
             "lb lbs pound pounds": 453.592, "ton tons tonne tonnes": 1_000_000},
    "bytes": {"b byte bytes": 1, "kb kilobyte kilobytes": 1e3, "mb megabyte megabytes": 1e6,
              "gb gigabyte gigabytes": 1e9, "tb terabyte terabytes": 1e12, "kib": 2**10, "mib": 2**20,
              "gib": 2**30},
    "share": {"% percent": 1},
    "dollars": {"$ dollar dollars usd": 1}, "euros": {"€ euro euros eur": 1}, "pounds": {"£ gbp": 1},
}  # fmt: skip
UNITS = {
    name: (dimension, size)
    for dimension, units in _UNITS.items()
    for names, size in units.items()
    for name in names.split()
}

# Suffixes that multiply a number. Most of those for money are units elsewhere.
SCALES: dict[str, float] = {"k": 1e3}
MONEY_SCALES: dict[str, float] = SCALES | {"m": 1e6, "mn": 1e6, "mio": 1e6, "b": 1e9, "bn": 1e9}

# The units of each dimension, the largest first; of units of one size only the longest name.
UNITS_BY_SIZE = {
    dimension: sorted(((size, max(names.split(), key=len)) for names, size in units.items()), reverse=True)
    for dimension, units in _UNITS.items()
}

# A thing can be only one member of a set at a time.
EXCLUSIVE_SETS = tuple(
    frozenset(words.split())
    for words in (
        "monday tuesday wednesday thursday friday saturday sunday",
        " ".join(MONTHS),
        "spring summer autumn winter",
        "red orange yellow green blue purple pink brown black white grey gray",
        "north south east west", "left right", "small medium large", "low medium high critical",
        "open closed", "todo doing done", "pending approved rejected", "draft published archived",
        "morning afternoon evening night", "breakfast lunch dinner", "daily weekly monthly yearly annually quarterly",
        "single married divorced widowed", "bronze silver gold platinum", "dev staging production",
        "dark light",
    )
)  # fmt: skip

ANTONYMS = tuple(
    tuple(pair.split())
    for pair in """
    able unable|accept reject|accept refuse|accept decline|active inactive|add remove|after before|agree disagree
    alive dead|allow forbid|allow block|allow deny|allow prevent|allow ban|always never|approve reject|approve deny
    arrive depart|ascend descend|asleep awake|attack defend|available unavailable|bad good|begin end|begin stop
    best worst|better worse|big small|bigger smaller|bitter sweet|borrow lend|bottom top|brave cowardly|break repair
    bright dark|broad narrow|build destroy|buy sell|calm nervous|careful careless|cheap expensive|clean dirty
    clear unclear|clever stupid|clockwise counterclockwise|close open|closed open|cold hot|cold warm|common rare
    complete incomplete|connect disconnect|constant variable|correct incorrect|correct wrong|create destroy
    cruel kind|curved straight|dangerous safe|day night|dead living|decrease increase|deep shallow|defeat victory
    deny admit|deny confirm|different same|difficult easy|hard easy|disable enable|disabled enabled|disappear appear
    down up|dry wet|early late|earlier later|east west|empty full|enemy friend|enter exit|enter leave|even odd
    exclude include|export import|external internal|fail succeed|fail pass|fail win|failure success|false true
    far near|fast slow|faster slower|fat thin|fewer more|few many|first last|follow lead|foolish wise|forget remember
    found lost|freeze melt|frequent rare|front back|gain lose|generous stingy|gentle rough|give take|guilty innocent
    happy sad|happy unhappy|hard soft|hate love|hate like|dislike like|dislike love|healthy sick|heavy light
    hero villain|hide show|high low|higher lower|hire fire|honest dishonest|horizontal vertical|huge tiny
    humble proud|important trivial|inside outside|in outside|install uninstall|introvert extrovert|join leave
    keep discard|kill save|large small|larger smaller|least most|leave stay|legal illegal|less more|lead trail
    literate illiterate|live die|lock unlock|long short|longer shorter|loose tight|loose win|lose win|loss profit
    loud quiet|male female|man woman|mandatory optional|maximum minimum|major minor|mature immature|merge split
    misunderstand understand|modern ancient|morning evening|move stay|mute unmute|natural artificial|new old
    newer older|noisy quiet|north south|obey disobey|off on|offline online|offense defense
    often rarely|often seldom|old young|older younger|optional required|over under|above below|parent child
    part whole|partial full|past future|peace war|permanent temporary|permit forbid|permit prohibit|plus minus
    poor rich|positive negative|possible impossible|poverty wealth|powerful weak|present absent|present missing
    present past|private public|prohibit allow|prohibited allowed|forbidden allowed|protect endanger|pull push
    pass reject|qualified unqualified|question answer|raise lower|rear front|receive send|regular irregular
    relevant irrelevant|release capture|reveal conceal|right wrong|right left|rise fall|rude polite|rural urban
    separate together|serious funny|sharp blunt|simple complex|simple complicated|single multiple|single married
    sink float|sit stand|sour sweet|special ordinary|start finish|start stop|start end|strong weak|stronger weaker
    subtract add|superior inferior|support oppose|sync async|synchronous asynchronous|tall short|taller shorter
    thick thin|tiny enormous|tighten loosen|trust distrust|ugly beautiful|upgrade downgrade|upstairs downstairs
    useful useless|vacant occupied|valid invalid|visible hidden|visible invisible|vegan carnivore|voluntary mandatory
    wake sleep|wide narrow|with without|wild tame|win lose|worse better|yes no|exceed below|host guest
    accept exclude|embrace avoid|use avoid|recommend avoid|prefer avoid|grant revoke|pause resume|mutable immutable
    running stopped|blocked unblocked|stable unstable|healthy broken|working broken|deprecated supported
    unlikely likely|unknown known|unconcerned concerned|unnecessary necessary|unnecessary required
    unaffected affected|unrelated related|dead alive|exist extinct|lenient strict
    mild severe|conservative liberal|compatible incompatible|encrypted plaintext|maintained abandoned
    """.replace("\n", "|").split("|")
    if pair.strip()
)  # fmt: skip

NEGATIVE_PREFIXES = ("un", "in", "im", "il", "ir", "dis", "non", "de", "mis", "anti")

# Groups of synonyms; the first word represents the group.
SYNONYMS = {
    synonym: words.split()[0]
    for words in (
        "live reside dwell inhabit move relocate", "locate situate lie sit stand", "job occupation profession career",
        "begin start commence", "end finish conclude terminate", "buy purchase acquire", "big large huge great",
        "small little tiny", "movie film", "company firm business corporation enterprise", "car automobile vehicle",
        "child kid", "phone telephone", "doctor physician", "lawyer attorney", "quick fast rapid swift",
        "help assist aid", "show display demonstrate", "need require", "want desire wish", "like enjoy",
        "favorite favourite prefer preferred", "happy glad cheerful", "sad unhappy", "angry mad",
        "smart clever intelligent", "choose select pick", "ask inquire", "answer reply respond", "fix repair mend",
        "make create produce", "build construct", "use utilize employ", "get obtain receive", "give provide supply",
        "keep retain", "speak talk", "say state tell mention remark", "think believe consider", "see observe view",
        "look gaze", "work labor", "teach instruct", "study learn", "travel journey trip",
        "photo picture photograph image", "city town", "country nation", "house home", "near close", "leave depart",
        "wrong incorrect", "right correct", "hard difficult tough", "easy simple", "important significant crucial",
        "beautiful pretty gorgeous", "delete remove erase", "error bug defect fault", "allow permit let",
        "stop halt cease quit", "increase grow rise", "decrease reduce decline drop", "meeting appointment",
        "birth born birthday", "die decease", "wife spouse husband", "marry wed", "mother mom mum", "father dad",
        "author writer", "song track", "physical bodily", "team squad crew", "boss manager supervisor",
        "salary wage pay", "ill sick", "afraid scared", "enough sufficient", "sometimes occasionally",
        "often frequently", "about approximately around", "show exhibit", "color colour", "center centre",
        "theater theatre", "grey gray", "organize organise", "shop store", "autumn fall", "money cash",
        "gift present", "sofa couch", "bike bicycle", "tv television", "usa america us", "uk britain", "dog puppy",
        "cat kitten", "deploy ship release", "database db", "repository repo", "application app",
        "configuration config", "documentation docs", "development dev", "production prod",
    )
    for synonym in words.split()[1:]
}  # fmt: skip

# A person may like, own or have done many things at once, so another object of such a verb contradicts nothing.
MULTI_OBJECT_VERBS = frozenset(
    """
    like enjoy love have own visit know speak meet buy read watch mention say want wish share think feel see try play
    eat cook collect learn appreciate admire hope plan describe express suggest recommend support encourage ask receive
    give make paint write draw sing attend join find discover include contain feature need mean involve face care
    believe hear miss talk discuss look inspire value help thank offer participate
    """.split()  # noqa: SIM905
)

IRREGULAR_FORMS = {
    form: verb
    for verb, forms in {
        "be": "is are was were been being am", "have": "has had having", "do": "does did done doing", "go": "went gone",
        "say": "said", "get": "got gotten", "make": "made", "know": "knew known", "think": "thought",
        "take": "took taken", "see": "saw seen", "come": "came", "find": "found", "give": "gave given",
        "tell": "told", "feel": "felt", "leave": "left", "keep": "kept", "begin": "began begun", "run": "ran",
        "hold": "held", "write": "wrote written", "stand": "stood", "hear": "heard", "mean": "meant", "meet": "met",
        "pay": "paid", "sit": "sat", "speak": "spoke spoken", "lead": "led", "grow": "grew grown", "lose": "lost",
        "fall": "fell fallen", "send": "sent", "build": "built", "understand": "understood", "draw": "drew drawn",
        "break": "broke broken", "spend": "spent", "rise": "rose risen", "drive": "drove driven", "buy": "bought",
        "wear": "wore worn", "choose": "chose chosen", "eat": "ate eaten", "win": "won winning", "teach": "taught",
        "sell": "sold", "catch": "caught", "fight": "fought", "throw": "threw thrown", "sing": "sang sung",
        "swim": "swam swum", "fly": "flew flown", "sleep": "slept", "forget": "forgot forgotten", "die": "died dying",
        "become": "became", "bring": "brought", "steal": "stole stolen", "show": "shown",
        "child": "children", "person": "people persons", "man": "men", "woman": "women", "foot": "feet",
        "lie": "lay lain lying", "shoot": "shot", "drink": "drank drunk", "ride": "rode ridden",
        "feed": "fed", "hide": "hid hidden", "hang": "hung", "strike": "struck", "bite": "bit bitten",
        "wake": "woke woken", "freeze": "froze frozen", "swear": "swore sworn", "tear": "tore torn",
        "shrink": "shrank shrunk", "seek": "sought", "marry": "married marries",
    }.items()
    for form in forms.split()
}  # fmt: skip

# Words that are followed by a noun, not by a verb.
NOUN_PRECEDERS = frozenset(
    """
    a an the my our your his her their its in at on to for with from by of into as use uses using prefer prefers choose
    set sets run runs want wants need needs take takes
    """.split()  # noqa: SIM905
)

# After a determiner a word is a noun, even if it looks like a verb.
DETERMINERS = frozenset("a an the this that my our your his her their its every each next last".split())  # noqa: SIM905

# Verb forms that make three words a sentence, not a name.
SENTENCE_VERBS = frozenset(
    """
    is are was were has have had does do did can will would lives works likes loves hates wants prefers uses
    """.split()  # noqa: SIM905
)

# Symmetric relations: the subject and the object may change places.
SYMMETRIC_WORDS = frozenset(
    """
    and or & marry meet equal resemble match with friend cousin sibling neighbor versus both as near same
    """.split()  # noqa: SIM905
)

NULL_WORDS = frozenset({"none", "null", "nil", "na", "n a", "empty", "unset", "undefined", "unassigned", "nothing"})
BOOLEAN_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "enabled", "disabled", "y", "n", "t", "f"})

MULTI_VALUED_KEYS = frozenset(
    """
    note memory fact observation detail misc general thing event session log journal history comment message other
    preference interest context summary info information activity experience diary
    """.split()  # noqa: SIM905
)
"""Keys that can have many values at once."""
