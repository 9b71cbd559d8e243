#!/bin/sh
# Runs in the guest of save.sh: holds watches, and confirms each change of data/question.
#
# shellcheck shell=dash
export XENSTORED_PATH=/dev/xen/xenbus
/job/xs watch data/question | while read -r _; do
    question=$(/job/xs read data/question 2>/dev/null) || continue
    /job/xs write data/answer "$question"
done
echo "the watch has ended"
