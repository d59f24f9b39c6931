/* stop_signals.c - see stop_signals.h. */
/* SPDX-License-Identifier: MIT */
#include "stop_signals.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>

static const int stop_signals[] = {SIGINT, SIGTERM, SIGHUP};

static volatile sig_atomic_t came;

static void note(int number)
{
    came = number;
}

void stop_notice(void)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART}, old;

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof stop_signals / sizeof stop_signals[0]; i++)
        if (sigaction(stop_signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(stop_signals[i], &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGXFSZ, &action, NULL);
}

int stop_signal(void)
{
    return came;
}

void stop_die(void)
{
    if (!came)
        return;
    fflush(stdout);
    signal(came, SIG_DFL);
    raise(came);
}
