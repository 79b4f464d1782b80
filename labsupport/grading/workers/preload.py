"""Imports that a worker would otherwise do by itself, done once in the process that workers are
forked from. Nothing here starts a thread, for a thread does not survive a fork."""
# ruff: noqa: E402, F401, I001

import gc
import signal

# Ctrl-C is for the process that started this one, see ``forks.deaf``; workers inherit that, and
# are not to start kernels that cannot be interrupted.
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

gc.disable()  # a fifth of an import's time, and nothing to collect

import distributed
import labsupport.grading.submission.submission

# forks need not look at all of this again, which would also copy its pages; uncollected, for that
# would take long and leave holes for forks to write in
gc.freeze()
gc.enable()
