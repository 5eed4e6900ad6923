#!/usr/bin/env bash
# Prints the folder of PostgreSQL 15 as it is built here from the source package: src with the suites and pg_regress in
# their places, and installed with the server and psql. It is made when it is first asked for, and again when this
# script has changed. Suites, server and psql are of one minor version, so that nothing fails without pgtee.
set -euo pipefail

# A server that root starts runs as another user, who cannot enter root's own cache.
cache=/var/cache/pgtee
[ "$(id -u)" -eq 0 ] || cache=${XDG_CACHE_HOME:-$HOME/.cache}/pgtee
dir=$cache/regress-$(sha256sum <"$0" | cut -c1-12)

# What the build needs. ICU, libxml and lz4 each have tests of their own.
tools() {
	local packages=()
	for package in gcc make perl dpkg-dev debian-archive-keyring pkg-config libicu-dev libxml2-dev liblz4-dev; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || packages+=("$package")
	done
	[ ${#packages[@]} -eq 0 ] && return
	if [ "$(id -u)" -ne 0 ]; then
		echo "PostgreSQL's suites need: ${packages[*]}. Install them by: sudo apt-get install -y --no-install-recommends ${packages[*]}" >&2
		return 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q
	apt-get install -y --no-install-recommends "${packages[@]}"
}

# download has lists of apt's own: the system's stay as they are. A point release of Debian's stays for two months or more.
download() {
	mkdir -p lists/partial
	echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main" >sources.list
	local own=(-q -o "Dir::Etc::SourceList=$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$PWD/lists")
	apt-get "${own[@]}" update
	apt-get "${own[@]}" source --download-only postgresql-15
	dpkg-source --skip-patches -x postgresql-15_*.dsc src # as PostgreSQL publishes it
}

build() {
	cd src
	./configure --quiet --prefix="$dir/installed" --with-icu --with-libxml --with-lz4 --without-readline --without-zlib
	make -s -C src/backend generated-headers # what is built in parallel from "src" does not wait for them
	make -s -j"$(nproc)" -C src install
	make -s -j"$(nproc)" -C src/test/regress all
	make -s -j"$(nproc)" -C src/test/isolation all
}

mkdir -p "$cache"
exec 9>"$cache/regress.lock"
flock 9
if [ ! -e "$dir/complete" ]; then
	rm -rf "$dir"
	mkdir "$dir"
	(
		cd "$dir"
		tools
		download
		build
	) >&2
	touch "$dir/complete"
fi
echo "$dir"
