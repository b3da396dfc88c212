#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Becomes systemd, as process 1 of a root of its own: the folder that is named. Only for who has new
# namespaces for everything that systemd touches, and a control group that is nobody else's.
#
# It must not reach the machine: the machine's root is taken away before systemd begins, what it
# would set in /proc and /sys is read-only, and it has no right to the clock, modules or devices.
#
# usage: unshare --mount --pid --fork --kill-child --cgroup --uts --ipc --net boot.sh FOLDER
set -euo pipefail
root=$1

[ $$ -eq 1 ] || { echo "boot.sh: not process 1: there is no namespace" >&2; exit 1; }
[ -e "$root/fresh-root" ] || { echo "boot.sh: '$root' was not made for this" >&2; exit 1; }

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
for path in sys sysrq-trigger irq bus; do
    if [ -e "$root/proc/$path" ]; then
        mount --bind "$root/proc/$path" "$root/proc/$path"
        mount -o remount,bind,ro "$root/proc/$path"
    fi
done
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for path in dev run tmp; do
    mount -t tmpfs -o mode=755 tmpfs "$root/$path"
done
chmod 1777 "$root/tmp"
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${device%:*}" c 1 "${device#*:}"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/old"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"

cd "$root"
pivot_root . run/old
cd /
[ -e /fresh-root ]
umount -l /run/old
rmdir /run/old
exec env -i container=pcluster PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-sys_boot,-syslog,-mknod,-wake_alarm,-mac_admin \
    /lib/systemd/systemd --unit=fresh.target --show-status=no --log-target=console
