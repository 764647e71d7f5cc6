"""The set-up: one set of names and pins, a lock without addresses, a script that is quick and clear."""
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lib.base.paths import ROOT

CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib", "seaborn-base": "seaborn",
               "py-opencv": "opencv-contrib-python-headless"}
CONDA_ONLY = {"python", "pip", "git", "cxx-compiler"}


def requirements() -> dict[str, SpecifierSet]:
    """Bounds by name."""
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    named = [Requirement(line) for line in lines if line]
    return {requirement.name: requirement.specifier for requirement in named}


def locked() -> list[tuple[Requirement, list[str]]]:
    """Every entry as `name==version ; marker` and its hashes; fails on a line of another form."""
    entries = []
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line.startswith("    --hash="):
            entries[-1][1].append(re.fullmatch(r"    --hash=sha256:([0-9a-f]{64})( \\)?", line)[1])
        else:
            entries.append((Requirement(line.removesuffix("\\")), []))
    return entries


def test_every_requirement_has_a_reason_and_a_bound() -> None:
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+[>=]=[0-9.]+(,<[0-9]+)? +# \S.*", line), line


def test_the_lock_holds_every_requirement_within_its_bounds() -> None:
    entries = locked()
    for name, bounds in requirements().items():
        versions = [next(iter(entry.specifier)).version for entry, _ in entries if entry.name == name]
        assert versions and all(bounds.contains(v) for v in versions), (name, str(bounds), versions)


def test_every_locked_package_has_one_version_and_hashes() -> None:
    entries = locked()
    assert len(entries) > 100
    for entry, hashes in entries:
        assert [s.operator for s in entry.specifier] == ["=="] and hashes, entry


def test_no_second_build_of_opencv_overwrites_the_contrib_one() -> None:
    builds = [entry.name for entry, _ in locked() if entry.name.startswith("opencv")]
    assert builds == ["opencv-contrib-python-headless"]
    assert "--override requirements.overrides " in make("lock")
    lines = (ROOT / "requirements.overrides").read_text().splitlines()
    left_out = [Requirement(line) for line in lines if not line.startswith("#")]
    assert {requirement.name for requirement in left_out} == {"opencv-python", "opencv-python-headless"}
    for requirement in left_out:
        for version in ("3.11", "3.14"):
            assert not requirement.marker.evaluate({"python_version": version}), (requirement, version)


def test_the_lock_holds_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and " @ " not in text
    assert not re.search(r"^--?(i|index|extra|find|trusted)", text, re.M)


def test_the_lock_serves_the_oldest_python_that_is_promised() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "cam-replication-suite" and project["requires-python"] == ">=3.11"
    assert "--python-version 3.11 " in (ROOT / "Makefile").read_text()
    assert "sys.version_info >= (3, 11)" in (ROOT / "tools" / "setup.sh").read_text()
    assert "python >=3.11" in conda()["dependencies"]
    here = {"python_version": "3.11", "python_full_version": "3.11.2"}   # Debian 12
    served = {entry.name for entry, _ in locked() if entry.marker is None or entry.marker.evaluate(here)}
    assert set(requirements()) <= served


def conda() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text())


def test_every_conda_spec_is_valid() -> None:
    rattler = pytest.importorskip("rattler", reason="py-rattler is not installed")
    environment = conda()
    assert environment["name"] == "cam-replication-suite" and environment["channels"][0] == "conda-forge"
    specs = [s for s in environment["dependencies"] if isinstance(s, str)]
    for spec in specs:
        assert rattler.MatchSpec(spec).name.normalized == spec.split()[0]
    with pytest.raises(Exception, match="version"):
        rattler.MatchSpec("numpy >=2.0,,<3")   # it does refuse


def test_conda_names_and_pins_agree_with_the_requirements() -> None:
    pins = {}
    for spec in conda()["dependencies"]:
        for line in spec["pip"] if isinstance(spec, dict) else [spec]:
            requirement = Requirement(line)
            assert requirement.name not in pins, f"{requirement.name} stands twice"
            pins[CONDA_NAMES.get(requirement.name, requirement.name)] = requirement.specifier
    assert {name: bounds for name, bounds in pins.items() if name not in CONDA_ONLY} == requirements()


def test_no_file_of_the_project_holds_an_absolute_path_of_a_machine() -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this folder is not a git repository")
    path = re.compile(rb"(?<![\w+/.~$}-])/(?:home|root|work|Users)/[\w.-]")
    assert path.search(b'"/ho' + b'me/someone"') and not path.search(b"here/wo" + b"rk/x")
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            content = (ROOT / name).read_bytes()
            if b"\0" not in content and (match := path.search(content)):
                found.append((name, content[match.start():match.start() + 40]))
    assert not found


def make(*words: str) -> str:
    """Print what make would run, whatever make or shell runs this test."""
    env = dict(os.environ)
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "TIERS", "MIRROR", "JOBS", "CLUSTER"):
        env.pop(name, None)
    command = ["make", "-n", *words]
    return subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout


def test_make_hands_on_what_it_is_given() -> None:
    repro = ".venv/bin/python -m lib.pipeline repro"
    assert make("repro").splitlines()[-1].split() == repro.split()
    given = make("repro", "TIERS=collage mirror", "MIRROR=my photos").splitlines()[-1]
    assert given.split() == f'{repro} --tier collage --tier mirror --mirror "my photos"'.split()
    shared = make("repro", "JOBS=4", "CLUSTER=tcp://here:8786").splitlines()[-1]
    assert shared.split() == f'{repro} --jobs "4" --cluster "tcp://here:8786"'.split()
    assert make("test").splitlines()[-1].startswith("OMP_NUM_THREADS=1 ")
    assert "--dist loadfile" in make("test")


def test_make_alone_names_every_target() -> None:
    shown = make()
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    for target in set(targets) - {"help", "setup"}:
        assert f"make {target}" in shown


def test_make_clean_keeps_data_and_reports() -> None:
    removed = make("clean")
    assert "rm -rf .venv .uv build reports/smoke" in removed
    assert not re.search(r"(^| )(\./)?(data|reports)/?( |$)", removed, re.M)


TOOLS: tuple[str, ...] = ("bash", "env", "dirname", "cat", "sha256sum", "rm", "awk", "flock")
FAKE_UV = """#!/bin/bash
[ "$1" = --version ] && { echo "uv ${UV_SAYS:-0.8.0} (fake)"; exit 0; }
echo "$@" >> uv.log
case "$*" in
  venv*)
    mkdir -p .venv/bin .venv/lib/python3.11/site-packages
    echo version_info = 3.11.7 > .venv/pyvenv.cfg
    ln -s "$4" .venv/bin/python;;
  *requirements.lock) [ ! -e fail ] || { echo 'uv: no network' >&2; exit 1; };;
esac
"""


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


class Copy:
    """A copy of the set-up script, with a PATH that holds only what is put there."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin = folder / "a project", folder / "bin"
        for made in (self.root / "tools", self.bin):
            made.mkdir(parents=True)
        shutil.copy(ROOT / "tools" / "setup.sh", self.root / "tools")
        shutil.copy(ROOT / "requirements.lock", self.root)
        for name in (*TOOLS, "mkdir", "ln"):
            (self.bin / name).symlink_to(shutil.which(name))
        script(self.bin / "g++", "#!/bin/sh\n")
        script(self.bin / "uv", FAKE_UV)
        script(self.bin / "id", "#!/bin/sh\necho 1000\n")
        script(self.bin / "python3", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')

    def run(self, *words: str, **extra: str) -> subprocess.CompletedProcess:
        env = {"PATH": str(self.bin), "HOME": str(self.root), **extra}
        command = [self.root / "tools" / "setup.sh", *words]
        return subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def calls(self) -> list[str]:
        log = self.root / "uv.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    program = "import sysconfig; print(sysconfig.get_path('include'))"
    include = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if not (Path(include.stdout.strip()) / "Python.h").exists():
        pytest.skip("this Python comes without headers")
    return Copy(tmp_path)


def test_setup_installs_the_lock_and_makes_lib_importable(copy: Copy) -> None:
    done = copy.run()
    assert done.returncode == 0, done.stderr
    venv, builders, everything = copy.calls()
    assert venv.startswith("venv --quiet --python ")
    assert "--require-hashes" in builders and "--require-hashes" in everything
    lines = (copy.root / ".venv" / "builders.lock").read_text().splitlines()
    assert [line.split("==")[0] for line in lines if "==" in line] == ["cython", "setuptools"]
    assert everything.endswith("requirements.lock")
    [pth] = copy.root.glob(".venv/lib/python3*/site-packages/*.pth")
    assert pth.read_text() == f"{copy.root}\n"


def test_setup_does_nothing_the_second_time_and_starts_no_python(copy: Copy) -> None:
    copy.run()
    copy.calls()
    (copy.bin / "python3").unlink()
    again = copy.run()
    assert (again.returncode, again.stdout, again.stderr, copy.calls()) == (0, "", "", [])


def lengthen_lock(copy: Copy) -> None:
    with (copy.root / "requirements.lock").open("a") as stream:
        stream.write("\n")


def lengthen_script(copy: Copy) -> None:
    with (copy.root / "tools" / "setup.sh").open("a") as stream:
        stream.write("\n")


def lose_python(copy: Copy) -> None:
    (copy.root / ".venv" / "bin" / "python").unlink()


def move(copy: Copy) -> None:
    copy.root = copy.root.rename(copy.root.with_name("moved"))


def test_setup_starts_over_when_something_changed(copy: Copy) -> None:
    copy.run()
    for change in (lengthen_lock, lose_python, lengthen_script, move):
        copy.calls()
        change(copy)
        assert copy.run().returncode == 0 and len(copy.calls()) == 3
    assert next(copy.root.glob(".venv/lib/*/site-packages/*.pth")).read_text() == f"{copy.root}\n"


def test_an_interrupted_setup_is_repeated_cleanly(copy: Copy) -> None:
    (copy.root / "fail").touch()
    failed = copy.run()
    assert failed.returncode == 1
    assert "uv: no network" in failed.stderr and "could not be installed" in failed.stderr
    (copy.root / ".venv" / "half").touch()
    (copy.root / "fail").unlink()
    assert copy.run().returncode == 0 and not (copy.root / ".venv" / "half").exists()
    assert copy.run().stderr == ""


def test_an_activated_half_made_environment_is_not_taken_for_the_python(copy: Copy) -> None:
    copy.run()
    (copy.root / ".venv" / ".complete").unlink()
    (copy.root / ".venv" / "bin" / "python3").symlink_to(copy.bin / "python3")
    copy.calls()
    assert copy.run(PATH=f"{copy.root}/.venv/bin:{copy.bin}").returncode == 0
    assert f"{copy.root}/.venv" not in copy.calls()[0]


def test_an_old_python_is_one_sentence(copy: Copy) -> None:
    script(copy.bin / "python3", "#!/bin/sh\nexit 1\n")
    assert copy.run().stderr == ("setup: Python 3.11 or newer is needed and python3 is not that; "
                                 "install it or name it, as in PYTHON=/path/to/python3.12.\n")
    assert "and python9 is not that" in copy.run(PYTHON="python9").stderr
    assert not (copy.root / ".venv").exists()


def test_a_missing_compiler_is_one_sentence_with_the_command(copy: Copy) -> None:
    (copy.bin / "g++").unlink()
    stopped = copy.run()
    assert stopped.returncode == 1 and stopped.stderr.count("\n") == 1
    assert "run 'sudo apt-get install build-essential', then repeat." in stopped.stderr
    assert not (copy.root / ".venv").exists()


def test_root_has_a_missing_compiler_installed(copy: Copy) -> None:
    (copy.bin / "g++").unlink()
    script(copy.bin / "id", "#!/bin/sh\necho 0\n")
    log, compiler = copy.root / "apt.log", copy.bin / "g++"
    script(copy.bin / "apt-get", f"#!/bin/bash\necho \"$*\" >> '{log}'\n"
                                 f"[ $1 = update ] || ln -s /bin/true '{compiler}'\n")
    done = copy.run()
    assert done.returncode == 0, done.stderr
    assert log.read_text().splitlines()[1].endswith(" build-essential")


def test_uv_prints_its_path_and_changes_nothing(copy: Copy) -> None:
    assert copy.run("--uv").stdout == f"{copy.bin}/uv\n" and not (copy.root / ".venv").exists()


def test_the_own_uv_goes_before_that_on_path(copy: Copy) -> None:
    own = copy.root / ".uv" / "bin"
    own.mkdir(parents=True)
    script(own / "uv", FAKE_UV)
    assert copy.run("--uv").stdout == f"{own}/uv\n"


@pytest.mark.parametrize("version", ["0.7.22", "nonsense", ""])
def test_an_old_uv_on_path_is_not_taken(copy: Copy, version: str) -> None:
    """Another is installed then, which needs the network: here, the module pip is not there."""
    script(copy.bin / "uv", FAKE_UV.replace("${UV_SAYS:-0.8.0}", version))
    script(copy.bin / "python3", '#!/bin/sh\ncase "$2" in *_base_executable*) echo "$0";; *) exit 1;; esac\n')
    done = copy.run("--uv")
    assert done.returncode == 1 and "pip could not install uv" in done.stderr


def test_jupyter_listens_here_alone_and_asks_for_a_token() -> None:
    shown = make("lab")
    assert "--ip=127.0.0.1" in shown and "JUPYTER_TOKEN=$(" in shown and "--allow-root" in shown
