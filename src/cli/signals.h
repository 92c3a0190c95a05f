/* SPDX-License-Identifier: Apache-2.0
 * signals.h - SIGUSR1 and SIGTERM ask for a drain: finish what is in flight, start nothing new
 */
#ifndef SY_CLI_SIGNALS_H
#define SY_CLI_SIGNALS_H

#include <stdbool.h>

/* Set the handlers; SIGPIPE and SIGXFSZ are ignored so that a closed pipe and a file at its size limit are errors with a
 * message. Call before MPI starts, so that an early signal does not kill the rank, and again after, because MPI libraries
 * set handlers of their own. */
void sy_signals_install(void);

/* True once one has come. */
bool sy_signals_drain(void);

#endif
