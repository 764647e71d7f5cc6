"""Faults of params.yaml: every kind of wrong value at drawn places, and damage to the file itself."""
import copy
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import yaml

from lib.base.paths import ROOT
from lib.base.yaml_file import parse_yaml
from lib.faults.case import Case, Outcome, judged, refused
from lib.params import load_params

GROUP = "params"
PLACES = 38          # that each kind of wrong value is tried at
DAMAGES = 25         # of each kind of damage to the text
FREE = ("csoa_trials", "iam_constants.crfs")   # whose keys are names that people choose
BOMB = "x: &x [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"x{i}: &x{i} [{', '.join([f'*x{i - 1 or str()}'] * 10)}]\n" for i in range(1, 9))

Place = tuple[str | int, ...]   # keys, and numbers in lists, that lead to a value
Load = Callable[[Path], Any]

# What can stand nowhere, whatever the parameter is.
WRONG: dict[str, Any] = {
    "a mapping": {"x": {"y": 1}},
    "a list of lists": [[[[]]]],
    "an unseen character": "a\0b",
    "not a number (NaN)": float("nan"),
    "infinity": float("inf"),
    "a number far below": -10 ** 12,
    "a date": "!date",
}
# What can be right somewhere: that it is met without a traceback is all there is to say.
ODD: dict[str, Any] = {
    "a number far above": 10 ** 30,
    "a word of 100,000 letters": "x" * 100_000,
    "an empty word": "",
    "nothing": None,
    "false": False,
    "a half": 0.5,
}


def cases(random: Random) -> list[Case]:
    """The cases of this group, drawn from the seed."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    parsed = parse_yaml(text, "params.yaml")
    leaves = list(_leaves(parsed, ()))
    found = [*_written(text)]
    for what, value in WRONG.items():
        for place in random.sample(leaves, PLACES):
            found.append(_edited(f"{what} as {_spelt(place)}", parsed, place, value, refused))
    for what, value in ODD.items():
        for place in random.sample(leaves, PLACES):
            found.append(_edited(f"{what} as {_spelt(place)}", parsed, place, value, judged))
    found += _with_other_keys(parsed, random)
    found += _damaged(text, random)
    return found


def _leaves(block: Any, place: Place) -> Iterator[Place]:
    """The places of all values that hold no others."""
    if not isinstance(block, (dict, list)) or not block:
        yield place
        return
    for key, value in block.items() if isinstance(block, dict) else enumerate(block):
        yield from _leaves(value, (*place, key))


def _spelt(place: Place) -> str:
    return ".".join(map(str, place))


def _edited(name: str, parsed: Any, place: Place, value: Any,
            judge: Callable[[Callable[[], Any]], Outcome]) -> Case:
    return _of_values(name, partial(_set, parsed, place, value), judge)


def _set(parsed: Any, place: Place, value: Any) -> Any:
    changed = copy.deepcopy(parsed)
    _block(changed, place)[place[-1]] = value
    return changed


def _block(parsed: Any, place: Place) -> Any:
    """What holds the value at a place."""
    for key in place[:-1]:
        parsed = parsed[key]
    return parsed


def _with_other_keys(parsed: Any, random: Random) -> Iterator[Case]:
    keys = [place for place in _keys(parsed, ()) if not _spelt(place).startswith(FREE)]
    for place in random.sample(keys, PLACES):
        yield _of_values(f"{_spelt(place)} misspelt", partial(_misspelt, parsed, place), refused)
    for place in random.sample(keys, PLACES):
        yield _of_values(f"{_spelt(place)} left out", partial(_without, parsed, place), judged)


def _keys(block: Any, place: Place) -> Iterator[Place]:
    if isinstance(block, dict):
        for key, value in block.items():
            yield (*place, key)
            yield from _keys(value, (*place, key))


def _misspelt(parsed: Any, place: Place) -> Any:
    changed = copy.deepcopy(parsed)
    block = _block(changed, place)
    block[f"{place[-1]}x"] = block.pop(place[-1])
    return changed


def _without(parsed: Any, place: Place) -> Any:
    changed = copy.deepcopy(parsed)
    del _block(changed, place)[place[-1]]
    return changed


def _of_values(name: str, make: Callable[[], Any],
               judge: Callable[[Callable[[], Any]], Outcome]) -> Case:
    def run(folder: Path) -> Outcome:
        text = yaml.safe_dump(make(), sort_keys=False, allow_unicode=True)
        text = text.replace("'!date'", "2001-01-01")
        return judge(partial(load_params, _written_to(folder, text.encode())))
    return Case(GROUP, name, run)


def _written_to(folder: Path, content: bytes) -> Path:
    path = folder / "params.yaml"
    path.write_bytes(content)
    return path


def _of_bytes(name: str, content: bytes, judge: Callable[[Callable[[], Any]], Outcome]) -> Case:
    return Case(GROUP, name, lambda folder: judge(partial(load_params, _written_to(folder, content))))


def _written(text: str) -> Iterator[Case]:
    """Files that somebody could have written, or chosen by mistake."""
    files = {
        "an empty file": "",
        "a comment alone": "# nothing\n",
        "a list": "- seed\n",
        "a word": "seed\n",
        "a thousand brackets": "[" * 1000 + "]" * 1000,
        "a thousand mappings": "{a: " * 1000 + "1" + "}" * 1000,
        "five thousand digits": f"{text}\nx: {'9' * 5000}\n",
        "five thousand hexadecimal digits": f"{text}\nx: 0x{'f' * 5000}\n",
        "aliases of aliases": f"{text}\n{BOMB}",
        "aliases of aliases as a seed": f"{BOMB}seed: *x8\n",
        "a value that holds itself": f"{text}\nx: &x [*x]\n",
        "an alias of nothing": f"{text}\nx: *nowhere\n",
        "two documents": f"{text}\n---\n{text}",
        "a tag of Python": f"{text}\nx: !!python/name:os.system x\n",
        "a key that is a list": f"{text}\n? [a, b]\n: 1\n",
        "a key without a name": f"{text}\n'': 1\n",
        "a key that is a number": f"{text}\n3: 1\n",
        "a key of 100,000 letters": f"{text}\n{'k' * 100_000}: 1\n",
        "a day that does not exist": f"{text}\nx: 2001-99-99\n",
        "bytes in base 64 that are none": f"{text}\nx: !!binary '='\n",
        "everything twice": text + text,
        "a tab": f"{text}\n\tx: 1\n",
        "an unknown directive": f"%YAML 9.9\n---\n{text}",
        "a merge of what is no mapping": f"{text}\n<<: 3\n",
    }
    for name, content in files.items():
        yield _of_bytes(name, content.encode(), refused)
    for encoding in ("utf-16", "utf-32", "latin-1"):
        yield _of_bytes(f"another encoding, {encoding}", f"{text}# ä\n".encode(encoding), judged)
    yield _of_bytes("a photograph", bytes(range(256)) * 200, refused)
    yield _of_bytes("100 MB of noughts", bytes(100_000_000), refused)


def _damaged(text: str, random: Random) -> Iterator[Case]:
    content = text.encode()
    for _ in range(DAMAGES):
        end = random.randrange(len(content))
        yield _of_bytes(f"cut off behind byte {end}", content[:end], judged)
    for _ in range(DAMAGES):
        at, bit = random.randrange(len(content)), random.randrange(8)
        flipped = bytes([content[at] ^ (1 << bit)])
        yield _of_bytes(f"bit {bit} of byte {at} flipped", content[:at] + flipped + content[at + 1:], judged)
    for _ in range(DAMAGES):
        at, extra = random.randrange(len(content)), random.choice(b"\0\x07\t\x1b\x80\xff:{[&*'\"")
        yield _of_bytes(f"byte {extra} put in at {at}", content[:at] + bytes([extra]) + content[at:], judged)
    numbers = list(re.finditer(r"(?<=[:\[,] )([1-9]\d*)(?=[,\]} ])", text))
    for match in random.sample(numbers, DAMAGES):
        written = random.choice(("0{}", "0b1", "{}_0", "{}:30")).format(match[1])
        line = text.count("\n", 0, match.start()) + 1
        changed = text[:match.start()] + written + text[match.end():]
        yield _of_bytes(f"{match[1]} written as {written} in line {line}", changed.encode(), refused)
    lines = list(re.finditer(r"^( *)(\w+):", text, re.MULTILINE))
    for match in random.sample(lines, DAMAGES):
        changed = f"{text[:match.start()]}{match[1]}{match[2]}: 0\n{text[match.start():]}"
        yield _of_bytes(f"{match[2]} twice, at byte {match.start()}", changed.encode(), refused)
