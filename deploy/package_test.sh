#!/usr/bin/env bash
# Installs the Debian package, checks what it brings, upgrades it, removes it, purges it. As root, on a machine that may be
# spoilt. Usage: package_test.sh OLD.deb NEW.deb
set -euo pipefail

fail() { echo "package_test: $*" >&2; exit 1; }

old=$1 new=$2
trap 'dpkg --purge pgtee >/dev/null 2>&1 || true' EXIT

dpkg --install "$old"
pgtee --version
grep -q '^\.SS pgtee setup' <<<"$(pgtee man)" || fail "the manual has no commands"
[ -s /usr/share/man/man1/pgtee.1.gz ] || fail "no manual page"
bash -c 'source /usr/share/bash-completion/completions/pgtee && complete -p pgtee' >/dev/null || fail "no completion"
for unit in pgtee pgtee-proxy pgtee-publish; do
	systemd-analyze verify "/usr/lib/systemd/system/$unit.service" || fail "$unit.service is not valid"
done
[ "$(stat -c %a /etc/pgtee/pgtee.yaml)" = 640 ] || fail "others may read the configuration"

# The program of the unit, with the installed configuration: it ends with one line that says what to do.
status=0
said=$(cd /tmp && PGTEE_KEY=/tmp/package_test.key pgtee publish --config /etc/pgtee/pgtee.yaml --postgres 'postgres://nobody@127.0.0.1:1/none' 2>&1) || status=$?
[ $status = 2 ] && [ -n "$said" ] || fail "publish exits with $status: $said"
rm -f /tmp/package_test.key

echo '# mine' >>/etc/pgtee/pgtee.yaml
dpkg --install "$new"
grep -q "^Version: $(dpkg-deb --field "$new" Version)$" <<<"$(dpkg --status pgtee)" || fail "not upgraded"
tail -1 /etc/pgtee/pgtee.yaml | grep -q mine || fail "the upgrade has replaced the configuration"

dpkg --remove pgtee
[ ! -e /usr/bin/pgtee ] || fail "the binary is still there"
[ -e /etc/pgtee/pgtee.yaml ] || fail "removing has taken the configuration"
dpkg --purge pgtee
[ ! -e /etc/pgtee/pgtee.yaml ] || fail "purging has left the configuration"
echo "package_test: installed, upgraded, removed, purged"
