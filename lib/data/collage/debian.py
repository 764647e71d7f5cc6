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

from lib.base.files import part_folder, whole_file
from lib.base.problem import Problem

MAGIC = b"!<arch>\n"
OPENERS: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    "": lambda raw: raw, ".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
DAMAGE: tuple[type[Exception], ...] = (
    EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, tarfile.TarError)
AGAIN = "delete it, and get it again"
HEADER = 60   # bytes before each member of an ar archive


def fetch_package(name: str, cache: Path) -> Path:
    """Have a package in the cache, whole, and return its file `cache/<name>.deb`.

    It comes from what the environment variable DEBS lists (.deb files and folders of them), from an earlier
    call, or from `apt-get download`, which needs no root.
    """
    target = Path(cache) / f"{name}.deb"
    source = _given(name)
    if source:
        if not (target.exists() and filecmp.cmp(source, target, shallow=False)):
            _store(name, source, target)
    elif not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            _store(name, _download(name, Path(folder), Path(cache) / ".apt"), target)
    return target


def package_version(deb: Path) -> str:
    """Version that a package file says it has."""
    return _field(deb, "Version")


def unpack(deb: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    """Lay the regular files for which `wanted("usr/share/...")` holds below `folder`.

    From a damaged package none is laid.
    """
    with part_folder(folder / deb.stem) as part:
        paths = []
        for path, content in _files(deb, "data", wanted):
            _place(part / path).write_bytes(content)
            paths.append(path)
        for path in paths:
            os.replace(part / path, _place(folder / path))


def _place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _given(name: str) -> Path | None:
    """File of a package, by its name, among the files and folders of files that DEBS lists."""
    places = [Path(place) for place in os.environ.get("DEBS", "").split(os.pathsep) if place]
    for place in places:
        if not place.exists():
            raise Problem(f"{place}: there is no such file or folder; "
                          "DEBS names .deb files or folders that hold them.")
    files: list[Path] = []
    for place in places:
        files += sorted(place.glob("*.deb")) if place.is_dir() else [place]
    of_package = [file for file in files if file.name.removesuffix(".deb").split("_")[0] == name]
    if len(of_package) > 1:
        first, second = of_package[:2]
        raise Problem(f"{first} and {second.name}: both are the package {name}; leave only one of them.")
    return of_package[0] if of_package else None


def _store(name: str, source: Path, target: Path) -> None:
    """Copy a package into the cache, once it is seen to be that package and not truncated."""
    package = _field(source, "Package")
    if package != name:
        raise Problem(f"{source}: this is the package {package}, not {name}; give the right file.")
    with whole_file(target) as part:
        shutil.copyfile(source, part)


def _download(name: str, folder: Path, private: Path) -> Path:
    """Have apt-get download into `folder`; its lists lie in `private` where the machine's do not do."""
    if not shutil.which("apt-get"):
        raise Problem(f"{name}: this Debian package is needed and there is no apt-get here; "
                      "download its .deb file from Debian and name the folder it lies in, as in DEBS=folder.")
    failure = _apt_get(["download", name], folder)
    if failure:
        options = _private_lists(private.resolve())
        failure = _apt_get([*options, "update"], folder)
        failure = failure or _apt_get([*options, "download", name], folder)
    files = list(folder.glob("*.deb"))
    if failure or len(files) != 1:
        reason = failure or "it left no file"
        raise Problem(f"{name}: apt-get could not download this Debian package ({reason}); repeat with "
                      "a network, or get its .deb file and name the folder it lies in, as in DEBS=folder.")
    return files[0]


def _private_lists(private: Path) -> list[str]:
    """Options that keep apt-get away from the system's lists, cache and locks."""
    (private / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (private / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    words = ["-o", f"Dir::State::Lists={private / 'lists'}", "-o", f"Dir::Cache={private / 'cache'}"]
    if os.geteuid() == 0:
        words += ["-o", "APT::Sandbox::User=root"]   # its download user could not enter a private folder
    return words


def _apt_get(words: list[str], folder: Path) -> str:
    """Run apt-get in `folder`, its progress shown on a terminal; its first complaint, or "" after success."""
    output = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
    run = subprocess.run(["apt-get", *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                         stderr=subprocess.PIPE, text=True, errors="replace",
                         env={**os.environ, "LC_ALL": "C"})
    if not run.returncode:
        return ""
    complaints = [line for line in run.stderr.splitlines() if line.startswith("E: ")]
    if not complaints:
        return f"exit status {run.returncode}"
    return complaints[0].removeprefix("E: ").rstrip(".")


def _field(deb: Path, key: str) -> str:
    """A field of the package's control file."""
    for _, content in _files(deb, "control", "control".__eq__):
        for line in content.decode("utf-8", "replace").splitlines():
            if line.startswith(f"{key}: "):
                return line.removeprefix(f"{key}: ").strip()
    raise Problem(f"{deb}: its control file has no {key}; this is no Debian package; {AGAIN}.")


def _files(deb: Path, part: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Path and content of the wanted regular files in a package's "data" or "control" archive.

    Written out by hand since tarfile's extraction filters are absent from Debian 12's Python 3.11.2:
    nothing but regular files, no path that leaves the folder.
    """
    try:
        with _archive(deb, part) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    if not member.isreg():
                        continue
                    path = _inside(deb, member.name)
                    if wanted(path):
                        yield path, archive.extractfile(member).read()
            while stream.read(1 << 20):   # the checksum comes last
                pass
    except DAMAGE as error:
        raise Problem(f"{deb}: the package is damaged ({error}); {AGAIN}.") from None


def _inside(deb: Path, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise Problem(f"{deb}: its file {name} would lie outside the folder it is unpacked in; "
                      "get the package from Debian.")
    return str(path)


@contextlib.contextmanager
def _archive(deb: Path, part: str) -> Iterator[IO[bytes]]:
    """Open the data.tar or control.tar of a package, decompressed."""
    members = _members(deb)
    name = next((name for name in members if name.startswith(f"{part}.tar")), None)
    if name is None:
        raise Problem(f"{deb}: it holds no {part}.tar; this is no Debian package; {AGAIN}.")
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
        raise Problem(f"{deb}: its {name} is compressed in an unknown way; "
                      "give the package as Debian builds it.")


@contextlib.contextmanager
def _through_dpkg(deb: Path, part: str) -> Iterator[IO[bytes]]:
    """Decompress by dpkg-deb: Zstandard, as Ubuntu compresses, is not in Python before 3.14."""
    if not shutil.which("dpkg-deb"):
        raise Problem(f"{deb}: it is compressed with zstd, which needs dpkg-deb, and there is none here; "
                      "give the package as Debian builds it.")
    option = {"data": "--fsys-tarfile", "control": "--ctrl-tarfile"}[part]
    command = ["dpkg-deb", option, str(deb)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        yield run.stdout
        if run.wait():
            raise tarfile.ReadError("dpkg-deb cannot read it")


def _members(deb: Path) -> dict[str, tuple[int, int]]:
    """Offset and size of the members of an ar archive, by name; the archive must be complete."""
    members = {}
    try:
        with open(deb, "rb") as file:
            end = os.fstat(file.fileno()).st_size
            if file.read(len(MAGIC)) != MAGIC:
                raise Problem(f"{deb}: this is no Debian package file; {AGAIN}.")
            while header := file.read(HEADER):
                name, size = _read_header(deb, header)
                offset = file.tell()
                missing = offset + size - end
                if missing > 0:
                    raise Problem(f"{deb}: the package is cut off, {missing:,} bytes are missing; {AGAIN}.")
                members[name] = (offset, size)
                file.seek(offset + size + size % 2)
    except (FileNotFoundError, IsADirectoryError):
        raise Problem(f"{deb}: there is no such package file.") from None
    return members


def _read_header(deb: Path, header: bytes) -> tuple[str, int]:
    """Name and size of a member of an ar archive."""
    is_whole = len(header) == HEADER and header.endswith(b"`\n")
    if not is_whole or not header[48:58].strip().isdigit():
        raise Problem(f"{deb}: the package is damaged or cut off; {AGAIN}.")
    return header[:16].decode("latin-1").rstrip(" /"), int(header[48:58])
