"""The Markdown of the notebooks as plain pieces, and their formulas in Typst's notation."""

from __future__ import annotations

import itertools
import re
from typing import Any

PLACE = re.compile(r"<!--[^<>]*-->")
PIECE = re.compile(
    r"`(?P<code>[^`]+)`|\$(?P<math>[^$]+)\$|\*\*(?P<bold>.+?)\*\*|\*(?P<emph>[^*]+?)\*"
    r"|\[(?P<link>[^\]]+)\]\([^)]+\)",
    re.DOTALL,
)
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[0-9]+(?:\.[0-9]+)?|\s+|.", re.DOTALL)
GREEK = (
    *("alpha", "beta", "gamma", "delta", "eta", "theta", "lambda", "mu", "nu", "pi", "rho"),
    *("sigma", "tau", "phi", "psi", "omega", "Sigma"),
)
NAMES = {
    **{f"\\{name}": name for name in GREEK},
    "\\varepsilon": "epsilon",
    "\\epsilon": "epsilon.alt",
    "\\log": "log",
    "\\exp": "exp",
    "\\mid": "|",
    "\\|": "||",
    "\\Vert": "||",
    "\\le": "<=",
    "\\ge": ">=",
    "\\ne": "!=",
    "\\to": "->",
    "\\pm": "plus.minus",
    "\\approx": "approx",
    "\\times": "times",
    "\\cdot": "dot",
    "\\infty": "infinity",
    "\\sum": "sum",
    "\\dots": "dots",
    "\\in": "in",
    "\\sim": "tilde",
    "\\,": "thin",
    "\\;": "thick",
    "/": "slash",
    "~": "space",
}
FONTS = {"\\mathcal": "cal", "\\mathbb": "bb", "\\mathtt": "mono", "\\mathrm": "upright"}
PLAIN = re.compile(r"[A-Za-z0-9.,;:!?=+\-<>()\[\]|'*]+")


def pieces(text: str) -> list[dict[str, Any]]:
    """Inline Markdown as pieces of one kind each; numbers in places are text.

    Returns:
        For text, code and math (in Typst's notation) `{"kind": ..., "text": ...}`, for bold and
        emph `{"kind": ..., "body": [...]}`.

    Raises:
        ValueError: a formula has a command that is not known here.
    """
    text = re.sub(r"\s+", " ", PLACE.sub("", text)).strip(" ")
    return _pieces(text)


def _pieces(text: str) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    end = 0
    for match in PIECE.finditer(text):
        if match.start() > end:
            made.append({"kind": "text", "text": text[end : match.start()]})
        kind = match.lastgroup or ""
        inside = match[kind]
        if kind == "math":
            made.append({"kind": kind, "text": formula(inside)})
        elif kind == "code":
            made.append({"kind": kind, "text": inside})
        elif kind == "link":
            made += _pieces(inside)
        else:
            made.append({"kind": kind, "body": _pieces(inside)})
        end = match.end()
    if end < len(text):
        made.append({"kind": "text", "text": text[end:]})
    return made


def blocks(text: str) -> list[dict[str, Any]]:
    """A paragraph, or the items of a list, each as pieces."""
    items = re.split(r"^- ", text.strip(), flags=re.MULTILINE)
    if len(items) == 1:
        return [{"item": False, "body": pieces(text)}]
    return [{"item": True, "body": pieces(item)} for item in items if item.strip()]


def formula(latex: str) -> str:
    """A formula of one line in the notation of Typst's mathematics.

    Raises:
        ValueError: it has a command that is not known here.
    """
    return _formula(TOKEN.findall(latex), latex)


def _formula(tokens: list[str], latex: str) -> str:
    made: list[str] = []
    while tokens:
        token = tokens.pop(0)
        if token.isspace():
            continue
        if token in {"_", "^"}:
            made.append(f"{made.pop() if made else ''}{token}({_argument(tokens, latex)})")
        elif token in FONTS:
            plain = token in {"\\mathtt", "\\mathrm"}
            made.append(f"{FONTS[token]}({_argument(tokens, latex, word=plain)})")
        elif token == "{":
            made.append(_argument(["{", *tokens], latex, rest=tokens))
        elif token in NAMES:
            made.append(NAMES[token])
        elif PLAIN.fullmatch(token):
            made.append(token)
        else:
            raise ValueError(f"${latex}$: report/markup.py does not know {token!r}")
    return " ".join(made)


def _argument(
    tokens: list[str], latex: str, *, word: bool = False, rest: list[str] | None = None
) -> str:
    """What a command applies to: a token or a group in braces; a word stays in one piece."""
    while tokens and tokens[0].isspace():
        tokens.pop(0)
    if not tokens:
        raise ValueError(f"${latex}$: something is missing at its end")
    if tokens[0] != "{":
        return _formula([tokens.pop(0)], latex)
    depth = list(itertools.accumulate({"{": 1, "}": -1}.get(it, 0) for it in tokens))
    if 0 not in depth:
        raise ValueError(f"${latex}$: a brace is not closed")
    end = depth.index(0)
    inside = tokens[1:end]
    (tokens if rest is None else rest)[:] = tokens[end + 1 :]
    return f'"{"".join(inside)}"' if word else _formula(inside, latex)
