# The daemon is stopped and started again under a guest and under the kernel of dom0, which notice
# nothing: the watches of both still fire.
#
# shellcheck shell=dash
daemon=$(daemon)
/job/xs write data/restart before
/job/xs watch -n 2 data/restart >/run/events &
watcher=$!
until [ -s /run/events ]; do sleep 0.1; done
create restart "only=identity wait" -e
id=$(started restart)
/job/xs wait -T 60 "/local/domain/$id/data/waits" yes || fail "the guest does not wait"
kill "$daemon"
while grep -qs '^State:[[:space:]]*[^XZ]' "/proc/$daemon/status"; do sleep 0.1; done
[ -s /run/xenstored.state ] || fail "no state was kept"
/job/xenstored.sh >/dev/console 2>&1 &
until [ -e /run/xenstored.pid ]; do sleep 0.1; done
[ ! -e /run/xenstored.state ] || fail "the state was not taken up"
/job/xs write data/restart after
wait "$watcher"
/job/xs write "/local/domain/$id/control/shutdown" poweroff
/job/xs wait -T 60 "/local/domain/$id/control/shutdown" '' || fail "the watch of the guest is lost"
destroy restart
/job/xs rm data/restart
echo "a guest and the kernel have survived a restart"
