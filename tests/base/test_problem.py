"""How commands end: one line that can be read, whatever was wrong and whatever names are in it."""
import errno
import json
import os
from pathlib import Path

import pytest

from lib.base.files import write_json
from lib.base.memory import RAN_OUT
from lib.base.problem import Problem, exit_status, one_line


def raises(error: BaseException) -> int:
    def command() -> None:
        raise error
    return exit_status(command, "Interrupted.")


@pytest.mark.parametrize("error", [
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("can't start new thread"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
])
def test_want_of_memory_is_one_sentence(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert raises(error) == 1
    assert capsys.readouterr().err == f"{RAN_OUT}\n"


@pytest.mark.parametrize("error", [ImportError("no module named x"), RuntimeError("shapes differ")])
def test_faults_of_the_program_are_not_hidden(error: BaseException) -> None:
    with pytest.raises(type(error)):
        raises(error)


@pytest.mark.parametrize("name, shown", [
    ("a\nb", r"a\nb"), ("a\x1b[31mb", r"a\x1b[31mb"), ("caf\udce9", r"caf\udce9"), ("größe", "größe")])
def test_names_are_spelt_out_in_one_line(name: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert one_line(name) == shown
    assert raises(Problem(f"{name}: damaged; replace it.")) == 1
    assert raises(OSError(errno.EACCES, "Permission denied", name)) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"{shown}: damaged; replace it." and second.startswith(f"{shown}: Permission denied")


def test_json_keeps_names_that_are_no_letters(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xc3\xa9.png")
    write_json(tmp_path / "x.json", {name: 1})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {name: 1}
