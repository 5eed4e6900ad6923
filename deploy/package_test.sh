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
expect_file() { [ "$(stat -c '%U:%G %a' "$1")" = "$2" ] || fail "$1 is $(stat -c '%U:%G %a' "$1"), want $2"; }
expect_file /etc/pgtee/pgtee.yaml 'root:pgtee 640'
expect_file /etc/pgtee/pgtee.env 'root:pgtee 640'
expect_file /var/lib/pgtee 'pgtee:pgtee 700'

# Each unit as systemd starts it, with the installed configuration: it reads that, and ends because nothing answers. The
# first one makes the key that the others need.
for unit in pgtee pgtee-proxy pgtee-publish; do
	setting() { sed -n "s/^$1=//p" "/usr/lib/systemd/system/$unit.service"; }
	read -ra command <<<"$(setting ExecStart)"
	read -ra environment <<<"$(setting Environment)"
	status=0
	said=$(cd "$(setting WorkingDirectory)" && setpriv --reuid "$(setting User)" --regid "$(setting Group)" --init-groups \
		env "${environment[@]}" PGTEE_POSTGRES=postgres://nobody@127.0.0.1:1/none PGTEE_KAFKA=127.0.0.1:1 timeout 30 "${command[@]}" 2>&1) || status=$?
	[ $status = 2 ] && grep -q '^pgtee: cannot reach' <<<"$said" || fail "$unit exits with $status: $said"
done
expect_file /var/lib/pgtee/note.key 'pgtee:pgtee 600'
rm /var/lib/pgtee/note.key

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
