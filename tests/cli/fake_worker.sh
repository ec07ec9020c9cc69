#!/bin/sh
# A stand-in for `worker`: lives for FAKE_SECONDS and writes its process id to FAKE_PIDS/NAME.pid.
#   FAKE_DIE=worker-1        this one exits with code FAKE_CODE (5) in the middle, the first time it is started
#   FAKE_STUBBORN=worker-0   this one ignores SIGTERM and never ends
#   FAKE_TIDY=worker-0       this one takes a second to end after SIGTERM, and says in its log that it has
#   FAKE_FAILURE=why         all exit with code 4 at the end
for argument in "$@"; do
  case $argument in
    --name=*) name=${argument#--name=} ;;
  esac
done
again=no
[ -e "$FAKE_PIDS/$name.pid" ] && again=yes
if [ "$FAKE_STUBBORN" = "$name" ]; then
  trap '' TERM INT HUP
  echo $$ > "$FAKE_PIDS/$name.pid"
  while :; do sleep 1; done
fi
if [ "$FAKE_TIDY" = "$name" ]; then
  trap 'sleep 1; echo "$name has ended in good order"; exit 0' TERM
  echo $$ > "$FAKE_PIDS/$name.pid"
  while :; do sleep 0.1; done
fi
echo $$ > "$FAKE_PIDS/$name.pid"
echo "$name was started again: $again"
if [ "$FAKE_DIE" = "$name" ] && [ $again = no ]; then
  sleep "$(awk "BEGIN { print $FAKE_SECONDS / 2 }")"
  echo "$name ran out of luck"
  exit "${FAKE_CODE:-5}"
fi
sleep "$FAKE_SECONDS"
[ -z "$FAKE_FAILURE" ] || exit 4
