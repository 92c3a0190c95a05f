/* SPDX-License-Identifier: Apache-2.0
 * signals.c - SIGUSR1 and SIGTERM ask for a drain
 */
#include "cli/signals.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t drain_asked;

static void on_drain(int number)
{
    (void)number;
    drain_asked = 1;
}

void sy_signals_install(void)
{
    struct sigaction drain = {.sa_handler = on_drain, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigemptyset(&drain.sa_mask);
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGUSR1, &drain, NULL);
    sigaction(SIGTERM, &drain, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
}

bool sy_signals_drain(void)
{
    return drain_asked;
}
