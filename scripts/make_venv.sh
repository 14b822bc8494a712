#!/usr/bin/env bash
# Make a virtual environment on a machine that may have a bare python3 (Debian, Ubuntu).
set -euo pipefail
python=$1 venv=$2

"$python" - <<'PY' || { echo "Tingfeng needs Python 3.11 or newer; install python3.11 or set PYTHON=." >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 11))
PY

if "$python" -c "import ensurepip, venv" 2>/dev/null; then
  exec "$python" -m venv "$venv"
fi

# python3-venv is a separate package on Debian and Ubuntu
version=$("$python" -c "import sys; print('%d.%d' % sys.version_info[:2])")
sudo=""
if [ "$(id -u)" != 0 ]; then sudo="sudo"; fi
if command -v apt-get >/dev/null && { [ -z "$sudo" ] || command -v sudo >/dev/null; }; then
  echo "Installing python3-venv, which this system's python3 lacks ..." >&2
  $sudo apt-get update -qq || true
  $sudo apt-get install -y -qq "python${version}-venv" || $sudo apt-get install -y -qq python3-venv
  exec "$python" -m venv "$venv"
fi
echo "This python3 has no venv module. Install it (Debian: apt-get install python3-venv) and run again." >&2
exit 1
