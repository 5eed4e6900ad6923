#!/usr/bin/env bash
# Prints the path of a Python interpreter that has what requirements.txt names: a virtual environment in
# the cache folder, made when it is first asked for and again when requirements.txt has changed.
set -euo pipefail

requirements=$(dirname "$0")/requirements.txt
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pgtee
dir=$cache/python-$(sha256sum <"$requirements" | cut -c1-12)

mkdir -p "$cache"
exec 9>"$cache/python.lock"
flock 9
if [ ! -e "$dir/complete" ]; then
	rm -rf "$dir"
	{
		python3 -m venv "$dir"
		"$dir/bin/pip" install --quiet --disable-pip-version-check --no-input -r "$requirements"
	} >&2
	touch "$dir/complete"
fi
echo "$dir/bin/python"
