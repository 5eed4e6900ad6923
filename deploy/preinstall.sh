#!/bin/sh
# Makes the user of the services, to whose group files of the package belong.
set -e
getent group pgtee >/dev/null || groupadd --system pgtee
getent passwd pgtee >/dev/null || useradd --system --gid pgtee --home-dir /var/lib/pgtee --no-create-home --shell /usr/sbin/nologin pgtee
