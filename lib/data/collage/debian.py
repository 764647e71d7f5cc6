"""Debian packages as a source of pictures: fetched with apt-get or given, and unpacked without dpkg."""
import bz2
import contextlib
import filecmp
import gzip
import io
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from lib.base.files import whole_file
from lib.base.problem import Problem

MAGIC = b"!<arch>\n"
OPENERS: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {"": lambda raw: raw, ".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
DAMAGE = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, tarfile.TarError)


def fetch_package(name: str, cache: Path, given: Path | None = None) -> Path:
    """`cache/<name>.deb`, whole: from `given` (a .deb file or a folder of them; else what the environment variable
    DEBS lists), from an earlier call, or from `apt-get download`, which needs no root."""
    target = Path(cache) / f"{name}.deb"
    places = [Path(given)] if given else [Path(part) for part in os.environ.get("DEBS", "").split(os.pathsep) if part]
    source = Path(given) if given and Path(given).is_file() else _given(name, places)
    if source:
        if not (target.exists() and filecmp.cmp(source, target, shallow=False)):
            _store(name, source, target)
    elif not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            _store(name, _download(name, Path(folder), Path(cache) / ".apt"), target)
    return target


def package_version(deb: Path) -> str:
    """The version a package file says it has."""
    return _field(deb, "Version")


def unpack(deb: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    """Lay the regular files for which `wanted("usr/share/...")` holds below `folder`; all of them or, from a damaged package, none."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as part:
        paths = []
        for path, content in _files(deb, "data", wanted):
            _place(Path(part) / path).write_bytes(content)
            paths.append(path)
        for path in paths:
            os.replace(Path(part) / path, _place(folder / path))


def _place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _given(name: str, places: list[Path]) -> Path | None:
    """The one file of a package among files and folders of files, by name."""
    for place in places:
        if not place.exists():
            raise Problem(f"{place}: there is no such file or folder; DEBS names .deb files or folders that hold them.")
    files = [file for place in places for file in (sorted(place.glob("*.deb")) if place.is_dir() else [place])]
    found = [file for file in files if file.name.removesuffix(".deb").split("_")[0] == name]
    if len(found) > 1:
        raise Problem(f"{found[0]} and {found[1].name}: both are the package {name}; leave only one of them.")
    return found[0] if found else None


def _store(name: str, source: Path, target: Path) -> None:
    """Copy a package into the cache, once it is seen to be that package and not truncated."""
    if (package := _field(source, "Package")) != name:
        raise Problem(f"{source}: this is the package {package}, not {name}; give the right file.")
    with whole_file(target) as part:
        shutil.copyfile(source, part)


def _download(name: str, folder: Path, private: Path) -> Path:
    """Have apt-get download into `folder`; where the machine's package lists do not do, with lists of its own in `private`."""
    if not shutil.which("apt-get"):
        raise Problem(f"{name}: this Debian package is needed and there is no apt-get here; "
                      "download its .deb file from Debian and name the folder it lies in, as in DEBS=folder.")
    failure = _apt_get(["download", name], folder)
    if failure:
        options = _private_lists(private.resolve())
        failure = _apt_get([*options, "update"], folder) or _apt_get([*options, "download", name], folder)
    files = list(folder.glob("*.deb"))
    if failure or len(files) != 1:
        raise Problem(f"{name}: apt-get could not download this Debian package ({failure or 'it left no file'}); "
                      "repeat with a network, or get its .deb file and name the folder it lies in, as in DEBS=folder.")
    return files[0]


def _private_lists(private: Path) -> list[str]:
    """Options that keep apt-get away from the system's lists, cache and locks."""
    (private / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (private / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    options = [f"Dir::State::Lists={private / 'lists'}", f"Dir::Cache={private / 'cache'}"]
    if os.geteuid() == 0:
        options.append("APT::Sandbox::User=root")   # its download user could not enter a private folder
    return [word for option in options for word in ("-o", option)]


def _apt_get(words: list[str], folder: Path) -> str:
    """Run apt-get in `folder`, its progress shown on a terminal; its first complaint, or "" after success."""
    output = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
    run = subprocess.run(["apt-get", *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE,
                         text=True, errors="replace", env={**os.environ, "LC_ALL": "C"})
    lines = [line.removeprefix("E: ") for line in run.stderr.splitlines() if line.startswith("E: ")]
    return (lines or [f"exit status {run.returncode}"])[0].rstrip(".") if run.returncode else ""


def _field(deb: Path, key: str) -> str:
    """A field of the package's control file."""
    for _, content in _files(deb, "control", "control".__eq__):
        for line in content.decode("utf-8", "replace").splitlines():
            if line.startswith(f"{key}: "):
                return line.removeprefix(f"{key}: ").strip()
    raise Problem(f"{deb}: its control file has no {key}; this is no Debian package, get it again.")


def _files(deb: Path, part: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the wanted regular files in a package's "data" or "control" archive.

    Written out by hand since tarfile's extraction filters are absent from Debian 12's Python 3.11.2: nothing but regular files,
    no path that leaves the folder."""
    try:
        with _archive(deb, part) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    if member.isreg() and wanted(path := _inside(deb, member.name)):
                        yield path, archive.extractfile(member).read()
            while stream.read(1 << 20):   # the checksum comes last
                pass
    except DAMAGE as error:
        raise Problem(f"{deb}: the package is damaged ({error}); get it again.") from None


def _inside(deb: Path, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise Problem(f"{deb}: its file {name} would lie outside the folder it is unpacked in; get the package from Debian.")
    return str(path)


@contextlib.contextmanager
def _archive(deb: Path, part: str) -> Iterator[IO[bytes]]:
    """The decompressed data.tar or control.tar of a package."""
    members = _members(deb)
    name = next((name for name in members if name.startswith(f"{part}.tar")), None)
    if name is None:
        raise Problem(f"{deb}: it holds no {part}.tar; this is no Debian package, get it again.")
    ending = name.removeprefix(f"{part}.tar")
    if ending == ".zst":
        with _through_dpkg(deb, part) as stream:
            yield stream
    elif ending in OPENERS:
        offset, size = members[name]
        with open(deb, "rb") as file:
            file.seek(offset)
            raw = io.BytesIO(file.read(size))
        with OPENERS[ending](raw) as stream:
            yield stream
    else:
        raise Problem(f"{deb}: its {name} is compressed in an unknown way; give the package as Debian builds it.")


@contextlib.contextmanager
def _through_dpkg(deb: Path, part: str) -> Iterator[IO[bytes]]:
    """Zstandard, as Ubuntu compresses, is not in Python before 3.14."""
    if not shutil.which("dpkg-deb"):
        raise Problem(f"{deb}: it is compressed with zstd, which needs dpkg-deb, and there is none here; give the package as Debian builds it.")
    option = {"data": "--fsys-tarfile", "control": "--ctrl-tarfile"}[part]
    with subprocess.Popen(["dpkg-deb", option, str(deb)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        yield run.stdout
        if run.wait():
            raise tarfile.ReadError("dpkg-deb cannot read it")


def _members(deb: Path) -> dict[str, tuple[int, int]]:
    """Name -> (offset, size) of the members of an ar archive, which must be complete."""
    members = {}
    try:
        with open(deb, "rb") as file:
            end = os.fstat(file.fileno()).st_size
            if file.read(len(MAGIC)) != MAGIC:
                raise Problem(f"{deb}: this is no Debian package file; get it again.")
            while header := file.read(60):
                if len(header) < 60 or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
                    raise Problem(f"{deb}: the package is damaged or cut off; get it again.")
                size, offset = int(header[48:58]), file.tell()
                if offset + size > end:
                    raise Problem(f"{deb}: the package is cut off, {offset + size - end:,} bytes are missing; get it again.")
                members[header[:16].decode("latin-1").rstrip(" /")] = (offset, size)
                file.seek(offset + size + size % 2)
    except (FileNotFoundError, IsADirectoryError):
        raise Problem(f"{deb}: there is no such package file.") from None
    return members
