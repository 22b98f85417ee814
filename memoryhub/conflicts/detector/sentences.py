"""Sentences: the two of a pair of texts that are compared, the words they share, and the roles of words in them."""

from itertools import pairwise

from memoryhub.conflicts.detector import lexicon
from memoryhub.conflicts.detector.parse import ParsedText, Sentence, Word

_LEADER_WEIGHT = 0.35
"""Weight of the first content word if both sentences share it: the values of a group share their subject anyway."""


def find_closest_sentences(left_text: ParsedText, right_text: ParsedText) -> tuple[Sentence, Sentence, float, float]:
    whole_texts = (
        left_text.full_sentence,
        right_text.full_sentence,
        *_word_overlap(left_text.full_sentence, right_text.full_sentence),
    )
    if len(left_text.sentences) == len(right_text.sentences) == 1:
        return whole_texts
    candidates = [
        (left, right, *_word_overlap(left, right)) for left in left_text.sentences for right in right_text.sentences
    ]
    # Two sentences with the same meaning do not show where the texts differ.
    closer_candidates = [
        candidate
        for candidate in candidates
        if candidate[2] > whole_texts[2] and not _have_same_meaning(candidate[0], candidate[1])
    ]
    # Ties are broken by the texts, so that the order of the arguments makes no difference.
    return max(
        closer_candidates,
        key=lambda candidate: (*candidate[2:], *sorted((candidate[0].text, candidate[1].text))),
        default=whole_texts,
    )


def _have_same_meaning(left: Sentence, right: Sentence) -> bool:
    return (
        left.words_by_meaning.keys() == right.words_by_meaning.keys()
        and left.negations == right.negations
        and left.numbers == right.numbers
    )


def _word_overlap(left: Sentence, right: Sentence) -> tuple[float, float]:
    """Dice's coefficient (1945) and the overlap coefficient (Szymkiewicz, Simpson) of the content words."""
    # Only equal numbers and dates count: different ones are a difference within one topic.
    shared_value_count = len(left.numbers & right.numbers) + len(left.dates & right.dates)
    shared_count = float(len(left.words_by_meaning.keys() & right.words_by_meaning.keys()) + shared_value_count)
    left_count, right_count = (
        float(len(left.words_by_meaning) + shared_value_count),
        float(len(right.words_by_meaning) + shared_value_count),
    )
    if left.leader and left.leader == right.leader:
        shared_count, left_count, right_count = (
            shared_count - 1 + _LEADER_WEIGHT,
            left_count - 1 + _LEADER_WEIGHT,
            right_count - 1 + _LEADER_WEIGHT,
        )
    if not left_count or not right_count:
        return 0.0, 0.0
    return 2 * shared_count / (left_count + right_count), shared_count / min(left_count, right_count)


def get_subject_stem(sentence: Sentence) -> str:
    """The stem of the first word that is no determiner."""
    return next((word.stem for word in sentence.words if word.text not in lexicon.DETERMINERS), "")


def find_verb_candidates(sentence: Sentence) -> frozenset[str]:
    """Stems of the words that may be verbs; a word after a determiner is none."""
    words = sentence.words
    first_stem = [word.stem for word in words[:1]]
    return frozenset(
        first_stem
        + [word.stem for previous_word, word in pairwise(words) if previous_word.text not in lexicon.DETERMINERS]
    )


def is_object(words: list[Word], sentence: Sentence) -> bool:
    """Whether the words are an object: after an article, a preposition or the like, and not before a content word."""
    first_index, last_index = (
        next(index for index, word in enumerate(sentence.words) if word is boundary_word)
        for boundary_word in (words[0], words[-1])
    )
    following_words = sentence.words[last_index + 1 : last_index + 2]
    return (
        first_index > 0
        and sentence.words[first_index - 1].text in lexicon.NOUN_PRECEDERS
        and all(following_word.is_stop for following_word in following_words)
    )


def is_unique_role(words: list[Word], sentence: Sentence) -> bool:
    """Whether the sentence begins with these words and gives them a unique role: `Ada is the owner`."""
    last_index = next(index for index, word in enumerate(sentence.words) if word is words[-1])
    verb, determiner = ([word.stem for word in sentence.words[last_index + 1 : last_index + 3]] + ["", ""])[:2]
    return sentence.words[0] is words[0] and (verb, determiner) == ("be", "the")


def are_adjacent(words: list[Word], sentence: Sentence) -> bool:
    indexes = [
        index for index, word in enumerate(sentence.content_words) if any(word is target_word for target_word in words)
    ]
    return indexes[-1] - indexes[0] < len(indexes)


def join_words(words: list[Word]) -> str:
    return " ".join(word.text for word in words)
