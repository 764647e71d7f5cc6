#!/usr/bin/env bash
# Makes .venv hold exactly what requirements.lock lists; where it already does, ends at once.
#   tools/setup.sh         PYTHON=python3.12 tools/setup.sh picks the interpreter
#   tools/setup.sh --uv    only prints the path of the uv it uses (for `make lock`)
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
PATH=${PATH//"$ROOT/.venv/bin:"/}   # the interpreter must not come from the .venv that is about to be replaced

UV=0.13.9    # the uv that is installed where there is none
UV_LEAST=8   # an installed uv serves from 0.8 on

say() { printf 'setup: %s\n' "$1" >&2; }
stop() { say "$1"; exit 1; }

# What .venv was made from. The folder counts: scripts in .venv and its .pth file hold the path.
stamp() { { cat requirements.lock tools/setup.sh .venv/pyvenv.cfg && printf '%s\n' "$ROOT"; } 2>/dev/null | sha256sum; }
complete() { [ -x .venv/bin/python ] && [ -f .venv/.complete ] && [ "$(stamp)" = "$(< .venv/.complete)" ]; }

find_python() {   # sets python to the first one that is new enough, seen through any virtual environment
  local name names=(python3 python3.14 python3.13 python3.12 python3.11)
  [ -z "${PYTHON:-}" ] || names=("$PYTHON")
  for name in "${names[@]}"; do
    python=$("$name" -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1); print(sys._base_executable)' 2>/dev/null) && return
  done
  stop "Python 3.11 or newer is needed and ${PYTHON:-python3} is not that; install it or name it, as in PYTHON=/path/to/python3.12."
}

find_uv() {   # sets uv: the one in .uv first, whose version is known, then any other that is new enough
  for uv in "$ROOT/.uv/bin/uv" "$(command -v uv || true)"; do
    if [ -n "$uv" ] && new_enough "$("$uv" --version 2>/dev/null || true)"; then return; fi
  done
  return 1
}

new_enough() {   # a uv that answers "uv 0.13.9 (...)"
  local major minor
  [[ $1 =~ ^uv\ ([0-9]+)\.([0-9]+)\. ]] || return 1
  major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
  (( major > 0 || minor >= UV_LEAST ))
}

has() { "$python" -c "import $1" 2>/dev/null; }

missing() {   # Debian packages that lack: pydensecrf2 is built from source, uv comes through venv or pip
  local version include
  version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  command -v g++ >/dev/null || command -v c++ >/dev/null || printf ' build-essential'
  [ -f "$include/Python.h" ] || printf ' %s-dev' "$version"
  find_uv || has venv,ensurepip || has pip || printf ' %s-venv' "$version"
}

system_packages() {
  local packages
  packages=$(missing)
  [ -n "$packages" ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing$packages with apt-get"
    apt-get update -qq >/dev/null || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null || true
    packages=$(missing)
  fi
  [ -z "$packages" ] || stop "a C++ compiler, Python's headers or its venv module is missing; run 'sudo apt-get install$packages', then repeat."
}

get_uv() {
  find_uv && return
  say "installing uv in .uv"
  rm -rf .uv
  if has venv,ensurepip; then
    "$python" -m venv .uv && .uv/bin/python -m pip install --quiet "uv==$UV"
  else
    "$python" -m pip install --quiet --target .uv "uv==$UV"
  fi || stop "pip could not install uv (its reason stands above); install uv yourself and have it on PATH, then repeat."
  find_uv || stop "the uv that pip installed does not run on this machine; install uv yourself and have it on PATH, then repeat."
}

sync() {   # quiet unless somebody watches
  local quiet=--quiet
  [ ! -t 2 ] || quiet=
  "$uv" pip sync $quiet --python .venv/bin/python --require-hashes --no-build-isolation "$1" ||
    stop "the packages of requirements.lock could not be installed (uv's reason stands above); repeat to go on from there."
}

build() {
  say "making .venv from requirements.lock (the first time some minutes and 6 GB)"
  rm -rf .venv
  "$uv" venv --quiet --python "$python" .venv
  # pydensecrf2 asks for a Cython that knows no Python 3.13; without build isolation it is built by the locked one
  awk '/^[^ ]/ { on = /^(cython|setuptools)==/ } on' requirements.lock > .venv/builders.lock
  sync .venv/builders.lock
  sync requirements.lock
  local site
  for site in .venv/lib/python3*/site-packages; do
    printf '%s\n' "$ROOT" > "$site/cam_replication_suite.pth"   # `import lib` from any folder
  done
  stamp > .venv/.complete
  say "done"
}

export UV_PYTHON_DOWNLOADS=never
if [ "${1:-}" != --uv ] && complete; then exit 0; fi
exec 9< tools/setup.sh
flock -n 9 || { say "waiting for another set-up to end"; flock 9; }
if [ "${1:-}" != --uv ] && complete; then exit 0; fi
find_python
if [ "${1:-}" = --uv ]; then get_uv; printf '%s\n' "$uv"; exit; fi
system_packages
get_uv
build
