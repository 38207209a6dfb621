#!/bin/bash
# Installs each peer by itself: one that does not install here is named and left out, and bench.py names it again.
set -u
python=$1
requirements=$(dirname "$0")/requirements.txt
missing=0
while read -r requirement; do
  [ -n "$requirement" ] || continue
  if ! "$python" -m pip install -q --disable-pip-version-check "$requirement"; then
    echo "install.sh: $requirement cannot be installed here; the comparison goes on without it" >&2
    missing=1
  fi
done < "$requirements"
# With something missing the next run tries again.
[ $missing = 1 ] || cp "$requirements" "$(dirname "$(dirname "$python")")/requirements.txt"
