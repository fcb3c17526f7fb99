"""InvokeModel of the models that make vectors: what they refuse, and vectors in which like is near to like.

A text's vector is a sum over its features: its words, their pieces of four letters, pairs of Japanese or Chinese
characters, and the groups of `concepts` that it names. Each feature has signs of its own in all 1,024 places, drawn
from its name, and counts with the root of how often it occurs. So vectors are the same for ever, dense as real ones
are, and two texts about one thing in two languages are nearer to each other than two about two things.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b, shake_128
from typing import Any, Final

from bedrock_chat.bedrock.emulator import concepts, replies
from bedrock_chat.bedrock.emulator.refusals import Refusal, invalid
from bedrock_chat.bedrock.emulator.replies import Reply
from bedrock_chat.bedrock.emulator.script import FOR_EVER

OPERATION: Final = "InvokeModel"
TITAN: Final = "amazon.titan-embed-text-v2:0"
COHERE: Final = "cohere.embed-multilingual-v3"
TITAN_TOKENS: Final = 8_192
TITAN_CHARACTERS: Final = 50_000
TITAN_DIMENSIONS: Final = (256, 512, 1_024)
COHERE_TOKENS: Final = 512
COHERE_CHARACTERS: Final = 2_048
COHERE_TEXTS: Final = 96
COHERE_PURPOSES: Final = ("search_document", "search_query", "classification", "clustering")
PLACES: Final = 1_024
MOST_KNOWN: Final = 1_000_000
ASCII_PER_TOKEN: Final = 4
OTHERS_PER_TOKEN: Final = 1.5
TOKENS_HEADER: Final = "X-Amzn-Bedrock-Input-Token-Count"

WORD: Final = 1.0
STOP_WORD: Final = 0.1
PIECE: Final = 0.35
PAIR: Final = 0.7
CONCEPT: Final = 3.0
PIECE_LENGTH: Final = 4
_STOP_WORDS: Final = """
a an and are as at be by can do does for from has have how i if in is it its may my no not of on or our shall so than
that the their there they this to was we what when where which who will with you your

aber als am an auch auf aus bei bin bis das dass dem den der des die ein eine einem einen einer es fur hat ich ihr im in
ist kann man mit nach nicht nur oder sich sie sind so und vom von vor was wenn wer wie wir wird wo zu zum zur

a au aux avec ce ces cette comment dans de des du elle en est et etre il ils je la le les leur mais mon ne nous on ou
par pas pour quand que quel quelle qui sa se ses son sont sur un une vous y
"""
_STOPS: Final = frozenset(_STOP_WORDS.split())
_PARTS: Final = re.compile(r"[぀-ヿ㐀-䶿一-鿿豈-﫿々ー가-힯]+|[^\W_぀-ヿ㐀-䶿一-鿿豈-﫿々ー가-힯]+")
_HIRAGANA: Final = re.compile(r"[぀-ゟ]+")

Json = dict[str, Any]


@dataclass(slots=True)
class Served:
    """What has been answered: calls, texts and tokens, and how many different texts there were (at most MOST_KNOWN)."""

    calls: int = 0
    texts: int = 0
    tokens: int = 0
    known: set[bytes] = field(default_factory=set)

    def add(self, texts: list[str], tokens: int) -> None:
        self.calls += 1
        self.texts += len(texts)
        self.tokens += tokens
        if len(self.known) < MOST_KNOWN:
            self.known.update(blake2b(text.encode(), digest_size=8).digest() for text in texts)

    def wire(self) -> Json:
        return {"calls": self.calls, "texts": self.texts, "tokens": self.tokens, "distinct": len(self.known)}


@dataclass(slots=True)
class Plan:
    """How calls fare: `wait` seconds each, `most_tokens` instead of the model's, `too_long` instead of the sentence
    about too many of them, and `troubles`, each for some calls.

    A trouble is `fault` (with `message` and `retry_after`), `cut`, `silence` or `answer`, a document in the answer's
    place; with `wait`, for `times` calls (1) whose model has `model` in its id and whose body has `text` in it.
    """

    wait: float = 0.0
    most_tokens: int | None = None
    too_long: str = ""
    troubles: list[Json] = field(default_factory=list)
    served: Served = field(default_factory=Served)

    def control(self, document: Mapping[str, Any]) -> None:
        """Takes the fields; what is left out is as at the beginning."""
        self.wait = float(document.get("wait", 0.0))
        self.most_tokens = document.get("most_tokens")
        self.too_long = str(document.get("too_long", ""))
        self.troubles = [dict(trouble) for trouble in document.get("troubles", ())]

    def trouble(self, model_id: str, raw_text: str) -> Json:
        """The next one for a call, which is used up by this. Empty: there is none."""
        for trouble in self.troubles:
            if trouble.get("model", "") in model_id and trouble.get("text", "") in raw_text:
                trouble["times"] = trouble.get("times", 1) - 1
                if trouble["times"] <= 0:
                    self.troubles.remove(trouble)
                return trouble
        return {}


def is_one(model_id: str) -> bool:
    """Whether an id, or an ARN of one, names a model that makes vectors."""
    return _bare(model_id) in (TITAN, COHERE)


def answer(model_id: str, body: Any, plan: Plan) -> Reply:
    """The reply to a call, which is counted if it is an answer. Raises Refusal."""
    if not isinstance(body, dict):
        raise invalid("Malformed input request, please reformat your input and try again.")
    trouble = plan.trouble(_bare(model_id), str(body))
    wait = plan.wait + float(trouble.get("wait", 0.0))
    if code := trouble.get("fault"):
        return replies.refused(Refusal(code, trouble.get("message")), wait=wait, retry_after=trouble.get("retry_after"))
    if trouble.get("cut"):
        return Reply(((wait, b""),), 0, keep=False)
    if silence := trouble.get("silence"):
        wait += FOR_EVER if silence is True else float(silence)
    document, tokens = _titan(body, plan) if _bare(model_id) == TITAN else _cohere(body, plan)
    plan.served.add(body["texts"] if "texts" in body else [body["inputText"]], tokens)
    if "answer" in trouble:
        return replies.as_json(trouble["answer"], wait=wait)
    return replies.as_json(document, wait=wait, headers=f"{TOKENS_HEADER}: {tokens}\r\n")


def _bare(model_id: str) -> str:
    return model_id.rpartition("foundation-model/")[2]


# ---- The models -----------------------------------------------------------------------------------------------------


def _titan(body: Json, plan: Plan) -> tuple[Json, int]:
    _refuse_unknown(body, {"inputText", "dimensions", "normalize", "embeddingTypes"})
    text = body.get("inputText")
    if not isinstance(text, str):
        raise _malformed("#: required key [inputText] not found")
    if not text:
        raise _malformed("#/inputText: expected minLength: 1, actual: 0")
    if len(text) > TITAN_CHARACTERS:
        raise _malformed(f"#/inputText: expected maxLength: {TITAN_CHARACTERS}, actual: {len(text)}")
    dimensions = body.get("dimensions", PLACES)
    if dimensions not in TITAN_DIMENSIONS or isinstance(dimensions, bool):
        raise _malformed(f"#/dimensions: {dimensions} is not a valid enum value")
    if not isinstance(body.get("normalize", True), bool):
        raise _malformed("#/normalize: expected type: Boolean")
    count, most = tokens(text), plan.most_tokens or TITAN_TOKENS
    if count > most:
        raise invalid(
            plan.too_long
            or f"400 Bad Request: Too many input tokens. Max input tokens: {most}, request input token count: {count} "
        )
    vector = vector_of(text, dimensions)
    kinds = body.get("embeddingTypes") or ["float"]
    by_type: Json = {"float": vector} if "float" in kinds else {}
    if "binary" in kinds:
        by_type["binary"] = [int(value > 0) for value in vector]
    document: Json = {"embeddingsByType": by_type, "inputTextTokenCount": count}
    return document | ({"embedding": vector} if "float" in kinds else {}), count


def _cohere(body: Json, plan: Plan) -> tuple[Json, int]:
    _refuse_unknown(body, {"texts", "images", "input_type", "truncate", "embedding_types"})
    texts = body.get("texts")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _malformed("#: required key [texts] not found")
    if not texts:
        raise _malformed("#/texts: expected minimum item count: 1, found: 0")
    if len(texts) > COHERE_TEXTS:
        raise _malformed(f"#/texts: expected maximum item count: {COHERE_TEXTS}, found: {len(texts)}")
    for number, text in enumerate(texts):
        if not text:
            raise _malformed(f"#/texts/{number}: expected minLength: 1, actual: 0")
    long = {number: len(text) for number, text in enumerate(texts) if len(text) > COHERE_CHARACTERS}
    if long:  # each of them in one sentence, as Bedrock does
        every = [
            f"#/texts/{number}: expected maxLength: {COHERE_CHARACTERS}, actual: {long[number]}" for number in long
        ]
        raise _malformed("".join(every))
    if body.get("input_type") not in COHERE_PURPOSES:
        raise _malformed(f"#/input_type: {body.get('input_type')} is not a valid enum value")
    truncate = body.get("truncate", "NONE")
    if truncate not in ("NONE", "START", "END"):
        raise _malformed(f"#/truncate: {truncate} is not a valid enum value")
    most = plan.most_tokens or COHERE_TOKENS
    counts = [tokens(text) for text in texts]
    if truncate == "NONE" and max(counts) > most:
        raise invalid(plan.too_long or "Input is too long for requested model.")
    vectors = [vector_of(_truncated(text, most, truncate), PLACES) for text in texts]
    document: Json = {"id": "00000000-0000-0000-0000-000000000000", "texts": texts}
    if kinds := body.get("embedding_types"):
        by_type = {kind: vectors for kind in kinds if kind == "float"}
        document |= {"response_type": "embeddings_by_type", "embeddings": by_type}
    else:
        document |= {"response_type": "embeddings_floats", "embeddings": vectors}
    return document, sum(min(count, most) for count in counts)


def _truncated(text: str, most: int, end: str) -> str:
    while tokens(text) > most:
        text = text[: len(text) * 9 // 10] if end == "END" else text[-(len(text) * 9 // 10) :]
    return text


def _refuse_unknown(body: Json, known: set[str]) -> None:
    if unknown := sorted(body.keys() - known):
        raise _malformed(f"#: extraneous key [{unknown[0]}] is not permitted")


def _malformed(what: str) -> Refusal:
    return invalid(f"Malformed input request: {what}, please reformat your input and try again.")


def tokens(text: str) -> int:
    """A token is four characters of ASCII, or one and a half of others."""
    plain = len(text.encode("ascii", "ignore"))
    return max(1, math.ceil(plain / ASCII_PER_TOKEN + (len(text) - plain) / OTHERS_PER_TOKEN))


# ---- Vectors --------------------------------------------------------------------------------------------------------


def vector_of(text: str, dimensions: int) -> list[float]:
    """The first places of a text's vector, of length 1."""
    import numpy as np  # noqa: PLC0415  its 60 ms are for those alone who ask for vectors

    features = Counter(_features(text))
    if not features:
        features["blank"] = 1
    weights = [_weight(name) * math.sqrt(count) for name, count in features.items()]
    bits = np.frombuffer(b"".join(map(_signs, features)), dtype=np.uint8).reshape(len(features), -1)
    signs = np.unpackbits(bits, axis=1).astype(np.float32) * 2 - 1
    total = (np.array(weights, dtype=np.float32) @ signs)[:dimensions]
    values: list[float] = (total / (np.linalg.norm(total) or 1.0)).tolist()
    return values


@lru_cache(maxsize=100_000)
def _signs(feature: str) -> bytes:
    return shake_128(feature.encode()).digest(PLACES // 8)


def _features(text: str) -> Iterator[str]:
    """The names of a text's features, each as often as it occurs. A name's first letter says of what kind it is."""
    words: list[str] = []
    for part in _PARTS.findall(concepts.folded(text)):
        if _is_run(part):
            yield from _of_words(words)
            words = []
            yield from (f"p{part[at : at + 2]}" for at in range(max(1, len(part) - 1)))
            yield from (f"c{group}" for group in concepts.of_japanese(part))
        else:
            words.append(part)
    yield from _of_words(words)


def _of_words(words: list[str]) -> Iterator[str]:
    for word in words:
        yield from _of_word(word)
    yield from (f"c{group}" for group in concepts.of_phrases(words))


@lru_cache(maxsize=100_000)
def _of_word(word: str) -> tuple[str, ...]:
    names = [f"w{word}"]
    if word not in _STOPS:
        marked = f"^{word}$"
        names += (f"n{marked[at : at + PIECE_LENGTH]}" for at in range(len(marked) - PIECE_LENGTH + 1))
    if (group := concepts.of_word(word)) is not None:
        names.append(f"c{group}")
    return tuple(names)


def _is_run(part: str) -> bool:
    """Whether it is of a script that puts no blanks between words."""
    return part[0] >= "぀"


def _weight(feature: str) -> float:
    kind, name = feature[0], feature[1:]
    match kind:
        case "w":
            return STOP_WORD if name in _STOPS else WORD
        case "n":
            return PIECE
        case "p":
            return STOP_WORD if _HIRAGANA.fullmatch(name) else PAIR
        case "c":
            return CONCEPT
    return WORD
