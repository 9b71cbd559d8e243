#!/bin/sh
# Runs in dom0 in place of a genuine daemon.
exec /job/xs serve --xen --pid-file /run/xenstored.pid --state /run/xenstored.state
