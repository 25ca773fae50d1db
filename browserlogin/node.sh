#!/bin/sh
# Starts the driver's node. What it and the browser below it inherit is exactly
# this: no variable of the server (a master key may be among them), no core
# dumps, and another user when the server is root.
ulimit -c 0
exec {{drop}}env -i PATH=/usr/local/bin:/usr/bin:/bin HOME={{home}} TMPDIR={{home}} LANG=C.UTF-8{{display}} {{node}} "$@"
