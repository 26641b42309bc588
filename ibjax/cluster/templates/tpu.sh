#!/bin/bash
# Written by `ibjax launch`. Read it, then run it where gcloud is: the same command on every host of
# the slice, whose processes find each other by the slice's own metadata. Exit code 75 of the hosts
# means that all is saved; this script, run again, continues.
exec gcloud compute tpus tpu-vm ssh %{name} --zone=%{zone} --worker=all \
  --command=%{command}
