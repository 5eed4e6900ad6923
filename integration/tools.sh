#!/usr/bin/env bash
# Makes sure that the programs are there which the integration tests and the benchmarks call. As root
# with apt-get they are installed; otherwise it prints the one command to type and fails. The argument drivers adds
# what make drivers needs.
set -euo pipefail
PATH=$PATH:/usr/sbin # pgbouncer

packages=()
need() { # PROGRAM PACKAGE
	command -v "$1" >/dev/null || packages+=("$2")
}
java_major() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p'; }

need cc gcc
need psql postgresql-client
need pg_recvlogical postgresql-client
need pgbench postgresql # Debian ships it with the server
need pgbouncer pgbouncer
need mvn maven
need kcat kcat
need chromium chromium
need promtool prometheus
need flock util-linux
need python3 python3
python3 -c "import venv, ensurepip" 2>/dev/null || packages+=(python3-venv)
if ! command -v java >/dev/null || [ "$(java_major)" -lt 17 ]; then packages+=(openjdk-17-jre-headless); fi
if [ "${1-}" = drivers ]; then
	need javac openjdk-17-jdk-headless
	need node nodejs
	need npm npm
fi
[ ${#packages[@]} -eq 0 ] && exit 0

command=(apt-get install -y --no-install-recommends "${packages[@]}")
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "The tests need: ${packages[*]}. Install them, on Debian or Ubuntu by: sudo ${command[*]}" >&2
	exit 1
fi

# The packages would start servers of their own; the tests start theirs.
clusters=/etc/postgresql-common/createcluster.d
mkdir -p "$clusters"
echo "create_main_cluster = false" >"$clusters/pgtee-tests.conf"
trap 'rm -f "$clusters/pgtee-tests.conf"' EXIT
export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
apt-get update -q
"${command[@]}"
