#!/bin/bash
# Written by `ibjax launch`. Read it, change what your cluster needs, then: sbatch THIS_FILE
%{directives}

# Slurm tells this shell SIGTERM only when it ends the job itself: a requeue, which brings the job
# back without us, scancel, or the time limit. The tasks get the signal too, and save.
told=""
trap 'told=yes' TERM

%{setup}

id=$SLURM_JOB_ID
if [[ -n ${SLURM_ARRAY_JOB_ID:-} ]]; then
  # The number of an array's last task is the array's own, and would requeue all of it.
  id=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}
fi
starts=${SLURM_RESTART_COUNT:-0}
echo "ibjax: job $id on $SLURM_JOB_NODELIST, started again $starts times" >&2

# Each task has a shell that outlives a SIGTERM, which reaches the command as well. srun's exit code
# is the highest of all tasks': 75 saved, 128+n ended by signal n. Bad input (2) must be seen above
# these, so it becomes 255. No task's end ends the others: they save first.
# shellcheck disable=SC2016  # expanded by each task's shell
srun %{srun} bash -c '
  trap : TERM
  "$@"
  code=$?
  if [[ $code == 2 ]]; then exit 255; fi
  exit "$code"
' task \
  %{command}
code=$?

if [[ -n $told ]]; then
  echo "ibjax: Slurm ended job $id; what was told to stop is saved" >&2
elif [[ $code == 255 ]]; then
  code=2
  echo "ibjax: bad input (exit code 2), explained above; not started again" >&2
elif [[ $code == 75 || $code -gt 128 ]]; then
  if ((starts < %{requeues})); then
    echo "ibjax: exit code $code; asking Slurm to run job $id again from its checkpoint" >&2
    scontrol requeue "$id" || echo "ibjax: not requeued; submit this script again" >&2
  else
    echo "ibjax: exit code $code after $starts restarts (--requeues); submit to continue" >&2
  fi
fi
exit "$code"
