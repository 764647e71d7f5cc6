"""Package files are built by hand, byte by byte; apt-get is a script that keeps a record of its calls."""
import gzip
import io
import lzma
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from lib.base.problem import Problem
from lib.data.collage.debian import fetch_package, package_version, unpack

PICTURES = {"./usr/share/pictures/owl.png": b"owl", "./usr/share/pictures/cat.png": b"cat" * 1000,
            "./usr/share/doc/readme": b"text"}


def tar(files: dict[str, bytes], extra: list[tarfile.TarInfo] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return buffer.getvalue()


def ar(members: dict[str, bytes]) -> bytes:
    content = b"!<arch>\n"
    for name, data in members.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
        content += header.encode() + data + b"\n" * (len(data) % 2)
    return content


def control(name: str = "pictures", version: str = "4:1.2-3") -> bytes:
    fields = f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
    return tar({"./md5sums": b"Version: 9\n", "./control": fields.encode()})


def deb(folder: Path, name: str = "pictures", files: dict[str, bytes] = PICTURES,
        extra: list[tarfile.TarInfo] = (), ending: str = ".xz", version: str = "4:1.2-3") -> Path:
    pack = {".xz": lzma.compress, ".gz": gzip.compress, "": bytes, ".zst": bytes, ".lz9": bytes}[ending]
    path = folder / f"{name}_1.2-3_all.deb"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ar({"debian-binary": b"2.0\n", f"control.tar{ending}": pack(control(name, version)),
                         f"data.tar{ending}": pack(tar(files, extra))}))
    return path


def repack(package: Path, data: bytes) -> None:
    """Put another compressed data archive into a package."""
    control_archive = lzma.compress(control())
    package.write_bytes(ar({"debian-binary": b"2.0\n", "control.tar.xz": control_archive,
                            "data.tar.xz": data}))


def laid(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("ending", [".xz", ".gz", ""])
def test_wanted_files_and_no_others_are_laid(tmp_path: Path, ending: str) -> None:
    seen = []
    package = deb(tmp_path, ending=ending)
    unpack(package, tmp_path / "out", lambda path: seen.append(path) or path.endswith(".png"))
    assert laid(tmp_path / "out") == {"usr/share/pictures/owl.png": b"owl",
                                      "usr/share/pictures/cat.png": b"cat" * 1000}
    assert seen == ["usr/share/pictures/owl.png", "usr/share/pictures/cat.png", "usr/share/doc/readme"]
    assert package_version(package) == "4:1.2-3"


def test_packages_are_unpacked_beside_each_other(tmp_path: Path) -> None:
    unpack(deb(tmp_path, files={"./usr/a": b"old", "./usr/b": b"1"}), tmp_path / "out", lambda path: True)
    unpack(deb(tmp_path, "other", {"./usr/a": b"new", "./usr/c": b"2"}), tmp_path / "out", lambda path: True)
    assert laid(tmp_path / "out") == {"usr/a": b"new", "usr/b": b"1", "usr/c": b"2"}


@pytest.mark.parametrize("name", ["../evil", "./usr/../../evil", "/evil"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    package = deb(tmp_path, files={"./good": b"1", name: b"2"})
    with pytest.raises(Problem, match="pictures_1.2-3_all.deb: its file .*evil would lie outside"):
        unpack(package, tmp_path / "in" / "out", lambda path: True)
    assert laid(tmp_path) == {package.name: package.read_bytes()} and not Path("/evil").exists()


def test_links_and_devices_are_not_laid_nor_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    link = tarfile.TarInfo("./way")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside")
    hard = tarfile.TarInfo("./hard")
    hard.type, hard.linkname = tarfile.LNKTYPE, "/etc/passwd"
    device = tarfile.TarInfo("./null")
    device.type = tarfile.CHRTYPE
    device.devmajor, device.devminor = 1, 3
    package = deb(tmp_path, extra=[link, hard, device])
    content = tar({"./way/through": b"3"})
    data = lzma.compress(tar({}, [link])[:512] + content)   # first the link, then a file that goes through it
    repack(package, data)
    unpack(package, tmp_path / "out", lambda path: True)
    assert laid(tmp_path / "out") == {"way/through": b"3"} and not list((tmp_path / "outside").iterdir())
    package = deb(tmp_path, extra=[link, hard, device])
    unpack(package, tmp_path / "again", lambda path: not path.startswith("usr"))
    assert laid(tmp_path / "again") == {}


@pytest.mark.parametrize("ending", [".xz", ".gz"])
def test_a_package_cut_off_anywhere_is_named_and_leaves_nothing(tmp_path: Path, ending: str) -> None:
    package = deb(tmp_path, ending=ending)
    whole = package.read_bytes()
    for length in range(0, len(whole) - 1, 97):
        package.write_bytes(whole[:length])
        with pytest.raises(Problem, match="pictures_1.2-3_all.deb: .*; delete it, and get it again"):
            unpack(package, tmp_path / "out", lambda path: True)
        assert laid(tmp_path / "out") == {}


@pytest.mark.parametrize("ending", [".xz", ".gz"])
def test_damage_inside_or_at_the_checksum_is_noticed(tmp_path: Path, ending: str) -> None:
    package = deb(tmp_path, ending=ending)
    whole = package.read_bytes()
    start = whole.index(b"data.tar") + 60
    for position in [start + 20, (start + len(whole)) // 2, len(whole) - 7]:
        package.write_bytes(whole[:position] + bytes([whole[position] ^ 255]) + whole[position + 1:])
        with pytest.raises(Problem, match="pictures_1.2-3_all.deb: the package is damaged"):
            unpack(package, tmp_path / "out", lambda path: True)
        assert laid(tmp_path / "out") == {}


def test_a_data_archive_that_ends_early_inside_a_sound_container_is_noticed(tmp_path: Path) -> None:
    package = deb(tmp_path)
    data = lzma.compress(tar(PICTURES))[:-40]
    repack(package, data)
    with pytest.raises(Problem, match="the package is damaged"):
        unpack(package, tmp_path / "out", lambda path: True)
    assert laid(tmp_path / "out") == {}


@pytest.mark.parametrize("content, sentence", [
    (b"no archive", "this is no Debian package file"),
    (ar({"debian-binary": b"2.0\n"}), "holds no data.tar"),
    (ar({"debian-binary": b"2.0\n", "data.tar.lz9": b""}),
     "its data.tar.lz9 is compressed in an unknown way"),
])
def test_what_is_no_package_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "x.deb").write_bytes(content)
    with pytest.raises(Problem, match=f"x.deb: .*{sentence}"):
        unpack(tmp_path / "x.deb", tmp_path / "out", lambda path: True)


def test_a_missing_package_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="gone.deb: there is no such package file"):
        package_version(tmp_path / "gone.deb")


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing but what a test puts there (and what its scripts call); no DEBS."""
    (tmp_path / "bin").mkdir()
    for name in ("cp", "cat"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("DEBS", raising=False)
    return tmp_path / "bin"


def test_zstd_goes_through_dpkg_deb_or_is_explained(tmp_path: Path, path: Path) -> None:
    package = deb(tmp_path, ending=".zst")
    with pytest.raises(Problem, match="zstd, which needs dpkg-deb"):
        unpack(package, tmp_path / "out", lambda name: True)
    (tmp_path / "data").write_bytes(tar(PICTURES))
    (tmp_path / "control").write_bytes(control())
    choice = "case $1 in --fsys-tarfile) f=data;; --ctrl-tarfile) f=control;; esac"
    program(path, "dpkg-deb", f"{choice}; cat {tmp_path}/$f")
    unpack(package, tmp_path / "out", lambda name: name.endswith("owl.png"))
    assert laid(tmp_path / "out") == {"usr/share/pictures/owl.png": b"owl"}
    assert package_version(package) == "4:1.2-3"
    program(path, "dpkg-deb", f"cat {tmp_path}/data; exit 2")
    with pytest.raises(Problem, match="damaged .dpkg-deb cannot read it."):
        unpack(package, tmp_path / "none", lambda name: True)
    assert laid(tmp_path / "none") == {}


def apt_get(tmp_path: Path, path: Path, plain: str, private: str) -> Path:
    """Fake apt-get: `download` does `plain`, or `private` if told of other lists; returns its record."""
    program(path, "apt-get", f"""echo "$*" >> {tmp_path}/record
case "$*" in update|*' update') exit 0;; *Dir::State::Lists=*) {private};; *) {plain};; esac""")
    return tmp_path / "record"


def test_the_first_download_is_kept(tmp_path: Path, path: Path) -> None:
    source = deb(tmp_path / "server")
    record = apt_get(tmp_path, path, f"cp {source} .", "exit 9")
    for _ in range(2):
        assert fetch_package("pictures", tmp_path / "cache") == tmp_path / "cache" / "pictures.deb"
    assert (tmp_path / "cache" / "pictures.deb").read_bytes() == source.read_bytes()
    assert record.read_text() == "download pictures\n" and os.listdir(tmp_path / "cache") == ["pictures.deb"]


def test_without_package_lists_private_ones_are_used(tmp_path: Path, path: Path) -> None:
    source = deb(tmp_path / "server")
    lacking = "echo 'E: Unable to locate package pictures' >&2; exit 100"
    record = apt_get(tmp_path, path, lacking, f"cp {source} .")
    fetch_package("pictures", tmp_path / "cache")
    first, update, second = record.read_text().splitlines()
    assert first == "download pictures"
    private = f"{tmp_path}/cache/.apt"
    assert f"-o Dir::State::Lists={private}/lists -o Dir::Cache={private}/cache" in update
    assert second == update.removesuffix("update") + "download pictures"
    assert (tmp_path / "cache" / ".apt" / "lists" / "partial").is_dir()


def test_a_failed_or_cut_off_download_leaves_nothing(tmp_path: Path, path: Path) -> None:
    apt_get(tmp_path, path, "exit 100", "echo 'E: Temporary failure resolving.' >&2; exit 100")
    words = r"^pictures: apt-get could not .*\(Temporary failure resolving\).*DEBS=folder\.$"
    with pytest.raises(Problem, match=words):
        fetch_package("pictures", tmp_path / "cache")
    source = deb(tmp_path / "server")
    source.write_bytes(source.read_bytes()[:-30])
    apt_get(tmp_path, path, f"cp {source} .", "exit 9")
    with pytest.raises(Problem, match="cut off, 30 bytes are missing"):
        fetch_package("pictures", tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*pictures*"))


def test_without_apt_get_the_way_out_is_named(tmp_path: Path, path: Path) -> None:
    with pytest.raises(Problem, match="^pictures: .*no apt-get here; .*DEBS=folder"):
        fetch_package("pictures", tmp_path / "cache")


def test_given_files_come_before_the_cache_and_apt_get(tmp_path: Path, path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    folder, other = deb(tmp_path / "debs").parent, deb(tmp_path / "others", "sounds")
    monkeypatch.setenv("DEBS", f"{other}:{folder}")
    assert package_version(fetch_package("pictures", tmp_path / "cache")) == "4:1.2-3"
    assert package_version(fetch_package("sounds", tmp_path / "cache")) == "4:1.2-3"
    before = (tmp_path / "cache" / "pictures.deb").stat()
    again = fetch_package("pictures", tmp_path / "cache").stat()
    assert again.st_mtime_ns == before.st_mtime_ns   # not copied again
    monkeypatch.setenv("DEBS", str(deb(tmp_path / "newer", version="5")))
    assert package_version(fetch_package("pictures", tmp_path / "cache")) == "5"
    monkeypatch.delenv("DEBS")
    assert package_version(fetch_package("pictures", tmp_path / "cache")) == "5"


def test_a_wrong_or_missing_given_file_is_named(tmp_path: Path, path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    package = deb(tmp_path / "debs", "sounds")
    monkeypatch.setenv("DEBS", str(package.parent))
    package.with_name("pictures.deb").write_bytes(package.read_bytes())
    with pytest.raises(Problem, match="this is the package sounds, not pictures"):
        fetch_package("pictures", tmp_path / "cache")
    package.with_name("sounds_2_all.deb").write_bytes(package.read_bytes())
    with pytest.raises(Problem, match="both are the package sounds"):
        fetch_package("sounds", tmp_path / "cache")
    monkeypatch.setenv("DEBS", str(tmp_path / "nowhere"))
    with pytest.raises(Problem, match="nowhere: there is no such file or folder"):
        fetch_package("pictures", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_package_of_dpkg_deb_is_read_as_dpkg_deb_reads_it(tmp_path: Path) -> None:
    if not Path("/usr/bin/dpkg-deb").exists():
        pytest.skip("there is no dpkg-deb on this machine")
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text("Package: pictures\nVersion: 7-1\nArchitecture: all\n"
                                             "Maintainer: a <a@b.c>\nDescription: x\n")
    (tree / "usr" / "share").mkdir(parents=True)
    (tree / "usr" / "share" / ("long" * 40 + ".png")).write_bytes(os.urandom(5000))
    (tree / "usr" / "share" / "käse.png").write_bytes(b"")
    for kind in ["xz", "gzip", "none", "zstd"]:
        command = ["dpkg-deb", f"-Z{kind}", "-b", str(tree), str(tmp_path / "p.deb")]
        done = subprocess.run(command, capture_output=True)
        if done.returncode and kind == "zstd":
            continue   # Debian 11's dpkg-deb does not write it
        assert done.returncode == 0
        unpack(tmp_path / "p.deb", tmp_path / kind, lambda path: True)
        assert laid(tmp_path / kind / "usr") == laid(tree / "usr")
        assert package_version(tmp_path / "p.deb") == "7-1"
