/* stop_signals.h - SIGINT, SIGTERM and SIGHUP noticed, so that unfinished files are removed before the command dies. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_STOP_SIGNALS_H
#define GMM_STOP_SIGNALS_H

/* Begin to notice. Signals that were ignored when the command began stay ignored, as under nohup. A file that grows
 * beyond `ulimit -f` is from now on an error of write, which is cleaned up after, and not a death. */
void stop_notice(void);

/* The signal that asked to stop, 0 so far. Long loops look often. */
int stop_signal(void);

/* After cleaning up: die of the signal that came, so that a shell sees why; returns if none came. */
void stop_die(void);

#endif
